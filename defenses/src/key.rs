//! The secret behind a keyed defense.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use chacha20::rand_core::Rng as _;
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::rng::{fill_from_os, wiping};
use crate::{Error, Rng};

/// The beginning of a key's text: the format and its version.
pub(crate) const PREFIX: &str = "embosk1-";

/// How many bytes a key has.
pub(crate) const BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;
const TEXT_LEN: usize = PREFIX.len() + 2 * BYTES + 1 + 2 * CHECKSUM_BYTES;

/// A secret of 32 bytes from which keyed defenses derive their transforms.
///
/// Whoever has the key can undo the transform. Whoever loses it can no longer search what was stored under
/// it.
///
/// - **One key serves a whole stack.** Every defense derives its own secret from it, for its own dimension.
/// - **A key is a handle.** Cloning it shares the bytes, which are in a single place on the heap, so moving
///   or cloning a key leaves no copy of them behind. The bytes are wiped from memory when the last handle is
///   dropped, and so is what a defense keeps of what it derives from them. A copy that the compiler leaves in a
///   register or on the stack may survive.
/// - **A key is not shown.** It prints as its [fingerprint](Self::fingerprint), compares in constant
///   time, and cannot be serialized or made by default. [`to_text`](Self::to_text) gives its text.
///
/// The text is `embosk1-`, the bytes as 64 hexadecimal digits, `-`, and 8 digits of checksum. A key that was
/// cut short or mistyped is therefore refused. Without a checksum, it would be a different key.
///
/// Store the [fingerprint of the stack](crate::Stack::fingerprint) beside the vectors, so that a search under
/// another key is an error instead of returning nonsense.
///
/// ```
/// use embosk_defenses::Key;
///
/// let key = Key::generate()?;
/// let again: Key = key.to_text().parse()?;
/// assert_eq!(key, again);
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
#[derive(Clone)]
pub struct Key(Bytes);

type Bytes = Arc<Zeroizing<[u8; BYTES]>>;

/// Its only field wipes itself when the last handle is dropped.
impl ZeroizeOnDrop for Key {}

impl Key {
    /// Draws a new key from the operating system's randomness.
    ///
    /// # Errors
    /// [`Error::Randomness`] if the operating system provides none.
    pub fn generate() -> Result<Self, Error> {
        let mut bytes = Bytes::default();
        fill_from_os(Arc::make_mut(&mut bytes).as_mut_slice())?;
        Ok(Self(bytes))
    }

    /// Reads a key from the text in the environment variable `name`.
    ///
    /// # Errors
    /// [`Error::KeyVariable`] if it is not set, or does not hold a key.
    pub fn from_env(name: &str) -> Result<Self, Error> {
        let failed = |problem| Error::KeyVariable { name: name.to_owned(), problem };
        let text = std::env::var(name).map_err(|_| failed("it is not set, or is not text"))?;
        read(&Zeroizing::new(text)).map_err(failed)
    }

    /// Reads a key from the text in the file at `path`.
    ///
    /// A pipe, such as a shell's `<(…)`, is accepted if only its owner can read it.
    ///
    /// # Errors
    /// [`Error::KeyFile`] if the file cannot be read, is not a regular file, or does not hold a key. On Unix
    /// also [`Error::KeyFileMode`] if it is [open to others](is_open_to_others).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let failed = |source| Error::KeyFile { path: path.to_owned(), source };
        let file = File::open(path).map_err(|error| failed(clearer(error, path)))?;
        refuse_open_mode(&file, path)?;
        let text = read_short_text(file).map_err(|error| failed(clearer(error, path)))?;
        text.parse().map_err(|error: Error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    /// Creates a key from these bytes. The caller must wipe any copies that it still holds.
    pub fn from_bytes(bytes: [u8; BYTES]) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// Draws a key from `rng`, for imitations. It is as secret as `rng`'s seed.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut bytes = Bytes::default();
        rng.fill_bytes(Arc::make_mut(&mut bytes).as_mut_slice());
        Self(bytes)
    }

    /// Returns the key as text. Store it where only its owner can read it.
    pub fn to_text(&self) -> Zeroizing<String> {
        // Reserve room for the whole text: a string that grows would leave a copy behind.
        let mut text = Zeroizing::new(String::with_capacity(TEXT_LEN));
        text.push_str(PREFIX);
        push_hex(&mut text, self.0.as_slice());
        text.push('-');
        push_hex(&mut text, &checksum(&self.0));
        text
    }

    /// Returns eight hexadecimal digits that name the key, for logs and reports.
    ///
    /// They are derived from the key and do not help to find it. Two random keys have the same digits with a
    /// probability of 1 in 2³². That is enough to notice a mix-up, but no protection against an attacker who
    /// searches for such a key.
    pub fn fingerprint(&self) -> String {
        base16ct::lower::encode_string(&self.digits())
    }

    /// The digits of the fingerprint, as bytes.
    pub(crate) fn digits(&self) -> [u8; 4] {
        let derived = self.derive("embosk fingerprint v1", 0);
        std::array::from_fn(|at| derived[at])
    }

    /// Returns the generator of everything that the key determines for one purpose in one dimension.
    pub(crate) fn rng(&self, purpose: &str, dim: usize) -> Rng {
        Rng::from_seed(&self.derive(purpose, dim))
    }

    /// Derives the secret for one purpose in one dimension: HKDF-SHA256 with `purpose` and `dim`, 8 bytes
    /// big-endian, as its info. `purpose` names the defense and the version of its format.
    pub(crate) fn derive(&self, purpose: &str, dim: usize) -> Zeroizing<[u8; 32]> {
        expanded(
            || Hkdf::<Sha256>::new(None, self.0.as_slice()),
            &[purpose.as_bytes(), &(dim as u64).to_be_bytes()],
        )
    }
}

/// Derives a secret: what HKDF-SHA256 expands with `info`.
pub(crate) fn expanded(hkdf: impl FnOnce() -> Hkdf<Sha256>, info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut derived = Zeroizing::new([0; 32]);
    wiping(|| hkdf().expand_multi_info(info, derived.as_mut())).expect("HKDF-SHA256 gives 32 bytes");
    derived
}

impl FromStr for Key {
    type Err = Error;

    /// Reads a key's text. White space around it and a byte order mark before it are ignored.
    fn from_str(text: &str) -> Result<Self, Error> {
        read(text).map_err(Error::KeyText)
    }
}

/// Reads a key's text, or says what is wrong with it.
fn read(text: &str) -> Result<Key, &'static str> {
    // some editors begin a file with a byte order mark
    let text = text.trim_start_matches('\u{feff}').trim();
    let rest = text.strip_prefix(PREFIX).ok_or(if text.contains(PREFIX) {
        "something is before the key, such as quotes or the name of a variable; it should be the key alone"
    } else {
        "a key begins with `embosk1-`; `embosk keygen` makes one"
    })?;
    let (key, sum) = rest.split_once('-').ok_or("its checksum is missing; is it cut off?")?;
    let key = Key(from_hex(key).ok_or("it should have 64 hexadecimal digits")?);
    let sum: Arc<Zeroizing<[u8; CHECKSUM_BYTES]>> = from_hex(sum).ok_or(
        "its checksum should have 8 hexadecimal digits, and nothing after them; it is cut off, or something follows it",
    )?;
    if bool::from(checksum(&key.0).ct_eq(sum.as_slice())) {
        Ok(key)
    } else {
        Err("its checksum does not match; it may be mistyped")
    }
}

/// The error of a key file in words that say what to do.
fn clearer(error: io::Error, path: &Path) -> io::Error {
    let message = match error.kind() {
        io::ErrorKind::NotFound if path.to_string_lossy().starts_with('~') => {
            "there is no such file; only `~/` at the beginning of `file:` stands for a home"
        }
        io::ErrorKind::NotFound => "there is no such file; `embosk keygen --output FILE` makes one",
        io::ErrorKind::InvalidData => {
            "it is not UTF-8; where PowerShell wrote it, it may be UTF-16: write it with `embosk keygen --output FILE`"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), message)
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

fn checksum(bytes: &[u8; BYTES]) -> [u8; CHECKSUM_BYTES] {
    let digest = wiping(|| Sha256::new().chain_update("embosk key v1").chain_update(bytes).finalize());
    [digest[0], digest[1], digest[2], digest[3]]
}

/// Appends digits without leaving a copy of them behind.
fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let mut digits = Zeroizing::new([0; 2]);
        // Each byte takes two digits.
        if let Ok(digits) = base16ct::lower::encode_str(&[*byte], digits.as_mut()) {
            text.push_str(digits);
        }
    }
}

fn from_hex<const N: usize>(text: &str) -> Option<Arc<Zeroizing<[u8; N]>>> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes: Arc<Zeroizing<[u8; N]>> = Arc::new(Zeroizing::new([0; N]));
    base16ct::mixed::decode(text, Arc::make_mut(&mut bytes).as_mut_slice()).ok()?;
    Some(bytes)
}

/// A key's text and white space fit in 1 KiB; the rest is not read.
fn read_short_text(file: File) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(1024));
    file.take(1024).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(unix)]
fn refuse_open_mode(file: &File, path: &Path) -> Result<(), Error> {
    let failed = |source| Error::KeyFile { path: path.to_owned(), source };
    let metadata = file.metadata().map_err(failed)?;
    match is_open_to_others(&metadata) {
        true if !metadata.is_file() => {
            Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")))
        }
        true => {
            let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
            Err(Error::KeyFileMode { path: path.to_owned(), mode })
        }
        false => Ok(()),
    }
}

#[cfg(not(unix))]
fn refuse_open_mode(_: &File, _: &Path) -> Result<(), Error> {
    Ok(())
}

/// Returns whether a file with secrets is open to others by its mode: if anyone but its owner may read or change it.
///
/// One exception: its group may read a regular file that belongs to root or to this process's user. Mounted secrets are
/// such files, and nobody can change their mode.
///
/// On systems other than Unix, it returns `false`.
pub fn is_open_to_others(metadata: &Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;

        let is_known = || metadata.uid() == 0 || own_user() == Some(metadata.uid());
        is_open(metadata.mode(), metadata.is_file(), is_known)
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        false
    }
}

/// The same of a mode; `is_known` says whether the file belongs to root or to this process's user.
#[cfg(unix)]
fn is_open(mode: u32, is_file: bool, is_known: impl FnOnce() -> bool) -> bool {
    let others = mode & 0o077;
    others != 0 && !(others == 0o040 && is_file && is_known())
}

/// The user that this process runs as: the owner of what it makes, such as a pipe.
#[cfg(unix)]
fn own_user() -> Option<u32> {
    let (pipe, _) = io::pipe().ok()?;
    let metadata = File::from(std::os::fd::OwnedFd::from(pipe)).metadata().ok()?;
    Some(std::os::unix::fs::MetadataExt::uid(&metadata))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Without `unsafe`, a test cannot see that freed memory was wiped. It can check that every part of a key
    /// is a type that wipes itself.
    #[test]
    fn a_key_and_what_is_derived_from_it_wipe_themselves() {
        fn wipes_itself(_: &impl ZeroizeOnDrop) {}
        let key = Key::from_bytes([1; BYTES]);
        wipes_itself(&key);
        wipes_itself(&*key.0);
        assert!(Arc::ptr_eq(&key.0, &key.clone().0), "a clone is a second handle, not a second copy");
        wipes_itself(&key.to_text());
        wipes_itself(&key.derive("test", 1));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_group_may_read_and_only_a_file_of_a_known_owner() {
        for (mode, is_file, is_known, expected) in [
            (0o100_400, true, false, false),
            (0o100_600, true, false, false),
            (0o100_440, true, true, false),
            (0o100_440, true, false, true),
            (0o100_460, true, true, true),
            (0o100_444, true, true, true),
            (0o010_440, false, true, true),
        ] {
            assert_eq!(is_open(mode, is_file, || is_known), expected, "{mode:o} {is_file} {is_known}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn our_own_files_are_known() {
        use std::os::unix::fs::MetadataExt as _;

        let file = tempfile::tempfile().unwrap();
        assert_eq!(own_user(), Some(file.metadata().unwrap().uid()));
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
        let keys = [1, 2].map(|byte| Key::from_bytes([byte; BYTES]));
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
