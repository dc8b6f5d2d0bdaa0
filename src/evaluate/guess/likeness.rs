//! How well a text explains an observed vector.

use embosk_defenses::{Defense, Rng, Role, Stack};
use ndarray::{Array2, ArrayView1, ArrayView2, CowArray, Ix2};

use super::noise::Noise;
use crate::Error;

/// How observed vectors are compared with clean ones. The larger, the likelier.
///
/// With isotropic noise, the likeliest text is the one whose vector is nearest.
#[derive(Clone, Copy)]
pub(in crate::evaluate) enum Likeness<'a> {
    /// By the cosine: for vectors of norm 1 it ranks as the distance does, and no scale matters.
    Cosine,
    /// By the distance.
    Distance,
    /// By the noise's own metric, as it is not isotropic.
    Noise(&'a Noise),
    /// By what the attacker gets who protects the clean vector in the same way. It is
    /// [`Ranking::likeness`](embosk_attacks::Ranking::likeness), except that a text whose image is the observed
    /// vector, bit for bit, comes before all others.
    Image(&'a Stack),
    /// By the distance, or by the noise's own metric, in the few dimensions that a projection leaves. Observed
    /// vectors are there already.
    Reduced(&'a Stack, Option<&'a Noise>),
}

/// Vectors that are ready to be compared: a score is an inner product times both scales plus both offsets.
pub(in crate::evaluate) struct Prepared<'v> {
    pub(in crate::evaluate) rows: CowArray<'v, f32, Ix2>,
    scales: Vec<f64>,
    offsets: Vec<f64>,
    /// Of clean vectors, as far as they are compared by them. The images of observed vectors are themselves.
    images: Option<CowArray<'v, f32, Ix2>>,
}

impl Likeness<'_> {
    /// Prepares observed vectors, `[rows, dim]`.
    pub(in crate::evaluate) fn observed<'v>(
        &self,
        vectors: ArrayView2<'v, f32>,
    ) -> Result<Prepared<'v>, Error> {
        Ok(match self {
            Self::Cosine => Prepared::directions(vectors.into()),
            Self::Distance | Self::Reduced(_, None) => Prepared::points(vectors.into()),
            Self::Noise(noise) | Self::Reduced(_, Some(noise)) => {
                Prepared::points(noise.whiten_observed(vectors)?.into())
            }
            Self::Image(_) => {
                Prepared { images: Some(vectors.into()), ..Prepared::directions(vectors.into()) }
            }
        })
    }

    /// Prepares clean vectors of texts, `[rows, dim]`.
    pub(in crate::evaluate) fn candidates<'v>(
        &self,
        vectors: ArrayView2<'v, f32>,
    ) -> Result<Prepared<'v>, Error> {
        Ok(match self {
            Self::Cosine => Prepared::directions(vectors.into()),
            Self::Distance => Prepared::points(vectors.into()),
            Self::Noise(noise) => Prepared::points(noise.whiten_clean(vectors)?.into()),
            Self::Reduced(stack, noise) => {
                let reduced = stack.reduced(vectors.to_owned())?;
                Prepared::points(match noise {
                    Some(noise) => noise.whiten_clean(reduced.view())?.into(),
                    None => reduced.into(),
                })
            }
            Self::Image(stack) => {
                // it draws nothing, so any seed will do
                let images = stack.protect_owned(Role::Document, vectors.to_owned(), &mut Rng::seeded(0))?;
                Prepared::directions(stack.reduced(vectors.to_owned())?.into()).with_images(images)
            }
        })
    }
}

impl<'v> Prepared<'v> {
    fn directions(rows: CowArray<'v, f32, Ix2>) -> Self {
        let scale = |row: ArrayView1<'_, f32>| {
            let norm = dot(row, row).sqrt();
            if norm > 0.0 { norm.recip() } else { 0.0 }
        };
        let scales = rows.rows().into_iter().map(scale).collect();
        Self { scales, offsets: vec![0.0; rows.nrows()], rows, images: None }
    }

    fn points(rows: CowArray<'v, f32, Ix2>) -> Self {
        let offsets = rows.rows().into_iter().map(|row| -dot(row, row) / 2.0).collect();
        Self { scales: vec![1.0; rows.nrows()], rows, offsets, images: None }
    }

    fn with_images(self, images: Array2<f32>) -> Self {
        let own = self.rows.rows().into_iter().zip(images.rows()).zip(&self.scales);
        let offset = |((row, image), scale): ((ArrayView1<'_, f32>, ArrayView1<'_, f32>), &f64)| {
            let norm = dot(image, image).sqrt();
            1.0 - if norm > 0.0 { dot(row, image) * scale / norm } else { 0.0 }
        };
        let offsets = own.map(offset).collect();
        Self { offsets, images: Some(images.into()), ..self }
    }

    /// The score of a pair. `candidates` were prepared by the same likeness.
    pub(in crate::evaluate) fn score(&self, row: usize, candidates: &Prepared<'_>, candidate: usize) -> f64 {
        let product = dot(self.rows.row(row), candidates.rows.row(candidate));
        self.scored(row, candidates, candidate, product)
    }

    /// The score of a pair whose inner product is known.
    pub(in crate::evaluate) fn scored(
        &self,
        row: usize,
        candidates: &Prepared<'_>,
        candidate: usize,
        product: f64,
    ) -> f64 {
        product * self.scales[row] * candidates.scales[candidate]
            + self.offsets[row]
            + candidates.offsets[candidate]
    }

    /// Whether the observed vector is what the candidate is stored as, bit for bit.
    pub(super) fn is_image(&self, row: usize, candidates: &Prepared<'_>, candidate: usize) -> bool {
        let (Some(observed), Some(images)) = (&self.images, &candidates.images) else { return false };
        observed.row(row).iter().zip(images.row(candidate)).all(|(a, b)| a.to_bits() == b.to_bits())
    }
}

fn dot(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use embosk_attacks::Ranking;
    use ndarray::array;

    use super::*;

    fn scores(likeness: &Likeness<'_>, observed: &Array2<f32>, clean: &Array2<f32>) -> Vec<f64> {
        let observed = likeness.observed(observed.view()).unwrap();
        let candidates = likeness.candidates(clean.view()).unwrap();
        (0..clean.nrows()).map(|candidate| observed.score(0, &candidates, candidate)).collect()
    }

    #[test]
    fn the_cosine_minds_no_length_and_the_distance_does() {
        let (observed, clean) = (array![[2.0, 1.0]], array![[8.0, 4.1], [2.0, 0.8], [0.0, 0.0]]);
        let cosines = scores(&Likeness::Cosine, &observed, &clean);
        assert!(cosines[0] > cosines[1] && cosines[2].abs() < 1e-12 && (cosines[0] - 1.0).abs() < 1e-3);
        let distances = scores(&Likeness::Distance, &observed, &clean);
        assert!(distances[1] > distances[0] && (distances[1] + 0.04 / 2.0).abs() < 1e-6, "{distances:?}");
    }

    #[test]
    fn images_are_compared_as_attacks_compare_them() {
        let stack: Stack = "quantization(bits=4)".parse().unwrap();
        let clean = array![[0.6, -0.5, 0.62], [0.3, 0.2, -0.9], [0.61, -0.52, 0.6]];
        let mut images = clean.clone();
        stack.protect(Role::Document, images.view_mut(), &mut Rng::seeded(1)).unwrap();
        let found = scores(&Likeness::Image(&stack), &images, &clean);
        for (row, found) in found.iter().enumerate() {
            let expected = Ranking::likeness(images.row(0), clean.row(row), Some(images.row(row)));
            assert!((found - f64::from(expected)).abs() < 1e-6);
        }
        assert!((found[0] - 1.0).abs() < 1e-12);
        let likeness = Likeness::Image(&stack);
        let (observed, known) =
            (likeness.observed(images.view()).unwrap(), likeness.candidates(clean.view()).unwrap());
        assert!(observed.is_image(1, &known, 1) && !observed.is_image(1, &known, 0));
    }
}
