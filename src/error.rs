use std::fmt;
use std::path::PathBuf;

/// An error of the caller's own kind, as an embedding function returns it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why embosk could not do what it was asked. No message holds a text, a vector's values or a key.
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
    /// The embedding function returned another number of rows than it was given texts.
    Rows {
        /// How many texts there were.
        texts: usize,
        /// How many rows came back.
        rows: usize,
    },
    /// There is nothing to work on.
    Empty(&'static str),
    /// A setting is outside its range.
    Setting(String),
    /// A file is missing, truncated or not what it should be.
    File {
        /// Where.
        path: PathBuf,
        /// The line, counted from 1, where the file has lines.
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

    /// A file that could not be opened; `hint` is what to do where it is missing, or nothing.
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
            Self::Defense(error) => Some(error),
            #[cfg(feature = "evaluate")]
            Self::Attack(error) => Some(error),
            Self::Embedder(error) => Some(error.as_ref()),
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
