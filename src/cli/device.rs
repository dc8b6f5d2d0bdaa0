//! Where models run: `--device`.

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
