//! Attacks that turn embeddings back into text.
//!
//! An [`Attack`] is given vectors and [`Resources`]: an [`Oracle`], which is the attacker's query access to an
//! embedding function, and perhaps the attacker's own texts. It returns the texts that it believes the vectors
//! came from. [`alignment`] fits the maps with which an attacker who knows some pairs undoes a defense first;
//! `vec2text` (feature `vec2text`) is the attack of Morris et al., EMNLP 2023 (arXiv 2310.06816). With feature
//! `reference` the models that are shipped are in the program.

pub mod alignment;
mod assignment;
mod check;
mod decomposition;
mod error;
mod matmul;
mod oracle;
mod permutation;
mod resources;
pub mod structure;
#[cfg(feature = "vec2text")]
pub mod vec2text;
mod white_box;

use std::fmt::{Debug, Display};
use std::sync::Arc;

use ndarray::{Array2, ArrayView1, ArrayView2};

pub use error::{BoxError, Error};
pub use oracle::Oracle;
pub use resources::{OwnTexts, Resources};
pub use white_box::{Gradient, WhiteBox, cosine_gradient};

/// Turns vectors back into text.
///
/// Implemented for `Box` and `Arc` of an attack, too. A wrapper of your own should forward every method.
pub trait Attack: Debug + Display + Send + Sync {
    /// Inverts `vectors` (`[batch, dim]`), one [`Inversion`] a row, in the order of the rows.
    ///
    /// # Errors
    /// When the dimension is not the attack's own, a value is not finite, or the oracle fails.
    fn invert(
        &self,
        vectors: ArrayView2<'_, f32>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, Error>;

    /// Inverts as [`invert`](Self::invert) does, for an attacker who has two vectors of each text.
    ///
    /// Row `i` of `estimates` is an estimate of the clean vector, for models that were trained on clean vectors
    /// to read. Row `i` of the ranking's targets is what the attacker observed, for hypotheses to be ranked by.
    ///
    /// Behind isotropic noise the text whose vector is nearest to the observed one is the likeliest. A
    /// denoised vector is a better estimate, but it is drawn towards the mean, where near duplicates look
    /// alike. An attacker who can protect a hypothesis themselves compares the result with what they observed
    /// ([`Ranking::image`]). An attack that does not rank inverts the estimates.
    ///
    /// # Errors
    /// As [`invert`](Self::invert), and when the numbers of rows differ.
    fn invert_ranked_by(
        &self,
        estimates: ArrayView2<'_, f32>,
        ranking: &Ranking<'_>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, Error> {
        check_pairs(estimates, ranking.targets)?;
        self.invert(estimates, resources)
    }

    /// How many texts of their own the attacker should have for this attack. An evaluation hands over as many,
    /// as far as there are so many, in [`Resources::own`]. Default: none.
    fn own_texts_wanted(&self) -> usize {
        0
    }
}

macro_rules! forward_attack {
    ($($pointer:ident),+) => {$(
        impl<A: Attack + ?Sized> Attack for $pointer<A> {
            fn invert(
                &self,
                vectors: ArrayView2<'_, f32>,
                resources: &Resources<'_>,
            ) -> Result<Vec<Inversion>, Error> {
                (**self).invert(vectors, resources)
            }

            fn invert_ranked_by(
                &self,
                estimates: ArrayView2<'_, f32>,
                ranking: &Ranking<'_>,
                resources: &Resources<'_>,
            ) -> Result<Vec<Inversion>, Error> {
                (**self).invert_ranked_by(estimates, ranking, resources)
            }

            fn own_texts_wanted(&self) -> usize {
                (**self).own_texts_wanted()
            }
        }
    )+};
}

forward_attack!(Box, Arc);

/// What hypotheses are ranked by.
#[derive(Clone, Copy)]
pub struct Ranking<'a> {
    /// What was observed of each text, `[batch, dim]`.
    pub targets: ArrayView2<'a, f32>,
    /// What makes observed vectors of clean ones, where the attacker can do that: rounding, or another
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Answers each method in a way of its own.
    #[derive(Debug)]
    struct Full;

    impl Display for Full {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("full")
        }
    }

    fn found(output: &str, rows: usize) -> Vec<Inversion> {
        let output = output.to_owned();
        vec![Inversion { steps: vec![], output, cosine: 0.0, queries: 0, local_gain: 0.0 }; rows]
    }

    impl Attack for Full {
        fn invert(&self, vectors: ArrayView2<'_, f32>, _: &Resources<'_>) -> Result<Vec<Inversion>, Error> {
            Ok(found("inverted", vectors.nrows()))
        }

        fn invert_ranked_by(
            &self,
            estimates: ArrayView2<'_, f32>,
            _: &Ranking<'_>,
            _: &Resources<'_>,
        ) -> Result<Vec<Inversion>, Error> {
            Ok(found("ranked", estimates.nrows()))
        }

        fn own_texts_wanted(&self) -> usize {
            7
        }
    }

    #[test]
    fn box_and_arc_forward_every_method() {
        let oracle =
            |texts: &[&str]| -> Result<Array2<f32>, BoxError> { Ok(Array2::zeros((texts.len(), 2))) };
        let resources = Resources::new(&oracle);
        let vectors = Array2::zeros((1, 2));
        let ranking = Ranking { targets: vectors.view(), image: None };
        let check = |attack: &dyn Attack| {
            let inverted = attack.invert(vectors.view(), &resources).unwrap();
            let ranked = attack.invert_ranked_by(vectors.view(), &ranking, &resources).unwrap();
            assert_eq!((inverted[0].output.as_str(), ranked[0].output.as_str()), ("inverted", "ranked"));
            assert_eq!((attack.own_texts_wanted(), attack.to_string().as_str()), (7, "full"));
        };
        let boxed: Box<dyn Attack> = Box::new(Full);
        let shared: Arc<dyn Attack> = Arc::new(Full);
        check(&boxed);
        check(&shared);
        check(&Box::new(Full));
        check(&Arc::new(Full));
    }
}
