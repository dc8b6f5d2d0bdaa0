use std::error::Error;
use std::fmt;

/// Why a verb failed: one line, made of an error and its causes.
#[derive(Debug)]
pub(crate) struct CliError(String);

impl CliError {
    /// Creates an error of the command's own.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Any error can be passed on with `?`. This is possible because `CliError` itself does not implement `Error`.
impl<E: Error> From<E> for CliError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let part = error.to_string();
            // some errors print those behind them, others leave it to the chain
            if !message.contains(&part) {
                message = format!("{message}: {part}");
            }
            source = error.source();
        }
        Self(message)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // where RUST_BACKTRACE is set, candle's errors print the stack they were made on
        let is_frame = |line: &&str| line.trim_start().starts_with("0: ");
        let words: Vec<&str> =
            self.0.lines().take_while(|line| !is_frame(line)).flat_map(str::split_whitespace).collect();
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(bool);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(if self.0 { "outer: in\nner" } else { "outer" })
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&Inner)
        }
    }

    #[derive(Debug)]
    struct Inner;

    impl fmt::Display for Inner {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("in\nner")
        }
    }

    impl Error for Inner {}

    #[test]
    fn the_chain_is_one_line_without_repeats() {
        assert_eq!(CliError::from(Outer(true)).to_string(), "outer: in ner");
        assert_eq!(CliError::from(Outer(false)).to_string(), "outer: in ner");
        let traced = CliError::new("no such tensor\n   0: candle::Error::bt\n   1: main\n");
        assert_eq!(traced.to_string(), "no such tensor");
    }
}
