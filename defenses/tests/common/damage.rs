//! What may happen to bytes in a store, for the tests of several formats.

/// Calls `refused` with the bytes cut short at every length, with one byte more, and with every bit turned, and with what
/// was done to them.
pub(crate) fn each(whole: &[u8], refused: impl Fn(&[u8], &str)) {
    (0..whole.len()).for_each(|len| refused(&whole[..len], "cut short"));
    refused(&[whole, &[0]].concat(), "longer");
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 1 << bit;
            refused(&damaged, "a bit is turned");
        }
    }
}
