use embosk_defenses::Stack;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::report::{AttackScores, Row};
use crate::Error;

/// Follows an evaluation row by row: is told what is finished, knows what was finished before, and may
/// ask for more.
///
/// Every method has a default that does nothing. A journal that keeps what it is told on disk lets a
/// killed evaluation go on where it was; one that looks at the rows can search for a strength.
///
/// ```
/// use embosk::evaluate::{Corpus, Evaluation, Journal, Row};
/// use ndarray::Array2;
///
/// struct Print;
/// impl Journal for Print {
///     fn finished(&mut self, row: &Row) -> Result<(), embosk::Error> {
///         println!("{} is measured", row.defense);
///         Ok(())
///     }
/// }
///
/// let lengths = |texts: &[&str]| -> Result<Array2<f32>, embosk::BoxError> {
///     Ok(Array2::from_shape_fn((texts.len(), 2), |(row, at)| (texts[row].len() + at) as f32))
/// };
/// let report = Evaluation::new(lengths).corpus(Corpus::records(100, 0)).journal(Print).run()?;
/// assert_eq!(report.rows.len(), 1);
/// # Ok::<(), embosk::Error>(())
/// ```
#[allow(unused_variables, reason = "the defaults do nothing")]
pub trait Journal {
    /// Is told once, before the first row: all settings that every row depends on, beside its own
    /// defense and adversary, and how many rows there will be at least.
    ///
    /// # Errors
    /// Ends the evaluation, as with the other methods.
    fn begin(&mut self, settings: &Map<String, Value>, rows: usize) -> Result<(), Error> {
        Ok(())
    }

    /// What the undefended attack reached in an earlier run with these settings.
    fn undefended(&mut self) -> Option<Undefended> {
        None
    }

    /// Is told what the undefended attack reached.
    fn finished_undefended(&mut self, undefended: &Undefended) -> Result<(), Error> {
        Ok(())
    }

    /// The row of this defense and adversary from an earlier run with these settings. It is not
    /// measured again.
    fn known(&mut self, defense: &str, adversary: &str) -> Option<Row> {
        None
    }

    /// Is told each row as soon as it is measured; not those that it knew.
    fn finished(&mut self, row: &Row) -> Result<(), Error> {
        Ok(())
    }

    /// After the last stack: another one to measure, in view of all rows so far.
    fn next(&mut self, rows: &[Row]) -> Result<Option<Stack>, Error> {
        Ok(None)
    }
}

/// Follows nothing.
pub(super) struct Nothing;

impl Journal for Nothing {}

/// The attack without a defense: its scores, and BLEU text by text, by which leaks are measured. It holds
/// no text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Undefended {
    /// The attack on undefended vectors.
    pub ceiling: AttackScores,
    /// Its outputs held against other texts.
    pub floor: AttackScores,
    /// Oracle queries a text, on average.
    pub oracle_queries: f64,
    #[serde(with = "exact")]
    pub(super) ceiling_bleu: Vec<f64>,
    #[serde(with = "exact")]
    pub(super) floor_bleu: Vec<f64>,
}

impl Undefended {
    /// Whether it is of so many texts.
    pub(super) fn is_of(&self, samples: usize) -> bool {
        self.ceiling_bleu.len() == samples && self.floor_bleu.len() == samples
    }
}

/// Numbers as text: JSON readers may lose the last bit of a number, and a resumed evaluation would differ.
mod exact {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let number = |text: &String| text.parse().map_err(|_| D::Error::custom("it is not a number"));
        texts.iter().map(number).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_to_the_last_bit() {
        let values: Vec<f64> = (1..200).map(|n| 100.0 / f64::from(n)).collect();
        let (ceiling, floor) = (AttackScores::default(), AttackScores::default());
        let kept = Undefended {
            ceiling,
            floor,
            oracle_queries: 2.5,
            ceiling_bleu: values.clone(),
            floor_bleu: values,
        };
        let read: Undefended = serde_json::from_str(&serde_json::to_string(&kept).unwrap()).unwrap();
        assert_eq!(read, kept);
        assert!(read.is_of(199) && !read.is_of(200));
    }
}
