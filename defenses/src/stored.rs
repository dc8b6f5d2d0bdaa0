//! Fits on a sample, as bytes. This is a storage format, all of it little-endian.
//!
//! ```text
//! what it is and its version     a line of ASCII
//! the shape                      32 bits each
//! the numbers                    f32, in the order of the shape
//! a checksum                     the first 8 bytes of SHA-256 of everything before it
//! ```

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::Error;

const CHECKSUM_BYTES: usize = 8;

/// The most bytes of a file, 1 GiB. A projection of 8,192 dimensions onto as many components has a quarter of it.
const LONGEST: u64 = 1 << 30;

/// A kind of fit.
pub(crate) struct Format {
    /// The first line, up to the version.
    pub(crate) name: &'static str,
    /// The version, and the line's end.
    pub(crate) version: &'static str,
    /// The message for bytes that begin otherwise.
    pub(crate) otherwise: &'static str,
}

impl Format {
    pub(crate) fn write<'a>(&self, shape: &[usize], numbers: impl Iterator<Item = &'a f32>) -> Vec<u8> {
        let mut bytes = [self.name, self.version].concat().into_bytes();
        bytes.extend(shape.iter().flat_map(|side| (*side as u32).to_le_bytes()));
        bytes.extend(numbers.flat_map(|number| number.to_le_bytes()));
        bytes.extend(checksum(&bytes));
        bytes
    }

    /// Reads the shape and the numbers; `count` says how many numbers a shape has.
    pub(crate) fn read<const N: usize>(
        &self,
        bytes: &[u8],
        count: impl Fn([usize; N]) -> Option<usize>,
    ) -> Result<([usize; N], Vec<f32>), Error> {
        let versioned = bytes.strip_prefix(self.name.as_bytes()).ok_or(Error::Fit(self.otherwise))?;
        if !versioned.starts_with(self.version.as_bytes()) {
            return Err(Error::Fit("it is of a version that is not known here; a newer release may read it"));
        }
        let damaged = Error::Fit("its checksum does not match: it is damaged or not complete");
        let Some((content, sum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else { return Err(damaged) };
        let Some(body) = content.get(self.name.len() + self.version.len()..) else { return Err(damaged) };
        if checksum(content) != *sum {
            return Err(damaged);
        }
        let (sides, rest) = body.as_chunks::<4>();
        let misshapen = Error::Fit("it does not hold as many numbers as its shape says");
        let Some((shape, numbers)) = sides.split_first_chunk::<N>() else { return Err(misshapen) };
        let shape = shape.map(|side| u32::from_le_bytes(side) as usize);
        if !rest.is_empty() || count(shape) != Some(numbers.len()) {
            return Err(misshapen);
        }
        Ok((shape, numbers.iter().map(|number| f32::from_le_bytes(*number)).collect()))
    }
}

/// Returns what `read` makes of the bytes of a file.
pub(crate) fn load<T>(path: &Path, read: impl Fn(&[u8]) -> Result<T, Error>) -> Result<T, Error> {
    let failed = |source| Error::FitFile { path: path.to_owned(), source };
    let bytes = read_file(path).map_err(failed)?;
    read(&bytes).map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))
}

/// Returns all bytes of a regular file, if these are at most [`LONGEST`].
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let refused = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return refused("it is not a regular file");
    }
    let mut bytes = Vec::new();
    if metadata.len() <= LONGEST {
        File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    }
    // it may have grown meanwhile
    if metadata.len().max(bytes.len() as u64) > LONGEST {
        return refused("it has more than 1 GiB, which no fit has; is it the right file?");
    }
    Ok(bytes)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::digest(bytes);
    std::array::from_fn(|at| digest[at])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_long_or_not_regular_is_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // of no blocks on the disk
        file.as_file().set_len(LONGEST + 1).unwrap();
        let unread = |_: &[u8]| -> Result<(), Error> { panic!("it was read") };
        let refusal = load(file.path(), unread).unwrap_err().to_string();
        assert!(refusal.contains("more than 1 GiB"), "{refusal}");
        let folder = tempfile::tempdir().unwrap();
        let refusal = load(folder.path(), unread).unwrap_err().to_string();
        assert!(refusal.contains("not a regular file"), "{refusal}");
    }
}
