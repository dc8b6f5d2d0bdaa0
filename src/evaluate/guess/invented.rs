//! Facts that are made up, where there are too few real ones of a kind.

use rand_chacha::ChaCha8Rng;

use super::shape::runs;
use crate::evaluate::draws::index_below;
use crate::evaluate::facts::{MONTHS, WEEKDAYS};

/// The years of invented dates.
const YEARS: std::ops::Range<usize> = 1900..2030;

/// Makes up a fact of the same shape: its numbers, months and weekdays are drawn anew. `None` if it holds nothing that
/// can be drawn.
pub(super) fn like(fact: &str, kind: &str, rng: &mut ChaCha8Rng) -> Option<String> {
    let mut is_new = false;
    let runs = runs(fact);
    let drawn = runs.iter().enumerate().map(|(at, run)| {
        let new = if run.starts_with(|c: char| c.is_ascii_digit()) {
            let goes_on = at > 1 && runs[at - 1] != " ";
            let is_part = goes_on || runs.get(at + 1) == Some(&",") && kind != "date";
            Some(number(run, kind, is_part, rng))
        } else {
            named(run, rng)
        };
        is_new |= new.is_some();
        new.unwrap_or_else(|| (*run).to_owned())
    });
    let drawn: String = drawn.collect();
    is_new.then_some(drawn)
}

/// Another number with as many digits; one or two are alike. `is_part` says whether it is part of a larger one.
fn number(run: &str, kind: &str, is_part: bool, rng: &mut ChaCha8Rng) -> String {
    let padded = |value: usize| format!("{value:00$}", if run.starts_with('0') { run.len() } else { 0 });
    let value: usize = run.parse().unwrap_or(usize::MAX);
    match (kind, run.len()) {
        ("date", 4) => (YEARS.start + index_below(YEARS.len(), rng)).to_string(),
        ("date", ..=2) => padded(1 + index_below(if value <= 12 { 12 } else { 28 }, rng)),
        ("time", ..=2) if is_part => format!("{:02}", index_below(60, rng)),
        ("time", ..=2) => padded(1 + index_below(if value <= 12 { 12 } else { 23 }, rng)),
        (_, ..=2) if !is_part && !run.starts_with('0') => (1 + index_below(99, rng)).to_string(),
        _ => digits(run, rng),
    }
}

/// Zeros at the end are kept, as `1,200` is as round as `4,700`; so is one in front.
fn digits(run: &str, rng: &mut ChaCha8Rng) -> String {
    let drawn = run.trim_end_matches('0').len().max(1);
    let digit = |(at, old): (usize, char)| match old {
        '0' if at == 0 || at >= drawn => old,
        _ => {
            let least = usize::from(at == 0 || at + 1 == drawn);
            char::from(b'0' + (least + index_below(10 - least, rng)) as u8)
        }
    };
    run.chars().enumerate().map(digit).collect()
}

/// Another month or weekday.
fn named(run: &str, rng: &mut ChaCha8Rng) -> Option<String> {
    let list: &[&str] = [MONTHS, WEEKDAYS].into_iter().find(|list| list.contains(&run))?;
    Some(list[index_below(list.len(), rng)].to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand_chacha::rand_core::SeedableRng;

    use super::super::shape::shape;
    use super::*;

    #[test]
    fn what_is_made_up_has_the_same_shape() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for (kind, fact, least) in [
            ("amount", "$1,200", 60),
            ("amount", "3 million euros", 60),
            ("date", "March 14, 2023", 60),
            ("date", "2023-03-14", 60),
            ("date", "1997", 60),
            ("date", "Monday", 7),
            ("time", "9:30", 60),
            ("number", "7", 60),
            ("number", "4821", 60),
            ("phone", "555-123-4567", 60),
        ] {
            let made: BTreeSet<String> = (0..500).filter_map(|_| like(fact, kind, &mut rng)).collect();
            assert!(made.len() >= least, "{fact}: {}", made.len());
            assert!(made.iter().all(|other| shape(other) == shape(fact)), "{made:?}");
        }
        assert_eq!(like("Ann Smith", "name", &mut rng), None);
    }
}
