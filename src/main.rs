//! The `embosk` command: [`embosk::cli`] unchanged, with the defenses, adversaries and metrics of the project.

use std::process::ExitCode;

fn main() -> ExitCode {
    keep_candle_to_one_thread();
    embosk::cli::Program::new().main()
}

/// Keeps candle to one thread, because its own threads only spin beside ours. `.cargo/config.toml` does the same for
/// programs that cargo starts.
#[allow(unsafe_code, reason = "candle reads its number of threads from the environment alone")]
fn keep_candle_to_one_thread() {
    const VARIABLE: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: no other thread runs yet that could read the environment
        unsafe { std::env::set_var(VARIABLE, "1") };
    }
}
