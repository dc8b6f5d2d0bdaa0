//! Where models run: `--device`, and candle's threads.

use std::{env, fs};

use clap::ValueEnum;

use super::error::CliError;

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Device {
    Cpu,
    Cuda,
    Metal,
}

impl Device {
    /// Opens the device. Open it only once: tensors of two openings do not mix.
    pub(crate) fn open(self) -> Result<candle_core::Device, CliError> {
        match self {
            Self::Cpu => Ok(candle_core::Device::Cpu),
            Self::Cuda if !cfg!(feature = "cuda") => Err(CliError::new(
                "this embosk was built without CUDA; build it with --features cuda, or leave --device out",
            )),
            Self::Cuda => {
                // products in TF32: 10 bits of each factor, several times as fast, and all that training needs
                candle_core::cuda::set_gemm_reduced_precision_f32(true);
                candle_core::Device::new_cuda(0).map_err(|error| {
                    CliError::new(format!(
                        "there is no CUDA GPU that can be used ({error}); leave --device out"
                    ))
                })
            }
            Self::Metal => Err(CliError::new("models run on cpu and cuda for now; leave --device out")),
        }
    }
}

/// Keeps candle to one thread, because its own threads only spin beside ours. `.cargo/config.toml` does the same for
/// programs that cargo starts.
#[allow(unsafe_code, reason = "candle reads its number of threads from the environment alone")]
pub(super) fn keep_candle_to_one_thread() {
    const VARIABLE: &str = "CANDLE_NUM_THREADS";
    if env::var_os(VARIABLE).is_none() && is_alone() {
        // SAFETY: no other thread runs that could read the environment
        unsafe { env::set_var(VARIABLE, "1") };
    }
}

/// Whether this thread is the only one of the process, as a program begins; elsewhere than on Linux, it is taken to be.
fn is_alone() -> bool {
    fs::read_dir("/proc/self/task").map_or(true, |threads| threads.count() == 1)
}
