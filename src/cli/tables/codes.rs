//! Packed codes in place of vectors, and the files beside them that say how to read them.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use ndarray::{Array1, Array3};
use ndarray_npy::WriteNpyExt;
use serde::Serialize;

use super::super::error::CliError;
use super::super::files::{self, Readers};
use super::Change;
use crate::Stack;
use crate::defenses::{Codes, Packing};

/// The version of the description; the codes are those of SPEC.md.
const VERSION: u32 = 1;

/// A kind of packed codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CodesKind {
    /// One byte per coordinate.
    Int8,
    /// Two coordinates per byte.
    Int4,
    /// Eight coordinates per byte.
    Binary,
    /// One byte per subspace of a product quantization.
    Pq,
}

impl CodesKind {
    fn of(packing: Packing<'_>) -> Option<Self> {
        match packing {
            Packing::Centroids(_) => Some(Self::Pq),
            Packing::Levels(quantization) => match quantization.bits() {
                8 => Some(Self::Int8),
                4 => Some(Self::Int4),
                1 => Some(Self::Binary),
                _ => None,
            },
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Int4 => "int4",
            Self::Binary => "binary",
            Self::Pq => "pq",
        }
    }

    /// The part of a stack that makes these codes.
    fn part(self) -> &'static str {
        match self {
            Self::Int8 => "quantization(bits=8)",
            Self::Int4 => "quantization(bits=4)",
            Self::Binary => "quantization(bits=1)",
            Self::Pq => "product_quantization(codebook=file:PATH)",
        }
    }

    /// Refuses a stack that does not end in what makes these codes.
    pub(crate) fn check(self, stack: &Stack) -> Result<(), CliError> {
        if stack.last_packing().and_then(Self::of) == Some(self) {
            return Ok(());
        }
        let (name, part) = (self.name(), self.part());
        let ends = match crate::Defense::spec(stack).parts().last() {
            Some(last) => format!("ends in `{last}`"),
            None => "has no parts".to_owned(),
        };
        Err(CliError::new(format!(
            "--codes {name} are made by `{part}` as the last part, and the defense {ends}; add the part"
        )))
    }
}

/// What lies beside codes: a description, and what decoding needs.
pub(super) struct Beside {
    output: PathBuf,
    about: About,
    codebook: Option<Array3<f32>>,
}

/// The description, as JSON.
#[derive(Serialize)]
struct About {
    format: &'static str,
    version: u32,
    kind: &'static str,
    bits: u32,
    dimension: usize,
    bytes_per_row: usize,
    scales: Option<Scales>,
    codebook: Option<String>,
    dither: bool,
    fingerprint: String,
    decode: String,
}

/// Where the scales are.
#[derive(Serialize)]
#[serde(tag = "per", rename_all = "snake_case")]
enum Scales {
    /// Each vector has its own: in a file, or in a column of the table.
    Vector {
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        column: Option<String>,
    },
    Dimension {
        values: Vec<f32>,
    },
    All {
        value: f32,
    },
}

impl Beside {
    /// Describes the codes that `change` makes of vectors of `dim` dimensions.
    pub(super) fn of(output: &Path, change: &dyn Change, dim: usize) -> Result<Self, String> {
        let dimension = change.dimension(dim)?;
        let packing = change.packing().ok_or("the defense makes no codes")?;
        let kind = CodesKind::of(packing).ok_or("the defense makes codes of an unknown kind")?;
        let (scales, codebook, bits, dither) = match packing {
            Packing::Levels(levels) => {
                let scales = match (levels.scales(), levels.fixed_scale()) {
                    (Some(values), _) => Scales::Dimension { values: values.to_vec() },
                    (None, Some(value)) => Scales::All { value },
                    (None, None) => Scales::Vector { file: None, column: None },
                };
                (Some(scales), None, levels.bits(), levels.is_dithered())
            }
            Packing::Centroids(product) => (None, Some(product.codebook().to_owned()), 8, false),
            _ => return Err("the defense makes codes of an unknown kind".into()),
        };
        let about = About {
            format: "embosk codes",
            version: VERSION,
            kind: kind.name(),
            bits,
            dimension,
            bytes_per_row: packing.code_bytes(dimension),
            scales,
            codebook: codebook.is_some().then(|| name(&beside(output, ".codebook.npy"))),
            dither,
            fingerprint: String::new(),
            decode: decode(kind, dither),
        };
        Ok(Self { output: output.to_owned(), about, codebook })
    }

    /// Returns how many bytes the codes of a row take.
    pub(super) fn bytes(&self) -> usize {
        self.about.bytes_per_row
    }

    /// Whether each vector has its own scale.
    pub(super) fn has_scales(&self) -> bool {
        matches!(self.about.scales, Some(Scales::Vector { .. }))
    }

    /// Removes the description of older codes: until the new one is written, there is none.
    pub(super) fn replace(&self) -> Result<(), CliError> {
        let path = beside(&self.output, ".json");
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(files::bad(&path, format!("it cannot be replaced: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Writes what belongs beside a matrix of codes.
    pub(super) fn write_npy(mut self, codes: &Codes, fingerprint: String) -> Result<(), CliError> {
        if let Some(Scales::Vector { file, .. }) = &mut self.about.scales {
            let path = beside(&self.output, ".scales.npy");
            *file = Some(name(&path));
            let scales = Array1::from(codes.scales().to_vec());
            files::write_atomically(&path, Readers::Usual, |file| {
                scales.write_npy(file).map_err(std::io::Error::other)
            })?;
        }
        self.write(fingerprint)
    }

    /// Writes what belongs beside a table whose scales are in a column.
    pub(super) fn write_table(mut self, scales: &str, fingerprint: String) -> Result<(), CliError> {
        if let Some(Scales::Vector { column, .. }) = &mut self.about.scales {
            *column = Some(scales.to_owned());
        }
        self.write(fingerprint)
    }

    fn write(mut self, fingerprint: String) -> Result<(), CliError> {
        if let Some(codebook) = &self.codebook {
            files::write_atomically(&beside(&self.output, ".codebook.npy"), Readers::Usual, |file| {
                codebook.write_npy(file).map_err(std::io::Error::other)
            })?;
        }
        self.about.fingerprint = fingerprint;
        let text = serde_json::to_string_pretty(&self.about)? + "\n";
        files::write_text(Some(&beside(&self.output, ".json")), &text)
    }
}

/// The paths of all files that may be written beside codes, to be checked before anything is read.
pub(in super::super) fn paths_beside(output: &Path) -> [PathBuf; 3] {
    [".json", ".scales.npy", ".codebook.npy"].map(|ending| beside(output, ending))
}

/// `codes.npy` and `.json` give `codes.npy.json`.
fn beside(output: &Path, ending: &str) -> PathBuf {
    let mut path = output.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// The last part of a path.
fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// How a number comes out of a code.
fn decode(kind: CodesKind, dither: bool) -> String {
    let levels = match kind {
        CodesKind::Pq => {
            return "byte s of a row is the number of a centroid; coordinates s * width to (s + 1) * width are \
                    codebook[s][byte]"
                .into();
        }
        CodesKind::Int8 => "a byte is a level, two's complement; value = level * scale / 127",
        CodesKind::Int4 => {
            "a byte holds two levels, two's complement, the first in the lower half; value = level * scale / 7"
        }
        CodesKind::Binary => {
            "a byte holds eight levels, the first in the highest bit; a bit of 1 is the level +1 and of 0 is -1; \
             value = level * scale"
        }
    };
    let dither =
        if dither { "; with dither, an offset under the key is subtracted from the level first" } else { "" };
    format!("{levels}{dither}")
}
