use std::fmt;
use std::path::PathBuf;

/// An error of the caller's own kind, as an embedding function returns it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why embosk could not do what it was asked to do. No message holds a text, a vector's values or a key.
///
/// `Display` says everything, including the cause. `source` returns only what lies behind a cause that is already in
/// the message.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A defense refused its input.
    Defense(embosk_defenses::Error),
    /// An attack could not run.
    #[cfg(feature = "evaluate")]
    Attack(embosk_attacks::Error),
    /// The embedding function failed.
    Embedder(BoxError),
    /// The embedding function returned a different number of rows than it was given texts.
    Rows {
        /// How many texts there were.
        texts: usize,
        /// How many rows came back.
        rows: usize,
    },
    /// The rows of one batch differ in length.
    Ragged {
        /// The first row, counted from 0, that has another length than row 0.
        row: usize,
        /// How many numbers row 0 has.
        expected: usize,
        /// How many that row has.
        found: usize,
    },
    /// There is nothing to work on.
    Empty(&'static str),
    /// A setting is outside its range.
    Setting(String),
    /// A file is missing, truncated or not what it should be.
    File {
        /// Where.
        path: PathBuf,
        /// The line, counted from 1, if the file has lines.
        line: Option<usize>,
        /// What is wrong with it, and what to do.
        message: String,
    },
}

impl Error {
    /// A file that is missing, truncated or not what it should be.
    #[cfg(feature = "evaluate")]
    pub(crate) fn file(path: impl Into<PathBuf>, message: impl fmt::Display) -> Self {
        Self::File { path: path.into(), line: None, message: message.to_string() }
    }

    /// A file that could not be opened; `hint` says what to do if it is missing, or is empty.
    #[cfg(feature = "evaluate")]
    pub(crate) fn unreadable(path: impl Into<PathBuf>, error: &std::io::Error, hint: &str) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound if hint.is_empty() => Self::file(path, "there is no such file"),
            std::io::ErrorKind::NotFound => Self::file(path, format!("there is no such file; {hint}")),
            _ => Self::file(path, error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defense(error) => error.fmt(f),
            #[cfg(feature = "evaluate")]
            Self::Attack(error) => error.fmt(f),
            Self::Embedder(error) => write!(f, "the embedding function failed: {error}"),
            Self::Rows { texts, rows } => {
                write!(f, "the embedding function was given {texts} texts and returned {rows} rows")
            }
            Self::Ragged { row, expected, found } => {
                write!(
                    f,
                    "row {row} has {found} numbers, but row 0 has {expected}; make all rows of a batch equally long"
                )
            }
            Self::Empty(what) => write!(f, "{what} is empty"),
            Self::Setting(message) => f.write_str(message),
            Self::File { path, line: Some(line), message } => {
                write!(f, "{}, line {line}: {message}", path.display())
            }
            Self::File { path, line: None, message } => write!(f, "{}: {message}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Defense(error) => error.source(),
            #[cfg(feature = "evaluate")]
            Self::Attack(error) => error.source(),
            Self::Embedder(error) => error.source(),
            _ => None,
        }
    }
}

impl From<embosk_defenses::Error> for Error {
    fn from(error: embosk_defenses::Error) -> Self {
        Self::Defense(error)
    }
}

#[cfg(feature = "evaluate")]
impl From<embosk_attacks::Error> for Error {
    fn from(error: embosk_attacks::Error) -> Self {
        Self::Attack(error)
    }
}

#[cfg(feature = "vec2text")]
impl From<embosk_models::Error> for Error {
    fn from(error: embosk_models::Error) -> Self {
        use embosk_models::Error as Of;
        match error {
            Of::File { path, message } => Self::File { path, line: None, message },
            Of::Setting(message) => Self::Setting(message),
            other => Self::Embedder(other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[derive(Debug)]
    struct Timeout(std::io::Error);

    impl fmt::Display for Timeout {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("no answer")
        }
    }

    impl std::error::Error for Timeout {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_cause_is_displayed_and_not_returned_as_source() {
        let timeout = || Box::new(Timeout(std::io::Error::other("the cable is out")));
        let errors = [
            Error::Embedder(timeout()),
            #[cfg(feature = "evaluate")]
            Error::Attack(embosk_attacks::Error::Oracle(timeout())),
        ];
        for error in errors {
            assert_eq!(error.to_string(), "the embedding function failed: no answer");
            assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("the cable is out"));
        }
        let refused = Error::Defense(embosk_defenses::Error::NotFinite { row: 3 });
        assert!(refused.to_string().contains("row 3") && refused.source().is_none());
    }
}
