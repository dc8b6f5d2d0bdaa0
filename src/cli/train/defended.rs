//! Vectors that attackers protect themselves, to train on.

use std::sync::Arc;

use ndarray::{Array2, Axis};

use crate::cli::error::CliError;
use crate::evaluate::retrieval::{is_unit_norm, normalize_rows};
use crate::evaluate::{training_imitation, widened};
use crate::{Defense, Rng, Role, Stack};

/// Protects each row once, with the stacks by turns: row `i` with stack `i` modulo their number, so that an attack
/// can be trained on several strengths at once. Rows of norm 1 are scaled back to norm 1, as an evaluation hands them
/// to the attack. If a stack reduces the dimension, the missing coordinates are zeros. Without a stack, nothing
/// changes.
///
/// The attacker has no key: if a stack needs one, [`training_imitation`] draws it.
pub(super) fn protect(stacks: &[Stack], vectors: &mut Array2<f32>, seed: u64) -> Result<(), CliError> {
    if stacks.is_empty() {
        return Ok(());
    }
    let unit_norm = is_unit_norm(vectors.view());
    let mut rng = Rng::seeded(seed);
    for (turn, stack) in stacks.iter().enumerate() {
        let rows: Vec<usize> = (turn..vectors.nrows()).step_by(stacks.len()).collect();
        let part = vectors.select(Axis(0), &rows);
        let stack: Arc<dyn Defense> = training_imitation(stack).unwrap_or_else(|| Arc::new(stack.clone()));
        let part = widened(stack.protect_owned(Role::Document, part, &mut rng)?, vectors.ncols());
        for (&row, protected) in rows.iter().zip(part.rows()) {
            vectors.row_mut(row).assign(&protected);
        }
    }
    if unit_norm {
        normalize_rows(vectors.view_mut());
    }
    Ok(())
}
