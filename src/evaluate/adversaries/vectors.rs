//! Sums over rows of vectors.

use ndarray::{Array2, ArrayBase, Axis, Data, Ix2, concatenate, s};

use crate::Error;

/// If the mean cosine of vectors to the same vectors with the key undone is below this, the key turned them.
const TURNED: f32 = 0.999;

/// Returns whether a key turned the space of `vectors`; `undone` are the same vectors with the key undone.
pub(in crate::evaluate) fn is_turned(vectors: &Array2<f32>, undone: &Array2<f32>) -> bool {
    mean_cosine(vectors, undone) < TURNED
}

/// Returns the mean cosine over the rows where both vectors are not zero; 1 if there are no such rows.
pub(super) fn mean_cosine(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
    let cosines = a.rows().into_iter().zip(b.rows()).filter_map(|(a, b)| {
        let norms = (a.dot(&a) * b.dot(&b)).sqrt();
        (norms > 0.0).then(|| a.dot(&b) / norms)
    });
    let (sum, count) = cosines.fold((0.0, 0), |(sum, count), cosine| (sum + cosine, count + 1));
    if count > 0 { sum / count as f32 } else { 1.0 }
}

pub(super) fn mean_norm(rows: &Array2<f32>) -> f32 {
    rows.rows().into_iter().map(|row| row.dot(&row).sqrt()).sum::<f32>() / rows.nrows().max(1) as f32
}

/// The rows with zeros after their coordinates, `[rows, dim]`; rows that are not shorter are unchanged.
pub(crate) fn widened(rows: Array2<f32>, dim: usize) -> Array2<f32> {
    let found = rows.ncols();
    if found >= dim {
        return rows;
    }
    let mut wide = Array2::zeros((rows.nrows(), dim));
    wide.slice_mut(s![.., ..found]).assign(&rows);
    wide
}

/// The rows of all parts, one part after the other.
pub(super) fn together<S: Data<Elem = f32>>(parts: &[ArrayBase<S, Ix2>]) -> Result<Array2<f32>, Error> {
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    concatenate(Axis(0), &views).map_err(|_| Error::Setting("draws of one text differ in dimension".into()))
}
