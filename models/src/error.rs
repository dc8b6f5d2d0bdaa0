use std::fmt;
use std::path::{Path, PathBuf};

/// An error of any kind that can cross threads.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why a model could not be loaded or run. No message holds a text or a vector's values.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file is missing, truncated or not what it should be.
    File {
        /// Where.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// A name or a setting cannot be used; the message says why.
    Setting(String),
    /// The tensor library or the tokenizer failed.
    Model(BoxError),
}

impl Error {
    /// Reports what is wrong with a file.
    pub fn file(path: impl AsRef<Path>, message: impl fmt::Display) -> Self {
        Self::File { path: path.as_ref().to_owned(), message: message.to_string() }
    }

    /// Reports a file whose content is not what it should be.
    pub(crate) fn damaged(path: impl AsRef<Path>, error: impl fmt::Display) -> Self {
        Self::file(path, format!("damaged or not what it should be ({error}); get it anew"))
    }

    /// Reports a file that could not be opened; `hint` says what to do if it is missing.
    pub(crate) fn unreadable(path: impl AsRef<Path>, error: &std::io::Error, hint: &str) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::file(path, format!("there is no such file; {hint}")),
            _ => Self::file(path, error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, message } => write!(f, "{}: {message}", path.display()),
            Self::Setting(message) => f.write_str(message),
            Self::Model(error) => write!(f, "the model failed: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // the message says what the error itself says
            Self::Model(error) => error.source(),
            Self::File { .. } | Self::Setting(_) => None,
        }
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(Box::new(error))
    }
}
