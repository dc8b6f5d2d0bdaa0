//! Blocks of values in 8 bits: whole numbers with a scale for each block, as in GGML's `Q8_0`.
//!
//! Files of weights and matrices in memory share this.

/// Values of a row that share a scale.
pub const BLOCK: usize = 32;

/// Returns the step of a block: the 127th part of its largest magnitude.
pub(crate) fn step(block: &[f32]) -> f32 {
    block.iter().fold(0f32, |most, value| most.max(value.abs())) / 127.0
}

/// Rounds values to whole steps of `scale`, halves away from zero.
pub(crate) fn in_steps(block: &[f32], scale: f32) -> impl Iterator<Item = i8> {
    let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
    block.iter().map(move |value| (value * inverse).round() as i8)
}
