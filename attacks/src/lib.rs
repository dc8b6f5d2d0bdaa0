//! Attacks that turn embeddings back into text.
//!
//! An [`Attack`] is given vectors and an [`Oracle`], the attacker's query access to an embedding
//! function, and returns the texts it believes the vectors came from. [`alignment`] fits the maps
//! with which an attacker who knows some pairs undoes a defense first; `vec2text` (feature
//! `vec2text`) is the attack of Morris et al., EMNLP 2023 (arXiv 2310.06816). With feature `reference` the
//! models that are shipped are in the program.

pub mod alignment;
mod decomposition;
mod error;
mod matmul;
pub mod structure;
#[cfg(feature = "vec2text")]
pub mod vec2text;

use std::fmt::{Debug, Display};

use ndarray::{Array2, ArrayView1, ArrayView2};

pub use error::{BoxError, Error};

/// The attacker's query access to an embedding function: texts in, vectors `[texts, dim]` out.
pub type Oracle<'a> = dyn Fn(&[&str]) -> Result<Array2<f32>, BoxError> + 'a;

/// Turns vectors back into text.
pub trait Attack: Debug + Display + Send + Sync {
    /// Inverts `vectors` (`[batch, dim]`), one [`Inversion`] a row, in the order of the rows.
    ///
    /// # Errors
    /// When the dimension is not the attack's own, a value is not finite, or the oracle fails.
    fn invert(&self, vectors: ArrayView2<'_, f32>, oracle: &Oracle<'_>) -> Result<Vec<Inversion>, Error>;

    /// As [`invert`](Self::invert), for an attacker who has two vectors of each text: an estimate of the
    /// clean one, row `i` of `estimates`, for models that were trained on clean vectors to read, and what
    /// he observed, row `i` of the ranking's targets, for hypotheses to be ranked by.
    ///
    /// Behind isotropic noise the text whose vector is nearest to the observed one is the likeliest. A
    /// denoised vector is a better estimate, but it is drawn towards the mean, where near duplicates look
    /// alike. An attacker who can protect a hypothesis himself compares what comes out with what he observed
    /// ([`Ranking::image`]). An attack that does not rank inverts the estimates.
    ///
    /// # Errors
    /// As [`invert`](Self::invert), and when the numbers of rows differ.
    fn invert_ranked_by(
        &self,
        estimates: ArrayView2<'_, f32>,
        ranking: &Ranking<'_>,
        oracle: &Oracle<'_>,
    ) -> Result<Vec<Inversion>, Error> {
        check_pairs(estimates, ranking.targets)?;
        self.invert(estimates, oracle)
    }
}

/// What hypotheses are ranked by.
#[derive(Clone, Copy)]
pub struct Ranking<'a> {
    /// What was observed of each text, `[batch, dim]`.
    pub targets: ArrayView2<'a, f32>,
    /// What makes observed vectors of clean ones, where the attacker can do it himself: rounding, or another
    /// defense that has no key, draws nothing, and leaves vectors about where they were.
    pub image: Option<&'a Image<'a>>,
}

/// What makes observed vectors of clean ones, `[any number, dim]` both, row by row.
pub type Image<'a> = dyn Fn(ArrayView2<'_, f32>) -> Result<Array2<f32>, BoxError> + 'a;

impl Ranking<'_> {
    /// How well a hypothesis explains `target`, by the hypothesis' clean vector and, where there is one, the
    /// image of that.
    ///
    /// Without an image it is the cosine of vector and target. With one it is 1 less what that cosine lacks to
    /// the cosine of the vector and its own image, so that the text itself has 1: rounding moves a vector to
    /// the nearest code, so one whose code is the target lacks nothing, and another lacks the more, the
    /// further it is from having it. For signs this is the one-sided loss of 1-bit compressed sensing
    /// (Jacques et al., arXiv 1104.3160).
    pub fn likeness(
        target: ArrayView1<'_, f32>,
        vector: ArrayView1<'_, f32>,
        image: Option<ArrayView1<'_, f32>>,
    ) -> f32 {
        let direct = cosine(target, vector);
        image.map_or(direct, |image| 1.0 - (cosine(image, vector) - direct))
    }
}

impl Debug for Ranking<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ranking").field("targets", &self.targets).finish_non_exhaustive()
    }
}

/// The cosine of the angle between two vectors; 0 where one of them is zero.
fn cosine(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f32 {
    let norms = (a.dot(&a) * b.dot(&b)).sqrt();
    if norms > 0.0 { a.dot(&b) / norms } else { 0.0 }
}

fn check_pairs(estimates: ArrayView2<'_, f32>, targets: ArrayView2<'_, f32>) -> Result<(), Error> {
    if estimates.nrows() == targets.nrows() {
        return Ok(());
    }
    let (estimates, targets) = (estimates.nrows(), targets.nrows());
    Err(Error::Setting(format!("{estimates} estimates do not pair with {targets} vectors to rank by")))
}

/// What an attack recovered from one vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Inversion {
    /// The best text after each step, the zero-step hypothesis first.
    pub steps: Vec<String>,
    /// The text that the attack settled on.
    pub output: String,
    /// The [likeness](Ranking::likeness) of the oracle's embedding of `output` and the vector that it was
    /// ranked by: their cosine, where no image was given.
    pub cosine: f32,
    /// How many texts this row asked the oracle for. One that another row asked for as well counts for both,
    /// though it is embedded once.
    pub queries: usize,
    /// What the local search at the end added to the cosine; 0 where there was none.
    pub local_gain: f32,
}
