use std::fmt;

use embosk_attacks::alignment::{Alignment, LEAST_CLOUD};
use embosk_defenses::{Defense, Rng, Role, Stack};
use ndarray::{Array2, Axis, Ix2, SliceInfo, SliceInfoElem, s};

use crate::Error;
use crate::evaluate::adversaries::Material;
use crate::evaluate::adversaries::vectors::{is_turned, mean_cosine, widened};

/// How many of the attacker's own texts show whether a key turns the space.
const TURNED: usize = 200;
/// If the mean cosine of protected to clean vectors is above this, hypotheses are ranked by their images
/// under the defense. Otherwise a map must first undo what the defense does to directions.
const NEAR: f32 = 0.5;

// a cloud needs this many vectors, so with fewer the attacker never sees it
const _: () = assert!(TURNED >= LEAST_CLOUD);

/// A defense as an attacker knows it: its settings, but not its key.
#[derive(Clone, Copy)]
pub struct KnownDefense<'a> {
    stack: &'a Stack,
    pub(super) material: &'a Material<'a>,
}

/// Vectors that the attacker protected, with the key undone.
pub(super) struct Made {
    pub(super) vectors: Array2<f32>,
    /// Whether a key was needed, and whether it turned the space.
    pub(super) is_keyed: bool,
    pub(super) is_turned: bool,
}

/// A choice of rows.
pub(super) type Rows = SliceInfo<[SliceInfoElem; 2], Ix2, Ix2>;

impl<'a> KnownDefense<'a> {
    pub(in crate::evaluate) fn new(stack: &'a Stack, material: &'a Material<'a>) -> Self {
        Self { stack, material }
    }

    /// Returns whether the defense has a key that the attacker does not know.
    pub fn is_keyed(&self) -> bool {
        self.stack.imitation(&mut Rng::seeded(self.material.seed)).is_some()
    }

    /// Returns whether two releases of a text differ.
    ///
    /// # Errors
    /// When the defense fails.
    pub fn draws(&self) -> Result<bool, Error> {
        let [first, second] = self.two_releases()?;
        Ok(first != second)
    }

    /// Returns whether the key turns the space, so that undoing it takes pairs or clouds. Attackers find out by
    /// protecting vectors under their own key; with fewer than 50 texts, they cannot tell.
    ///
    /// # Errors
    /// When the defense fails.
    pub fn turns(&self) -> Result<bool, Error> {
        let enough = self.material.own_texts().min(TURNED);
        Ok(enough >= LEAST_CLOUD && self.made(s![..enough, ..], 1, 0)?.is_turned)
    }

    /// Returns whether there are enough documents and texts for [clouds](super::Knowledge::clouds) that have a shape.
    pub fn has_clouds(&self) -> bool {
        self.material.has_clouds()
    }

    /// Returns whether the defense has a key that turns the documents' vectors, whether or not an attacker can tell.
    pub(in crate::evaluate) fn is_turned_by_its_key(&self) -> Result<bool, Error> {
        let mut rng = Rng::seeded(self.material.seed);
        let Some(imitation) = self.stack.imitation(&mut rng) else { return Ok(false) };
        let documents = &self.material.clean.documents.stored;
        let clean = documents.slice(s![..documents.nrows().min(TURNED), ..]).to_owned();
        let vectors = mean_release(&imitation, &clean, 1, &mut rng)?;
        Ok(undone(&imitation, vectors, &self.stack.reduced(clean)?)?.is_turned)
    }

    /// Returns the form in which clean vectors of the attacked embedder, `[rows, dim]`, are compared with stored
    /// ones: what the defense makes of them without its key and its noise ([`Defense::reduced`]). The vectors are
    /// unchanged, unless a projection changes the dimension. With a surrogate they are always unchanged, because the
    /// maps between the two embedders lead to them.
    ///
    /// # Errors
    /// When the defense fails.
    pub fn reduced(&self, clean: Array2<f32>) -> Result<Array2<f32>, Error> {
        if self.material.clean.documents.has_surrogate() {
            Ok(clean)
        } else {
            Ok(self.stack.reduced(clean)?)
        }
    }

    /// Returns whether [`reduced`](Self::reduced) vectors have another dimension than clean ones.
    ///
    /// # Errors
    /// When the defense fails.
    pub fn reduces(&self) -> Result<bool, Error> {
        Ok(self.reduced_dimension()? != self.material.clean.documents.attackable().ncols())
    }

    /// Returns the dimension of [`reduced`](Self::reduced) vectors, which is that of what adversaries restore.
    pub(in crate::evaluate) fn reduced_dimension(&self) -> Result<usize, Error> {
        let dimension = self.material.clean.documents.attackable().ncols();
        Ok(self.reduced(Array2::zeros((0, dimension)))?.ncols())
    }

    /// Returns stored vectors with zeros for the coordinates that a key removed. If a key chooses the directions of a
    /// projection, this is the projected vector, turned.
    pub(super) fn completed(&self, stored: Array2<f32>) -> Result<Array2<f32>, Error> {
        let dimension = self.material.clean.documents.stored.ncols();
        Ok(widened(stored, self.stack.reduced(Array2::zeros((0, dimension)))?.ncols()))
    }

    /// Returns whether the attacker can protect a hypothesis as it would be stored, and rank by the result.
    /// This holds if the defense has no key, draws nothing, and changes vectors but keeps their rough
    /// direction.
    pub(in crate::evaluate) fn ranks_hypotheses(&self) -> Result<bool, Error> {
        if self.is_keyed() || self.material.clean.documents.has_surrogate() {
            return Ok(false);
        }
        let [first, second] = self.two_releases()?;
        let clean = self.reduced(self.attacked_clean())?;
        Ok(first == second && first != clean && mean_cosine(&first, &clean) > NEAR)
    }

    /// Returns the name that distinguishes the defense from others of the evaluation.
    pub(super) fn name(&self) -> String {
        self.stack.to_string()
    }

    /// Protects each of the attacker's own texts as often as `releases` says, and takes the means. If a key
    /// is needed, it is a fresh one, which is then undone. Each draw has different noise and a different key.
    pub(super) fn made(&self, rows: Rows, releases: usize, draw: u64) -> Result<Made, Error> {
        let mut rng = Rng::seeded(!self.material.seed ^ draw.rotate_right(8));
        let imitation = self.stack.imitation(&mut rng);
        let defense: &dyn Defense = imitation.as_deref().unwrap_or(self.stack);
        let stored = self.material.clean.own.stored.slice(rows).to_owned();
        let vectors = mean_release(defense, &stored, releases, &mut rng)?;
        match imitation {
            None => Ok(Made { vectors, is_keyed: false, is_turned: false }),
            Some(imitation) => undone(&imitation, vectors, &self.stack.reduced(stored)?),
        }
    }

    /// Returns the means of this many releases of the documents' vectors; `first` are the stored ones.
    pub(super) fn averaged(
        &self,
        documents: &[usize],
        first: Array2<f32>,
        releases: usize,
    ) -> Result<Array2<f32>, Error> {
        if releases < 2 {
            return Ok(first);
        }
        let clean = self.material.clean.documents.stored.select(Axis(0), documents);
        // noise that differs from the stored release's, and between documents
        let first_document = documents.first().map_or(0, |&document| document as u64);
        let seed = self.material.seed.rotate_left(32) ^ (first_document << 16) ^ releases as u64;
        let others = mean_release(self.stack, &clean, releases - 1, &mut Rng::seeded(seed))?;
        let share = 1.0 / releases as f32;
        Ok(first * share + others * (1.0 - share))
    }

    fn attacked_clean(&self) -> Array2<f32> {
        self.material.clean.documents.stored.select(Axis(0), &self.material.attacked)
    }

    /// Returns two releases of the attacked texts, which are equal if the defense draws nothing.
    fn two_releases(&self) -> Result<[Array2<f32>; 2], Error> {
        let clean = self.attacked_clean();
        let mut rng = Rng::seeded(self.material.seed);
        let mut release = || mean_release(self.stack, &clean, 1, &mut rng);
        Ok([release()?, release()?])
    }
}

impl fmt::Debug for KnownDefense<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KnownDefense").field(&self.name()).finish()
    }
}

/// Undoes the key of vectors that were protected under it. `clean` are the clean vectors, reduced.
fn undone(defense: &dyn Defense, vectors: Array2<f32>, clean: &Array2<f32>) -> Result<Made, Error> {
    let mut undone = vectors.clone();
    if defense.undo_key(undone.view_mut())? {
        let is_turned = is_turned(&vectors, &undone);
        return Ok(Made { vectors: undone, is_keyed: true, is_turned });
    }
    // the defense does not say how its key is undone, so pairs must show it
    let map = Alignment::fit_linear(vectors.view(), clean.view())?;
    Ok(Made { vectors: map.observed(vectors.view())?, is_keyed: true, is_turned: map.is_turn() })
}

/// Returns the mean of this many releases of the vectors.
fn mean_release(
    defense: &dyn Defense,
    clean: &Array2<f32>,
    releases: usize,
    rng: &mut Rng,
) -> Result<Array2<f32>, Error> {
    let mut release = || defense.protect_owned(Role::Document, clean.clone(), rng);
    let mut sum = release()?;
    for _ in 1..releases {
        sum += &release()?;
    }
    Ok(sum / releases.max(1) as f32)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use embosk_defenses::{GaussianNoise, Key};

    use super::*;

    /// The mean of r releases with fresh noise has an error of 1 / √r; keyed noise is the same in each.
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
