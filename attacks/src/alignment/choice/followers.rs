//! Maps that follow the turn and bring turned vectors closer to the clean ones.

use faer::Mat;
use ndarray::{Array2, ArrayView2, Axis};

use super::candidate::{Candidate, Margin, Selection};
use super::split::{Split, held_out_and_fitted};
use super::turns::Turns;
use super::{Prior, Recipe, SEED, SOLVED, Then};
use crate::Error;
use crate::alignment::affine::Affine;
use crate::alignment::denoiser::Denoiser;
use crate::alignment::lengths::CHANCE;
use crate::alignment::procrustes::{SHRINKAGES, Shrunk};
use crate::alignment::ridge::{Ridge, STRENGTHS};
use crate::alignment::{Denoising, Evidence, narrow, widen};

/// With fewer pairs than this, a network is not worth its time.
const NETWORK: usize = 2000;

/// The generators of candidates, in the order in which they are tried. Each offers none if it does not apply.
pub(super) const FOLLOWERS: [Follower; 4] = [regressions, shrinkages, denoisers, network];

/// Offers candidates to a selection that begins with the best turn.
type Follower = fn(&Trial<'_, '_>, &mut Selection) -> Result<(), Error>;

/// What the generators work on.
pub(super) struct Trial<'a, 'e> {
    pub(super) evidence: &'a Evidence<'e>,
    pub(super) split: &'a Split,
    pub(super) turns: &'a Turns,
    pub(super) with_network: bool,
}

/// Ridge regression around the turn and, between spaces, around zero.
///
/// Within one space, regression around zero would lose what few pairs do not span. That raises the mean cosine, but
/// loses the details that tell texts of one kind apart.
fn regressions(trial: &Trial<'_, '_>, selection: &mut Selection) -> Result<(), Error> {
    let (split, turn) = (trial.split, &trial.turns.best);
    if turn.is_exact() {
        return Ok(());
    }
    let ridge = Ridge::fit(&split.seen, &split.target)?;
    let zero = Affine::linear(Mat::zeros(turn.map.dimension(), split.target.ncols()));
    let mut around = vec![(&turn.recipe.prior, turn.recipe.scale, &turn.map)];
    if split.between_spaces {
        around.push((&Prior::Zero, None, &zero));
    }
    for (prior, scale, around) in around {
        let around = ridge.around(around);
        for strength in STRENGTHS {
            let recipe = Recipe { prior: prior.clone(), scale, then: Then::Ridge(strength) };
            selection.offer(affine(split, recipe, around.of(strength)), Margin::USUAL);
        }
    }
    Ok(())
}

/// Procrustes with shrinkage, if the turn is Procrustes.
fn shrinkages(trial: &Trial<'_, '_>, selection: &mut Selection) -> Result<(), Error> {
    let (split, turn) = (trial.split, &trial.turns.best);
    if !turn.recipe.prior.is_procrustes() || turn.is_exact() {
        return Ok(());
    }
    let shrunk = Shrunk::fit(split.seen.as_ref(), split.target.as_ref())?;
    for strength in SHRINKAGES {
        let recipe = Recipe { then: Then::Shrinkage(strength), ..turn.recipe.clone() };
        selection.offer(affine(split, recipe, shrunk.by(strength)), Margin::USUAL);
    }
    Ok(())
}

fn affine(split: &Split, recipe: Recipe, map: Affine) -> Candidate {
    let errors = split.errors(&map.apply(split.unseen.as_ref()));
    Candidate { recipe, map, errors }
}

/// The attacker's denoiser after no turn, after the turn of the pairs, and after the turn of the clouds.
///
/// If clean vectors span only a part of the space, Procrustes removes noise. So it beats the identity even if nothing
/// was turned, and the clouds, whose map keeps all noise. Followed by a denoiser, the three can be compared. If the
/// pairs are too few to span the space, the clouds complete them, but too few pairs are held out to show it. The
/// clouds are then taken unless they are clearly worse.
fn denoisers(trial: &Trial<'_, '_>, selection: &mut Selection) -> Result<(), Error> {
    let Trial { split, turns, .. } = trial;
    let applies = |denoiser: &&Denoising| !turns.best.is_exact() && !denoiser.map.is_identity();
    let Some(denoiser) = trial.evidence.denoiser.filter(applies) else { return Ok(()) };
    let is_turned = !turns.by_pairs.recipe.prior.is_identity() && !split.between_spaces;
    let unturned = is_turned.then(|| split.turned(Prior::Identity)).transpose()?;
    let is_completed = turns.is_part && unturned.as_ref().is_some_and(|it| turns.leaves_more_than_noise(it));
    let of_clouds = if is_completed { Margin::NotWorse(CHANCE) } else { Margin::USUAL };
    let by_pairs = unturned.into_iter().chain([turns.by_pairs.clone()]).map(|turn| (turn, Margin::USUAL));
    let by_clouds = turns.by_clouds.clone().map(|turn| (turn, of_clouds));
    for (turn, margin) in by_pairs.chain(by_clouds) {
        selection.offer(split.denoised(turn, denoiser)?, margin);
    }
    Ok(())
}

/// A network around the best map so far, if there are many pairs and no denoiser was taken.
fn network(trial: &Trial<'_, '_>, selection: &mut Selection) -> Result<(), Error> {
    let (best, &Evidence { protected, clean, .. }) = (&selection.best, trial.evidence);
    let is_worth_it = protected.nrows() >= NETWORK && best.error() > SOLVED;
    if !trial.with_network || !is_worth_it || matches!(best.recipe.then, Then::Denoiser(_)) {
        return Ok(());
    }
    let network = trained(protected, clean, &best.map)?;
    let restored = network.apply(narrow(&trial.split.unseen).view())?;
    let errors = trial.split.errors(&widen(restored.view()));
    let recipe = Recipe { then: Then::Network(Box::new(network)), ..best.recipe.clone() };
    selection.offer(Candidate { recipe, map: best.map.clone(), errors }, Margin::USUAL);
    Ok(())
}

/// A network around a linear map, trained on the pairs that are not held out.
fn trained(
    protected: ArrayView2<'_, f32>,
    clean: ArrayView2<'_, f32>,
    around: &Affine,
) -> Result<Denoiser, Error> {
    let (_, fitted) = held_out_and_fitted(protected.nrows());
    let part = |vectors: ArrayView2<'_, f32>| -> Array2<f32> { vectors.select(Axis(0), &fitted) };
    Denoiser::around(around, part(protected).view(), part(clean).view(), SEED)
}
