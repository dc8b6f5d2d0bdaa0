//! The bytes of a file of vectors: a header, and rows with checksums.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use ndarray::ArrayView1;
use sha2::{Digest as _, Sha256};

/// How a file begins. The number is the version of the format.
const MAGIC: &[u8; 16] = b"embosk vectors 2";

/// Bytes of a row before its vector: the hash of its text, and the checksum.
const HASH: usize = 16;
pub(super) const ROW_HEAD: usize = HASH + 4;

/// Our files have no longer identities or vectors.
const LONGEST: usize = 1 << 20;

/// The first half of a text's SHA-256.
pub(in crate::embedder) type TextHash = [u8; HASH];

/// Hashes a text.
pub(in crate::embedder) fn text_hash(text: &str) -> TextHash {
    let mut hash = [0; HASH];
    hash.copy_from_slice(&Sha256::digest(text)[..HASH]);
    hash
}

pub(super) fn header(identity: &str, dimension: usize) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend((dimension as u32).to_le_bytes());
    bytes.extend((identity.len() as u32).to_le_bytes());
    bytes.extend(identity.as_bytes());
    let checksum = crc32fast::hash(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

/// The dimension of the vectors, and where the first row begins; `None` if the header is not that of `identity`.
pub(super) fn read_header(file: &File, identity: &str) -> io::Result<Option<(usize, u64)>> {
    let expected = header(identity, 0);
    let mut found = Vec::new();
    (&*file).seek(SeekFrom::Start(0))?;
    file.take(expected.len() as u64).read_to_end(&mut found)?;
    let Some(dimension) =
        found.get(16..20).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    else {
        return Ok(None);
    };
    let dimension = dimension as usize;
    let is_ours = (1..=LONGEST).contains(&dimension) && found == header(identity, dimension);
    Ok(is_ours.then_some((dimension, found.len() as u64)))
}

pub(super) fn row(hash: &TextHash, vector: ArrayView1<'_, f32>) -> Vec<u8> {
    let mut row = hash.to_vec();
    row.extend([0; ROW_HEAD - HASH]);
    row.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
    let checksum = checksum(&row);
    row[HASH..ROW_HEAD].copy_from_slice(&checksum.to_le_bytes());
    row
}

pub(super) fn is_whole(row: &[u8]) -> bool {
    row[HASH..ROW_HEAD] == checksum(row).to_le_bytes()
}

/// The checksum of all of the row except the checksum itself.
fn checksum(row: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&row[..HASH]);
    hasher.update(&row[ROW_HEAD..]);
    hasher.finalize()
}

pub(super) fn hash_of(row: &[u8]) -> TextHash {
    let mut hash = [0; HASH];
    hash.copy_from_slice(&row[..HASH]);
    hash
}

pub(super) fn from_bytes(bytes: &[u8]) -> f32 {
    f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
