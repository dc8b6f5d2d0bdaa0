//! Attacks that turn embeddings back into text.
//!
//! An [`Attack`] is given vectors and [`Resources`]: an [`Oracle`], which is the attacker's query access to an
//! embedding function, and perhaps the attacker's own texts. It returns its guess of the texts that the vectors came
//! from. [`alignment`] fits maps with which an attacker who knows some pairs first undoes a defense. `vec2text`
//! (feature `vec2text`) is the attack of Morris et al., EMNLP 2023 (arXiv 2310.06816). The feature `reference`
//! compiles the shipped models into the program.

pub mod alignment;
mod assignment;
mod check;
mod decomposition;
mod error;
pub mod guided;
mod matmul;
mod oracle;
#[doc(hidden)]
pub mod partial;
mod permutation;
mod resources;
mod rows;
#[cfg(feature = "vec2text")]
mod sentence_transformer;
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
/// It is also implemented for `Box` and `Arc` of an attack. Your own wrapper should forward every method.
pub trait Attack: Debug + Display + Send + Sync {
    /// Inverts `vectors` (`[batch, dim]`), one [`Inversion`] per row, in the order of the rows.
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
    /// Row `i` of `estimates` is an estimate of the clean vector; models that were trained on clean vectors
    /// read it. Row `i` of the ranking's targets is the observed vector; hypotheses are ranked by it.
    ///
    /// With isotropic noise, the likeliest text is the one whose vector is nearest to the observed one. A
    /// denoised vector is a better estimate, but it is drawn towards the mean, where near duplicates look
    /// alike. Attackers who can protect a hypothesis themselves compare the result with the observed vector
    /// ([`Ranking::image`]). An attack that does not rank hypotheses inverts the estimates.
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

    /// Returns whether the attack was trained on a text, or remembers it for another reason. `None` if that is not
    /// known. An evaluation attacks other texts, because what an attack does to these says nothing about others.
    /// Default: not known.
    fn trained_on(&self, text: &str) -> Option<bool> {
        let _ = text;
        None
    }

    /// Proposes better texts than `hypotheses`, for an attack that searches further from this one's results.
    ///
    /// Row `i` of `estimates` and of `vectors`, `[hypotheses, dim]`, belong to hypothesis `i`: the estimate of
    /// the clean vector of its text, and the hypothesis's own vector. The result has a list for each hypothesis,
    /// or is empty. Default: empty.
    ///
    /// # Errors
    /// As [`invert`](Self::invert).
    fn refine(
        &self,
        estimates: ArrayView2<'_, f32>,
        hypotheses: &[&str],
        vectors: ArrayView2<'_, f32>,
    ) -> Result<Vec<Vec<String>>, Error> {
        let _ = (estimates, hypotheses, vectors);
        Ok(Vec::new())
    }

    /// Returns how many of the attacker's own texts this attack should get. An evaluation passes that many in
    /// [`Resources::own`], or fewer if there are not enough. Default: none.
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

            fn trained_on(&self, text: &str) -> Option<bool> {
                (**self).trained_on(text)
            }

            fn refine(
                &self,
                estimates: ArrayView2<'_, f32>,
                hypotheses: &[&str],
                vectors: ArrayView2<'_, f32>,
            ) -> Result<Vec<Vec<String>>, Error> {
                (**self).refine(estimates, hypotheses, vectors)
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
    /// The observed vector of each text, `[batch, dim]`; in the space of [`space`](Self::space), if there is one.
    pub targets: ArrayView2<'a, f32>,
    /// Turns clean vectors into observed ones, if the attacker can do that. This holds for rounding, and for
    /// any other defense that has no key, draws nothing, and leaves vectors roughly where they were.
    pub image: Option<&'a Image<'a>>,
    /// Maps clean vectors to the space in which they are compared with the targets, if that is another one, such as a
    /// projection's. Images are in that space too.
    pub space: Option<&'a Image<'a>>,
    /// How well the true texts explain their targets, if the attacker found out: far beyond that likeness, a hypothesis
    /// fits the noise.
    pub expected: Option<Expected>,
}

/// The likeness of true texts to their targets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Its mean.
    pub mean: f32,
    /// Its standard deviation.
    pub deviation: f32,
}

impl Expected {
    /// Takes mean and deviation of some likenesses. `None` if there are none.
    pub fn of(likenesses: impl Iterator<Item = f32>) -> Option<Self> {
        let sums = |(n, sum, squares): (f64, f64, f64), likeness: f32| {
            let likeness = f64::from(likeness);
            (n + 1.0, sum + likeness, squares + likeness * likeness)
        };
        let (n, sum, squares) = likenesses.fold((0.0, 0.0, 0.0), sums);
        let mean = sum / n;
        let deviation = (squares / n - mean * mean).max(0.0).sqrt();
        (n > 0.0).then_some(Self { mean: mean as f32, deviation: deviation as f32 })
    }
}

/// Turns clean vectors, `[any number, dim]`, into others, row by row.
pub type Image<'a> = dyn Fn(ArrayView2<'_, f32>) -> Result<Array2<f32>, BoxError> + 'a;

impl<'a> Ranking<'a> {
    /// Creates the ranking by the cosine to `targets`, `[batch, dim]`.
    pub fn by(targets: ArrayView2<'a, f32>) -> Self {
        Self { targets, image: None, space: None, expected: None }
    }
}

impl Ranking<'_> {
    /// Returns how well a hypothesis explains `target` in another [space](Self::space), from what its vector becomes
    /// there and, if there is one, the image of that vector.
    ///
    /// Without an image, it is 1 − *d*² / 2, where *d* is the distance: with isotropic noise, the nearest vector is
    /// the likeliest. For vectors of norm 1 it is their cosine. With an image, it is as
    /// [`likeness`](Self::likeness).
    pub fn likeness_in_space(
        target: ArrayView1<'_, f32>,
        vector: ArrayView1<'_, f32>,
        image: Option<ArrayView1<'_, f32>>,
    ) -> f32 {
        match image {
            Some(image) => Self::likeness(target, vector, Some(image)),
            None => 1.0 - target.iter().zip(vector).map(|(a, b)| (a - b) * (a - b)).sum::<f32>() / 2.0,
        }
    }

    /// Returns how well a hypothesis explains `target`, from the hypothesis's clean vector and, if there is
    /// one, the image of that vector.
    ///
    /// Without an image, it is the cosine of vector and target. With an image, it is 1 − (*a* − *b*), where
    /// *a* is the cosine of the vector and its own image, and *b* the cosine of the vector and the target.
    /// Rounding moves a vector to the nearest code. The true text's code is the target, so *a* = *b* and the
    /// likeness is 1. The further a vector is from having the target as its code, the lower the likeness. For
    /// signs this is the one-sided loss of 1-bit compressed sensing (Jacques et al., arXiv 1104.3160).
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

/// Returns the cosine of the angle between two vectors; 0 if one of them is zero.
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
    /// The text that the attack chose.
    pub output: String,
    /// The [likeness](Ranking::likeness) of the oracle's embedding of `output` and the vector that it was
    /// ranked by: their cosine, if no image was given.
    pub cosine: f32,
    /// How many texts this row asked the oracle for. A text that two rows asked for counts for both, although
    /// it is embedded once.
    pub queries: usize,
    /// How much the final local search added to the cosine; 0 if there was none.
    pub local_gain: f32,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Answers each method differently.
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

        fn trained_on(&self, text: &str) -> Option<bool> {
            Some(text == "a")
        }

        fn refine(
            &self,
            _: ArrayView2<'_, f32>,
            hypotheses: &[&str],
            _: ArrayView2<'_, f32>,
        ) -> Result<Vec<Vec<String>>, Error> {
            Ok(vec![vec!["refined".to_owned()]; hypotheses.len()])
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
        let ranking = Ranking::by(vectors.view());
        let check = |attack: &dyn Attack| {
            let inverted = attack.invert(vectors.view(), &resources).unwrap();
            let ranked = attack.invert_ranked_by(vectors.view(), &ranking, &resources).unwrap();
            assert_eq!((inverted[0].output.as_str(), ranked[0].output.as_str()), ("inverted", "ranked"));
            assert_eq!((attack.trained_on("a"), attack.trained_on("b")), (Some(true), Some(false)));
            let refined = attack.refine(vectors.view(), &["a"], vectors.view()).unwrap();
            assert_eq!(refined, [["refined"]]);
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
