//! The embedders of `embosk-models` as white boxes.

use embosk_models::SentenceTransformer;
use ndarray::{ArrayView2, CowArray, Ix2};

use crate::{BoxError, Gradient, WhiteBox};

/// The pieces, the table and the gradients are those of documents, on the CPU.
impl WhiteBox for SentenceTransformer {
    fn tokens(&self, text: &str) -> Result<Vec<u32>, BoxError> {
        Ok(self.pieces(text)?)
    }

    fn text(&self, tokens: &[u32]) -> Result<String, BoxError> {
        Ok(self.spell(tokens)?)
    }

    fn table(&self) -> Result<CowArray<'_, f32, Ix2>, BoxError> {
        Ok(self.piece_embeddings()?.into())
    }

    fn special(&self) -> Vec<u32> {
        self.special_pieces()
    }

    fn gradients(
        &self,
        hypotheses: &[&[u32]],
        targets: ArrayView2<'_, f32>,
    ) -> Result<Vec<Gradient>, BoxError> {
        let found = SentenceTransformer::gradients(self, hypotheses, targets)?;
        Ok(found.into_iter().map(|found| Gradient::new(found.similarity, found.by_piece)).collect())
    }
}
