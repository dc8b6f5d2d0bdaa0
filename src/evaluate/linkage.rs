//! Measures whether vectors of the same texts under two keys can be linked.

use embosk_attacks::structure::linkage::{recall_at_1, recall_at_1_aligned};
use embosk_defenses::{Defense, Rng, Role, Stack};
use ndarray::{Array2, ArrayView2, s};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::adversaries::is_turned;
use super::statistics::{Score, proportion};
use crate::Error;

/// How many documents are linked; with more of them, it is harder.
const DOCUMENTS: usize = 1000;
/// The least and most documents with which two stores are aligned: fewer have no shape, and time grows with the
/// square of the number.
const FEWEST: usize = 2000;
const MOST: usize = 10_000;
/// The share of linked documents beyond which aligning is pointless.
const LINKED: f64 = 0.9;

/// Returns the share of the first thousand documents whose vector under one key is most similar to their own vector
/// under another key, by the best of these attacks: by norm and neighbourhood, by direction, and, if these fail under
/// a key that turns the space, by direction after the documents under one key were aligned with those under the
/// other. `None` for a stack without a key.
pub(super) fn linkage(documents: &Array2<f32>, stack: &Stack, seed: u64) -> Result<Option<Score>, Error> {
    let first = documents.slice(s![..documents.nrows().min(DOCUMENTS), ..]);
    if first.nrows() < 2 {
        return Ok(None);
    }
    let Some(Stores { stores: [a, b], turned }) = Stores::of(first, stack, seed)? else { return Ok(None) };
    let mut share = recall_at_1(a.view(), b.view())?;
    if share < LINKED && turned && documents.nrows() >= FEWEST {
        let all = documents.slice(s![..documents.nrows().min(MOST), ..]);
        if let Some(Stores { stores: [a, b], .. }) = Stores::of(all, stack, seed)? {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            share = share.max(recall_at_1_aligned(a.view(), b.view(), DOCUMENTS, &mut rng)?);
        }
    }
    let linked = (share * first.nrows() as f64).round() as usize;
    Ok(Some(proportion(linked, first.nrows())))
}

/// The same documents under two keys.
struct Stores {
    stores: [Array2<f32>; 2],
    /// Whether a key turns the space.
    turned: bool,
}

impl Stores {
    fn of(documents: ArrayView2<'_, f32>, stack: &Stack, seed: u64) -> Result<Option<Self>, Error> {
        let mut rng = Rng::seeded(seed);
        let mut turned = false;
        let mut stores = [documents.to_owned(), documents.to_owned()];
        for store in &mut stores {
            let Some(stack) = stack.imitation(&mut rng) else { return Ok(None) };
            *store = stack.protect_owned(Role::Document, std::mem::take(store), &mut rng)?;
            let mut undone = store.clone();
            // a defense that does not say how may turn it
            turned |= !stack.undo_key(undone.view_mut())? || is_turned(store, &undone);
        }
        Ok(Some(Self { stores, turned }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use embosk_defenses::{GaussianNoise, Key, Rotation};

    use super::*;

    const DIM: usize = 24;

    /// Vectors around a few centres, some more often than others.
    fn clustered(rows: usize) -> Array2<f32> {
        let mut rng = Rng::seeded(1);
        let mut normals = rng.standard_normals();
        let centres = Array2::from_shape_simple_fn((20, DIM), || normals.next().unwrap() as f32);
        let mut vectors = Array2::from_shape_simple_fn((rows, DIM), || normals.next().unwrap() as f32 * 0.4);
        for (number, mut row) in vectors.rows_mut().into_iter().enumerate() {
            row += &centres.row((number * number + number / 7) % 20);
            row /= row.dot(&row).sqrt();
        }
        vectors
    }

    #[test]
    fn stores_under_two_rotations_and_noise_are_laid_on_each_other() {
        let stack = |sigma| {
            let rotation = Rotation::new(&Key::from_bytes([3; 32]), DIM).unwrap();
            Stack::new().with(rotation).with(GaussianNoise::new(sigma).unwrap())
        };
        let documents = clustered(2500);
        let few = documents.slice(s![..DOCUMENTS, ..]).to_owned();
        let share = |documents, sigma| linkage(documents, &stack(sigma), 5).unwrap().unwrap().value;
        let (alone, aligned) = (share(&few, 0.03), share(&documents, 0.03));
        // the same noise without a key, which is as good as if both were known
        let [a, b] = [7, 8].map(|seed| {
            let mut noisy = few.clone();
            let noise = GaussianNoise::new(0.03).unwrap();
            noise.protect(Role::Document, noisy.view_mut(), &mut Rng::seeded(seed)).unwrap();
            noisy
        });
        let known = recall_at_1(a.view(), b.view()).unwrap();
        assert!(alone < 0.4 && aligned > known - 0.03, "{alone} {aligned} {known}");
        // as long as the noise leaves something of them
        assert!(share(&documents, 1.0) < 0.1);
    }
}
