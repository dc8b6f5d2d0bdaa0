//! How a text's similarity to a vector changes with the embeddings of its pieces.

mod cosine;
mod encoder;
mod pooling;
mod stages;

use candle_core::{Result, Tensor};
use ndarray::{Array2, ArrayView1, ArrayView2, s};

use self::cosine::cosine;
use self::pooling::Texts;
use super::SentenceTransformer;
use super::pieces::Framed;
use crate::Error;
use crate::kernels::with;
use crate::threads::in_parallel;

/// How many texts a forward and backward pass takes. The number is fixed, so that no bit depends on the number of
/// threads.
const BATCH: usize = 4;

/// How similar a text is to a vector, and how that changes with the embeddings of its pieces.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PieceGradient {
    /// The cosine of the text's vector and the target.
    pub similarity: f32,
    /// The gradient of the cosine with respect to the embedding of each piece, `[pieces, width]`; zeros for pieces
    /// that are cut off.
    pub by_piece: Array2<f32>,
}

/// Why an embedder on a GPU has no gradients.
pub(super) fn elsewhere() -> Error {
    Error::Setting("gradients are computed on the CPU; load the embedder there".into())
}

/// A text's tokens, and the vector that it is compared with.
struct Job<'a> {
    text: Framed,
    pieces: usize,
    target: &'a [f32],
}

impl SentenceTransformer {
    /// Returns the cosine of each text, embedded as a document, and its target, with the gradient of the cosine with
    /// respect to the embeddings of the text's pieces: the rows of [`piece_embeddings`](Self::piece_embeddings), before
    /// anything is added to them. Text `i` is compared with row `i` of `targets`, `[texts, dim]`.
    ///
    /// Each text is given by its pieces, as [`pieces`](Self::pieces) returns them. Texts may differ in length; none
    /// is padded. Special tokens and the prompt surround the pieces and get no gradient. One forward and one backward
    /// pass are computed for a few texts at a time, spread over the cores. The similarity may differ from that of
    /// [`encode_documents`](Self::encode_documents) in the last bits.
    ///
    /// # Errors
    /// [`Error::Setting`] if the model is not on the CPU or is a ModernBERT, NomicBERT or Qwen3, or if the targets
    /// differ from the texts in number or from the embedder in dimension. [`Error::Model`] if a piece is not in the
    /// vocabulary.
    pub fn gradients(
        &self,
        texts: &[&[u32]],
        targets: ArrayView2<'_, f32>,
    ) -> std::result::Result<Vec<PieceGradient>, Error> {
        self.check(texts.len(), targets.dim())?;
        let frame = self.frame()?;
        let targets = targets.as_standard_layout();
        let jobs: Vec<Job<'_>> = texts
            .iter()
            .zip(targets.rows())
            .map(|(pieces, target)| {
                let target = target.to_slice().unwrap_or_default();
                Job { text: frame.around(pieces), pieces: pieces.len(), target }
            })
            .collect();
        let batches = jobs.chunks(BATCH).collect::<Vec<_>>();
        let found = in_parallel(&batches, |batch| self.pass(batch, frame.skip).map_err(Error::from))?;
        Ok(found.into_iter().flatten().collect())
    }

    fn check(&self, texts: usize, targets: (usize, usize)) -> std::result::Result<(), Error> {
        let dimension = self.dimension();
        if targets != (texts, dimension) {
            let (rows, columns) = targets;
            return Err(Error::Setting(format!(
                "{texts} texts of {dimension} dimensions need as many targets, and there are {rows} of {columns}"
            )));
        }
        if !self.encoder.has_gradients() {
            return Err(Error::Setting(
                "gradients of ModernBERT, NomicBERT and Qwen3 are not computed; take an embedder of another \
                 architecture"
                    .into(),
            ));
        }
        if self.device.is_cpu() {
            return Ok(());
        }
        Err(elsewhere())
    }

    /// One forward and one backward pass.
    fn pass(&self, jobs: &[Job<'_>], skip: usize) -> Result<Vec<PieceGradient>> {
        let lengths: Vec<usize> = jobs.iter().map(|job| job.text.ids.len()).collect();
        let ids: Vec<u32> = jobs.iter().flat_map(|job| job.text.ids.iter().copied()).collect();
        let trace = self.encoder.trace(&ids, &lengths)?;
        let (pooling, width) = (&self.modules.pooling, self.encoder.table().dim(1)?);
        let texts = Texts { width, lengths: &lengths, skip };
        let pooled = with(trace.states(), |states| pooling.of_texts(states, &texts))?;
        let pooled = Tensor::from_vec(pooled, (jobs.len(), pooling.dimension(width)), &self.device)?;
        let passed = self.modules.pass(pooled)?;
        let (similarities, by_vector) = self.compare(&passed.vectors, jobs)?;
        let by_pooled = self.modules.gradient(&passed, by_vector)?;
        let by_states = with(trace.states(), |states| {
            with(&by_pooled, |by_pooled| pooling.gradient(states, &texts, by_pooled))
        })??;
        let by_states = Tensor::from_vec(by_states, trace.states().shape(), &self.device)?;
        let by_token = self.encoder.gradient(&trace, &by_states)?;
        with(&by_token, |by_token| apart(jobs, &similarities, by_token, width))
    }

    /// The cosine of each vector and its target, and its gradient `[texts, dim]`, with zeros for dimensions that the
    /// embedder cuts off.
    fn compare(&self, vectors: &Tensor, jobs: &[Job<'_>]) -> Result<(Vec<f32>, Tensor)> {
        let (mut similarities, mut grad) = (Vec::new(), Vec::new());
        with(vectors, |vectors| {
            for (vector, job) in vectors.chunks_exact(self.whole).zip(jobs) {
                let (similarity, by_vector) = cosine(&vector[..job.target.len()], job.target);
                similarities.push(similarity);
                grad.extend(by_vector);
                grad.resize(similarities.len() * self.whole, 0.0);
            }
        })?;
        Ok((similarities, Tensor::from_vec(grad, vectors.shape(), vectors.device())?))
    }
}

/// Each text's share of the gradient, without the tokens that surround its pieces.
fn apart(jobs: &[Job<'_>], similarities: &[f32], by_token: &[f32], width: usize) -> Vec<PieceGradient> {
    let mut rest = by_token;
    let of_each = jobs.iter().zip(similarities).map(|(job, &similarity)| {
        let (own, others) = rest.split_at(job.text.ids.len() * width);
        rest = others;
        let mut by_piece = Array2::zeros((job.pieces, width));
        let rows = own.chunks_exact(width).skip(job.text.before).map(ArrayView1::from);
        let mut kept = by_piece.slice_mut(s![job.text.kept.clone(), ..]);
        kept.rows_mut().into_iter().zip(rows).for_each(|(mut to, from)| to.assign(&from));
        PieceGradient { similarity, by_piece }
    });
    of_each.collect()
}
