//! What an adversary makes of the protected vectors before the attack proper.

use embosk_attacks::alignment::{Alignment, Unpaired};
use embosk_defenses::{Defense, Rng, Role, Stack};
use ndarray::{Array2, Axis, s};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::adversary::{Adversary, OWN_PAIRS};
use super::clean::Clean;
use crate::Error;

/// What the attackers of one evaluation know.
pub(super) struct Attacker<'a> {
    pub(super) clean: &'a Clean,
    /// The positions of the attacked documents, and of those whose pairs may have leaked.
    pub(super) attacked: Vec<usize>,
    pub(super) spare: Vec<usize>,
    pub(super) seed: u64,
}

impl Attacker<'_> {
    /// The attacked vectors as he hands them to the attack, and the map that he chose. `protected` are
    /// the vectors of all documents under `stack`.
    pub(super) fn restore(
        &self,
        stack: &Stack,
        adversary: Adversary,
        protected: &Array2<f32>,
    ) -> Result<(Array2<f32>, Option<String>), Error> {
        let attacked = protected.select(Axis(0), &self.attacked);
        match adversary {
            Adversary::Naive | Adversary::Retrained => Ok((attacked, None)),
            Adversary::Leaked(pairs) => {
                let documents = &self.spare[..pairs];
                let clean = self.clean.documents.attackable().select(Axis(0), documents);
                aligned(&attacked, &protected.select(Axis(0), documents), &clean)
            }
            Adversary::Informed(pairs) => self.informed(stack, &attacked, pairs, 1),
            Adversary::Averaging(releases) => {
                let attacked = self.averaged(stack, attacked, releases)?;
                self.informed(stack, &attacked, self.clean.own.stored.nrows().min(OWN_PAIRS), releases)
            }
            Adversary::Unpaired(vectors) => self.unpaired(&attacked, protected, vectors),
        }
    }

    /// Whether `adversary` can gain anything on `stack` over the others: without a key there is no map
    /// to be found from two clouds, and equal releases have no better mean.
    pub(super) fn can_gain(&self, stack: &Stack, adversary: Adversary) -> Result<bool, Error> {
        match adversary {
            Adversary::Unpaired(_) => Ok(stack.imitation(&mut Rng::seeded(self.seed)).is_some()),
            Adversary::Averaging(_) => {
                let clean = self.clean.documents.stored.select(Axis(0), &self.attacked);
                let mut rng = Rng::seeded(self.seed);
                let mut release = || mean_release(stack, &clean, 1, &mut rng);
                Ok(release()? != release()?)
            }
            _ => Ok(true),
        }
    }

    /// Fits a map on pairs that he makes himself, each the mean of as many releases as he has of what
    /// he attacks.
    fn informed(
        &self,
        stack: &Stack,
        attacked: &Array2<f32>,
        pairs: usize,
        releases: usize,
    ) -> Result<(Array2<f32>, Option<String>), Error> {
        let part = s![..pairs, ..];
        let mut rng = Rng::seeded(!self.seed);
        let imitation = stack.imitation(&mut rng);
        let stack: &dyn Defense = imitation.as_deref().unwrap_or(stack);
        let made = mean_release(stack, &self.clean.own.stored.slice(part).to_owned(), releases, &mut rng)?;
        aligned(attacked, &made, &self.clean.own.attackable().slice(part).to_owned())
    }

    /// The mean of `releases` of the attacked vectors, of which `first` are the stored ones.
    fn averaged(&self, stack: &Stack, first: Array2<f32>, releases: usize) -> Result<Array2<f32>, Error> {
        if releases < 2 {
            return Ok(first);
        }
        let clean = self.clean.documents.stored.select(Axis(0), &self.attacked);
        // other noise than that of the release that is stored
        let mut rng = Rng::seeded(self.seed.rotate_left(32) ^ releases as u64);
        let others = mean_release(stack, &clean, releases - 1, &mut rng)?;
        let share = 1.0 / releases as f32;
        Ok(first * share + others * (1.0 - share))
    }

    /// Lays the cloud of the stored vectors on that of his own.
    fn unpaired(
        &self,
        attacked: &Array2<f32>,
        protected: &Array2<f32>,
        vectors: usize,
    ) -> Result<(Array2<f32>, Option<String>), Error> {
        let stored: Vec<usize> = self.attacked.iter().chain(&self.spare).copied().take(vectors).collect();
        let protected = protected.select(Axis(0), &stored);
        // the last ones: where his texts are spare documents, they are not among the stored ones
        let first = self.clean.own.stored.nrows().saturating_sub(vectors);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let own = self.clean.own.attackable();
        let map = Unpaired::fit(protected.view(), own.slice(s![first.., ..]), &mut rng)?;
        Ok((map.apply(attacked.view())?, Some(map.to_string())))
    }
}

fn aligned(
    attacked: &Array2<f32>,
    protected: &Array2<f32>,
    clean: &Array2<f32>,
) -> Result<(Array2<f32>, Option<String>), Error> {
    let map = Alignment::fit(protected.view(), clean.view())?;
    Ok((map.apply(attacked.view())?, Some(map.to_string())))
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
