//! Random rotations that take `dim · log dim` operations, the same on every machine.

use ndarray::{ArrayViewMut2, s};
use zeroize::Zeroizing;

use crate::Rng;
use crate::parallel::for_pieces;
use crate::permutation::shuffled;
use crate::rows::with_scratch;
use crate::wide::{Work, widest};

/// Three rounds of signs and a Walsh–Hadamard transform can stand in for a uniform rotation (Andoni et al., NeurIPS
/// 2015, arXiv 1509.02897). After two, every input already reaches every output.
const ROUNDS: usize = 3;

/// Rounds of sign flips, a permutation and Walsh–Hadamard transforms of blocks.
///
/// A block is the largest power of two within `dim`. Each round transforms the first block and then, unless it was
/// all, the last one. A block is longer than half of `dim`, so the two overlap, and after one round every input
/// coordinate has reached at least a whole block. Wherever the next permutation puts these, some are in the first
/// block. They reach all of it, and through the overlap the last block. Without new signs in the overlap, the second
/// transform would partly undo the first.
///
/// This is a storage format: `f32` operations in a fixed order.
pub(crate) struct Hadamard {
    rounds: [Round; ROUNDS],
    /// How long a block is.
    block: usize,
    /// What makes its transform orthogonal: one by the root of its length.
    scale: f32,
}

/// One coordinate of `L` rows that are rotated side by side. Each operation is on the same coordinate of all rows,
/// which the compiler turns into one instruction. A row's result does not depend on the rows beside it.
type Lanes<const L: usize> = [f32; L];

/// How many rows of a batch fill a wide register, and a narrow one.
const MANY: usize = 8;
const FEW: usize = 4;

impl Hadamard {
    /// Draws the rounds one after the other: for each the permutation, the signs, and the signs of the overlap.
    pub(crate) fn draw(dim: usize, rng: &mut Rng) -> Self {
        let block = 1 << dim.ilog2();
        let scale = (1.0 / (block as f64).sqrt()) as f32;
        Self { rounds: std::array::from_fn(|_| Round::draw(dim, block, scale, rng)), block, scale }
    }

    /// Rotates every row.
    pub(crate) fn apply(&self, vectors: ArrayViewMut2<'_, f32>) {
        self.turn(vectors, false);
    }

    /// Undoes the rotation of every row.
    pub(crate) fn undo(&self, vectors: ArrayViewMut2<'_, f32>) {
        self.turn(vectors, true);
    }

    fn turn(&self, vectors: ArrayViewMut2<'_, f32>, back: bool) {
        for_pieces(vectors, self.dim(), MANY, |_, vectors| {
            with_scratch(2 * MANY * self.dim(), |scratch| {
                widest(Turn { hadamard: self, vectors, scratch, back });
            });
        });
    }

    fn dim(&self) -> usize {
        self.rounds[0].from.len()
    }

    /// Returns what is in both blocks; nothing if the first block is the whole row.
    #[inline(always)]
    fn overlap<'a, const L: usize>(&self, row: &'a mut [Lanes<L>]) -> &'a mut [Lanes<L>] {
        let start = row.len() - self.block;
        &mut row[if start == 0 { self.block } else { start }..self.block]
    }
}

/// The rows of a batch, to be rotated or rotated back.
struct Turn<'a> {
    hadamard: &'a Hadamard,
    vectors: ArrayViewMut2<'a, f32>,
    scratch: &'a mut [f32],
    back: bool,
}

impl Work for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const WIDE: bool>(mut self) {
        let dim = self.vectors.ncols();
        let lanes = if WIDE { MANY } else { FEW };
        let many = self.vectors.nrows() / lanes * lanes;
        for first in (0..many).step_by(lanes) {
            let rows = self.vectors.slice_mut(s![first..first + lanes, ..]);
            if WIDE {
                self.hadamard.turn_together::<MANY>(rows, self.scratch, self.back);
            } else {
                self.hadamard.turn_together::<FEW>(rows, &mut self.scratch[..2 * FEW * dim], self.back);
            }
        }
        for first in many..self.vectors.nrows() {
            let row = self.vectors.slice_mut(s![first..=first, ..]);
            self.hadamard.turn_together::<1>(row, &mut self.scratch[..2 * dim], self.back);
        }
    }
}

impl Hadamard {
    #[inline(always)]
    fn turn_together<const L: usize>(
        &self,
        mut rows: ArrayViewMut2<'_, f32>,
        scratch: &mut [f32],
        back: bool,
    ) {
        let (now, next) = scratch.as_chunks_mut().0.split_at_mut(self.dim());
        load::<L>(&rows, now);
        store(if back { self.back(now, next) } else { self.forth(now, next) }, &mut rows);
    }

    #[inline(always)]
    fn forth<'a, const L: usize>(
        &self,
        mut now: &'a mut [Lanes<L>],
        mut next: &'a mut [Lanes<L>],
    ) -> &'a mut [Lanes<L>] {
        for round in &self.rounds {
            round.shuffle(now, next);
            self.transform_first(next);
            round.flip_overlap(self.overlap(next));
            self.transform_last(next);
            (now, next) = (next, now);
        }
        now
    }

    #[inline(always)]
    fn back<'a, const L: usize>(
        &self,
        mut now: &'a mut [Lanes<L>],
        mut next: &'a mut [Lanes<L>],
    ) -> &'a mut [Lanes<L>] {
        for round in self.rounds.iter().rev() {
            now.as_flattened_mut().iter_mut().for_each(|x| *x *= self.scale);
            self.transform_last(now);
            round.flip_overlap(self.overlap(now));
            self.transform_first(now);
            round.shuffle_back(now, next);
            (now, next) = (next, now);
        }
        now
    }

    #[inline(always)]
    fn transform_first<const L: usize>(&self, row: &mut [Lanes<L>]) {
        walsh_hadamard(&mut row[..self.block]);
    }

    #[inline(always)]
    fn transform_last<const L: usize>(&self, row: &mut [Lanes<L>]) {
        if row.len() > self.block {
            let start = row.len() - self.block;
            walsh_hadamard(&mut row[start..]);
        }
    }
}

#[inline(always)]
fn load<const L: usize>(rows: &ArrayViewMut2<'_, f32>, lanes: &mut [Lanes<L>]) {
    if let Some(rows) = rows.as_slice() {
        // The usual case: a quarter of the whole time less.
        let dim = lanes.len();
        let rows: [&[f32]; L] = std::array::from_fn(|lane| &rows[lane * dim..][..dim]);
        for (at, to) in lanes.iter_mut().enumerate() {
            *to = std::array::from_fn(|lane| rows[lane][at]);
        }
        return;
    }
    for (lane, row) in rows.rows().into_iter().enumerate() {
        lanes.iter_mut().zip(row).for_each(|(to, from)| to[lane] = *from);
    }
}

#[inline(always)]
fn store<const L: usize>(lanes: &[Lanes<L>], rows: &mut ArrayViewMut2<'_, f32>) {
    for (lane, row) in rows.rows_mut().into_iter().enumerate() {
        row.into_iter().zip(lanes).for_each(|(to, from)| *to = from[lane]);
    }
}

/// One round. The scale of a transform is in the factors before it, so no sum leaves the range of `f32`.
struct Round {
    /// For each coordinate of the result, which input coordinate it is.
    from: Zeroizing<Vec<u16>>,
    /// For each coordinate of the result, its sign times the scale.
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
    #[inline(always)]
    fn shuffle<const L: usize>(&self, row: &[Lanes<L>], shuffled: &mut [Lanes<L>]) {
        for ((to, &from), &factor) in shuffled.iter_mut().zip(self.from.iter()).zip(self.factors.iter()) {
            *to = row[usize::from(from)].map(|x| x * factor);
        }
    }

    #[inline(always)]
    fn flip_overlap<const L: usize>(&self, overlap: &mut [Lanes<L>]) {
        for (values, &factor) in overlap.iter_mut().zip(self.between.iter()) {
            *values = values.map(|x| x * factor);
        }
    }

    /// Undoes the signs and the permutation.
    #[inline(always)]
    fn shuffle_back<const L: usize>(&self, shuffled: &[Lanes<L>], row: &mut [Lanes<L>]) {
        for ((from, &to), &factor) in shuffled.iter().zip(self.from.iter()).zip(self.factors.iter()) {
            row[usize::from(to)] = from.map(|x| x * factor.signum());
        }
    }
}

/// The Walsh–Hadamard transform of `block`, whose length is a power of two, without its scale.
///
/// It takes sums and differences of values `1, 2, 4, …` apart, in this order. Two steps are done at once, which
/// changes no bit.
#[inline(always)]
fn walsh_hadamard<const L: usize>(block: &mut [Lanes<L>]) {
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

/// Does the step between values `apart` apart, then the step between values `2 · apart` apart.
#[inline(always)]
fn two_steps<const L: usize>(part: &mut [Lanes<L>], apart: usize) {
    let (low, high) = part.split_at_mut(2 * apart);
    let (first, second) = low.split_at_mut(apart);
    let (third, fourth) = high.split_at_mut(apart);
    for (((a, b), c), d) in first.iter_mut().zip(second).zip(third).zip(fourth) {
        let (ab, a_b, cd, c_d) = (add(a, b), subtract(a, b), add(c, d), subtract(c, d));
        (*a, *b, *c, *d) = (add(&ab, &cd), add(&a_b, &c_d), subtract(&ab, &cd), subtract(&a_b, &c_d));
    }
}

#[inline(always)]
fn add<const L: usize>(a: &Lanes<L>, b: &Lanes<L>) -> Lanes<L> {
    std::array::from_fn(|lane| a[lane] + b[lane])
}

#[inline(always)]
fn subtract<const L: usize>(a: &Lanes<L>, b: &Lanes<L>) -> Lanes<L> {
    std::array::from_fn(|lane| a[lane] - b[lane])
}
