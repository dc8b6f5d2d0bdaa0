//! PyTorch's files of weights: a zip archive with a pickled dictionary and a file for each storage.
//!
//! Nothing in a pickle is run. The opcodes of a dictionary of tensors are read as data (PEP 307 and 3154, and
//! `torch.save` since 1.6); objects of any other kind are skipped. candle's own reader assumes that a file is well
//! formed, and panics if it is not.

mod machine;

use std::io::{BufReader, Read};
use std::rc::Rc;

use candle_core::{DType, Device, Tensor};
use zip::ZipArchive;

use self::machine::{Dictionary, Machine};
use crate::location::{Location, Opened};

/// A dictionary takes some hundred bytes per tensor, and its parsed form at most some hundred bytes per byte.
const LARGEST_DICTIONARY: u64 = 1 << 22;

const TOO_MANY: &str = "it has too many numbers";

/// An open file of weights.
pub(super) struct Pickle {
    archive: ZipArchive<BufReader<Opened>>,
    /// The archive's one folder.
    folder: String,
    entries: Dictionary,
}

impl Pickle {
    pub(super) fn open(path: &Location) -> Result<Self, String> {
        let file = path.open().map_err(|error| error.to_string())?;
        let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| {
            format!("{error}; files of PyTorch 1.6 or later, which are zip archives, can be read")
        })?;
        let names: Vec<String> =
            archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
        let folder = names
            .iter()
            .find_map(|name| name.strip_suffix("/data.pkl"))
            .ok_or("there is no data.pkl in it")?
            .to_owned();
        if entry(&mut archive, &format!("{folder}/byteorder"), 16).is_ok_and(|order| order == b"big") {
            return Err("its numbers are big-endian".into());
        }
        let dictionary = entry(&mut archive, &format!("{folder}/data.pkl"), LARGEST_DICTIONARY)?;
        let entries = Machine::default().run(&dictionary)?;
        Ok(Self { archive, folder, entries })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(|name| &**name)
    }

    /// The tensor with this name, in the type that it is stored in.
    pub(super) fn tensor(&mut self, name: &str) -> Result<Tensor, String> {
        let of = Rc::clone(self.entries.get(name).ok_or("there is no such tensor")?);
        let dtype = dtype(&of.storage.kind)?;
        let size = dtype.size_in_bytes();
        let start = of.offset.checked_mul(size).ok_or("its storage is too short")? as u64;
        let length = span(&of.shape, &of.stride).and_then(|span| span.checked_mul(size));
        let length = length.ok_or("its storage is too short")? as u64;
        let path = format!("{}/data/{}", self.folder, of.storage.key);
        let mut file = self.archive.by_name(&path).map_err(|error| error.to_string())?;
        if start.checked_add(length).is_none_or(|end| end > file.size()) {
            return Err("its storage is too short".into());
        }
        let failed = |error: std::io::Error| error.to_string();
        std::io::copy(&mut file.by_ref().take(start), &mut std::io::sink()).map_err(failed)?;
        // what is allocated grows with what is read, as the archive's own numbers may be false, too
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 != length {
            return Err("its storage is cut off".into());
        }
        let bytes = in_rows(bytes, size, &of.shape, &of.stride)?;
        Tensor::from_raw_buffer(&bytes, dtype, &of.shape, &Device::Cpu).map_err(|error| error.to_string())
    }
}

/// A whole file of the archive, of at most `most` bytes.
fn entry(archive: &mut ZipArchive<BufReader<Opened>>, name: &str, most: u64) -> Result<Vec<u8>, String> {
    let file = archive.by_name(name).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > most { Err(format!("{name} is too long")) } else { Ok(bytes) }
}

fn dtype(storage: &str) -> Result<DType, String> {
    match storage {
        "FloatStorage" => Ok(DType::F32),
        "DoubleStorage" => Ok(DType::F64),
        "HalfStorage" => Ok(DType::F16),
        "BFloat16Storage" => Ok(DType::BF16),
        "LongStorage" => Ok(DType::I64),
        "ByteStorage" | "BoolStorage" => Ok(DType::U8),
        other => Err(format!("it is of type {other}")),
    }
}

/// The numbers from a tensor's first to its last, in its storage.
fn span(shape: &[usize], stride: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().zip(stride).try_fold(1usize, |span, (length, step)| {
        (length - 1).checked_mul(*step).and_then(|more| span.checked_add(more))
    })
}

/// The numbers in the order of rows, for a tensor that was saved transposed or as a view.
fn in_rows(bytes: Vec<u8>, size: usize, shape: &[usize], stride: &[usize]) -> Result<Vec<u8>, String> {
    let count = shape.iter().try_fold(1usize, |count, length| count.checked_mul(*length));
    let count = count.ok_or(TOO_MANY)?;
    let mut usual = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        // an axis of length 0 hides from the count how long the others are
        usual[axis - 1] = usual[axis].checked_mul(shape[axis]).ok_or(TOO_MANY)?;
    }
    let matters = |axis: &usize| shape[*axis] != 1;
    if count == 0 || (0..shape.len()).filter(matters).all(|axis| usual[axis] == stride[axis]) {
        return Ok(bytes);
    }
    if count.checked_mul(size).is_none_or(|needed| needed > bytes.len()) {
        return Err("its numbers overlap".into());
    }
    let mut rows = Vec::with_capacity(count * size);
    for index in 0..count {
        let at: usize = (0..shape.len()).map(|axis| index / usual[axis] % shape[axis] * stride[axis]).sum();
        rows.extend_from_slice(&bytes[at * size..(at + 1) * size]);
    }
    Ok(rows)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn views_come_out_in_rows() {
        let bytes: Vec<u8> = (0..6).collect();
        assert_eq!(in_rows(bytes.clone(), 1, &[2, 3], &[3, 1]).unwrap(), bytes);
        assert_eq!(in_rows(bytes.clone(), 1, &[2, 3], &[1, 2]).unwrap(), [0, 2, 4, 1, 3, 5]);
        assert!(in_rows(bytes, 1, &[1 << 40, 1 << 20], &[0, 0]).is_err());
        assert_eq!(span(&[usize::MAX, 2], &[usize::MAX, 1]), None);
    }

    #[test]
    fn axes_that_are_too_long_are_refused_also_without_numbers() {
        assert!(in_rows(Vec::new(), 4, &[0, 1 << 20], &[1 << 20, 1]).unwrap().is_empty());
        for shape in [[0, 1 << 40, 1 << 40], [1 << 40, 1 << 40, 0]] {
            assert_eq!(in_rows(Vec::new(), 4, &shape, &[1; 3]).unwrap_err(), TOO_MANY);
        }
    }
}
