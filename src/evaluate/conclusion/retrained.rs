//! Whether a retrained attack fails because of the defense, or by itself.

use super::{AttackStrength, Shortfall};
use crate::Error;
use crate::evaluate::metrics::Columns;
use crate::evaluate::report::Row;
use crate::evaluate::statistics::mean;

/// Marks the leaks about which the retrained attack's `rows` under a stack say nothing: the attack is near chance there and
/// also `at_its_best`, which is measured only if it is near chance.
pub(in crate::evaluate) fn in_vain(
    strengths: &mut [AttackStrength],
    defense: &str,
    rows: &mut [&mut Row],
    (floor, seed): (&Columns, u64),
    at_its_best: impl FnOnce() -> Result<Columns, Error>,
) -> Result<(), Error> {
    let chance = |metric: &str| average(&floor.values(metric));
    let least = |strength: &AttackStrength| chance(&strength.metric) + strength.least_gap;
    let fails = |row: &Row, strength: &AttackStrength| {
        row.score(&strength.metric).map_or(0.0, |score| score.low) < least(strength)
    };
    let failed = |strength: &&mut AttackStrength| {
        strength.reads_outputs && strength.is_conclusive() && rows.iter().any(|row| fails(row, strength))
    };
    let failed: Vec<&mut AttackStrength> = strengths.iter_mut().filter(failed).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let best = at_its_best()?;
    for strength in failed {
        let low = mean(&best.values(&strength.metric), seed).map_or(0.0, |score| score.low);
        if low < least(strength) {
            strength.shortfall = Some(Shortfall::RetrainedTooWeak { defense: defense.to_owned() });
            for row in rows.iter_mut() {
                row.conclusive.retain(|leak| *leak != strength.leak);
            }
        }
    }
    Ok(())
}

fn average(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
