//! Levels to bytes and back. This is a storage format: SPEC.md fixes it.

/// How many bits a coordinate takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bits {
    /// One byte each, two's complement.
    Eight,
    /// Two to a byte, two's complement, the first in the lower half.
    Four,
    /// Eight to a byte, the first in the highest bit; 1 is positive.
    One,
}

impl Bits {
    pub(super) fn count(self) -> usize {
        match self {
            Self::Eight => 8,
            Self::Four => 4,
            Self::One => 1,
        }
    }

    /// The outermost level.
    pub(super) fn top(self) -> i8 {
        match self {
            Self::Eight => 127,
            Self::Four => 7,
            Self::One => 1,
        }
    }

    /// How many bytes a vector takes, without its scale.
    pub(super) fn bytes(self, dim: usize) -> usize {
        dim.div_ceil(8 / self.count())
    }

    /// Packs `levels` into `bytes`; the unused bits of the last byte are 0.
    pub(super) fn pack(self, levels: &[i8], bytes: &mut [u8]) {
        match self {
            Self::Eight => {
                bytes.iter_mut().zip(levels).for_each(|(byte, level)| *byte = level.cast_unsigned());
            }
            Self::Four => pack_groups(levels, bytes, nibbles),
            Self::One => pack_groups(levels, bytes, sign_bits),
        }
    }

    pub(super) fn unpack(self, bytes: &[u8], levels: &mut [i8]) {
        let groups = bytes.iter().zip(levels.chunks_mut(8 / self.count()));
        for (&byte, group) in groups {
            for (place, level) in group.iter_mut().enumerate() {
                *level = match self {
                    Self::Eight => byte.cast_signed(),
                    Self::Four => (byte << (4 - 4 * place)).cast_signed() >> 4,
                    Self::One => ((byte >> (7 - place)) & 1).cast_signed() * 2 - 1,
                };
            }
        }
    }
}

/// Packs `N` levels into each byte, and pads the last byte with zeros.
fn pack_groups<const N: usize>(levels: &[i8], bytes: &mut [u8], byte_of: impl Fn([i8; N]) -> u8) {
    let (groups, rest) = levels.as_chunks();
    bytes.iter_mut().zip(groups).for_each(|(byte, group)| *byte = byte_of(*group));
    if let (Some(byte), false) = (bytes.last_mut(), rest.is_empty()) {
        let mut last = [0; N];
        last[..rest.len()].copy_from_slice(rest);
        *byte = byte_of(last);
    }
}

fn nibbles(pair: [i8; 2]) -> u8 {
    pair[0].cast_unsigned() & 0x0f | pair[1].cast_unsigned() << 4
}

fn sign_bits(signs: [i8; 8]) -> u8 {
    signs.iter().fold(0, |byte, level| byte << 1 | u8::from(*level > 0))
}
