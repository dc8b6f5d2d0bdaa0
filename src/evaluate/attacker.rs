//! What an adversary makes of the protected vectors before the attack proper.

use std::collections::HashMap;
use std::rc::Rc;

use embosk_attacks::alignment::{Alignment, Clouds, Denoising, Evidence, Unpaired};
use embosk_defenses::{Defense, Rng, Role, Stack};
use ndarray::{Array2, ArrayBase, Axis, Data, Ix2, SliceInfo, SliceInfoElem, concatenate, s};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::adversary::{Adversary, CLOUD, OWN_PAIRS};
use super::clean::Clean;
use crate::Error;

/// What the attackers of one evaluation know.
pub(super) struct Attacker<'a> {
    pub(super) clean: &'a Clean,
    /// The positions of the attacked documents, and of those whose pairs may have leaked.
    attacked: Vec<usize>,
    spare: Vec<usize>,
    seed: u64,
    /// By stack, pairs and releases.
    denoisers: HashMap<(String, usize, usize), Rc<OwnPairs>>,
}

/// The attacked vectors as he hands them to the attack.
pub(super) struct Restored {
    /// His best estimate of the clean vectors, for models to read.
    pub(super) estimate: Array2<f32>,
    /// What he observed, in the clean vectors' space and with all noise, to rank by.
    pub(super) observed: Array2<f32>,
    /// The map that he chose, and the part of it that the observed vectors went through.
    pub(super) map: Option<String>,
    turn: Option<String>,
}

/// What he learnt from pairs that he made himself.
struct OwnPairs {
    /// Removes the noise of vectors that are in the clean space.
    denoiser: Denoising,
    /// Whether a key that he does not know may have changed their norms, and whether it turns the space.
    is_keyed: bool,
    is_turned: bool,
}

/// Vectors of his own making.
struct Made {
    vectors: Array2<f32>,
    /// Whether a key was needed, and whether it turned the space.
    is_keyed: bool,
    is_turned: bool,
}

/// The vectors that he lays on each other.
struct CloudVectors {
    stored: Array2<f32>,
    /// The vectors that are attacked; of those that are stored too, the same.
    attacked: Array2<f32>,
    /// Vectors of his own texts, with as much noise and without.
    own: Array2<f32>,
    clean: Array2<f32>,
}

impl CloudVectors {
    fn view(&self) -> Clouds<'_> {
        Clouds { protected: self.stored.view(), own: self.own.view(), clean: self.clean.view() }
    }
}

/// Texts of his own that show him whether a key turns the space.
const TURNED: usize = 200;
/// How often he protects each text of his own where it comes out differently: more noise to learn from.
const DRAWS: u64 = 3;
/// A map holds out every fifth pair, a network every tenth of the rest: all draws of a text together where
/// they lie a multiple of this apart.
const APART: usize = 50;
/// Below this cosine of vectors to the same with the key taken back, the key turned them.
const TURNED_COSINE: f32 = 0.999;
/// Above this cosine to the clean vectors, what a public defense makes of hypotheses ranks them; a map must
/// turn others back first.
const NEAR: f32 = 0.5;
/// A mean cosine to clean vectors that is lower by more than this is worse.
const WORSE: f32 = 0.01;
/// Differences to clean vectors below this are rounding.
const ROUNDING: f32 = 1e-4;

impl<'a> Attacker<'a> {
    pub(super) fn new(clean: &'a Clean, attacked: Vec<usize>, spare: Vec<usize>, seed: u64) -> Self {
        Self { clean, attacked, spare, seed, denoisers: HashMap::new() }
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn attacked(&self) -> &[usize] {
        &self.attacked
    }

    /// What `adversary` makes of the attacked vectors. `protected` are those of all documents under `stack`.
    pub(super) fn restore(
        &mut self,
        stack: &Stack,
        adversary: Adversary,
        protected: &Array2<f32>,
    ) -> Result<Restored, Error> {
        let attacked = protected.select(Axis(0), &self.attacked);
        match adversary {
            Adversary::Naive | Adversary::Retrained => {
                Ok(Restored { estimate: attacked.clone(), observed: attacked, map: None, turn: None })
            }
            Adversary::Informed(pairs) => self.informed(stack, &attacked, pairs, 1),
            Adversary::Averaging { releases, leaked: 0 } => {
                if self.room_for_cloud(OWN_PAIRS) >= CLOUD && self.is_turned(stack)? {
                    return self.unpaired(stack, protected, OWN_PAIRS, releases);
                }
                let attacked = self.averaged(stack, &self.attacked, attacked, releases)?;
                self.informed(stack, &attacked, self.own_pairs(), releases)
            }
            Adversary::Averaging { releases, leaked } => {
                let attacked = self.averaged(stack, &self.attacked, attacked, releases)?;
                self.leaked(stack, &attacked, protected, leaked, releases)
            }
            Adversary::Leaked(pairs) => self.leaked(stack, &attacked, protected, pairs, 1),
            Adversary::Unpaired(vectors) => self.unpaired(stack, protected, vectors, 1),
            Adversary::RetrainedAfter(undoing) => {
                let Restored { observed, turn, .. } = self.restore(stack, undoing.adversary(), protected)?;
                Ok(Restored { estimate: observed.clone(), observed, map: turn.clone(), turn })
            }
        }
    }

    /// Whether `adversary` can gain anything on `stack` over the others: without a key there is no map
    /// to be found from two clouds, and equal releases have no better mean.
    pub(super) fn can_gain(&self, stack: &Stack, adversary: Adversary) -> Result<bool, Error> {
        match adversary {
            Adversary::Unpaired(_) | Adversary::RetrainedAfter(_) => Ok(self.is_keyed(stack)),
            Adversary::Averaging { leaked, .. } => {
                let [first, second] = self.two_releases(stack)?;
                Ok(first != second && (leaked == 0 || self.is_keyed(stack)))
            }
            _ => Ok(true),
        }
    }

    /// Whether `adversary` can tell what would be stored of a hypothesis, and rank by it: he knows `stack`,
    /// which has no key and draws nothing, and changes vectors but does not turn them away.
    pub(super) fn ranks_through(&self, stack: &Stack, adversary: Adversary) -> Result<bool, Error> {
        let is_known = adversary.knows_the_defense() && !self.is_keyed(stack);
        if !is_known || self.clean.documents.has_surrogate() {
            return Ok(false);
        }
        let [first, second] = self.two_releases(stack)?;
        let clean = self.clean.documents.stored.select(Axis(0), &self.attacked);
        Ok(first == second && first != clean && mean_cosine(&first, &clean) > NEAR)
    }

    fn is_keyed(&self, stack: &Stack) -> bool {
        stack.imitation(&mut Rng::seeded(self.seed)).is_some()
    }

    /// Two releases of the attacked texts, which are equal where the stack draws nothing.
    fn two_releases(&self, stack: &Stack) -> Result<[Array2<f32>; 2], Error> {
        let clean = self.clean.documents.stored.select(Axis(0), &self.attacked);
        let mut rng = Rng::seeded(self.seed);
        let mut release = || mean_release(stack, &clean, 1, &mut rng);
        Ok([release()?, release()?])
    }

    /// Undoes what needs no key, by pairs that he makes himself.
    fn informed(
        &mut self,
        stack: &Stack,
        attacked: &Array2<f32>,
        pairs: usize,
        releases: usize,
    ) -> Result<Restored, Error> {
        let own = self.own(stack, pairs, releases)?;
        denoised(&own, attacked, None)
    }

    /// Undoes the key by real pairs, and the rest by pairs that he makes himself.
    fn leaked(
        &mut self,
        stack: &Stack,
        attacked: &Array2<f32>,
        protected: &Array2<f32>,
        pairs: usize,
        releases: usize,
    ) -> Result<Restored, Error> {
        // the last ones, as the first may be the texts that he learns to denoise from
        let documents = self.spare[self.spare.len() - pairs..].to_vec();
        let clean = self.clean.documents.attackable().select(Axis(0), &documents);
        let known = protected.select(Axis(0), &documents);
        let known = self.averaged(stack, &documents, known, releases)?;
        let between_spaces = self.clean.own.has_surrogate();
        let own = match self.own_pairs() {
            pairs if pairs >= CLOUD && !between_spaces => Some(self.own(stack, pairs, releases)?),
            _ => None,
        };
        // where no key turns the space, as many pairs that he makes himself say all that leaked ones can, unless
        // these show that his texts are of another kind
        if let Some(own) = own.as_ref().filter(|own| !own.is_turned && pairs <= self.own_pairs()) {
            let restored = denoised(own, &known, None)?.estimate;
            if mean_cosine(&restored, &clean) > mean_cosine(&known, &clean) - WORSE {
                return denoised(own, attacked, None);
            }
        }
        let clouds = own
            .is_some()
            .then(|| self.clouds(stack, protected, OWN_PAIRS, releases))
            .transpose()?
            .filter(|CloudVectors { stored, own, .. }| stored.nrows().min(own.nrows()) >= CLOUD);
        let map = Alignment::fit_on(&Evidence {
            clouds: clouds.as_ref().map(CloudVectors::view),
            denoiser: own.as_ref().map(|own| &own.denoiser),
            between_spaces,
            ..Evidence::pairs(known.view(), clean.view())
        })?;
        Ok(Restored {
            estimate: map.apply(attacked.view())?,
            observed: map.observed(attacked.view())?,
            map: Some(map.to_string()),
            turn: Some(map.turn_name()),
        })
    }

    /// Lays the cloud of the stored vectors on that of his own, and undoes the rest by pairs that he makes
    /// himself; all of them the means of as many releases as he has.
    fn unpaired(
        &mut self,
        stack: &Stack,
        protected: &Array2<f32>,
        vectors: usize,
        releases: usize,
    ) -> Result<Restored, Error> {
        let clouds = self.clouds(stack, protected, vectors, releases)?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let map = Unpaired::fit_on(&clouds.view(), None, &mut rng)?;
        let own = self.own(stack, self.own_pairs(), releases)?;
        denoised(&own, &map.apply(clouds.attacked.view())?, Some(map.to_string()))
    }

    /// So many stored vectors, and those of all texts of his own in the clean space, with as much noise and
    /// without.
    fn clouds(
        &self,
        stack: &Stack,
        protected: &Array2<f32>,
        vectors: usize,
        releases: usize,
    ) -> Result<CloudVectors, Error> {
        let (vectors, attacked) = (self.room_for_cloud(vectors), self.attacked.len());
        let documents = self.attacked.iter().chain(&self.spare).copied();
        let documents: Vec<usize> = documents.take(vectors.max(attacked)).collect();
        let first = protected.select(Axis(0), &documents);
        let seen = self.averaged(stack, &documents, first, releases)?;
        let first = if self.clean.own_is_spare { vectors.saturating_sub(attacked) } else { 0 };
        let own = self.made(stack, s![first.., ..], releases, 0)?.vectors;
        Ok(CloudVectors {
            stored: seen.slice(s![..vectors, ..]).to_owned(),
            attacked: seen.slice(s![..attacked, ..]).to_owned(),
            own,
            clean: self.clean.own.stored.slice(s![first.., ..]).to_owned(),
        })
    }

    /// How many stored vectors he can read of so many: where his texts are spare documents, none of them is
    /// both stored and his own.
    fn room_for_cloud(&self, vectors: usize) -> usize {
        let documents = self.attacked.len() + self.spare.len();
        vectors.min(if self.clean.own_is_spare { documents / 2 } else { documents })
    }

    /// Whether the key turns the space, so that pairs or clouds are needed: he sees it on vectors that he
    /// makes under a key of his own.
    fn is_turned(&self, stack: &Stack) -> Result<bool, Error> {
        let enough = self.own_pairs().min(TURNED);
        Ok(enough >= CLOUD && self.made(stack, s![..enough, ..], 1, 0)?.is_turned)
    }

    /// Vectors of texts of his own, protected by himself as often as `releases` says and averaged; under a
    /// key of his own where one is needed, which he then undoes. Each draw has other noise and another key.
    fn made(
        &self,
        stack: &Stack,
        rows: SliceInfo<[SliceInfoElem; 2], Ix2, Ix2>,
        releases: usize,
        draw: u64,
    ) -> Result<Made, Error> {
        let mut rng = Rng::seeded(!self.seed ^ draw.rotate_right(8));
        let imitation = stack.imitation(&mut rng);
        let defense: &dyn Defense = imitation.as_deref().unwrap_or(stack);
        let stored = self.clean.own.stored.slice(rows).to_owned();
        let vectors = mean_release(defense, &stored, releases, &mut rng)?;
        if imitation.is_none() {
            return Ok(Made { vectors, is_keyed: false, is_turned: false });
        }
        let mut undone = vectors.clone();
        if defense.undo_key(undone.view_mut())? {
            let is_turned = is_turned(&vectors, &undone);
            return Ok(Made { vectors: undone, is_keyed: true, is_turned });
        }
        // a defense that does not say how: by pairs
        let map = Alignment::fit_linear(vectors.view(), stored.view())?;
        Ok(Made { vectors: map.observed(vectors.view())?, is_keyed: true, is_turned: map.is_turn() })
    }

    /// What estimates must be multiplied by to be as long, on average, as clean vectors of his own texts.
    pub(super) fn lengthening(&self, estimates: &Array2<f32>) -> f32 {
        let longer = mean_norm(self.clean.own.attackable()) / mean_norm(estimates);
        if longer.is_finite() && longer > 0.0 { longer } else { 1.0 }
    }

    /// How many pairs he makes where nobody says.
    fn own_pairs(&self) -> usize {
        self.clean.own.stored.nrows().min(OWN_PAIRS)
    }

    /// Makes pairs of so many texts, each the mean of as many releases as he has of what he attacks, and
    /// fits what brings them closer to the clean vectors.
    fn own(&mut self, stack: &Stack, texts: usize, releases: usize) -> Result<Rc<OwnPairs>, Error> {
        let name = (stack.to_string(), texts, releases);
        if let Some(known) = self.denoisers.get(&name) {
            return Ok(Rc::clone(known));
        }
        let Made { vectors: first, is_keyed, is_turned } = self.made(stack, s![..texts, ..], releases, 0)?;
        let clean = self.clean.own.attackable().slice(s![..texts, ..]);
        let stored = self.clean.own.stored.slice(s![..texts, ..]);
        let is_changed = first.iter().zip(&stored).any(|(made, clean)| (made - clean).abs() > ROUNDING);
        // the last few texts go without, so that each text's draws are held out together
        let again = s![..texts - texts % APART, ..];
        let mut draws = Vec::new();
        for draw in 1..if is_changed && texts >= APART { DRAWS } else { 1 } {
            let another = self.made(stack, again, releases, draw)?.vectors;
            if another == first.slice(again) {
                break;
            }
            draws.push(another);
        }
        let mut cleans = vec![clean.slice(again); draws.len()];
        draws.push(first);
        cleans.push(clean);
        let (made, clean) = (together(&draws)?, together(&cleans)?);
        let between_spaces = self.clean.own.has_surrogate();
        let pairs = Evidence { between_spaces, ..Evidence::pairs(made.view(), clean.view()) };
        let denoiser = Denoising::new(Alignment::fit_on(&pairs)?, &pairs);
        let own = Rc::new(OwnPairs { denoiser, is_keyed, is_turned });
        self.denoisers.insert(name, Rc::clone(&own));
        Ok(own)
    }

    /// The mean of `releases` of the documents' vectors, of which `first` are the stored ones.
    fn averaged(
        &self,
        stack: &Stack,
        documents: &[usize],
        first: Array2<f32>,
        releases: usize,
    ) -> Result<Array2<f32>, Error> {
        if releases < 2 {
            return Ok(first);
        }
        let clean = self.clean.documents.stored.select(Axis(0), documents);
        // other noise than that of the release that is stored, and for other documents other noise
        let first_document = documents.first().map_or(0, |&document| document as u64);
        let mut rng = Rng::seeded(self.seed.rotate_left(32) ^ (first_document << 16) ^ releases as u64);
        let others = mean_release(stack, &clean, releases - 1, &mut rng)?;
        let share = 1.0 / releases as f32;
        Ok(first * share + others * (1.0 - share))
    }
}

/// The attacked vectors, which are in the clean space but for their lengths, without their noise.
fn denoised(own: &OwnPairs, attacked: &Array2<f32>, map: Option<String>) -> Result<Restored, Error> {
    let longer = if own.is_keyed { own.denoiser.norm / mean_norm(attacked) } else { 1.0 };
    let attacked = if longer.is_finite() { attacked * longer } else { attacked.clone() };
    let denoiser = own.denoiser.map.to_string();
    let whole = match &map {
        Some(map) if denoiser == "identity" => map.clone(),
        Some(map) => format!("{map}, then {denoiser}"),
        None => denoiser,
    };
    Ok(Restored {
        estimate: own.denoiser.map.apply(attacked.view())?,
        observed: own.denoiser.map.observed(attacked.view())?,
        map: Some(whole),
        turn: map,
    })
}

fn together<S: Data<Elem = f32>>(parts: &[ArrayBase<S, Ix2>]) -> Result<Array2<f32>, Error> {
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    concatenate(Axis(0), &views).map_err(|_| Error::Setting("draws of one text differ in dimension".into()))
}

/// Whether a key turned the space of `vectors`, of which `undone` are the same with it taken back.
pub(super) fn is_turned(vectors: &Array2<f32>, undone: &Array2<f32>) -> bool {
    mean_cosine(vectors, undone) < TURNED_COSINE
}

fn mean_cosine(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
    let cosines = a.rows().into_iter().zip(b.rows()).filter_map(|(a, b)| {
        let norms = (a.dot(&a) * b.dot(&b)).sqrt();
        (norms > 0.0).then(|| a.dot(&b) / norms)
    });
    let (sum, count) = cosines.fold((0.0, 0), |(sum, count), cosine| (sum + cosine, count + 1));
    if count > 0 { sum / count as f32 } else { 1.0 }
}

fn mean_norm(rows: &Array2<f32>) -> f32 {
    rows.rows().into_iter().map(|row| row.dot(&row).sqrt()).sum::<f32>() / rows.nrows().max(1) as f32
}

/// The mean of so many releases of the vectors.
fn mean_release(
    stack: &dyn Defense,
    clean: &Array2<f32>,
    releases: usize,
    rng: &mut Rng,
) -> Result<Array2<f32>, Error> {
    let mut sum = Array2::<f32>::zeros(clean.dim());
    for _ in 0..releases {
        let mut release = clean.clone();
        stack.protect(Role::Document, release.view_mut(), rng)?;
        sum += &release;
    }
    Ok(sum / releases as f32)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use embosk_defenses::{GaussianNoise, Key};

    use super::*;

    /// The mean of r releases of fresh noise has an error of 1 / √r; keyed noise is the same in each.
    #[test]
    fn averaging_reduces_the_error_of_fresh_noise_alone() {
        let clean = Array2::from_shape_fn((300, 64), |(row, column)| (row + column) as f32 * 1e-3);
        let error = |noise: GaussianNoise, releases: usize| {
            let stack = Stack::new().with(noise);
            let mean = mean_release(&stack, &clean, releases, &mut Rng::seeded(1)).unwrap();
            (mean - &clean).mapv(|difference| difference * difference).mean().unwrap().sqrt()
        };
        for releases in [1, 4, 16, 64] {
            let expected = 0.2 / (releases as f32).sqrt();
            let found = error(GaussianNoise::new(0.2).unwrap(), releases);
            assert!((found / expected - 1.0).abs() < 0.03, "{releases}: {found} {expected}");
        }
        let keyed = GaussianNoise::keyed(&Key::from_bytes([7; 32]), 0.2).unwrap();
        assert!((error(keyed, 64) / 0.2 - 1.0).abs() < 0.03);
    }
}
