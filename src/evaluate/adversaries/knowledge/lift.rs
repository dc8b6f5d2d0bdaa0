//! Maps the few coordinates of a projection back to clean vectors.

use embosk_attacks::alignment::{Alignment, Denoising, Evidence};
use ndarray::Array2;

use super::OwnPairs;
use crate::Error;
use crate::evaluate::adversaries::Mapped;
use crate::evaluate::adversaries::vectors::mean_norm;

/// Estimates clean vectors from what a projection left of them, with all noise: ridge regression or a network, as
/// [`Alignment`] chooses.
#[derive(Debug)]
pub(in crate::evaluate) struct Lift {
    denoising: Denoising,
    /// Whether the defense has a key, which may have changed the norms of stored vectors.
    is_keyed: bool,
}

impl Lift {
    pub(super) fn fit(own: &OwnPairs) -> Result<Self, Error> {
        let evidence = Evidence::pairs(own.pairs.protected.view(), own.pairs.clean.view());
        let denoising = Denoising::new(Alignment::fit_on(&evidence)?, &evidence);
        Ok(Self { denoising, is_keyed: own.is_keyed })
    }

    /// Estimates the clean vectors of `observed` ones, whose key is undone. The name of their map is followed by this
    /// one's.
    pub(in crate::evaluate) fn estimate(&self, observed: &Mapped) -> Result<Mapped, Error> {
        let Denoising { map, norm, .. } = &self.denoising;
        let longer = if self.is_keyed { norm / mean_norm(&observed.vectors) } else { 1.0 };
        let longer = if longer.is_finite() { longer } else { 1.0 };
        let vectors: Array2<f32> = map.apply((&observed.vectors * longer).view())?;
        let name = match &observed.map {
            Some(turn) => format!("{turn}, then {map}"),
            None => map.to_string(),
        };
        Ok(Mapped::by(name, vectors))
    }
}
