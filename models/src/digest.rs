//! SHA-256 of several parts, and hexadecimal.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

/// The SHA-256 of several parts, each after its length, so that different lists of parts have different hashes.
///
/// A length is eight bytes, the lowest first.
///
/// ```
/// use embosk_models::digest::Digest;
///
/// let hash = |parts: &[&str]| parts.iter().fold(Digest::new(), |digest, part| digest.part(part)).hex();
/// assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
/// assert_eq!(hash(&["a"]).len(), 64);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Digest(Sha256);

impl Digest {
    /// Begins a digest of no parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part.
    pub fn part(mut self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds bytes without their length, for values whose count follows from the parts before them.
    pub fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.update(bytes);
        self
    }

    /// Adds the rest of a file of `length` bytes, as a part.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn file(mut self, length: u64, file: impl Read) -> io::Result<Self> {
        self.0.update(length.to_le_bytes());
        self.raw_file(file)
    }

    /// Adds the rest of a file, without its length.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn raw_file(mut self, mut file: impl Read) -> io::Result<Self> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(self),
                count => self.0.update(&buffer[..count]),
            }
        }
    }

    /// Returns the digest in hexadecimal: 64 digits.
    pub fn hex(self) -> String {
        hex(&self.bytes())
    }

    /// Returns the bytes of the digest.
    pub fn bytes(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Writes bytes in hexadecimal, two lower-case digits per byte.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // writing to a string cannot fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parts_files_and_raw_bytes_are_hashed_as_they_say() {
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::new().raw("abc").hex(), of_abc);
        assert_eq!(Digest::new().raw_file(&b"abc"[..]).unwrap().hex(), of_abc);
        let part = Digest::new().part("abc").hex();
        assert_eq!(part, Digest::new().raw([3, 0, 0, 0, 0, 0, 0, 0]).raw("abc").hex());
        assert_eq!(part, Digest::new().file(3, &b"abc"[..]).unwrap().hex());
        assert_eq!(hex(&[0, 10, 255]), "000aff");
    }
}
