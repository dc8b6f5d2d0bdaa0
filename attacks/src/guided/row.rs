//! The state of one vector's search: its beam, and what is tried next.

use std::collections::{HashMap, HashSet};

use ndarray::{Array1, ArrayView1, ArrayView2};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::edits::{Edit, apply_all};
use super::estimates::{Estimator, Features, Known};
use super::hash_of;
use super::language::Language;
use super::prepared::Prepared;
use super::proposals::{Material, Parent, Proposal, below};
use super::search::LONGEST;
use super::words::Vocabulary;
use crate::{Expected, Inversion};

/// Hypotheses that are expanded in a round.
const EXPANDED: usize = 4;
/// Rounds without a gain before a row stops.
const PATIENCE: usize = 8;
/// A hypothesis whose likeness is this is the text, but for rounding.
const SOLVED: f32 = 0.9995;
/// A row stops where after so many queries no text has come this part of the way to what a true text reaches: the vector
/// is not in the oracle's space.
const FAIR_TRIAL: usize = 300;
const HOPELESS: f32 = 0.45;
/// The best single edits of a hypothesis that are combined.
const COMBINED: usize = 6;
/// Texts that a search starts from anew where it has stalled, and how many random edits lie between them and
/// the best.
const KICKS: usize = 8;
const A_KICK: usize = 3;
/// How much the mean log-probability of the units counts beside the cosine.
const FLUENCY: f32 = 0.015;
/// How much more it counts with noise, by the noise's variance and the number of units.
const NOISE_FLUENCY: f32 = 0.5;
/// The part of the queries that a text gets if it is longer than any hypothesis: word scores find most of its words, and
/// more queries add little.
const OF_LONG: usize = 10;
/// A likeness so many standard deviations above that of true texts is a fit of noise.
const DEVIATIONS: f32 = 1.0;
/// Hypotheses of the same words that a beam holds.
const SAME_WORDS: usize = 2;

/// The state of one vector's search.
pub(super) struct Row<'a> {
    /// As it was given.
    pub(super) given: ArrayView1<'a, f32>,
    /// At norm 1.
    pub(super) estimate: ArrayView1<'a, f32>,
    pub(super) target: ArrayView1<'a, f32>,
    /// A likeness that no text exceeds but by fitting noise.
    limit: f32,
    fluency_weight: f32,
    pub(super) beam: Vec<Hypothesis>,
    /// Measured in this round.
    pending: Vec<Hypothesis>,
    best: Option<Hypothesis>,
    /// The words that score highest.
    pub(super) words: Vec<u32>,
    /// Whether the text is longer than any hypothesis.
    pub(super) is_long: bool,
    /// The words that the output lists for such a text, the likeliest first.
    pub(super) listed: Vec<u32>,
    pub(super) seen: HashSet<Vec<u32>>,
    steps: Vec<String>,
    pub(super) queries: usize,
    /// The most queries.
    budget: usize,
    stalled: usize,
    /// Learns from all that was tried.
    estimator: Estimator,
    rng: ChaCha8Rng,
}

#[derive(Clone)]
pub(super) struct Hypothesis {
    pub(super) units: Vec<u32>,
    pub(super) vector: Array1<f32>,
    likeness: f32,
    fluency: f32,
    score: f32,
    expanded: bool,
    /// Whether the attack before this one has refined it.
    refined: bool,
    /// Single edits that improved it, and by how much.
    gains: Vec<(f32, Edit)>,
}

/// A text to be measured, and the beam's hypothesis that it was edited from.
pub(super) struct Candidate {
    pub(super) units: Vec<u32>,
    pub(super) origin: Option<(usize, Edit, Features)>,
}

impl<'a> Row<'a> {
    /// Begins a search. `estimate` is `given` at norm 1, and `length` the estimated number of units. Of `queries`, so many
    /// are `used` already; one is left for the text that they found.
    pub(super) fn new(
        given: ArrayView1<'a, f32>,
        (estimate, target): (ArrayView1<'a, f32>, ArrayView1<'a, f32>),
        length: f32,
        (queries, used): (usize, usize),
        noise: &Noise,
    ) -> Self {
        let is_long = length > LONGEST as f32;
        Self {
            given,
            estimate,
            target,
            limit: noise.limit,
            fluency_weight: FLUENCY + noise.variance * NOISE_FLUENCY * length.clamp(1.0, LONGEST as f32),
            beam: Vec::new(),
            pending: Vec::new(),
            best: None,
            words: Vec::new(),
            is_long,
            listed: Vec::new(),
            seen: HashSet::new(),
            steps: Vec::new(),
            queries: 0,
            budget: if is_long { queries / OF_LONG } else { queries.saturating_sub(used) }.max(1),
            stalled: 0,
            estimator: Estimator::default(),
            rng: ChaCha8Rng::seed_from_u64(hash_of(target.iter())),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.beam.is_empty() && self.may_ask()
    }

    /// How many queries are left.
    pub(super) fn left(&self) -> usize {
        self.budget.saturating_sub(self.queries)
    }

    /// Whether there is something left to find, a chance to find it, and the queries for it.
    fn may_ask(&self) -> bool {
        let best = self.best.as_ref().map_or(f32::MIN, |best| best.likeness);
        let hopeless = self.queries >= FAIR_TRIAL && best < HOPELESS * self.limit;
        self.left() > 0 && best < self.limit && !hopeless
    }

    /// Texts around the best one, to start anew from where the search has stalled. The beam is left to them.
    pub(super) fn kicked(&mut self, language: &Language) -> Vec<Candidate> {
        let goes_on = self.stalled < PATIENCE && self.beam.iter().any(|hypothesis| !hypothesis.expanded);
        if goes_on || !self.may_ask() {
            return Vec::new();
        }
        let Some(best) = &self.best else { return Vec::new() };
        let units = best.units.clone();
        self.beam.clear();
        self.stalled = 0;
        let count = KICKS.min(self.left());
        let kick = |_| {
            let edits = (0..A_KICK).fold(units.clone(), |units, _| self.kick(&units, language));
            Candidate { units: edits, origin: None }
        };
        (0..count).map(kick).collect()
    }

    /// One random edit: a word that scores high put in or in another's place, or a word taken out.
    fn kick(&mut self, units: &[u32], language: &Language) -> Vec<u32> {
        let at = below(units.len().max(1), &mut self.rng);
        let edit = match below(3, &mut self.rng) {
            0 if units.len() > 1 => Edit::Delete { at },
            1 if !units.is_empty() && !self.words.is_empty() => {
                Edit::Replace { at, unit: self.words[below(self.words.len(), &mut self.rng)] }
            }
            _ if !self.words.is_empty() && units.len() < LONGEST => {
                let unit = self.words[below(self.words.len(), &mut self.rng)];
                let places = (0..=units.len()).map(|at| Edit::Insert { at, unit });
                let read = |edit: &Edit| language.fluency(&edit.apply(units));
                return places
                    .max_by(|a, b| read(a).total_cmp(&read(b)))
                    .map_or_else(|| units.to_vec(), |edit| edit.apply(units));
            }
            _ => return units.to_vec(),
        };
        edit.apply(units)
    }

    /// Names the best of the beam that were not expanded yet, and marks them as expanded.
    pub(super) fn choose(&mut self) -> Vec<usize> {
        let open: Vec<usize> =
            (0..self.beam.len()).filter(|&place| !self.beam[place].expanded).take(EXPANDED).collect();
        for &place in &open {
            self.beam[place].expanded = true;
        }
        open
    }

    /// Names the best of the beam that was not refined yet, and marks it as refined.
    pub(super) fn take_unrefined(&mut self) -> Option<usize> {
        let place = self.beam.iter().position(|hypothesis| !hypothesis.refined)?;
        self.beam[place].refined = true;
        Some(place)
    }

    /// What the estimate has and a hypothesis of the beam lacks.
    pub(super) fn residual(&self, place: usize) -> Array1<f32> {
        let vector = &self.beam[place].vector;
        let norm = vector.dot(vector).sqrt().max(f32::MIN_POSITIVE);
        &self.estimate - &(vector / norm)
    }

    /// Up to `count` edits of a hypothesis: three quarters are the most promising, a quarter is random.
    pub(super) fn expand(
        &mut self,
        prepared: &Prepared,
        place: usize,
        missing: ArrayView1<'_, f32>,
        swaps: Option<ArrayView2<'_, f32>>,
        count: usize,
    ) -> Vec<Candidate> {
        let fluency_weight = self.fluency_weight;
        let hypothesis = &self.beam[place];
        let swaps = swaps.zip(prepared.pieces.as_ref());
        let known = Known { units: &hypothesis.units, missing, swaps };
        let parent = Parent { known, fluency: hypothesis.fluency };
        let material = Material { prepared, estimator: &self.estimator, fluency_weight, longest: LONGEST };
        let edits = material.edits(&parent, &mut self.rng);
        let candidate = |(edit, features): Proposal| Candidate {
            units: edit.apply(&hypothesis.units),
            origin: Some((place, edit, features)),
        };
        let candidates = edits.into_iter().map(candidate);
        let mut new: Vec<Candidate> =
            candidates.filter(|candidate| !self.seen.contains(&candidate.units)).collect();
        let best = count * 3 / 4;
        for at in best..count.min(new.len()) {
            let other = at + below(new.len() - at, &mut self.rng);
            new.swap(at, other);
        }
        new.truncate(count);
        new
    }

    /// Combinations of the edits that improved a hypothesis, for those that have several.
    pub(super) fn combined(&mut self) -> Vec<Candidate> {
        let mut found = Vec::new();
        for hypothesis in &mut self.beam {
            let mut gains = std::mem::take(&mut hypothesis.gains);
            gains.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let edits: Vec<Edit> = gains.into_iter().map(|(_, edit)| edit).take(COMBINED).collect();
            for count in 2..=edits.len() {
                let (units, made) = apply_all(&hypothesis.units, &edits[..count]);
                if made > 1 && !units.is_empty() && units.len() <= LONGEST {
                    found.push(Candidate { units, origin: None });
                }
            }
        }
        found.truncate(self.left());
        found
    }

    pub(super) fn keep(&mut self, found: Vec<(Candidate, ArrayView1<'_, f32>, f32)>, language: &Language) {
        for (Candidate { units, origin }, vector, likeness) in found {
            let fluency = language.fluency(&units);
            let score = likeness + self.fluency_weight * fluency;
            if let Some((place, edit, features)) = origin {
                let parent = &mut self.beam[place];
                self.estimator.learn(&features, likeness - parent.likeness);
                if score > parent.score {
                    parent.gains.push((score - parent.score, edit));
                }
            }
            let (vector, gains) = (vector.to_owned(), Vec::new());
            self.pending.push(Hypothesis {
                units,
                vector,
                likeness,
                fluency,
                score,
                expanded: false,
                refined: false,
                gains,
            });
        }
    }

    /// Ends a round: the best of the beam and of what was measured are the new beam. Where nothing was measured, nothing
    /// changes, so that a row does not depend on how long others go on.
    pub(super) fn settle(&mut self, width: usize, vocabulary: &Vocabulary) {
        if self.pending.is_empty() {
            return;
        }
        let mut pool: Vec<Hypothesis> = self.beam.drain(..).chain(self.pending.drain(..)).collect();
        pool.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.units.cmp(&b.units)));
        let mut of_words: HashMap<Vec<u32>, usize> = HashMap::new();
        pool.retain(|hypothesis| {
            let mut words = hypothesis.units.clone();
            words.sort_unstable();
            let count = of_words.entry(words).or_default();
            *count += 1;
            *count <= SAME_WORDS
        });
        pool.truncate(width);
        self.beam = pool;
        let Some(first) = self.beam.first() else { return };
        if self.best.as_ref().is_none_or(|best| first.score > best.score) {
            self.best = Some(first.clone());
            self.stalled = 0;
        } else {
            self.stalled += 1;
        }
        self.steps.extend(self.best.iter().map(|best| vocabulary.text(&best.units)));
    }

    pub(super) fn into_inversion(self, vocabulary: &Vocabulary) -> Inversion {
        let (mut units, cosine) = self.best.map_or_else(Default::default, |best| (best.units, best.likeness));
        let listed: Vec<u32> = self.listed.into_iter().filter(|word| !units.contains(word)).collect();
        units.extend(listed);
        let output = vocabulary.text(&units);
        Inversion { steps: self.steps, output, cosine, queries: self.queries, local_gain: 0.0 }
    }
}

/// What is known of a target's noise.
pub(super) struct Noise {
    /// A likeness that no text exceeds but by fitting noise.
    limit: f32,
    /// Of a coordinate, beside vectors of norm 1.
    variance: f32,
}

impl Noise {
    /// Behind an image nothing is drawn.
    pub(super) fn none() -> Self {
        Self { limit: SOLVED, variance: 0.0 }
    }

    /// Takes the estimate, of norm 1, for the clean vector. It is computed from the target, and so has a part of its noise:
    /// this is for attackers who know nothing better.
    pub(super) fn by_angle(estimate: ArrayView1<'_, f32>, target: ArrayView1<'_, f32>) -> Self {
        let cosine = estimate.dot(&target) / target.dot(&target).sqrt().max(f32::MIN_POSITIVE);
        Self::of_cosine(cosine, estimate.len())
    }

    /// That of targets which have this mean cosine with the clean vectors, of `dim` coordinates.
    pub(super) fn of_cosine(cosine: f32, dim: usize) -> Self {
        if cosine > SOLVED {
            return Self::none();
        }
        let variance = (1.0 / (cosine * cosine).max(0.01) - 1.0) / dim as f32;
        Self { limit: cosine, variance }
    }

    /// The same, if the likeness of true texts varies.
    pub(super) fn up_to(self, expected: Expected) -> Self {
        let limit = expected.mean + DEVIATIONS * expected.deviation;
        Self { limit: limit.min(SOLVED).max(self.limit), ..self }
    }

    /// Takes what the estimate becomes in the target's space for what the clean vector becomes there.
    pub(super) fn by_distance(estimate: ArrayView1<'_, f32>, target: ArrayView1<'_, f32>) -> Self {
        let square = estimate.iter().zip(target).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        Self::of_likeness(1.0 - square / 2.0, target.len())
    }

    /// That of targets for which clean vectors have this mean likeness by distance, in `dim` coordinates.
    pub(super) fn of_likeness(likeness: f32, dim: usize) -> Self {
        if likeness > SOLVED {
            return Self::none();
        }
        Self { limit: likeness, variance: 2.0 * (1.0 - likeness) / dim as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_hopeless_by_what_a_true_text_reaches() {
        let vector = Array1::from_elem(64, 0.125);
        let goes_on = |noise: &Noise, likeness: f32, queries: usize| {
            let mut row = Row::new(vector.view(), (vector.view(), vector.view()), 9.0, (1500, 0), noise);
            row.queries = queries;
            row.best = Some(Hypothesis {
                units: vec![1],
                vector: vector.clone(),
                likeness,
                fluency: 0.0,
                score: likeness,
                expanded: false,
                refined: false,
                gains: Vec::new(),
            });
            row.may_ask()
        };
        let noisy = Noise::of_cosine(0.4, 64);
        assert!(goes_on(&noisy, 0.3, FAIR_TRIAL) && !goes_on(&noisy, 0.1, FAIR_TRIAL));
        assert!(goes_on(&noisy, 0.1, FAIR_TRIAL - 1));
        assert!(goes_on(&Noise::none(), 0.5, FAIR_TRIAL) && !goes_on(&Noise::none(), 0.3, FAIR_TRIAL));
    }
}
