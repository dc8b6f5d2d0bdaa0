//! The cheapest setting within limits, coarse to fine: which settings to measure, and which need not be.
//!
//! Two facts make the search short. More noise never lets the attacker guess more, and never lets a search do with
//! fewer candidates. So in each *arm*, that is, for so many dimensions with or without a rotation, the best setting is
//! the weakest noise that keeps the limits. How many candidates a noise needs is computed without an attack, so noise
//! that would need more candidates than the best setting so far is not attacked at all.

use crate::evaluate::sweep::rounded;

/// The weakest noise that is tried, and how many steps of a quarter octave there are above it.
const WEAKEST: f64 = 0.01;
const STEPS: usize = 24;

/// A coarse vector: so many dimensions, turned or not, and so much noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Setting {
    /// `None` for all dimensions of the embedder.
    pub(super) dims: Option<usize>,
    pub(super) rotated: bool,
    /// The noise, as a step.
    pub(super) step: usize,
}

impl Setting {
    pub(super) fn sigma(&self) -> f64 {
        rounded(WEAKEST * 2_f64.powf(self.step as f64 / 4.0))
    }

    fn arm(&self) -> Arm {
        Arm { dims: self.dims, rotated: self.rotated }
    }
}

/// The settings that differ in their noise alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Arm {
    pub(super) dims: Option<usize>,
    pub(super) rotated: bool,
}

impl Arm {
    fn at(self, step: usize) -> Setting {
        Setting { dims: self.dims, rotated: self.rotated, step }
    }
}

/// A setting that was attacked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tried {
    pub(super) setting: Setting,
    pub(super) candidates: usize,
    /// Whether the worst adversary keeps every limit.
    pub(super) keeps: bool,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Measure(Setting, usize),
    /// The cheapest setting that keeps the limits, if there is one.
    Done(Option<Tried>),
}

/// Goes through the arms in turn. `needed` says how many candidates a setting needs, or nothing where more than the
/// most that is allowed.
pub(super) fn step(arms: &[Arm], tried: &[Tried], mut needed: impl FnMut(Setting) -> Option<usize>) -> Step {
    for arm in arms {
        let of_arm: Vec<&Tried> = tried.iter().filter(|tried| tried.setting.arm() == *arm).collect();
        // the rest of the others must be cheaper than what was found elsewhere
        let bound =
            best(tried.iter().filter(|tried| tried.setting.arm() != *arm)).map(|best| best.candidates);
        if let Some((setting, candidates)) = in_arm(*arm, &of_arm, bound, &mut needed) {
            return Step::Measure(setting, candidates);
        }
    }
    Step::Done(best(tried.iter()))
}

/// Of those that keep the limits, the one with the fewest candidates; of these, the fewest dimensions, then the
/// most noise, then no rotation, which needs no key.
fn best<'a>(tried: impl Iterator<Item = &'a Tried>) -> Option<Tried> {
    let cost = |tried: &Tried| {
        let Setting { dims, rotated, step } = tried.setting;
        (tried.candidates, dims.unwrap_or(usize::MAX), usize::MAX - step, rotated)
    };
    tried.filter(|tried| tried.keeps).min_by_key(|tried| cost(tried)).copied()
}

/// The next setting of one arm: first the most noise that is cheap enough, then halves between what keeps the limits
/// and what does not.
fn in_arm(
    arm: Arm,
    tried: &[&Tried],
    bound: Option<usize>,
    needed: &mut impl FnMut(Setting) -> Option<usize>,
) -> Option<(Setting, usize)> {
    let mut cheap = |step: usize| {
        let candidates = needed(arm.at(step))?;
        bound.is_none_or(|bound| candidates < bound).then_some(candidates)
    };
    let keeps = |keeps: bool| tried.iter().filter(move |tried| tried.keeps == keeps);
    let steps = |keeps_it: bool| keeps(keeps_it).map(|tried| tried.setting.step);
    let Some(weakest_kept) = steps(true).min() else {
        let strongest_broken = steps(false).max();
        let top = most_noise(strongest_broken, &mut cheap)?;
        return Some((arm.at(top), cheap(top)?));
    };
    // between a setting that is broken, or nothing, and one that is kept
    let below = steps(false).filter(|broken| *broken < weakest_kept).max().map_or(0, |broken| broken + 1);
    if below >= weakest_kept {
        return None;
    }
    let middle = usize::midpoint(below, weakest_kept - 1);
    let (middle_cost, kept_cost) = (cheap(middle)?, needed(arm.at(weakest_kept)));
    // less noise that needs as many candidates is no gain
    let gains = (below..=middle).any(|step| needed(arm.at(step)) < kept_cost);
    gains.then(|| (arm.at(middle), middle_cost))
}

/// The most noise above `broken` whose candidates are cheap enough; needs are assumed to grow with noise.
fn most_noise(broken: Option<usize>, cheap: &mut impl FnMut(usize) -> Option<usize>) -> Option<usize> {
    let (mut low, mut high) = (broken.map_or(0, |broken| broken + 1), STEPS);
    if low > STEPS {
        return None;
    }
    cheap(low)?;
    while low < high {
        let middle = usize::midpoint(low, high + 1);
        if cheap(middle).is_some() { low = middle } else { high = middle - 1 }
    }
    Some(low)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ARMS: [Arm; 4] = [
        Arm { dims: Some(16), rotated: false },
        Arm { dims: Some(32), rotated: false },
        Arm { dims: None, rotated: false },
        Arm { dims: Some(16), rotated: true },
    ];

    /// A model of a collection: candidates grow with noise and with the loss of dimensions.
    fn needs(setting: Setting) -> Option<usize> {
        let lost = setting.dims.map_or(1.0, |dims| 64.0 / dims as f64);
        let candidates = (20.0 * lost * (1.0 + 100.0 * setting.sigma().powi(2))) as usize;
        (candidates <= 400).then_some(candidates)
    }

    /// Follows the steps where a setting keeps the limits by `keeps`.
    fn search(keeps: impl Fn(Setting) -> bool) -> (Option<Tried>, Vec<Tried>) {
        let mut tried = Vec::new();
        loop {
            match step(&ARMS, &tried, needs) {
                Step::Done(best) => return (best, tried),
                Step::Measure(setting, candidates) => {
                    assert!(tried.iter().all(|other: &Tried| other.setting != setting), "{setting:?} again");
                    tried.push(Tried { setting, candidates, keeps: keeps(setting) });
                }
            }
            assert!(tried.len() < 60, "it does not end");
        }
    }

    fn all() -> impl Iterator<Item = Setting> {
        ARMS.into_iter().flat_map(|arm| (0..=STEPS).map(move |step| arm.at(step)))
    }

    #[test]
    fn noise_is_in_quarter_octaves() {
        let sigma = |step| ARMS[0].at(step).sigma().to_string();
        assert_eq!([0, 4, 13, STEPS].map(sigma), ["0.01", "0.02", "0.09514", "0.64"]);
    }

    #[test]
    fn where_nothing_keeps_the_limits_nothing_is_found_after_one_attack_an_arm() {
        let (best, tried) = search(|_| false);
        assert_eq!(best, None);
        assert_eq!(tried.len(), ARMS.len(), "{tried:?}");
    }

    #[test]
    fn an_arm_that_would_cost_more_is_not_attacked() {
        let (best, tried) = search(|setting| setting.dims == Some(32) && setting.sigma() > 0.05);
        assert_eq!(best.unwrap().setting.dims, Some(32));
        assert!(tried.iter().all(|tried| !tried.setting.rotated), "{tried:?}");
    }

    proptest! {
        /// Where noise and fewer dimensions hide more, the answer is the cheapest of all settings that keep the limits.
        #[test]
        fn the_cheapest_setting_is_found(threshold in 0.0..8.0_f64, with_rotation in 0.5..1.5_f64) {
            let keeps = |setting: Setting| {
                let hidden = setting.sigma() * 384.0 / setting.dims.unwrap_or(384) as f64;
                hidden * if setting.rotated { with_rotation } else { 1.0 } >= threshold
            };
            let cheapest = all().filter(|setting| keeps(*setting)).filter_map(needs).min();
            let (best, tried) = search(keeps);
            prop_assert_eq!(best.map(|best| best.candidates), cheapest);
            prop_assert!(tried.len() <= 24, "{} attacks", tried.len());
        }
    }
}
