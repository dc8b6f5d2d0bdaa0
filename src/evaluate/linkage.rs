//! Whether vectors of the same texts under two keys can be told to belong together.

use embosk_attacks::structure::linkage::recall_at_1;
use embosk_defenses::{Defense, Rng, Role, Stack};
use ndarray::{Array2, s};

use super::statistics::{Score, proportion};
use crate::Error;

/// How many documents are linked: with more of them it is harder.
const DOCUMENTS: usize = 1000;

/// The share of documents, of the first thousand, whose vector under one key is most similar to their
/// own vector under another key, by norm and neighbourhood, or by direction. `None` for a stack without a key.
pub(super) fn linkage(documents: &Array2<f32>, stack: &Stack, seed: u64) -> Result<Option<Score>, Error> {
    let documents = documents.slice(s![..documents.nrows().min(DOCUMENTS), ..]);
    if documents.nrows() < 2 {
        return Ok(None);
    }
    let mut rng = Rng::seeded(seed);
    let mut stores = Vec::new();
    for _ in 0..2 {
        let Some(stack) = stack.imitation(&mut rng) else { return Ok(None) };
        let mut store = documents.to_owned();
        stack.protect(Role::Document, store.view_mut(), &mut rng)?;
        stores.push(store);
    }
    let share = recall_at_1(stores[0].view(), stores[1].view())?;
    let linked = (share * documents.nrows() as f64).round() as usize;
    Ok(Some(proportion(linked, documents.nrows())))
}
