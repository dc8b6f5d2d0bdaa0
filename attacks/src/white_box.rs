//! Gradients, for an attacker who has the embedder's weights.

use ndarray::{Array1, Array2, ArrayView2, CowArray, Ix2};

use crate::BoxError;

/// An embedder whose internals the attacker can read: its pieces, their embeddings, and gradients.
///
/// It is meant for guided search as in HotFlip (Ebrahimi et al., ACL 2018, arXiv 1712.06751): one backward
/// pass of a hypothesis scores every piece of the vocabulary at every place, by [`Gradient::swaps`].
///
/// *Pieces* are the numbers into which the embedder's tokenizer turns a text. Here they never include special
/// pieces, such as a start and an end; the embedder adds these itself.
pub trait WhiteBox: Send + Sync {
    /// Returns the pieces of `text`, without special ones, cut where the embedder cuts texts.
    ///
    /// # Errors
    /// When the tokenizer fails.
    fn tokens(&self, text: &str) -> Result<Vec<u32>, BoxError>;

    /// Returns the text that `tokens` spell. The tokenizer may split this text differently, so only the
    /// oracle's vector of it counts.
    ///
    /// # Errors
    /// When a piece is not in the vocabulary.
    fn text(&self, tokens: &[u32]) -> Result<String, BoxError>;

    /// Returns the embeddings of all pieces, `[vocabulary, width]`: row `p` is that of piece `p`. The table
    /// may be copied for the caller, so call this once.
    ///
    /// # Errors
    /// When the weights cannot be read.
    fn table(&self) -> Result<CowArray<'_, f32, Ix2>, BoxError>;

    /// Returns the pieces that occur in no text, such as padding, start and end. Default: none.
    fn special(&self) -> Vec<u32> {
        Vec::new()
    }

    /// Returns how similar each hypothesis is to its target, and the gradient of this similarity with respect
    /// to the embeddings of its pieces. Hypothesis `i` is compared with row `i` of `targets`,
    /// `[hypotheses, dim]`, by the cosine.
    ///
    /// Hypotheses may differ in length; the implementation batches them.
    ///
    /// # Errors
    /// When there are not as many targets as hypotheses, or the model fails.
    fn gradients(
        &self,
        hypotheses: &[&[u32]],
        targets: ArrayView2<'_, f32>,
    ) -> Result<Vec<Gradient>, BoxError>;
}

/// The result of a backward pass for one hypothesis.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Gradient {
    /// The cosine of the hypothesis's vector and its target.
    pub similarity: f32,
    /// The gradient of the similarity with respect to the embedding of each piece, `[pieces, width]`.
    pub by_piece: Array2<f32>,
}

impl Gradient {
    /// Creates the gradient of one hypothesis.
    pub fn new(similarity: f32, by_piece: Array2<f32>) -> Self {
        Self { similarity, by_piece }
    }

    /// Returns how much more similar the hypothesis becomes, to first order, if one piece is replaced. The
    /// result is `[pieces, vocabulary]`: row `i` is the place of piece `i`, and column `p` the piece that
    /// replaces it.
    ///
    /// `tokens` are the hypothesis's pieces, and `table` is [`WhiteBox::table`]. Replacing a piece by itself
    /// scores 0.
    ///
    /// # Errors
    /// When there are not as many tokens as rows of the gradient, the widths differ, or a token is not in the
    /// table.
    pub fn swaps(&self, tokens: &[u32], table: ArrayView2<'_, f32>) -> Result<Array2<f32>, BoxError> {
        let (pieces, width) = self.by_piece.dim();
        if tokens.len() != pieces || table.ncols() != width {
            let (found, of) = (tokens.len(), table.ncols());
            return Err(
                format!("a gradient of {pieces} pieces of width {width} is for {found} of {of}").into()
            );
        }
        let mut scores = self.by_piece.dot(&table.t());
        for (mut row, &token) in scores.rows_mut().into_iter().zip(tokens) {
            let own = *row.get(token as usize).ok_or("a piece is not in the table of embeddings")?;
            row -= own;
        }
        Ok(scores)
    }
}

/// Returns the gradient of the cosine of `vector` and `target` with respect to `vector`, and the cosine: the
/// first step of every backward pass. Both are 0 if one of the two vectors is zero.
pub fn cosine_gradient(vector: &Array1<f32>, target: &Array1<f32>) -> (f32, Array1<f32>) {
    let (length, other) = (vector.dot(vector).sqrt(), target.dot(target).sqrt());
    if length == 0.0 || other == 0.0 {
        return (0.0, Array1::zeros(vector.len()));
    }
    let cosine = vector.dot(target) / (length * other);
    (cosine, target / (length * other) - vector * (cosine / (length * length)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;

    const VOCABULARY: usize = 23;
    const WIDTH: usize = 7;
    const DIM: usize = 5;

    /// The mean of the pieces' embeddings, through a matrix.
    struct Linear {
        table: Array2<f32>,
        matrix: Array2<f32>,
    }

    impl Linear {
        fn new(rng: &mut ChaCha8Rng) -> Self {
            Self { table: random((VOCABULARY, WIDTH), rng), matrix: random((WIDTH, DIM), rng) }
        }

        fn vector(&self, embeddings: &Array2<f32>) -> Array1<f32> {
            embeddings.mean_axis(ndarray::Axis(0)).unwrap().dot(&self.matrix)
        }

        fn embeddings(&self, tokens: &[u32]) -> Array2<f32> {
            let rows: Vec<usize> = tokens.iter().map(|&token| token as usize).collect();
            self.table.select(ndarray::Axis(0), &rows)
        }
    }

    /// A piece is a letter.
    impl WhiteBox for Linear {
        fn tokens(&self, text: &str) -> Result<Vec<u32>, BoxError> {
            Ok(text.bytes().map(|byte| u32::from(byte - b'a')).collect())
        }

        fn text(&self, tokens: &[u32]) -> Result<String, BoxError> {
            tokens.iter().map(|&token| Ok(char::from(b'a' + u8::try_from(token)?))).collect()
        }

        fn table(&self) -> Result<CowArray<'_, f32, Ix2>, BoxError> {
            Ok(self.table.view().into())
        }

        fn gradients(
            &self,
            hypotheses: &[&[u32]],
            targets: ArrayView2<'_, f32>,
        ) -> Result<Vec<Gradient>, BoxError> {
            let of_each = hypotheses.iter().zip(targets.rows()).map(|(tokens, target)| {
                let vector = self.vector(&self.embeddings(tokens));
                let (similarity, by_vector) = cosine_gradient(&vector, &target.to_owned());
                let by_mean = self.matrix.dot(&by_vector) / tokens.len() as f32;
                let by_piece = by_mean.broadcast((tokens.len(), WIDTH)).unwrap().to_owned();
                Gradient::new(similarity, by_piece)
            });
            Ok(of_each.collect())
        }
    }

    fn random(shape: (usize, usize), rng: &mut ChaCha8Rng) -> Array2<f32> {
        Array2::from_shape_simple_fn(shape, || rng.next_u32() as f32 / 2_f32.powi(31) - 1.0)
    }

    fn cosine(a: &Array1<f32>, b: &Array1<f32>) -> f32 {
        a.dot(b) / (a.dot(a) * b.dot(b)).sqrt()
    }

    /// A swap's score is the slope of the similarity on the way from the piece's embedding to the other's.
    #[test]
    fn swaps_are_the_slopes_of_finite_differences() {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let model = Linear::new(rng);
        let white_box: &dyn WhiteBox = &model;
        let hypotheses = ["hotflip", "abc"].map(|text| white_box.tokens(text).unwrap());
        let targets = random((2, DIM), rng);
        let views: Vec<&[u32]> = hypotheses.iter().map(Vec::as_slice).collect();
        let gradients = white_box.gradients(&views, targets.view()).unwrap();
        let table = white_box.table().unwrap();
        for ((tokens, target), gradient) in hypotheses.iter().zip(targets.rows()).zip(&gradients) {
            let target = target.to_owned();
            let embeddings = model.embeddings(tokens);
            assert!((gradient.similarity - cosine(&model.vector(&embeddings), &target)).abs() < 1e-6);
            let swaps = gradient.swaps(tokens, table.view()).unwrap();
            assert_eq!(swaps.dim(), (tokens.len(), VOCABULARY));
            for ((place, piece), &score) in swaps.indexed_iter() {
                let toward = |step: f32| {
                    let mut moved = embeddings.clone();
                    let way = &table.row(piece) - &embeddings.row(place);
                    moved.row_mut(place).scaled_add(step, &way);
                    f64::from(cosine(&model.vector(&moved), &target))
                };
                let slope = (toward(0.01) - toward(-0.01)) / 0.02;
                assert!((slope - f64::from(score)).abs() < 2e-3, "{place} {piece}: {slope} {score}");
                assert!(piece != tokens[place] as usize || score.abs() < 1e-6);
            }
        }
        assert_eq!(white_box.text(&hypotheses[0]).unwrap(), "hotflip");
        assert!(white_box.special().is_empty());
    }

    #[test]
    fn a_gradient_for_other_pieces_is_refused() {
        let table = Array2::zeros((3, 2));
        let gradient = Gradient::new(0.5, Array2::zeros((2, 2)));
        assert!(gradient.swaps(&[0, 1], table.view()).is_ok());
        assert!(gradient.swaps(&[0], table.view()).is_err());
        assert!(gradient.swaps(&[0, 3], table.view()).is_err());
        assert!(Gradient::new(0.5, Array2::zeros((2, 4))).swaps(&[0, 1], table.view()).is_err());
        assert_eq!(cosine_gradient(&Array1::zeros(2), &Array1::ones(2)), (0.0, Array1::zeros(2)));
    }
}
