use std::path::PathBuf;
use std::{fmt, io};

use crate::difference::Difference;
use crate::sealing::Refusal;

/// Why a defense refused. No message holds a text, a vector's values or a key.
///
/// `Display` says everything, including the cause. `source` returns only what lies behind a cause that is
/// already in the message.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The vectors have another dimension than the defense.
    Dimension {
        /// The defense's dimension.
        expected: usize,
        /// The vectors' dimension.
        found: usize,
    },
    /// The defense changes the dimension, so the output does not fit in the place of the vectors.
    NotInPlace {
        /// The vectors' dimension.
        input: usize,
        /// The dimension of what comes out.
        output: usize,
    },
    /// The defense, or a part of the stack, cannot be undone.
    NotInvertible {
        /// The defense as it prints, with keys by their fingerprints.
        defense: String,
        /// Why.
        reason: &'static str,
    },
    /// A row holds NaN or an infinity, or its norm is too large for `f32`.
    NotFinite {
        /// Which row, counted from 0.
        row: usize,
    },
    /// A row has another norm than 1, and [`OtherNorms::Refuse`](crate::OtherNorms::Refuse) was asked for.
    OtherNorm {
        /// Which row, counted from 0.
        row: usize,
        /// Its norm.
        norm: f64,
        /// The defense that is meant for norm 1, as it prints, with keys by their fingerprints.
        defense: String,
    },
    /// The number of row ids is not the number of rows.
    RowIds {
        /// How many rows there are.
        rows: usize,
        /// How many ids were given.
        ids: usize,
    },
    /// A row that is to be sealed has an empty id.
    EmptyId {
        /// Which row, counted from 0.
        row: usize,
    },
    /// Packed codes have a different length from what their dimension requires.
    CodeLength {
        /// How many bytes a row takes.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// A row of packed codes holds a code that no centroid has.
    CodeRange {
        /// Which row, counted from 0.
        row: usize,
    },
    /// Packed codes come with a different number of scales from what they need.
    ScaleCount {
        /// How many scales they need: one for each row, or none.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A setting is outside its range.
    Setting {
        /// The setting's name, as a spec writes it.
        name: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// A spec could not be read.
    Spec {
        /// Where, in characters, counted from 1; 0 for a spec that was not read from a text.
        position: usize,
        /// What is wrong there, and which names are known.
        message: String,
    },
    /// A text is not a key.
    KeyText(&'static str),
    /// The environment variable that should hold a key is not set, or does not hold one.
    KeyVariable {
        /// The variable's name.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The file that should hold a key could not be read, or does not hold one.
    KeyFile {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file that holds a key is accessible to users other than its owner.
    KeyFileMode {
        /// Where.
        path: PathBuf,
        /// The file's permission bits.
        mode: u32,
    },
    /// Bytes are not a fit: scales, a codebook or a projection that was fitted on a sample.
    Fit(&'static str),
    /// The file that should hold a fit could not be read, or holds something else.
    FitFile {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The stored vectors are not in the stack's space: their fingerprint does not match.
    OtherSpace(Difference),
    /// A sealed row was not opened.
    Sealed {
        /// Which row, counted from 0.
        row: usize,
        /// Why.
        refusal: Refusal,
    },
    /// The operating system gave no randomness.
    Randomness(io::Error),
}

impl Error {
    pub(crate) fn not_invertible(defense: &(impl fmt::Display + ?Sized), reason: &'static str) -> Self {
        Self::NotInvertible { defense: defense.to_string(), reason }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dimension { expected, found } => {
                write!(f, "the defense is bound to dimension {expected}, the vectors have {found}")
            }
            Self::NotInPlace { input, output } => write!(
                f,
                "the defense makes vectors of {output} dimensions from {input}, which cannot be done in place; \
                 call `protect_owned`, which returns them"
            ),
            Self::NotInvertible { defense, reason } => write!(
                f,
                "`{defense}` cannot be undone: {reason}; only rotations, permutations, scalings and stacks of them can"
            ),
            Self::NotFinite { row } => {
                write!(f, "row {row} (counted from 0) holds NaN, an infinity or values too large for float32")
            }
            Self::OtherNorm { row, norm, defense } => write!(
                f,
                "row {row} (counted from 0) has norm {norm:.3}, and the strength of `{defense}` is meant for vectors of norm \
                 1; scale the vectors to norm 1, or choose `normalize` in place of `refuse`"
            ),
            Self::RowIds { rows, ids } => {
                write!(f, "{rows} rows were given {ids} ids; give each row one id")
            }
            Self::EmptyId { row } => {
                write!(
                    f,
                    "the id of row {row} (counted from 0) is empty; give each sealed row an id of its own"
                )
            }
            Self::CodeLength { expected, found } => {
                write!(f, "the codes of a row take {expected} bytes, these have {found}")
            }
            Self::CodeRange { row } => {
                write!(f, "row {row} (counted from 0) holds a code that no centroid has")
            }
            Self::ScaleCount { expected, found } => {
                write!(f, "the codes need {expected} scales, and have {found}")
            }
            Self::Setting { name, expected } => write!(f, "{name} must be {expected}"),
            Self::Spec { position: 0, message } => write!(f, "defense spec: {message}"),
            Self::Spec { position, message } => {
                write!(f, "defense spec, character {position}: {message}")
            }
            Self::KeyText(problem) => write!(f, "not a key: {problem}"),
            Self::KeyVariable { name, problem } => {
                write!(f, "the environment variable {name} should hold a key: {problem}")
            }
            Self::KeyFile { path, source } => {
                write!(f, "the key file {} cannot be used: {source}", path.display())
            }
            Self::KeyFileMode { path, mode } => write!(
                f,
                "the key file {} is open to others (mode {mode:03o}); close it with `chmod 600`, or where its mode cannot be \
                 changed, as that of a mounted secret, put the key into a variable and name it as `env:NAME`",
                path.display()
            ),
            Self::Fit(problem) => write!(f, "not a fit that can be used: {problem}"),
            Self::FitFile { path, source } => {
                write!(f, "the fitted file {} cannot be used: {source}", path.display())
            }
            Self::OtherSpace(difference) => {
                write!(f, "{difference}; search them with queries that the same stack protected")
            }
            Self::Sealed { row, refusal } => {
                write!(f, "sealed row {row} (counted from 0) was not opened: {refusal}")
            }
            Self::Randomness(source) => {
                write!(f, "the operating system gave no randomness: {source}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::KeyFile { source, .. } | Self::FitFile { source, .. } | Self::Randomness(source) => {
                source.source()
            }
            _ => None,
        }
    }
}
