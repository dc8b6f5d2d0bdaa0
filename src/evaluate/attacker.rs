//! What an adversary makes of the protected vectors before the attack proper.

use std::collections::HashMap;
use std::rc::Rc;

use embosk_attacks::alignment::{Alignment, Evidence, Unpaired};
use embosk_defenses::{Defense, Rng, Role, Stack};
use ndarray::{Array2, ArrayView2, Axis, s};
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
    /// The map that he chose.
    pub(super) map: Option<String>,
}

/// What he learnt from pairs that he made himself.
struct OwnPairs {
    /// Removes the noise of vectors that are in the clean space.
    denoiser: Alignment,
    /// The mean norm of such vectors, where a key that he does not know may have changed it.
    norm: Option<f32>,
}

impl<'a> Attacker<'a> {
    pub(super) fn new(clean: &'a Clean, attacked: Vec<usize>, spare: Vec<usize>, seed: u64) -> Self {
        Self { clean, attacked, spare, seed, denoisers: HashMap::new() }
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
                Ok(Restored { estimate: attacked.clone(), observed: attacked, map: None })
            }
            Adversary::Informed(pairs) => self.informed(stack, &attacked, pairs, 1),
            Adversary::Averaging { releases, leaked: 0 } => {
                let attacked = self.averaged(stack, &self.attacked, attacked, releases)?;
                self.informed(stack, &attacked, self.own_pairs(), releases)
            }
            Adversary::Averaging { releases, leaked } => {
                let attacked = self.averaged(stack, &self.attacked, attacked, releases)?;
                self.leaked(stack, &attacked, protected, leaked, releases)
            }
            Adversary::Leaked(pairs) => self.leaked(stack, &attacked, protected, pairs, 1),
            Adversary::Unpaired(vectors) => self.unpaired(stack, &attacked, protected, vectors),
        }
    }

    /// Whether `adversary` can gain anything on `stack` over the others: without a key there is no map
    /// to be found from two clouds, and equal releases have no better mean.
    pub(super) fn can_gain(&self, stack: &Stack, adversary: Adversary) -> Result<bool, Error> {
        let keyed = || stack.imitation(&mut Rng::seeded(self.seed)).is_some();
        match adversary {
            Adversary::Unpaired(_) => Ok(keyed()),
            Adversary::Averaging { leaked, .. } => {
                let clean = self.clean.documents.stored.select(Axis(0), &self.attacked);
                let mut rng = Rng::seeded(self.seed);
                let mut release = || mean_release(stack, &clean, 1, &mut rng);
                Ok(release()? != release()? && (leaked == 0 || keyed()))
            }
            _ => Ok(true),
        }
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
        let documents = self.spare[..pairs].to_vec();
        let clean = self.clean.documents.attackable().select(Axis(0), &documents);
        let known = protected.select(Axis(0), &documents);
        let known = self.averaged(stack, &documents, known, releases)?;
        let same_space = protected.ncols() == clean.ncols();
        let own = match self.own_pairs() {
            pairs if pairs >= CLOUD && same_space => Some(self.own(stack, pairs, releases)?),
            _ => None,
        };
        let clouds = (own.is_some() && stack.imitation(&mut Rng::seeded(self.seed)).is_some())
            .then(|| self.clouds(protected, OWN_PAIRS))
            .filter(|(stored, own)| stored.nrows().min(own.nrows()) >= CLOUD);
        let map = Alignment::fit_on(&Evidence {
            protected: known.view(),
            clean: clean.view(),
            clouds: clouds.as_ref().map(|(stored, own)| (stored.view(), own.view())),
            denoiser: own.as_ref().map(|own| &own.denoiser),
        })?;
        Ok(Restored {
            estimate: map.apply(attacked.view())?,
            observed: map.observed(attacked.view())?,
            map: Some(map.to_string()),
        })
    }

    /// Lays the cloud of the stored vectors on that of his own, and undoes the rest by pairs that he makes
    /// himself.
    fn unpaired(
        &mut self,
        stack: &Stack,
        attacked: &Array2<f32>,
        protected: &Array2<f32>,
        vectors: usize,
    ) -> Result<Restored, Error> {
        let (stored, own) = self.clouds(protected, vectors);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let map = Unpaired::fit(stored.view(), own.view(), &mut rng)?;
        let own = self.own(stack, self.own_pairs(), 1)?;
        denoised(&own, &map.apply(attacked.view())?, Some(map.to_string()))
    }

    /// So many stored vectors, and those of as many texts of his own.
    fn clouds(&self, protected: &Array2<f32>, vectors: usize) -> (Array2<f32>, ArrayView2<'a, f32>) {
        let own = self.clean.own.attackable();
        let documents = self.attacked.len() + self.spare.len();
        // where his texts are spare documents, none of them is both stored and his own
        let most = if self.clean.own_is_spare { documents / 2 } else { usize::MAX };
        let vectors = vectors.min(most);
        let stored: Vec<usize> = self.attacked.iter().chain(&self.spare).copied().take(vectors).collect();
        let first = own.nrows().saturating_sub(vectors);
        (protected.select(Axis(0), &stored), own.slice(s![first.., ..]))
    }

    /// How many pairs he makes where nobody says.
    fn own_pairs(&self) -> usize {
        self.clean.own.stored.nrows().min(OWN_PAIRS)
    }

    /// Makes pairs, under a key of his own where one is needed, each the mean of as many releases as he has
    /// of what he attacks; undoes his key; and fits what brings them closer to the clean vectors.
    fn own(&mut self, stack: &Stack, pairs: usize, releases: usize) -> Result<Rc<OwnPairs>, Error> {
        let name = (stack.to_string(), pairs, releases);
        if let Some(known) = self.denoisers.get(&name) {
            return Ok(Rc::clone(known));
        }
        let part = s![..pairs, ..];
        let mut rng = Rng::seeded(!self.seed);
        let imitation = stack.imitation(&mut rng);
        let defense: &dyn Defense = imitation.as_deref().unwrap_or(stack);
        let stored = self.clean.own.stored.slice(part).to_owned();
        let clean = self.clean.own.attackable().slice(part);
        let mut made = mean_release(defense, &stored, releases, &mut rng)?;
        if imitation.is_some() && stored.ncols() == clean.ncols() {
            made = Alignment::fit_linear(made.view(), clean)?.observed(made.view())?;
        }
        let denoiser = Alignment::fit(made.view(), clean)?;
        let own = Rc::new(OwnPairs { denoiser, norm: imitation.map(|_| mean_norm(&made)) });
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
        // other noise than that of the release that is stored
        let mut rng = Rng::seeded(self.seed.rotate_left(32) ^ releases as u64);
        let others = mean_release(stack, &clean, releases - 1, &mut rng)?;
        let share = 1.0 / releases as f32;
        Ok(first * share + others * (1.0 - share))
    }
}

/// The attacked vectors, which are in the clean space but for their lengths, without their noise.
fn denoised(own: &OwnPairs, attacked: &Array2<f32>, map: Option<String>) -> Result<Restored, Error> {
    let longer = own.norm.map_or(1.0, |norm| norm / mean_norm(attacked));
    let attacked = if longer.is_finite() { attacked * longer } else { attacked.clone() };
    let denoiser = own.denoiser.to_string();
    let map = match map {
        Some(map) if denoiser == "identity" => map,
        Some(map) => format!("{map}, then {denoiser}"),
        None => denoiser,
    };
    Ok(Restored {
        estimate: own.denoiser.apply(attacked.view())?,
        observed: own.denoiser.observed(attacked.view())?,
        map: Some(map),
    })
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
