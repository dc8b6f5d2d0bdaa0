//! The map between two clouds of vectors of different texts, without a single pair.

mod axes;
mod cloud;
mod noise;
mod precision;
mod refinement;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::fmt;

use faer::Mat;
use ndarray::{Array2, ArrayView2};
use rand_chacha::rand_core::Rng;

use super::procrustes::{on_the_span, orthogonal};
use super::widen;
use crate::Error;
use crate::check::{check, check_dimension, check_finite};
use crate::matmul::{across, mapped};
use crate::rows::normalize;
use axes::{Axes, start};
use cloud::Cloud;
use noise::Noise;
use precision::{narrow, wide};
use refinement::Refinement;

/// Starts of an attempt, and how many of them are pursued.
const STARTS: usize = 8;
const PROMISING: usize = 2;
/// The most attempts. Another one is made if the score is less than this share of the expected one.
const ATTEMPTS: usize = 3;
const CLOSE: f64 = 0.995;
/// A known pair counts as this many vectors that are matched with their neighbours.
const PAIR: f64 = 10.0;
/// With one pair per this many dimensions, no other start is needed.
const DIMENSIONS: usize = 2;
/// Vectors of each side, and rounds of refinement, for a start.
const START: usize = 2_000;
const START_ROUNDS: usize = 8;
/// The same for promising starts.
const MIDDLE: usize = 4_000;
const MIDDLE_ROUNDS: usize = 12;
/// The same for the best one, at first and at last; the last rounds end when nothing is gained.
const LATER: usize = 8_000;
const LATER_ROUNDS: usize = 5;
const LAST: usize = 30_000;
/// The fewest vectors that make a cloud: the shape of fewer says nothing.
pub const LEAST_CLOUD: usize = 50;

/// Protected and clean vectors of the same texts.
type Pairs<'a> = (ArrayView2<'a, f32>, ArrayView2<'a, f32>);

/// Two clouds of vectors of different texts of one kind, to be aligned with each other.
#[derive(Debug, Clone, Copy)]
pub struct Clouds<'a> {
    /// `[n, dim]`.
    pub protected: ArrayView2<'a, f32>,
    /// Vectors of the attacker's own texts in the clean space, with as much noise as the protected ones have,
    /// `[m, dim]`.
    pub own: ArrayView2<'a, f32>,
    /// The same vectors without the noise: row `i` is of the same text as row `i` of `own`.
    pub clean: ArrayView2<'a, f32>,
}

impl<'a> Clouds<'a> {
    /// Creates clouds of vectors without noise.
    pub fn new(protected: ArrayView2<'a, f32>, own: ArrayView2<'a, f32>) -> Self {
        Self { protected, own, clean: own }
    }

    fn check(&self) -> Result<(), Error> {
        if self.protected.nrows().min(self.own.nrows()) < LEAST_CLOUD {
            return Err(Error::Setting(format!("a cloud takes at least {LEAST_CLOUD} vectors on each side")));
        }
        if self.own.nrows() != self.clean.nrows() {
            let (own, clean) = (self.own.nrows(), self.clean.nrows());
            return Err(Error::Setting(format!("{own} vectors with noise do not go with {clean} without")));
        }
        if self.own.ncols() == 0 {
            return Err(Error::Empty("the set of dimensions"));
        }
        check_dimension(self.own.ncols(), self.clean)?;
        check_dimension(self.own.ncols(), self.protected)?;
        [self.protected, self.own, self.clean].into_iter().try_for_each(check_finite)
    }
}

/// A rotation, found from the shapes of two clouds: protected vectors, and clean ones of other texts.
///
/// A rotation moves a cloud and keeps its shape. Whoever has texts of the same kind has a cloud of nearly that shape,
/// and can look for the rotation that aligns the two. They need not know any text of the store.
///
/// 1. Both clouds are scaled to norm 1, centred, and scaled to norm 1 again.
/// 2. Their principal axes are matched by how the vectors are distributed along them, which gives the signs too
///    (compare the attack of Liu, Giannella & Kargupta 2006 on rotated records). That is the first start; the others
///    are varied at random.
/// 3. A start is refined in rounds: each vector is matched with the mean of its five nearest neighbours on the other
///    side, and Procrustes is solved for these, on a few vectors at first and on all, up to 30,000, at last
///    (mini-vec2vec, Dar 2025, arXiv 2510.02348; compare vec2vec, arXiv 2505.12540, and Wasserstein Procrustes, arXiv
///    1805.11222).
/// 4. Some starts fail. The one whose clouds lie closest is pursued, which takes no pairs to see:
///    [`score`](Self::score) shows it. If the score is below that of two clouds of one kind, the search starts again,
///    at most twice.
///
/// A permutation is a rotation too, and a scaling is undone. Noise makes the map harder to find, but less so for an
/// attacker who knows what it does to their own texts ([`Clouds::clean`]). Before protected vectors are matched with
/// clean ones, a linear filter then removes what it can of the noise, and more neighbours are used.
///
/// ```no_run
/// use embosk_attacks::alignment::CloudMap;
/// use ndarray::Array2;
/// use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
///
/// # fn vectors() -> Array2<f32> { Array2::zeros((10_000, 384)) }
/// let (stored, own) = (vectors(), vectors());
/// let map = CloudMap::fit(stored.view(), own.view(), &mut ChaCha8Rng::seed_from_u64(0))?;
/// let restored = map.apply(stored.view())?;
/// println!("{map}");
/// # Ok::<(), embosk_attacks::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CloudMap {
    map: Mat<f32>,
    scale: f32,
    score: f64,
    expected: f64,
    /// If pairs are known, the products of the vectors matched in the last round, and those of the pairs.
    products: Option<[Mat<f64>; 2]>,
}

impl CloudMap {
    /// Finds the map from `protected`, `[n, dim]`, to the space of `own`, `[m, dim]`: clean vectors of the attacker's
    /// own texts. 10,000 on each side take about a minute on two cores if the first attempt succeeds.
    ///
    /// # Errors
    /// When the dimensions differ or are 0, there are fewer than 50 vectors on a side, or a value is not finite.
    pub fn fit(
        protected: ArrayView2<'_, f32>,
        own: ArrayView2<'_, f32>,
        rng: &mut impl Rng,
    ) -> Result<Self, Error> {
        Self::fit_on(&Clouds::new(protected, own), None, rng)
    }

    /// Finds the map as [`fit`](Self::fit) does, for an attacker who also knows the noise or a few pairs: row `i` of
    /// the first, protected, and row `i` of the second, clean, are of the same text. Even far fewer pairs than
    /// determine a rotation give one more start, which the clouds complete. Every round of refinement includes the
    /// pairs.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), and when `own` and `clean`, or the pairs, do not fit together.
    pub fn fit_on(clouds: &Clouds<'_>, pairs: Option<Pairs<'_>>, rng: &mut impl Rng) -> Result<Self, Error> {
        clouds.check()?;
        let dimension = clouds.own.ncols();
        let mut starts = Vec::new();
        let mut of_pairs = Mat::zeros(dimension, dimension);
        if let Some((known, clean)) = pairs {
            check(known, clean)?;
            check_dimension(dimension, known)?;
            check_dimension(dimension, clean)?;
            of_pairs = products_of((known, clean));
            starts.push(narrow(&on_the_span(widen(known).as_ref(), widen(clean).as_ref())?));
        }
        let [theirs, noisy, clean] = [clouds.protected, clouds.own, clouds.clean].map(Cloud::new);
        let (unseen, rest) = theirs.split(rng);
        let (unseen, theirs) = (theirs.select(&unseen), theirs.select(&rest));
        let (unseen_mine, rest) = noisy.split(rng);
        let (unseen_mine, noisy, mine) =
            (noisy.select(&unseen_mine), noisy.select(&rest), clean.select(&rest));
        let refinement = Refinement { known: &of_pairs * PAIR, noise: Noise::between(&noisy, &mine)? };
        let by_pairs = pairs.is_some_and(|(known, _)| known.nrows() * DIMENSIONS >= dimension);
        let (attempts, by_chance) = if by_pairs { (1, 0) } else { (ATTEMPTS, STARTS) };
        let (axes, others) = (Axes::of(&theirs)?, Axes::of(&noisy)?);
        let references = mine.sample(LAST, rng);
        let near = |map: &Mat<f32>, cloud: &Cloud| {
            refinement.closeness(map, cloud.vectors.view(), references.view())
        };
        let expected = near(&Mat::identity(dimension, dimension), &unseen_mine);
        let mut best: Option<(f64, Mat<f32>)> = None;
        for attempt in 0..attempts {
            starts.extend((0..by_chance).map(|number| start(&axes, &others, attempt * STARTS + number, rng)));
            let map = attempt_from(std::mem::take(&mut starts), &theirs, &mine, &refinement, rng)?;
            let score = near(&map, &unseen);
            if best.as_ref().is_none_or(|best| score > best.0) {
                best = Some((score, map));
            }
            if best.as_ref().is_some_and(|best| best.0 >= expected * CLOSE) {
                break;
            }
        }
        let Some((score, map)) = best else { return Err(Error::Empty("the set of starts")) };
        let scale = if theirs.norm > 0.0 { noisy.norm / theirs.norm } else { 1.0 };
        let products = pairs.map(|_| {
            let (theirs, mine) = (theirs.sample(LAST, rng), mine.sample(LAST, rng));
            [refinement.matched(&map, theirs.view(), mine.view()).0, of_pairs]
        });
        Ok(Self { map, scale, score, expected, products })
    }

    /// Returns the restored vectors, `[batch, dim]`.
    ///
    /// # Errors
    /// When `vectors` do not have the dimension that the map was found for.
    pub fn apply(&self, vectors: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        check_dimension(self.map.nrows(), vectors)?;
        Ok(mapped(vectors, self.map.as_ref()) * self.scale)
    }

    /// The rotation, `[dim, dim]`, applied to rows from the right.
    pub(super) fn matrix(&self) -> Mat<f64> {
        wide(&self.map)
    }

    /// The rotations by clouds and pairs together, if pairs are known. Each weight says how many vectors of the
    /// clouds a pair counts as.
    pub(super) fn matrices_by(&self, weights: &[f64]) -> impl Iterator<Item = Result<Mat<f64>, Error>> {
        let of =
            |[clouds, pairs]: &[Mat<f64>; 2], weight: f64| orthogonal((clouds + pairs * weight).as_ref());
        self.products.iter().flat_map(move |products| weights.iter().map(move |&weight| of(products, weight)))
    }

    /// Returns how close the clouds lie. It is the mean cosine between a protected vector and the nearest of the
    /// attacker's own clean vectors, after centring and filtering the noise. It is taken over a tenth of the
    /// protected vectors, on which the map was not fitted. The attacker needs no pair to know it.
    pub fn score(&self) -> f64 {
        self.score
    }

    /// Returns what [`score`](Self::score) is for the attacker's own vectors, again for a held-out tenth: the best
    /// score to expect. A score far below it shows that the map was not found, or that the clouds have different
    /// shapes.
    pub fn expected(&self) -> f64 {
        self.expected
    }

    /// Whether the clouds lie as close as two of one kind do.
    pub(super) fn is_close(&self) -> bool {
        self.score > 0.0 && self.score >= self.expected * CLOSE
    }
}

/// `protectedᵀ · clean` of pairs, whose vectors are scaled to norm 1.
fn products_of((protected, clean): Pairs<'_>) -> Mat<f64> {
    let (mut protected, mut clean) = (protected.to_owned(), clean.to_owned());
    normalize(&mut protected);
    normalize(&mut clean);
    wide(&across(protected.view(), clean.view()))
}

/// The best map that any of the starts is refined to.
fn attempt_from(
    starts: Vec<Mat<f32>>,
    theirs: &Cloud,
    mine: &Cloud,
    refinement: &Refinement,
    rng: &mut impl Rng,
) -> Result<Mat<f32>, Error> {
    let (few_theirs, few_mine) = (theirs.sample(START, rng), mine.sample(START, rng));
    let mut maps = best_refined(starts, few_theirs.view(), few_mine.view(), refinement, START_ROUNDS)?;
    maps.truncate(PROMISING);
    let (more_theirs, more_mine) = (theirs.sample(MIDDLE, rng), mine.sample(MIDDLE, rng));
    let maps = best_refined(maps, more_theirs.view(), more_mine.view(), refinement, MIDDLE_ROUNDS)?;
    let Some(map) = maps.into_iter().next() else { return Err(Error::Empty("the set of starts")) };
    let (later_theirs, later_mine) = (theirs.sample(LATER, rng), mine.sample(LATER, rng));
    let map = refinement.refined(map, later_theirs.view(), later_mine.view(), LATER_ROUNDS)?;
    refinement.finished(map, theirs.sample(LAST, rng).view(), mine.sample(LAST, rng).view())
}

/// What the starts are refined to, those under which the clouds lie closest first.
fn best_refined(
    starts: Vec<Mat<f32>>,
    theirs: ArrayView2<'_, f32>,
    mine: ArrayView2<'_, f32>,
    refinement: &Refinement,
    rounds: usize,
) -> Result<Vec<Mat<f32>>, Error> {
    let mut maps = Vec::with_capacity(starts.len());
    for start in starts {
        let map = refinement.refined(start, theirs, mine, rounds)?;
        maps.push((refinement.score(&map, theirs, mine), map));
    }
    maps.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(maps.into_iter().map(|(_, map)| map).collect())
}

impl fmt::Display for CloudMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unpaired(score={:.3} of {:.3})", self.score, self.expected)
    }
}
