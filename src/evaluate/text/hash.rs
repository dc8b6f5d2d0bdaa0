use std::hash::Hasher;

/// A fast hash for maps that live as long as one comparison: eight bytes at a time, multiplied and folded.
///
/// Texts chosen to collide would make it slow, but not wrong.
#[derive(Default)]
pub(super) struct TextHasher(u64);

impl TextHasher {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(0x9E37_79B9_7F4A_7C15_u64);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

impl Hasher for TextHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.mix(word.iter().rev().fold(0, |number, &byte| (number << 8) | u64::from(byte)));
        }
        let rest = words.remainder();
        self.mix(rest.iter().fold(rest.len() as u64, |number, &byte| (number << 8) | u64::from(byte)));
    }

    fn write_u8(&mut self, _: u8) {
        // what ends a string; the length was mixed in already
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
