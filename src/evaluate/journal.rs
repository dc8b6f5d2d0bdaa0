use std::time::Duration;

use embosk_defenses::Stack;
use serde_json::{Map, Value};

use super::conclusion::{Advice, AttackStrength};
use super::report::{Row, Undefended};
use super::stages::Stage;
use crate::Error;

/// Follows an evaluation row by row: it is told what is finished, knows what was finished before, and may ask for
/// more.
///
/// Every method has a default that does nothing. A journal that keeps finished rows on disk lets a killed evaluation
/// continue where it stopped. One that looks at the rows can search for a strength.
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
    /// Is told once, before the first row, all settings that every row depends on besides its own defense and
    /// adversary, and the least number of rows.
    ///
    /// # Errors
    /// Ends the evaluation, as with the other methods.
    fn begin(&mut self, settings: &Map<String, Value>, rows: usize) -> Result<(), Error> {
        Ok(())
    }

    /// Returns what the undefended attack reached in an earlier run with these settings.
    fn undefended(&mut self) -> Option<Undefended> {
        None
    }

    /// Is told what the undefended attack reached.
    fn finished_undefended(&mut self, undefended: &Undefended) -> Result<(), Error> {
        Ok(())
    }

    /// Is told, before the first row, how strong the undefended attack is, and what to do if nothing can be concluded
    /// from its failure, or for the leaks that cannot be read. With a retrained attack, this may only turn out at the end.
    fn judged(&mut self, strengths: &[AttackStrength], advice: &[Advice]) -> Result<(), Error> {
        Ok(())
    }

    /// Returns the row of this defense and adversary from an earlier run with these settings. It is then not measured
    /// again.
    fn known(&mut self, defense: &str, adversary: &str) -> Option<Row> {
        None
    }

    /// Is told each row as soon as it is measured, except for rows that it knew.
    fn finished(&mut self, row: &Row) -> Result<(), Error> {
        Ok(())
    }

    /// Is told at the end what the evaluation spent its processor time on, over all threads.
    fn spent(&mut self, stages: &[(Stage, Duration)]) {}

    /// Returns, after the last stack, another one to measure, given all rows so far.
    fn next(&mut self, rows: &[Row]) -> Result<Option<Stack>, Error> {
        Ok(None)
    }
}

/// Follows nothing.
pub(super) struct Nothing;

impl Journal for Nothing {}
