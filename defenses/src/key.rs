//! The secret behind a keyed defense.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use chacha20::rand_core::Rng as _;
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::rng::fill_from_os;
use crate::{Error, Rng};

/// What a key's text begins with: the format and its version.
pub(crate) const PREFIX: &str = "embosk1-";

const KEY_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;
const TEXT_LEN: usize = PREFIX.len() + 2 * KEY_BYTES + 1 + 2 * CHECKSUM_BYTES;

/// A secret of 32 bytes, from which keyed defenses derive their transforms.
///
/// Whoever has the key undoes the transform; whoever loses it cannot search what was stored under it.
/// It is wiped from memory when dropped, as is what a defense derives from it; it cannot be cloned,
/// serialized or made by default, compares in constant time, and prints as a fingerprint that names it
/// without helping to guess it. The bytes lie on the heap, so that moving a key leaves no copy behind.
///
/// Every defense derives its own secret from it, for its own dimension, so one key serves a whole
/// stack. Store the [fingerprint](Self::fingerprint) beside the vectors:
/// [`Stack::check_fingerprint`](crate::Stack::check_fingerprint) then notices another key before it
/// makes nonsense of a search.
///
/// Its text is `embosk1-`, the bytes as 64 hexadecimal digits, `-`, and 8 digits of checksum, so that
/// a key cut short or mistyped is refused instead of turning the vectors some other way.
///
/// ```
/// use embosk_defenses::Key;
///
/// let key = Key::generate()?;
/// let again: Key = key.to_text().parse()?;
/// assert_eq!(key, again);
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
pub struct Key(Box<Zeroizing<[u8; KEY_BYTES]>>);

/// Its only field wipes itself.
impl ZeroizeOnDrop for Key {}

impl Key {
    /// A new key from the operating system's randomness.
    ///
    /// # Errors
    /// [`Error::Randomness`] where the operating system has none to give.
    pub fn generate() -> Result<Self, Error> {
        let mut key = Self(Box::default());
        fill_from_os(key.0.as_mut_slice())?;
        Ok(key)
    }

    /// The key that the environment variable `name` holds as text.
    ///
    /// # Errors
    /// [`Error::KeyVariable`] where it is not set, [`Error::KeyText`] where it holds no key.
    pub fn from_env(name: &str) -> Result<Self, Error> {
        let text = std::env::var(name).map_err(|_| Error::KeyVariable { name: name.to_owned() })?;
        Zeroizing::new(text).parse()
    }

    /// The key that the file at `path` holds as text.
    ///
    /// # Errors
    /// [`Error::KeyFile`] where it cannot be read or holds no key, and on Unix [`Error::KeyFileMode`] where its
    /// group or others have any access to it. A pipe that only its owner can read is read; a device or a folder
    /// that others can read is no file, and no mode would help.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let failed = |source| Error::KeyFile { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        refuse_open_mode(&file, path)?;
        let text = read_short_text(file).map_err(failed)?;
        text.parse().map_err(|error: Error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    /// The key of these bytes. The caller wipes what it still holds of them.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Box::new(Zeroizing::new(bytes)))
    }

    /// A key from `rng`: as secret as that is, for imitations.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut key = Self(Box::default());
        rng.fill_bytes(key.0.as_mut_slice());
        key
    }

    /// The key as text, to be stored where only its owner reads it.
    pub fn to_text(&self) -> Zeroizing<String> {
        // Room for all of it: a string that grew would leave a copy behind.
        let mut text = Zeroizing::new(String::with_capacity(TEXT_LEN));
        text.push_str(PREFIX);
        push_hex(&mut text, self.0.as_slice());
        text.push('-');
        push_hex(&mut text, &checksum(&self.0));
        text
    }

    /// Eight hexadecimal digits that name the key, for logs, for reports, and to be stored beside vectors.
    ///
    /// They are derived from the key and help nobody to find it. Two keys share them once in 2³² times:
    /// they notice a mix-up, not somebody who wants one.
    pub fn fingerprint(&self) -> String {
        let mut text = String::new();
        push_hex(&mut text, &self.derive("embosk fingerprint v1", 0)[..4]);
        text
    }

    /// The generator of what the key determines for one purpose in one dimension.
    pub(crate) fn rng(&self, purpose: &str, dim: usize) -> Rng {
        Rng::from_seed(&self.derive(purpose, dim))
    }

    /// The secret for one purpose in one dimension: HKDF-SHA256 with `purpose` and `dim`, 8 bytes
    /// big-endian, as its info. `purpose` names the defense and the version of its format.
    pub(crate) fn derive(&self, purpose: &str, dim: usize) -> Zeroizing<[u8; 32]> {
        let mut derived = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, self.0.as_slice())
            .expand_multi_info(&[purpose.as_bytes(), &(dim as u64).to_be_bytes()], derived.as_mut())
            .expect("HKDF-SHA256 gives 32 bytes");
        derived
    }
}

impl FromStr for Key {
    type Err = Error;

    /// Reads a key's text; white space around it is ignored.
    fn from_str(text: &str) -> Result<Self, Error> {
        let rest = text
            .trim()
            .strip_prefix(PREFIX)
            .ok_or(Error::KeyText("a key begins with `embosk1-`; `embosk keygen` makes one"))?;
        let (key, sum) = rest.split_once('-').ok_or(Error::KeyText("its checksum is missing"))?;
        let key = Self(from_hex(key).ok_or(Error::KeyText("it should have 64 hexadecimal digits"))?);
        let sum: Box<Zeroizing<[u8; CHECKSUM_BYTES]>> =
            from_hex(sum).ok_or(Error::KeyText("its checksum should have 8 hexadecimal digits"))?;
        if bool::from(checksum(&key.0).ct_eq(sum.as_slice())) {
            Ok(key)
        } else {
            Err(Error::KeyText("its checksum does not match; it may be mistyped"))
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for Key {}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fingerprint:{}", self.fingerprint())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

fn checksum(bytes: &[u8; KEY_BYTES]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::new().chain_update("embosk key v1").chain_update(bytes).finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "{byte:02x}"); // a String takes all that is written to it
    }
}

fn from_hex<const N: usize>(text: &str) -> Option<Box<Zeroizing<[u8; N]>>> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = Box::new(Zeroizing::new([0; N]));
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        *byte = (digit(0)? * 16 + digit(1)?) as u8;
    }
    Some(bytes)
}

/// A key's text and white space fit in 1 KiB; what follows is not read.
fn read_short_text(file: File) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(1024));
    file.take(1024).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(unix)]
fn refuse_open_mode(file: &File, path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;

    let metadata = file.metadata().map_err(|source| Error::KeyFile { path: path.to_owned(), source })?;
    match metadata.permissions().mode() & 0o777 {
        mode if mode & 0o077 != 0 && !metadata.is_file() => {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
            Err(Error::KeyFile { path: path.to_owned(), source })
        }
        mode if mode & 0o077 != 0 => Err(Error::KeyFileMode { path: path.to_owned(), mode }),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn refuse_open_mode(_: &File, _: &Path) -> Result<(), Error> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That freed memory was wiped cannot be seen without `unsafe`; that every part of a key is a type
    /// that wipes itself can.
    #[test]
    fn a_key_and_what_is_derived_from_it_wipe_themselves() {
        fn wipes_itself(_: &impl ZeroizeOnDrop) {}
        let key = Key::from_bytes([1; KEY_BYTES]);
        wipes_itself(&key);
        wipes_itself(&*key.0);
        wipes_itself(&key.to_text());
        wipes_itself(&key.derive("test", 1));
    }

    /// HKDF as RFC 5869 has it, from `tests/golden/keys.py`.
    #[test]
    fn secrets_are_derived_as_the_standard_says() {
        let key = Key::from_bytes(std::array::from_fn(|place| place as u8));
        let mut text = String::new();
        push_hex(&mut text, key.derive("embosk rotation v1", 384).as_slice());
        assert_eq!(text, "753efe4cb1308c4d7d94c10eb53d22f13845121207e715ffc8328b5a0b169356");
    }

    #[test]
    fn every_purpose_dimension_and_key_has_a_secret_of_its_own() {
        let keys = [1, 2].map(|byte| Key::from_bytes([byte; KEY_BYTES]));
        let mut secrets: Vec<_> = keys
            .iter()
            .flat_map(|key| ["rotation v1", "rotation v2", "noise v1"].map(|purpose| (key, purpose)))
            .flat_map(|(key, purpose)| [0, 1, 256, 384].map(|dim| *key.derive(purpose, dim)))
            .collect();
        secrets.sort_unstable();
        secrets.dedup();
        assert_eq!(secrets.len(), 2 * 3 * 4);
    }
}
