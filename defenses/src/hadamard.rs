//! Random rotations that take `dim · log dim` operations, the same on every machine.

use ndarray::{ArrayViewMut2, Axis};
use zeroize::Zeroizing;

use crate::Rng;
use crate::permutation::shuffled;
use crate::rows::with_scratch;

/// Three rounds of signs and a Walsh–Hadamard transform serve in place of a uniform rotation (Andoni et
/// al., NeurIPS 2015, arXiv 1509.02897). Two already carry every input to every output.
const ROUNDS: usize = 3;

/// Rounds of sign flips, a permutation and Walsh–Hadamard transforms of blocks.
///
/// A block is the largest power of two within `dim`. Each round transforms the first block and then,
/// unless it was all, the last one. A block is longer than half of `dim`, so the two overlap, and after
/// one round every input coordinate has reached at least a whole block. Wherever the next permutation
/// puts these, some are in the first block, all of which they reach, and by the overlap the last. Without
/// other signs in the overlap, the second transform would partly undo the first.
///
/// This is a storage format: `f32` operations in a fixed order.
pub(crate) struct Hadamard {
    rounds: [Round; ROUNDS],
    /// How long a block is.
    block: usize,
    /// What makes its transform orthogonal: one by the root of its length.
    scale: f32,
}

/// As many rows are turned at a time, side by side: each operation is on the same coordinate of all, which
/// the compiler makes one instruction. What stands beside a row makes no difference to it.
const LANES: usize = 4;

/// One coordinate of these rows.
type Lanes = [f32; LANES];

impl Hadamard {
    /// Draws the rounds one after the other: of each the permutation, the signs, and those of the overlap.
    pub(crate) fn draw(dim: usize, rng: &mut Rng) -> Self {
        let block = 1 << dim.ilog2();
        let scale = (1.0 / (block as f64).sqrt()) as f32;
        Self { rounds: std::array::from_fn(|_| Round::draw(dim, block, scale, rng)), block, scale }
    }

    /// Turns every row.
    pub(crate) fn apply(&self, vectors: ArrayViewMut2<'_, f32>) {
        side_by_side(vectors, |mut now, mut next| {
            for round in &self.rounds {
                round.shuffle(now, next);
                self.transform_first(next);
                round.flip_overlap(self.overlap(next));
                self.transform_last(next);
                (now, next) = (next, now);
            }
            now
        });
    }

    /// Turns every row back.
    pub(crate) fn undo(&self, vectors: ArrayViewMut2<'_, f32>) {
        side_by_side(vectors, |mut now, mut next| {
            for round in self.rounds.iter().rev() {
                now.as_flattened_mut().iter_mut().for_each(|x| *x *= self.scale);
                self.transform_last(now);
                round.flip_overlap(self.overlap(now));
                self.transform_first(now);
                round.shuffle_back(now, next);
                (now, next) = (next, now);
            }
            now
        });
    }

    fn transform_first(&self, row: &mut [Lanes]) {
        walsh_hadamard(&mut row[..self.block]);
    }

    fn transform_last(&self, row: &mut [Lanes]) {
        if row.len() > self.block {
            let start = row.len() - self.block;
            walsh_hadamard(&mut row[start..]);
        }
    }

    /// What is in both blocks; nothing where the first is all.
    fn overlap<'a>(&self, row: &'a mut [Lanes]) -> &'a mut [Lanes] {
        let start = row.len() - self.block;
        &mut row[if start == 0 { self.block } else { start }..self.block]
    }
}

/// Calls `turn` on a few rows at a time and as much scratch, and puts what it returns in their place.
fn side_by_side<F>(mut vectors: ArrayViewMut2<'_, f32>, turn: F)
where
    F: for<'a> Fn(&'a mut [Lanes], &'a mut [Lanes]) -> &'a mut [Lanes],
{
    let dim = vectors.ncols();
    with_scratch(2 * LANES * dim, |scratch| {
        let (now, next) = scratch.as_chunks_mut().0.split_at_mut(dim);
        for mut rows in vectors.axis_chunks_iter_mut(Axis(0), LANES) {
            load(&rows, now);
            store(turn(now, next), &mut rows);
        }
    });
}

fn load(rows: &ArrayViewMut2<'_, f32>, lanes: &mut [Lanes]) {
    if let Some([a, b, c, d]) = rows.as_slice().and_then(|rows| split(rows, lanes.len())) {
        // The usual case: a quarter of the whole time less.
        for ((((to, a), b), c), d) in lanes.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *to = [*a, *b, *c, *d];
        }
        return;
    }
    lanes.fill([0.0; LANES]);
    for (lane, row) in rows.rows().into_iter().enumerate() {
        lanes.iter_mut().zip(row).for_each(|(to, from)| to[lane] = *from);
    }
}

/// As many rows of `dim` values as there are lanes, unless there are fewer.
fn split(rows: &[f32], dim: usize) -> Option<[&[f32]; LANES]> {
    let mut rows = rows.chunks_exact(dim);
    Some([rows.next()?, rows.next()?, rows.next()?, rows.next()?])
}

fn store(lanes: &[Lanes], rows: &mut ArrayViewMut2<'_, f32>) {
    for (lane, row) in rows.rows_mut().into_iter().enumerate() {
        row.into_iter().zip(lanes).for_each(|(to, from)| *to = from[lane]);
    }
}

/// The scale of a transform is in the factors before it: so no sum leaves the range of `f32`.
struct Round {
    /// For each coordinate of the outcome, which one it is.
    from: Zeroizing<Vec<u16>>,
    /// For each coordinate of the outcome, its sign times the scale.
    factors: Zeroizing<Vec<f32>>,
    /// For each coordinate of the overlap, its sign between the two transforms times the scale.
    between: Zeroizing<Vec<f32>>,
}

impl Round {
    fn draw(dim: usize, block: usize, scale: f32, rng: &mut Rng) -> Self {
        let from = shuffled(dim, rng);
        let mut factors = |count: usize| {
            let factor = |_| if rng.below(2) == 0 { scale } else { -scale };
            Zeroizing::new((0..count).map(factor).collect::<Vec<_>>())
        };
        Self { from, factors: factors(dim), between: factors(if block == dim { 0 } else { 2 * block - dim }) }
    }

    /// Permutes, flips signs and scales.
    fn shuffle(&self, row: &[Lanes], shuffled: &mut [Lanes]) {
        for ((to, &from), &factor) in shuffled.iter_mut().zip(self.from.iter()).zip(self.factors.iter()) {
            *to = row[usize::from(from)].map(|x| x * factor);
        }
    }

    fn flip_overlap(&self, overlap: &mut [Lanes]) {
        for (values, &factor) in overlap.iter_mut().zip(self.between.iter()) {
            *values = values.map(|x| x * factor);
        }
    }

    /// Undoes the signs and the permutation.
    fn shuffle_back(&self, shuffled: &[Lanes], row: &mut [Lanes]) {
        for ((from, &to), &factor) in shuffled.iter().zip(self.from.iter()).zip(self.factors.iter()) {
            row[usize::from(to)] = from.map(|x| x * factor.signum());
        }
    }
}

/// The Walsh–Hadamard transform of `block`, whose length is a power of two, without its scale.
///
/// Sums and differences of values `1, 2, 4, …` apart, in this order; two steps are made at once, which
/// changes no bit.
fn walsh_hadamard(block: &mut [Lanes]) {
    let mut apart = 1;
    while 4 * apart <= block.len() {
        block.chunks_exact_mut(4 * apart).for_each(|part| two_steps(part, apart));
        apart *= 4;
    }
    if 2 * apart == block.len() {
        let (low, high) = block.split_at_mut(apart);
        low.iter_mut().zip(high).for_each(|(a, b)| (*a, *b) = (add(a, b), subtract(a, b)));
    }
}

/// The steps between values `apart` and then `2 · apart` apart.
fn two_steps(part: &mut [Lanes], apart: usize) {
    let (low, high) = part.split_at_mut(2 * apart);
    let (first, second) = low.split_at_mut(apart);
    let (third, fourth) = high.split_at_mut(apart);
    for (((a, b), c), d) in first.iter_mut().zip(second).zip(third).zip(fourth) {
        let (ab, a_b, cd, c_d) = (add(a, b), subtract(a, b), add(c, d), subtract(c, d));
        (*a, *b, *c, *d) = (add(&ab, &cd), add(&a_b, &c_d), subtract(&ab, &cd), subtract(&a_b, &c_d));
    }
}

fn add(a: &Lanes, b: &Lanes) -> Lanes {
    std::array::from_fn(|lane| a[lane] + b[lane])
}

fn subtract(a: &Lanes, b: &Lanes) -> Lanes {
    std::array::from_fn(|lane| a[lane] - b[lane])
}
