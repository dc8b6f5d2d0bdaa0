//! The bytes of a sealed row: a storage format, all of it little-endian.
//!
//! ```text
//! 0   3   `esr`
//! 3   1   version, 1
//! 4   1   kind: 1 int8, 2 f16, 3 f32, 16 text
//! 5   4   the digits of the key
//! 9   8   the first bytes of SHA-256 of the space
//! 17  4   length of the ciphertext
//! 21  24  nonce
//! 45  …   ciphertext
//! …   16  tag
//! ```
//!
//! Nothing in the header is trusted before the tag is checked: it only decides which refusal is given.

use sha2::{Digest as _, Sha256};

use super::{LABEL, Refusal};

const MAGIC: &[u8; 3] = b"esr";
const VERSION: u8 = 1;
const SPACE_BYTES: usize = 8;
const HEADER_BYTES: usize = 3 + 1 + 1 + 4 + SPACE_BYTES + 4;
pub(super) const NONCE_BYTES: usize = 24;
pub(super) const TAG_BYTES: usize = 16;

/// What a sealed row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Int8 = 1,
    F16 = 2,
    F32 = 3,
    Text = 16,
}

impl Kind {
    fn read(byte: u8) -> Option<Self> {
        [Self::Int8, Self::F16, Self::F32, Self::Text].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// What comes before the nonce.
#[derive(Clone, Copy)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) key: [u8; 4],
    pub(super) space: [u8; SPACE_BYTES],
    pub(super) len: u32,
}

impl Header {
    pub(super) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..3].copy_from_slice(MAGIC);
        bytes[3] = VERSION;
        bytes[4] = self.kind as u8;
        bytes[5..9].copy_from_slice(&self.key);
        bytes[9..17].copy_from_slice(&self.space);
        bytes[17..].copy_from_slice(&self.len.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Refusal> {
        let (magic, rest) = bytes.split_first_chunk::<3>().ok_or(Refusal::NotSealed)?;
        let &[version, kind, ref rest @ ..] = rest else { return Err(Refusal::NotSealed) };
        if magic != MAGIC {
            return Err(Refusal::NotSealed);
        }
        if version != VERSION {
            return Err(Refusal::Version { found: version });
        }
        let kind = Kind::read(kind).ok_or(Refusal::Altered)?;
        let (key, rest) = rest.split_first_chunk().ok_or(Refusal::NotSealed)?;
        let (space, len) = rest.split_first_chunk().ok_or(Refusal::NotSealed)?;
        let len = u32::from_le_bytes(len.try_into().map_err(|_| Refusal::NotSealed)?);
        Ok(Self { kind, key: *key, space: *space, len })
    }
}

/// A row's header, the header's bytes, its nonce, its ciphertext and its tag.
type Parts<'a> = (Header, &'a [u8; HEADER_BYTES], &'a [u8; NONCE_BYTES], &'a [u8], &'a [u8; TAG_BYTES]);

pub(super) fn parts(sealed: &[u8]) -> Result<Parts<'_>, Refusal> {
    let (head, rest) = sealed.split_first_chunk().ok_or(Refusal::NotSealed)?;
    let header = Header::read(head)?;
    let expected = sealed_len(header.len as usize);
    let cut = Refusal::Length { expected, found: sealed.len() };
    let (nonce, rest) = rest.split_first_chunk().ok_or_else(|| cut.clone())?;
    let (body, tag) = rest.split_last_chunk().ok_or_else(|| cut.clone())?;
    if sealed.len() != expected {
        return Err(cut);
    }
    Ok((header, head, nonce, body, tag))
}

/// Returns how many bytes a row with `plain` bytes of content takes.
pub(super) fn sealed_len(plain: usize) -> usize {
    HEADER_BYTES + NONCE_BYTES + plain + TAG_BYTES
}

pub(super) fn digest(space: &str) -> [u8; SPACE_BYTES] {
    let digest = Sha256::digest(space);
    std::array::from_fn(|at| digest[at])
}

/// What the tag covers besides the ciphertext. Lengths come before texts, so no two places give the same bytes.
pub(super) fn associated(head: &[u8; HEADER_BYTES], space: &str, field: &str, id: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(LABEL.len() + HEADER_BYTES + 16 + space.len() + field.len() + id.len());
    data.extend(LABEL.as_bytes());
    data.extend(head);
    for text in [space, field] {
        data.extend((text.len() as u64).to_le_bytes());
        data.extend(text.as_bytes());
    }
    data.extend(id);
    data
}
