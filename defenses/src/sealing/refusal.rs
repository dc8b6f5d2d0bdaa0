use std::fmt;

/// Why a sealed row was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes are not a sealed row.
    NotSealed,
    /// The row is of a version that this release does not know.
    Version {
        /// The row's version.
        found: u8,
    },
    /// The row was cut off, or something was added to it.
    Length {
        /// How many bytes it should have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// The row holds a text where a vector is wanted, or a vector where a text is.
    Kind {
        /// What is wanted.
        expected: &'static str,
        /// What the row says that it holds.
        found: &'static str,
    },
    /// The row was sealed under another key.
    OtherKey {
        /// The fingerprint of the key that sealed it.
        sealed: String,
        /// The fingerprint of the key that should open it.
        found: String,
    },
    /// The row was sealed for the vectors of another stack.
    OtherStack,
    /// The row belongs to another id or field, or was changed after it was sealed. Which of these cannot be told.
    Altered,
    /// The vector has another dimension than it should have.
    Dimension {
        /// The expected dimension.
        expected: usize,
        /// The vector's dimension.
        found: usize,
    },
}

impl Refusal {
    pub(super) fn key(sealed: [u8; 4], found: [u8; 4]) -> Self {
        let [sealed, found] = [sealed, found].map(|digits| base16ct::lower::encode_string(&digits));
        Self::OtherKey { sealed, found }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSealed => f.write_str("it is not a sealed row; give the bytes that sealing returned"),
            Self::Version { found } => {
                write!(f, "it is sealed in version {found}, which is not known here; a newer release may open it")
            }
            Self::Length { expected, found } => {
                write!(f, "it should have {expected} bytes, and has {found}; read the whole row from the store")
            }
            Self::Kind { expected, found } => write!(f, "it holds {found}, and {expected} is wanted"),
            Self::OtherKey { sealed, found } => write!(
                f,
                "it was sealed under the key {sealed}, and this is the key {found}; open it with the other key"
            ),
            Self::OtherStack => f.write_str(
                "it was sealed for the vectors of another stack of defenses; open it with the stack that stored it",
            ),
            Self::Altered => f.write_str(
                "it belongs to another id or field, or it was changed after it was sealed; do not use it",
            ),
            Self::Dimension { expected, found } => {
                write!(f, "its vector has {found} dimensions, and {expected} are wanted")
            }
        }
    }
}
