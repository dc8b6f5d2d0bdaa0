//! Pairs that attackers make themselves, and what they learn from these pairs.

use embosk_attacks::alignment::{Alignment, Denoising, Evidence, HELD_OUT_TOGETHER};
use ndarray::s;

use super::defense::Made;
use super::{KnownDefense, Pairs, missing};
use crate::Error;
use crate::evaluate::adversaries::vectors::{mean_norm, together};
use crate::evaluate::adversaries::{Agreement, Mapped, Restored};

/// How often the attacker protects each text if the results differ: more noise to learn from.
const DRAWS: u64 = 3;
/// Differences to clean vectors below this are rounding.
const ROUNDING: f32 = 1e-4;

/// Pairs that the attacker made from their own texts.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OwnPairs {
    /// Protected vectors with their key undone, and clean ones, [reduced](KnownDefense::reduced). A text may occur
    /// several times.
    pub pairs: Pairs,
    /// Whether the defense has a key.
    pub is_keyed: bool,
    /// Whether the key turns the space.
    pub is_turned: bool,
}

/// Removes noise with a map that the attacker fitted on [`OwnPairs`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OwnDenoiser {
    /// The map from noisy vectors in the clean space to clean ones.
    pub denoising: Denoising,
    /// Whether the defense has a key, which may have changed the norms of stored vectors.
    pub is_keyed: bool,
    /// Whether the key turns the space.
    pub is_turned: bool,
    /// How alike the pairs' vectors are, after the map.
    agreement: Option<Agreement>,
}

/// Makes pairs of this many texts, each the mean of as many releases as the attacked vectors have. The clean vectors
/// are reduced.
pub(super) fn pairs(defense: &KnownDefense<'_>, texts: usize, releases: usize) -> Result<OwnPairs, Error> {
    let whole = pairs_with_whole(defense, texts, releases)?;
    let pairs = Pairs { clean: defense.reduced(whole.pairs.clean)?, ..whole.pairs };
    Ok(OwnPairs { pairs, ..whole })
}

/// Makes pairs as [`pairs`] does, but with whole clean vectors.
pub(super) fn pairs_with_whole(
    defense: &KnownDefense<'_>,
    texts: usize,
    releases: usize,
) -> Result<OwnPairs, Error> {
    let own = &defense.material.clean.own;
    if texts > own.stored.nrows() {
        return Err(missing(texts, "texts of their own", own.stored.nrows()));
    }
    let Made { vectors: first, is_keyed, is_turned } = defense.made(s![..texts, ..], releases, 0)?;
    let clean = own.attackable().slice(s![..texts, ..]);
    let stored = defense.reduced(own.stored.slice(s![..texts, ..]).to_owned())?;
    let is_changed = first.dim() != stored.dim()
        || first.iter().zip(&stored).any(|(made, clean)| (made - clean).abs() > ROUNDING);
    // the last few texts are drawn once, so that all draws of any other text are held out together
    let again = s![..texts - texts % HELD_OUT_TOGETHER, ..];
    let mut draws = Vec::new();
    for draw in 1..if is_changed && texts >= HELD_OUT_TOGETHER { DRAWS } else { 1 } {
        let another = defense.made(again, releases, draw)?.vectors;
        if another == first.slice(again) {
            break;
        }
        draws.push(another);
    }
    let mut cleans = vec![clean.slice(again); draws.len()];
    draws.push(first);
    cleans.push(clean);
    let pairs = Pairs { protected: together(&draws)?, clean: together(&cleans)? };
    Ok(OwnPairs { pairs, is_keyed, is_turned })
}

impl OwnPairs {
    /// Treats leaked pairs as the attacker's own.
    pub(super) fn leaked(pairs: Pairs) -> Self {
        Self { pairs, is_keyed: false, is_turned: false }
    }
}

impl OwnDenoiser {
    pub(super) fn fit(own: OwnPairs, between_spaces: bool) -> Result<Self, Error> {
        let OwnPairs { pairs: Pairs { protected, clean }, is_keyed, is_turned } = own;
        let evidence = Evidence { between_spaces, ..Evidence::pairs(protected.view(), clean.view()) };
        let denoising = Denoising::new(Alignment::fit_on(&evidence)?, &evidence);
        let agreement = Agreement::of(denoising.map.observed(protected.view())?.view(), clean.view());
        Ok(Self { denoising, is_keyed, is_turned, agreement })
    }

    /// Removes the noise of vectors that are in the clean space apart from their lengths. The name of their
    /// map is followed by the denoiser's.
    ///
    /// # Errors
    /// When the vectors do not have the dimension of the defended ones.
    pub fn restore(&self, turned: &Mapped) -> Result<Restored, Error> {
        let Denoising { map: denoiser, norm, .. } = &self.denoising;
        let Mapped { vectors, map: turn } = turned;
        let longer = if self.is_keyed { norm / mean_norm(vectors) } else { 1.0 };
        let vectors = if longer.is_finite() { vectors * longer } else { vectors.clone() };
        let map = match turn {
            Some(turn) if denoiser.is_identity() => turn.clone(),
            Some(turn) => format!("{turn}, then {denoiser}"),
            None => denoiser.to_string(),
        };
        let observed = Mapped { vectors: denoiser.observed(vectors.view())?, map: turn.clone() };
        Ok(Restored::new(Mapped::by(map, denoiser.apply(vectors.view())?), observed)
            .agreement(self.agreement))
    }
}
