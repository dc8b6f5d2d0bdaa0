//! The levels of one row: from numbers to levels and back.

use std::iter::repeat;

use crate::wide::{Work, widest};

/// How many numbers are rounded at a time.
const CHUNK: usize = 64;

/// `1.5 · 2²³`: added to a small number, it leaves a whole one in the lowest bits.
const SHIFT: f32 = 12_582_912.0;

/// Two `f32` roundings put a level of at most 127 off by no more than 1.6e-5. A number no further than this from its
/// level is therefore rounded as in exact arithmetic.
const SURE: f32 = 0.499_96;

/// What a row is rounded to: the multiples of `scale / top`.
pub(crate) struct Grid<'a> {
    /// The outermost level; 1 means that signs are kept, and zero is not a level.
    pub(crate) top: i8,
    pub(crate) scale: Scale<'a>,
    /// What is added before the rounding and subtracted after it, in steps.
    pub(crate) dither: Option<&'a [f64]>,
}

/// Where the outermost level lies.
#[derive(Clone, Copy)]
pub(crate) enum Scale<'a> {
    Row(f32),
    Dimensions(&'a [f32]),
}

impl Grid<'_> {
    /// Writes the levels of `row`. Halves round away from zero; numbers beyond the outermost level are clipped to it.
    pub(crate) fn round(&self, row: &[f32], levels: &mut [i8]) {
        widest(Rounding { grid: self, row, levels });
    }

    /// Rounds in `f64`, where `x · top` and halves are exact. `first` is where the row's piece begins.
    fn round_exactly(&self, piece: &[f32], first: usize, levels: &mut [i8]) {
        for (place, (&x, level)) in piece.iter().zip(levels).enumerate() {
            let position = self.position(f64::from(x), first + place);
            *level = if self.top == 1 {
                if position < 0.0 { -1 } else { 1 }
            } else {
                position.round().clamp(-f64::from(self.top), f64::from(self.top)) as i8
            };
        }
    }

    /// How many steps from zero `x` lies, dithered.
    #[inline(always)]
    fn position(&self, x: f64, place: usize) -> f64 {
        let scale = self.scale_at(place);
        // A dimension without any extent has one place for everything.
        let position = if scale > 0.0 { x * f64::from(self.top) / scale } else { 0.0 };
        position + self.dither_at(place)
    }

    /// Writes the numbers that `levels` stand for.
    pub(crate) fn restore(&self, levels: &[i8], row: &mut [f32]) {
        widest(Restoring { grid: self, levels, row });
    }

    #[inline(always)]
    fn value(&self, level: i8, place: usize) -> f32 {
        let level = f64::from(level) - self.dither_at(place);
        // The sum turns a negative zero into zero, as codes have only one.
        (level * self.scale_at(place) / f64::from(self.top)) as f32 + 0.0
    }

    /// The dither in units of `scale / top`. Signs are two of these apart, other levels one.
    #[inline(always)]
    fn dither_at(&self, place: usize) -> f64 {
        let step = if self.top == 1 { 2.0 } else { 1.0 };
        self.dither.map_or(0.0, |dither| dither[place] * step)
    }

    #[inline(always)]
    fn scale_at(&self, place: usize) -> f64 {
        f64::from(match self.scale {
            Scale::Row(scale) => scale,
            Scale::Dimensions(scales) => scales[place],
        })
    }
}

struct Rounding<'a> {
    grid: &'a Grid<'a>,
    row: &'a [f32],
    levels: &'a mut [i8],
}

impl Work for Rounding<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const WIDE: bool>(self) {
        let Self { grid, row, levels } = self;
        if grid.top == 1 && grid.dither.is_none() {
            return row.iter().zip(levels).for_each(|(x, level)| *level = 1 - 2 * i8::from(*x < 0.0));
        }
        let (chunks, _) = row.as_chunks::<CHUNK>();
        let whole = if grid.dither.is_some() { 0 } else { chunks.len() };
        let (out, _) = levels.as_chunks_mut::<CHUNK>();
        let top = f32::from(grid.top);
        for (index, (values, out)) in chunks.iter().zip(out).take(whole).enumerate() {
            let first = index * CHUNK;
            let sure = match grid.scale {
                Scale::Row(scale) => round_chunk(values, repeat(top / scale), top, out),
                Scale::Dimensions(scales) => {
                    round_chunk(values, scales[first..].iter().map(|scale| top / scale), top, out)
                }
            };
            if !sure {
                grid.round_exactly(values, first, out);
            }
        }
        grid.round_exactly(&row[whole * CHUNK..], whole * CHUNK, &mut levels[whole * CHUNK..]);
    }
}

struct Restoring<'a> {
    grid: &'a Grid<'a>,
    levels: &'a [i8],
    row: &'a mut [f32],
}

impl Work for Restoring<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const WIDE: bool>(self) {
        for (place, (value, &level)) in self.row.iter_mut().zip(self.levels).enumerate() {
            *value = self.grid.value(level, place);
        }
    }
}

/// Rounds in `f32`, without a branch, so that it vectorizes. `inverses` are `top` over the scales. Returns whether
/// all levels are those of exact arithmetic.
#[inline(always)]
fn round_chunk(
    values: &[f32; CHUNK],
    inverses: impl Iterator<Item = f32>,
    top: f32,
    levels: &mut [i8; CHUNK],
) -> bool {
    let mut sure = true;
    for ((x, inverse), level) in values.iter().zip(inverses).zip(levels) {
        // Comparisons instead of `clamp`, whose care for NaN would cost two more operations each.
        let position = x * inverse;
        let position = if position > top { top } else { position };
        let position = if position < -top { -top } else { position };
        let shifted = position + SHIFT;
        let offset = position - (shifted - SHIFT);
        // NaN and an infinite inverse are not sure either.
        sure &= offset.abs() <= SURE;
        sure &= inverse <= f32::MAX;
        *level = (shifted.to_bits() as u8).cast_signed();
    }
    sure
}
