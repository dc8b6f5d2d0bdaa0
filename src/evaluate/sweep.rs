//! Specs with ranges in place of numbers, which stand for many stacks:
//!
//! ```text
//! range = FROM ".." TO "/" COUNT ["log"]     COUNT numbers, evenly spaced, or their logarithms are
//!       | FROM ".." TO                       every whole number between that the defense takes
//! ```
//!
//! Several ranges in a spec give every combination. Everything else is the grammar of
//! [`Stack`]: a value that does not begin as a number does is left as it is, so a
//! key in `file:../keys/a` is no range.

use std::fmt;
use std::str::FromStr;

use embosk_defenses::{Error as DefenseError, Stack};

use crate::Error;

/// How many stacks a sweep may have.
const MOST: usize = 1000;

/// A spec whose numbers may be ranges, and the stacks that it stands for.
///
/// ```
/// use embosk::evaluate::Sweep;
///
/// let sweep: Sweep = "gaussian(sigma=0.001..0.1/3log) | quantization(bits=1..8)".parse()?;
/// let stacks: Vec<String> = sweep.points().iter().map(|point| point.stack.to_string()).collect();
/// assert_eq!(stacks.len(), 9);
/// assert_eq!(stacks[0], "gaussian(sigma=0.001) | quantization(bits=1)");
/// assert_eq!(stacks[8], "gaussian(sigma=0.1) | quantization(bits=8)");
/// # Ok::<(), embosk::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sweep {
    /// What stands before each range, and after the last.
    literals: Vec<String>,
    /// Where each literal and each range begins in what was written, in characters.
    places: Vec<(usize, usize)>,
    title: String,
    ranges: Vec<Range>,
    points: Vec<Point>,
}

/// One stack of a sweep.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Point {
    /// The value in each range, in the order in which they were written; none where there is no range.
    pub values: Vec<f64>,
    /// The stack with these values.
    pub stack: Stack,
}

/// Numbers in place of one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Range {
    /// The parameter that it is of, such as `sigma`.
    pub parameter: String,
    /// The numbers, rising. All but the ends are rounded to four digits where that keeps them apart.
    pub values: Vec<f64>,
    /// Whether their logarithms are evenly spaced.
    pub log: bool,
    /// Whether only whole numbers are meant: a range without a count.
    pub whole: bool,
}

impl Sweep {
    /// The stacks, the last range changing fastest; one where there is no range.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The ranges, in the order in which they were written.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// The stack with other values than the sweep's own, one for each range.
    ///
    /// # Errors
    /// When there is not one value for each range, or the defense does not take them.
    pub fn at(&self, values: &[f64]) -> Result<Stack, Error> {
        if values.len() != self.ranges.len() {
            return Err(Error::Setting(format!("a stack of this sweep takes {} values", self.ranges.len())));
        }
        let spec = self.spec(values);
        spec.parse().map_err(|error| Error::Defense(self.relocated(error, values)))
    }

    fn spec(&self, values: &[f64]) -> String {
        let mut spec = String::new();
        for (at, literal) in self.literals.iter().enumerate() {
            spec.push_str(literal);
            if let Some(value) = values.get(at) {
                spec.push_str(&value.to_string());
            }
        }
        spec
    }

    /// An error of a stack's spec, with its position in what was written.
    fn relocated(&self, error: DefenseError, values: &[f64]) -> DefenseError {
        let DefenseError::Spec { position, message } = error else { return error };
        let mut left = position.saturating_sub(1);
        for (at, (literal, &(start, range))) in self.literals.iter().zip(&self.places).enumerate() {
            let length = literal.chars().count();
            let value = values.get(at).map_or(usize::MAX - length, |value| value.to_string().len());
            if left < length {
                return DefenseError::Spec { position: start + left + 1, message };
            }
            if left < length + value {
                return DefenseError::Spec { position: range + 1, message };
            }
            left -= length + value;
        }
        DefenseError::Spec { position, message }
    }

    /// All combinations of the ranges' values.
    fn combinations(&self) -> Result<Vec<Vec<f64>>, Error> {
        let count = self.ranges.iter().try_fold(1_usize, |n, range| n.checked_mul(range.values.len()));
        if count.is_none_or(|count| count > MOST) {
            return Err(Error::Setting(format!(
                "the sweep has more than {MOST} stacks; give its ranges fewer values"
            )));
        }
        let mut all = vec![Vec::new()];
        for range in &self.ranges {
            let extend = |values: &Vec<f64>| {
                range.values.iter().map(|&value| [values.as_slice(), &[value]].concat()).collect::<Vec<_>>()
            };
            all = all.iter().flat_map(extend).collect();
        }
        Ok(all)
    }

    /// Of ranges without a count, the whole numbers that the defense takes.
    fn keep_what_is_taken(&mut self) -> Result<(), Error> {
        if !self.ranges.iter().any(|range| range.whole) {
            return Ok(());
        }
        let mut refusal = None;
        let taken = self.combinations()?.into_iter().find(|values| {
            let stack = self.at(values);
            let is_taken = stack.is_ok();
            refusal = refusal.take().or(stack.err());
            is_taken
        });
        let Some(taken) = taken else {
            return Err(refusal.unwrap_or_else(|| Error::Setting("a range is empty".into())));
        };
        for at in 0..self.ranges.len() {
            if self.ranges[at].whole {
                let with = |value: f64| {
                    let mut values = taken.clone();
                    values[at] = value;
                    self.at(&values).is_ok()
                };
                let values = self.ranges[at].values.iter().copied().filter(|&value| with(value)).collect();
                self.ranges[at].values = values;
            }
        }
        Ok(())
    }
}

/// As it was written, without the names of keys' files and variables.
impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)
    }
}

impl FromStr for Sweep {
    type Err = Error;

    /// # Errors
    /// When a range cannot be read, there are more than 1,000 stacks, or a stack's spec is wrong: see
    /// [`Stack`].
    fn from_str(spec: &str) -> Result<Self, Error> {
        let mut sweep = read(spec)?;
        sweep.keep_what_is_taken()?;
        for values in sweep.combinations()? {
            let stack = sweep.at(&values)?;
            sweep.points.push(Point { values, stack });
        }
        Ok(sweep)
    }
}

/// Takes the spec apart at its ranges. A value runs from `=` to the next `,` or `)`, as in a stack's spec.
fn read(spec: &str) -> Result<Sweep, Error> {
    let characters = |end: usize| spec[..end].chars().count();
    let mut sweep =
        Sweep { literals: vec![], places: vec![], title: String::new(), ranges: vec![], points: vec![] };
    let (mut from, mut at) = (0, 0);
    while let Some(found) = spec[at..].find('=') {
        let start = at + found + 1;
        let end = spec[start..].find([',', ')']).map_or(spec.len(), |length| start + length);
        let value = spec[start..end].trim();
        sweep.title.push_str(&spec[at..start]);
        sweep.title.push_str(if value.contains(':') { "…" } else { value });
        if is_range(value) {
            let start = start + spec[start..end].len() - spec[start..end].trim_start().len();
            let refuse = |message: &str| {
                Error::Defense(DefenseError::Spec {
                    position: characters(start) + 1,
                    message: message.into(),
                })
            };
            sweep.ranges.push(range(name_before(&spec[at..at + found]), value).map_err(refuse)?);
            sweep.literals.push(spec[from..start].to_owned());
            sweep.places.push((characters(from), characters(start)));
            from = start + value.len();
        }
        at = end;
    }
    sweep.title.push_str(&spec[at..]);
    sweep.literals.push(spec[from..].to_owned());
    sweep.places.push((characters(from), characters(spec.len())));
    Ok(sweep)
}

fn is_range(value: &str) -> bool {
    let number = value.trim_start_matches(['+', '-', '.']);
    number.starts_with(|c: char| c.is_ascii_digit()) && value.contains("..")
}

fn name_before(text: &str) -> &str {
    let text = text.trim_end();
    let start = text.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    start.map_or(text, |start| text[start..].trim_start_matches(|c: char| !c.is_ascii_alphanumeric()))
}

const FORM: &str = "a range is FROM..TO/COUNT, or FROM..TO/COUNTlog with even steps of the logarithm";

fn range(parameter: &str, value: &str) -> Result<Range, &'static str> {
    let (from, rest) = value.split_once("..").ok_or(FORM)?;
    let (to, count) = rest.split_once('/').map_or((rest, None), |(to, count)| (to, Some(count.trim())));
    let (from, to) = (number(from)?, number(to)?);
    if from >= to {
        return Err("a range goes from a smaller number to a larger one");
    }
    let Some(count) = count else {
        return Ok(Range { parameter: parameter.into(), values: whole(from, to)?, log: false, whole: true });
    };
    let (count, log) = count.strip_suffix("log").map_or((count, false), |count| (count.trim_end(), true));
    let count: usize = count.parse().map_err(|_| FORM)?;
    if !(2..=MOST).contains(&count) {
        return Err("a range has 2 to 1000 values");
    }
    if log && from <= 0.0 {
        return Err("a range with even steps of the logarithm begins above 0");
    }
    Ok(Range { parameter: parameter.into(), values: spaced(from, to, count, log), log, whole: false })
}

fn number(text: &str) -> Result<f64, &'static str> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite()).ok_or(FORM)
}

fn whole(from: f64, to: f64) -> Result<Vec<f64>, &'static str> {
    if from.fract() != 0.0 || to.fract() != 0.0 {
        return Err("a range needs a number of values: FROM..TO/COUNT, or FROM..TO/COUNTlog");
    }
    if to - from >= MOST as f64 {
        return Err("a range has 2 to 1000 values");
    }
    Ok((0..=(to - from) as usize).map(|step| from + step as f64).collect())
}

fn spaced(from: f64, to: f64, count: usize, log: bool) -> Vec<f64> {
    let last = count - 1;
    let between = |step: usize| {
        let part = step as f64 / last as f64;
        match step {
            0 => from,
            step if step == last => to,
            _ if log => (from.ln() + part * (to.ln() - from.ln())).exp(),
            _ => from + part * (to - from),
        }
    };
    let exact: Vec<f64> = (0..count).map(between).collect();
    let mut short: Vec<f64> = exact.iter().map(|&value| rounded(value)).collect();
    (short[0], short[last]) = (from, to);
    if short.windows(2).all(|pair| pair[0] < pair[1]) { short } else { exact }
}

/// Four digits: more are noise to a reader of a table.
pub fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}
