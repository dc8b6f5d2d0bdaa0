use std::fmt;
use std::path::PathBuf;

/// An error of the caller's own kind, as an oracle returns it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why an attack could not run. No message holds a text or a vector's values.
///
/// `Display` says everything, including the cause. `source` returns only what lies behind a cause that is already in
/// the message.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The vectors do not have the dimension that the attack was made for.
    Dimension {
        /// What the attack takes.
        expected: usize,
        /// What it was given.
        found: usize,
    },
    /// A vector holds NaN or an infinity.
    NotFinite {
        /// The row, counted from 0.
        row: usize,
    },
    /// There is nothing to attack, fit or train on.
    Empty(&'static str),
    /// A setting is outside its range.
    Setting(String),
    /// A file is missing, truncated or not what it should be.
    File {
        /// Where.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// The oracle failed.
    Oracle(BoxError),
    /// The tensor library failed.
    Model(BoxError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dimension { expected, found } => {
                write!(f, "the vectors have {found} dimensions, but the attack takes {expected}")
            }
            Self::NotFinite { row } => write!(f, "row {row} holds a value that is not finite"),
            Self::Empty(what) => write!(f, "{what} is empty"),
            Self::Setting(message) => f.write_str(message),
            Self::File { path, message } => write!(f, "{}: {message}", path.display()),
            Self::Oracle(error) => write!(f, "the embedding function failed: {error}"),
            Self::Model(error) => write!(f, "the model failed: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // the message says what the error itself says
            Self::Oracle(error) | Self::Model(error) => error.source(),
            _ => None,
        }
    }
}

#[cfg(feature = "vec2text")]
impl From<embosk_models::Error> for Error {
    fn from(error: embosk_models::Error) -> Self {
        use embosk_models::Error as Of;
        match error {
            Of::File { path, message } => Self::File { path, message },
            Of::Setting(message) => Self::Setting(message),
            Of::Model(error) => Self::Model(error),
            other => Self::Model(other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[derive(Debug)]
    struct Outer(std::io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("no answer")
        }
    }

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_cause_is_displayed_and_not_returned_as_source() {
        let outer = || Box::new(Outer(std::io::Error::other("the cable is out")));
        for error in [Error::Oracle(outer()), Error::Model(outer())] {
            assert!(error.to_string().ends_with("failed: no answer"), "{error}");
            assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("the cable is out"));
        }
    }
}
