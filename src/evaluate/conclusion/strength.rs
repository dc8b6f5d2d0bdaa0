use std::fmt;

use serde::{Deserialize, Serialize};

use crate::evaluate::metrics::{Columns, Interval, Metric, find};
use crate::evaluate::statistics::{Score, mean, normal_quantile, proportion};

/// An attack that recovers less than this part of the scale of unprotected texts misses more than it finds. What a
/// defense seems to stop, it might have missed anyway.
const HALF: f64 = 0.5;

/// Why there are no strengths: where an attack writes texts, each has a score.
pub(crate) const NO_SCORE: &str = "no text has a score, as no attack writes texts, and no text has a fact with enough candidates for a guess";

/// Beyond this many texts, a number helps nobody.
const MOST: usize = 1_000_000;

/// How strong the undefended attack is by one metric, and whether the leak of this metric can be read.
///
/// A leak can be read if the attack is shown to exceed chance by the [least gap](Metric::least_gap): if the lower end
/// of the gap's 95 % interval reaches it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AttackStrength {
    /// The name of the leak.
    pub leak: String,
    /// The name of the metric that the leak is computed from.
    pub metric: String,
    /// The name of the metric in sentences.
    pub title: String,
    /// The lowest and the highest score of a text.
    pub range: (f64, f64),
    /// The score of the undefended attack.
    pub ceiling: f64,
    /// By how much this is above chance, with the 95 % interval.
    pub gap: Score,
    /// What the lower end of the interval must reach.
    pub least_gap: f64,
    /// How many texts have a score.
    pub n: usize,
    /// Whether the metric reads the attack's outputs. Guesses do not.
    pub reads_outputs: bool,
    /// Why the leak cannot be read. `None` if it can.
    pub shortfall: Option<Shortfall>,
}

/// Why a leak cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Shortfall {
    /// There are too few texts: the interval has the least gap inside. About this many texts would decide, if more of
    /// them were like these.
    TooFewTexts {
        /// How many texts.
        needed: usize,
    },
    /// The attack is too weak: the interval lies below the least gap, or no number of texts that can be attacked
    /// would decide.
    TooWeak,
    /// The retrained attack is too weak by this metric, even where it must work if it works at all.
    RetrainedTooWeak {
        /// The stack that it was trained for.
        defense: String,
    },
}

impl AttackStrength {
    /// Returns whether the leak can be read.
    pub fn is_conclusive(&self) -> bool {
        self.shortfall.is_none()
    }

    /// Returns whether the undefended attack recovers less than half of the scale. A low leak is then weak evidence,
    /// even if it can be read.
    pub fn is_weak(&self) -> bool {
        let (least, most) = self.range;
        self.ceiling < least + HALF * (most - least)
    }

    /// How many decimals are shown.
    fn digits(&self) -> usize {
        if self.range.1 - self.range.0 >= 10.0 { 1 } else { 2 }
    }

    /// Measures one leak. `None` if the metric is not one, or no text has a score.
    fn of(
        leak: &Metric,
        metrics: &[Metric],
        (ceiling, floor): (&Columns, &Columns),
        seed: u64,
    ) -> Option<Self> {
        let base = find(metrics, leak.leaking()?)?;
        let columns = ceiling.column(&base.name).iter().zip(floor.column(&base.name));
        let pairs: Vec<(f64, f64)> =
            columns.filter_map(|(score, chance)| Some(((*score)?, (*chance)?))).collect();
        let sample = Sample {
            pairs,
            is_share: base.chance.is_some() && base.interval() == Interval::ClopperPearson,
            seed,
        };
        let (gap, least_gap) = (sample.gap()?, leak.least_gap_over(base));
        let n = sample.pairs.len();
        Some(Self {
            leak: leak.name.clone(),
            metric: base.name.clone(),
            title: base.title.clone(),
            range: base.range,
            ceiling: sample.pairs.iter().map(|pair| pair.0).sum::<f64>() / n as f64,
            gap,
            least_gap,
            n,
            reads_outputs: base.reads_outputs(),
            shortfall: sample.shortfall(gap, least_gap),
        })
    }
}

/// The scores of texts, each with the score of chance.
struct Sample {
    pairs: Vec<(f64, f64)>,
    /// Whether each score is a yes or no, and chance is known.
    is_share: bool,
    seed: u64,
}

impl Sample {
    fn gap(&self) -> Option<Score> {
        if self.pairs.is_empty() {
            return None;
        }
        if self.is_share {
            let hits = self.pairs.iter().filter(|pair| pair.0 > 0.5).count();
            return Some(self.above_chance(proportion(hits, self.pairs.len())));
        }
        mean(&self.differences(), self.seed)
    }

    fn differences(&self) -> Vec<f64> {
        self.pairs.iter().map(|(score, chance)| score - chance).collect()
    }

    fn above_chance(&self, Score { value, low, high }: Score) -> Score {
        let chance = self.pairs.iter().map(|pair| pair.1).sum::<f64>() / self.pairs.len() as f64;
        Score { value: value - chance, low: low - chance, high: high - chance }
    }

    fn shortfall(&self, gap: Score, least: f64) -> Option<Shortfall> {
        if gap.low >= least {
            return None;
        }
        let needed = (gap.high > least).then(|| self.needed(gap, least)).flatten();
        Some(needed.map_or(Shortfall::TooWeak, |needed| Shortfall::TooFewTexts { needed }))
    }

    /// How many texts like these would move the interval to one side of the least gap. `None` if no number that can
    /// be attacked would.
    fn needed(&self, gap: Score, least: f64) -> Option<usize> {
        let n = self.pairs.len();
        let needed =
            if self.is_share { self.share_deciding(least)? } else { self.mean_deciding(gap, least)? };
        Some(rounded_up(needed.max(n + 1))).filter(|&needed| needed <= MOST)
    }

    /// Estimates it by the standard error, which falls with the root of the number.
    fn mean_deciding(&self, gap: Score, least: f64) -> Option<usize> {
        let (n, distance) = (self.pairs.len() as f64, (gap.value - least).abs());
        let squares =
            self.differences().iter().map(|difference| (difference - gap.value).powi(2)).sum::<f64>();
        let spread = (squares / (n - 1.0).max(1.0)).sqrt();
        let needed = (normal_quantile(0.975) * spread / distance).powi(2).ceil();
        (needed <= MOST as f64).then_some(needed as usize)
    }

    fn share_deciding(&self, least: f64) -> Option<usize> {
        let n = self.pairs.len();
        let share = self.pairs.iter().filter(|pair| pair.0 > 0.5).count() as f64 / n as f64;
        let decides = |n: &usize| {
            let interval = self.above_chance(proportion((share * *n as f64).round() as usize, *n));
            interval.low >= least || interval.high < least
        };
        let steps = std::iter::successors(Some(n), |n| Some(n + n.div_ceil(20)));
        steps.take_while(|&n| n <= MOST).find(decides)
    }
}

/// Rounds up to two digits, because the number is an estimate.
fn rounded_up(number: usize) -> usize {
    let mut unit = 1;
    while number / unit >= 100 {
        unit *= 10;
    }
    number.div_ceil(unit) * unit
}

/// The strengths by the metrics of all leaks, except for metrics by which no text has a score.
pub(in crate::evaluate) fn strengths(
    metrics: &[Metric],
    ceiling: &Columns,
    floor: &Columns,
    seed: u64,
) -> Vec<AttackStrength> {
    metrics.iter().filter_map(|leak| AttackStrength::of(leak, metrics, (ceiling, floor), seed)).collect()
}

/// The names of the leaks that can be read.
pub(in crate::evaluate) fn conclusive(strengths: &[AttackStrength]) -> Vec<String> {
    let conclusive = strengths.iter().filter(|strength| strength.is_conclusive());
    conclusive.map(|strength| strength.leak.clone()).collect()
}

/// Why nothing can be concluded. `None` if at least one leak can be read.
pub(in crate::evaluate) fn reason(strengths: &[AttackStrength]) -> Option<String> {
    if strengths.iter().any(AttackStrength::is_conclusive) {
        return None;
    }
    let each: Vec<String> = strengths.iter().map(ToString::to_string).collect();
    let each = if each.is_empty() { NO_SCORE.into() } else { each.join("; ") };
    Some(format!(
        "the undefended attack is not shown to work on this corpus and embedder, so its failing under a defense says \
         nothing: {each}"
    ))
}

/// Prints what is shown, and what is missing:
/// `BLEU 0.3 [0.1, 0.6] above chance, and 10 is needed: the attack is too weak`.
impl fmt::Display for AttackStrength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { title, gap: Score { value, low, high }, least_gap, .. } = self;
        let digits = self.digits();
        write!(f, "{title} {value:.digits$} [{low:.digits$}, {high:.digits$}] above chance")?;
        match &self.shortfall {
            None => Ok(()),
            Some(Shortfall::TooWeak) => write!(f, ", and {least_gap} is needed: the attack is too weak"),
            Some(Shortfall::TooFewTexts { needed }) => {
                write!(
                    f,
                    ", and {least_gap} must be shown: about {needed} texts would decide, and {} {} a score",
                    self.n,
                    if self.n == 1 { "has" } else { "have" }
                )
            }
            Some(Shortfall::RetrainedTooWeak { defense }) => write!(
                f,
                ", but the retrained attack is not shown to be {least_gap} above chance under {defense}, nor on undefended \
                 vectors, nor under a key of its own: it is damaged, or was not trained for this defense"
            ),
        }
    }
}

impl AttackStrength {
    /// Returns a warning if the attack is [weak](Self::is_weak):
    /// `the undefended attack reaches only 21.0 of 100 by BLEU, so a low leak is weak evidence`. `None` if it is
    /// strong, or the leak cannot be read.
    pub fn warning(&self) -> Option<String> {
        let Self { title, ceiling, range: (_, most), .. } = self;
        let (leak, digits) = (self.leak.replace('_', " "), self.digits());
        (self.is_weak() && self.is_conclusive()).then(|| {
            format!("the undefended attack reaches only {ceiling:.digits$} of {most} by {title}, so a low {leak} is weak evidence")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let of = |n: usize| AttackStrength {
            leak: "guess_leak".into(),
            metric: "guess".into(),
            title: "facts guessed".into(),
            range: (0.0, 1.0),
            ceiling: 1.0,
            gap: Score { value: 0.98, low: 0.14, high: 0.98 },
            least_gap: 0.25,
            n,
            reads_outputs: false,
            shortfall: Some(Shortfall::TooFewTexts { needed: 3 }),
        };
        for (n, end) in [(1, "about 3 texts would decide, and 1 has a score"), (2, ", and 2 have a score")] {
            let reason = reason(&[of(n)]).unwrap_or_default();
            assert!(reason.ends_with(end), "{reason}");
        }
        let nothing = reason(&[]).unwrap_or_default();
        assert!(nothing.contains("no text has a fact with enough candidates"), "{nothing}");
    }
}
