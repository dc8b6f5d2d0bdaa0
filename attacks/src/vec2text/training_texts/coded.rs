//! Sorted numbers, Golomb–Rice coded: nearly the smallest possible set for its share of false hits.
//!
//! As in BIP 158, hashes are spread over `count · 2^bits` numbers, so that a false hit has a probability of 2^−bits.
//! Gaps between neighbours are then 2^bits on average, the best case of a Rice code with that parameter.

/// A set of hashes. Another hash is mistaken for a member with a probability of 2^−bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CodedSet {
    bits: u32,
    /// Sorted.
    values: Vec<u64>,
}

/// The largest parameter: a product of it and of a count of 32 bits fits into 64.
pub(super) const MOST_BITS: u32 = 32;

impl CodedSet {
    pub(super) fn new(mut hashes: Vec<u64>, bits: u32) -> Self {
        hashes.sort_unstable();
        hashes.dedup();
        hashes.truncate(u32::MAX as usize);
        let bits = bits.clamp(1, MOST_BITS);
        let count = hashes.len();
        Self { bits, values: hashes.into_iter().map(|hash| spread(hash, count, bits)).collect() }
    }

    pub(super) fn contains(&self, hash: u64) -> bool {
        self.values.binary_search(&spread(hash, self.values.len(), self.bits)).is_ok()
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn bits(&self) -> u32 {
        self.bits
    }

    /// Writes each gap: its quotient by 2^bits in unary, as ones and then a zero, and its remainder in `bits` bits.
    pub(super) fn code(&self) -> Vec<u8> {
        let mut bits = Writer::default();
        let mut before = 0;
        for &value in &self.values {
            let gap = value - before;
            (0..gap >> self.bits).for_each(|_| bits.push(true));
            bits.push(false);
            (0..self.bits).rev().for_each(|place| bits.push(gap >> place & 1 == 1));
            before = value;
        }
        bits.bytes
    }

    /// Reads `count` numbers; `None` if the code holds fewer or more.
    pub(super) fn decode(code: &[u8], count: u32, bits: u32) -> Option<Self> {
        // room is made by the count, and a number takes more than `bits` bits
        let fits = u64::from(count) * u64::from(bits + 1) <= 8 * code.len() as u64;
        if !(1..=MOST_BITS).contains(&bits) || !fits {
            return None;
        }
        let mut reader = Reader { code, at: 0 };
        let (end, mut before) = (u64::from(count) << bits, 0);
        let mut values = Vec::with_capacity(count as usize);
        for _ in 0..count {
            before += reader.ones()? << bits | reader.number(bits)?;
            if before >= end {
                return None;
            }
            values.push(before);
        }
        reader.is_at_the_end().then_some(Self { bits, values })
    }
}

/// The high half of a product, as an index below `count · 2^bits`.
fn spread(hash: u64, count: usize, bits: u32) -> u64 {
    ((u128::from(hash) * ((count as u128) << bits)) >> 64) as u64
}

/// Bits in the order of their bytes, the highest of a byte first.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    /// How many bits of the last byte are used, 0 for all.
    used: u32,
}

impl Writer {
    fn push(&mut self, bit: bool) {
        if self.used == 0 {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << (7 - self.used);
        }
        self.used = (self.used + 1) % 8;
    }
}

struct Reader<'a> {
    code: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// The next bits, at least 57 of them, from the highest on; zeros after the end.
    fn window(&self) -> u64 {
        let rest = &self.code[self.code.len().min(self.at / 8)..];
        let mut bytes = [0; 8];
        let count = rest.len().min(8);
        bytes[..count].copy_from_slice(&rest[..count]);
        u64::from_be_bytes(bytes) << (self.at % 8)
    }

    /// Takes ones and the zero after them, and counts the ones.
    fn ones(&mut self) -> Option<u64> {
        let mut ones = 0;
        loop {
            let here = self.window().leading_ones().min(57);
            ones += u64::from(here);
            self.take(here)?;
            if here < 57 {
                self.take(1)?;
                return Some(ones);
            }
        }
    }

    /// Takes a number of up to 32 bits.
    fn number(&mut self, bits: u32) -> Option<u64> {
        let number = self.window() >> (64 - bits);
        self.take(bits)?;
        Some(number)
    }

    fn take(&mut self, bits: u32) -> Option<()> {
        self.at += bits as usize;
        (self.at <= 8 * self.code.len()).then_some(())
    }

    /// Whether only zeros that fill the last byte are left.
    fn is_at_the_end(&self) -> bool {
        self.at.div_ceil(8) == self.code.len() && self.window() == 0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_holds_its_members_and_is_read_as_it_was_written(
            hashes in prop::collection::vec(any::<u64>(), 0..300),
            bits in 1..=MOST_BITS,
        ) {
            let set = CodedSet::new(hashes.clone(), bits);
            prop_assert!(hashes.iter().all(|&hash| set.contains(hash)));
            let code = set.code();
            prop_assert_eq!(CodedSet::decode(&code, set.len() as u32, bits), Some(set));
        }

        /// Neither a panic nor a large allocation.
        #[test]
        fn anything_is_read_or_refused(
            code in prop::collection::vec(any::<u8>(), 0..40),
            count in any::<u32>(),
            bits in 0..40_u32,
        ) {
            if let Some(set) = CodedSet::decode(&code, count, bits) {
                prop_assert_eq!(set.code(), code);
            }
        }
    }

    #[test]
    fn what_is_left_over_is_refused() {
        let set = CodedSet::new(vec![1 << 60, 1 << 62], 4);
        let code = set.code();
        assert_eq!(CodedSet::decode(&code, 2, 4), Some(set));
        let mut longer = code.clone();
        longer.push(0);
        let (last, mut unclean) = (code.len() - 1, code.clone());
        unclean[last] |= 1;
        for (code, count) in [(longer, 2), (unclean, 2), (code[..last].to_vec(), 2), (code, 4)] {
            assert_eq!(CodedSet::decode(&code, count, 4), None);
        }
    }
}
