//! The evidence that an attacker fits a map on.

use ndarray::ArrayView2;

use super::lengths::mean_cosine;
use super::{Alignment, Clouds, widen};

/// The vectors that an attacker fits a map on.
#[derive(Debug, Clone)]
pub struct Evidence<'a> {
    /// Row `i`, `[pairs, dim]`, is of the same text as row `i` of `clean`.
    pub protected: ArrayView2<'a, f32>,
    /// `[pairs, dim of clean]`.
    pub clean: ArrayView2<'a, f32>,
    /// Protected vectors and those of other texts of the same kind, if the dimensions agree.
    pub clouds: Option<Clouds<'a>>,
    /// The map that the attacker learned on their own pairs, to remove noise.
    pub denoiser: Option<&'a Denoising>,
    /// Whether the clean vectors are of another embedder than the protected ones. If the dimensions differ, they
    /// always are.
    pub between_spaces: bool,
}

/// Removes the noise of vectors that are in the clean space.
#[derive(Debug, Clone)]
pub struct Denoising {
    /// The map from such vectors to clean ones.
    pub map: Alignment,
    /// The mean norm of the vectors that it was fitted on.
    pub norm: f32,
    /// The error of these vectors, 1 − the mean cosine to the clean ones. Their key was undone, so it is the error of
    /// the noise alone. Between spaces it means nothing.
    pub error: f64,
}

impl Denoising {
    /// Wraps a map that was fitted on these pairs, whose key was undone or which had none.
    pub fn new(map: Alignment, pairs: &Evidence<'_>) -> Self {
        let norms = pairs.protected.rows().into_iter().map(|row| row.dot(&row).sqrt());
        let norm = norms.sum::<f32>() / pairs.protected.nrows() as f32;
        let error = if pairs.is_between_spaces() {
            0.0
        } else {
            1.0 - mean_cosine(widen(pairs.protected).as_ref(), widen(pairs.clean).as_ref())
        };
        Self { map, norm, error }
    }
}

impl<'a> Evidence<'a> {
    /// Creates evidence of pairs and nothing else: row `i` of `protected`, `[pairs, dim]`, and row `i` of `clean`,
    /// `[pairs, dim of clean]`, are of the same text.
    pub fn pairs(protected: ArrayView2<'a, f32>, clean: ArrayView2<'a, f32>) -> Self {
        Self { protected, clean, clouds: None, denoiser: None, between_spaces: false }
    }

    /// Whether the two sides are of different embedders.
    pub(super) fn is_between_spaces(&self) -> bool {
        self.between_spaces || self.protected.ncols() != self.clean.ncols()
    }
}
