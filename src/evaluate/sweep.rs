//! Specs with ranges in place of numbers, which describe many stacks:
//!
//! ```text
//! range = FROM ".." TO "/" COUNT ["log"]     COUNT numbers with even steps, or even steps of the logarithm
//!       | FROM ".." TO                       every whole number between that the defense takes
//! ```
//!
//! Several ranges in a spec give every combination. Everything else is the grammar of [`Spec`]: only a word that
//! begins like a number is a range, so a key in `file:../keys/a` is not one.

use std::fmt;
use std::str::FromStr;

use embosk_defenses::spec::{Kind, Part};
use embosk_defenses::{Registry, Spec, Stack};

use crate::Error;

/// How many stacks a sweep may have.
const MOST: usize = 1000;

/// A spec whose numbers may be ranges, and the stacks that it describes.
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
    spec: Spec,
    registry: Registry,
    ranges: Vec<Range>,
    /// Which of the spec's values each range is.
    places: Vec<usize>,
    points: Vec<Point>,
}

/// One stack of a sweep.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Point {
    /// The value in each range, in the order in which they were written; empty if there is no range.
    pub values: Vec<f64>,
    /// The stack with these values.
    pub stack: Stack,
}

/// Numbers in place of one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Range {
    /// Its parameter, such as `sigma`.
    pub parameter: String,
    /// The numbers, ascending. All but the ends are rounded to four digits if that keeps them distinct.
    pub values: Vec<f64>,
    /// Whether their logarithms are evenly spaced.
    pub log: bool,
    /// Whether only whole numbers are meant: a range without a count.
    pub whole: bool,
}

impl Sweep {
    /// Reads a sweep whose defenses are those of `registry`.
    ///
    /// # Errors
    /// [`Error::Defense`] with the position at which the spec or a range cannot be read, or the reason why a stack
    /// cannot be built; [`Error::Setting`] for more than 1,000 stacks.
    pub fn parse(registry: &Registry, text: &str) -> Result<Self, Error> {
        Self::of(registry, registry.spec(text)?)
    }

    /// Takes the ranges of a spec whose defenses are those of `registry`.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn of(registry: &Registry, spec: Spec) -> Result<Self, Error> {
        let (mut ranges, mut places) = (Vec::new(), Vec::new());
        for (place, parameter) in spec.parts().iter().flat_map(Part::parameters).enumerate() {
            let Kind::Word(word) = parameter.value().kind() else { continue };
            if is_range(word) {
                ranges
                    .push(range(parameter.name(), word).map_err(|message| parameter.value().error(message))?);
                places.push(place);
            }
        }
        let mut sweep = Self { spec, registry: registry.clone(), ranges, places, points: Vec::new() };
        sweep.keep_what_is_taken()?;
        for values in sweep.combinations()? {
            let stack = sweep.at(&values)?;
            sweep.points.push(Point { values, stack });
        }
        Ok(sweep)
    }

    /// Returns the stacks, with the last range changing fastest; a single one if there is no range.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Returns the ranges, in the order in which they were written.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// Builds the stack with other values than the sweep's own, one for each range. An error points at the range
    /// that was written.
    ///
    /// # Errors
    /// When there is not one value for each range, or the defense does not accept them.
    pub fn at(&self, values: &[f64]) -> Result<Stack, Error> {
        if values.len() != self.ranges.len() {
            return Err(Error::Setting(format!("a stack of this sweep takes {} values", self.ranges.len())));
        }
        let mut spec = self.spec.clone();
        for (place, value) in spec.values_mut().enumerate() {
            if let Some(range) = self.places.iter().position(|of_range| *of_range == place) {
                value.replace(values[range]);
            }
        }
        Ok(self.registry.stack(&spec)?)
    }

    /// Returns all combinations of the ranges' values.
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

    /// Keeps, in ranges without a count, the whole numbers that the defense accepts.
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

/// Prints the spec with its ranges, without the places of keys and fits.
impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec.redacted().fmt(f)
    }
}

impl FromStr for Sweep {
    type Err = Error;

    /// Reads a sweep of this crate's defenses: see [`parse`](Self::parse).
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(&Registry::default(), text)
    }
}

fn is_range(value: &str) -> bool {
    let number = value.trim_start_matches(['+', '-', '.']);
    number.starts_with(|c: char| c.is_ascii_digit()) && value.contains("..")
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

/// Rounds to four digits: more are noise to a reader of a table.
pub fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}
