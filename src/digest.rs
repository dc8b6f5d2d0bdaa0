//! SHA-256 of several parts, in hexadecimal.
//!
//! `embosk-models` has one as well, but without the feature `vec2text` this crate is built without `embosk-models`.

use sha2::{Digest as _, Sha256};

/// How many digits tell files apart.
const SHORT: usize = 32;

/// The SHA-256 of several parts, each after its length, so that different lists of parts have different hashes.
///
/// A length is eight bytes, the lowest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Digest(Sha256);

impl Digest {
    /// Hashes all of `parts`.
    pub(crate) fn of(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        parts.into_iter().fold(Self::default(), Self::part)
    }

    /// Adds a part.
    pub(crate) fn part(mut self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds bytes without their length.
    pub(crate) fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.update(bytes);
        self
    }

    /// Returns the digest: 64 digits.
    pub(crate) fn hex(self) -> String {
        base16ct::lower::encode_string(&self.0.finalize())
    }

    /// Returns the first half of the digest, which is enough to tell files apart.
    pub(crate) fn short(self) -> String {
        let mut digits = self.hex();
        digits.truncate(SHORT);
        digits
    }

    /// Whether a text is what [`short`](Self::short) returns.
    pub(crate) fn is_short(text: &str) -> bool {
        text.len() == SHORT && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_one_part_ends_and_the_next_begins_counts() {
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::default().raw("abc").hex(), of_abc);
        assert_eq!(Digest::default().raw("abc").short(), of_abc[..32]);
        assert_ne!(Digest::of(["ab", "c"]).hex(), Digest::of(["a", "bc"]).hex());
        assert_eq!(
            Digest::of(["abc"]).hex(),
            Digest::default().raw([3, 0, 0, 0, 0, 0, 0, 0]).raw("abc").hex()
        );
    }
}
