//! An embedder whose first answer is checked: what gives other vectors each time cannot be measured.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::OnceLock;

use embosk_attacks::WhiteBox;
use ndarray::{Array2, Axis};

use super::given::cosine;
use crate::embedder::{Identity, Normalizer, Similarity};
use crate::{BoxError, Embedder, Role};

/// How many texts are embedded a second time.
const CHECKED: usize = 4;

/// An embedder is refused if its two answers have a lower mean cosine. Noise of `r` times a vector's length gives two
/// noisy vectors a cosine of 1 / (1 + r²). Here `r` is 0.1, which is what weak defenses add: attacks fail because of it.
/// A service that rounds to 8 bits, and differently in each batch, changes vectors by a few hundredths of their length.
const SAME: f64 = 0.99;

/// With a lower mean cosine, the report warns. Here `r` is 0.01. Rounding to half precision changes vectors by less, and
/// makes no difference to attacks.
const EQUAL: f64 = 0.9999;

/// An embedder that is refused if it gives other vectors each time. When it first embeds different texts, a few of them, spread
/// evenly, are embedded a second time. Vectors from a cache in front of it ask nothing of it.
///
/// Without this check, the embedder's own noise would act as a defense that no row mentions.
pub(super) struct Steady<E> {
    embedder: E,
    /// The mean cosine of the two answers.
    seen: OnceLock<f64>,
}

impl<E: Embedder> Steady<E> {
    pub(super) fn new(embedder: E) -> Self {
        Self { embedder, seen: OnceLock::new() }
    }

    /// Embeds some of `texts` again, and compares the vectors with `first`, `[texts, dim]`. Nothing is decided by fewer
    /// than two different texts, empty ones aside. An answer that is wrong in itself is left to the caller.
    fn check(&self, role: Role, texts: &[&str], first: &Array2<f32>) -> Result<(), BoxError> {
        if first.nrows() != texts.len() || !first.iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        let mut known = HashSet::new();
        let mut is_new = |row: &usize| !texts[*row].trim().is_empty() && known.insert(texts[*row]);
        let different: Vec<usize> = (0..texts.len()).filter(|row| is_new(row)).collect();
        if different.len() < 2 {
            return Ok(());
        }
        let count = CHECKED.min(different.len());
        let rows: Vec<usize> = (0..count).map(|nth| different[nth * different.len() / count]).collect();
        let some: Vec<&str> = rows.iter().map(|&row| texts[row]).collect();
        let again = self.embedder.embed(role, &some)?;
        let seen = mean_cosine(&first.select(Axis(0), &rows), &again);
        if seen >= SAME {
            self.seen.get_or_init(|| seen);
            return Ok(());
        }
        Err(format!(
            "it gives other vectors each time: {count} texts that were embedded twice had a mean cosine of {seen:.3}, and \
             {SAME} is needed; attacks would fail because of this noise and not because of a defense, so nothing is \
             measured; turn off dropout (in PyTorch, model.eval()) and whatever else in the embedder is random"
        )
        .into())
    }
}

/// The mean cosine of the rows of two answers, `[texts, dim]`; 0 if they differ in shape. Equal rows count as 1, also if
/// they are zero.
fn mean_cosine(first: &Array2<f32>, again: &Array2<f32>) -> f64 {
    if first.dim() != again.dim() {
        return 0.0;
    }
    let rows = first.rows().into_iter().zip(again.rows());
    let sum: f64 = rows.map(|(one, other)| if one == other { 1.0 } else { cosine(one, other) }).sum();
    sum / first.nrows() as f64
}

impl<E: Embedder> Embedder for Steady<E> {
    fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        let vectors = self.embedder.embed(role, texts)?;
        if self.seen.get().is_none() && !texts.is_empty() {
            self.check(role, texts, &vectors)?;
        }
        Ok(vectors)
    }

    /// The embedder's caveats, and how much its answers differ.
    fn caveats(&self) -> Vec<String> {
        let mut caveats = self.embedder.caveats();
        caveats.extend(self.seen.get().filter(|seen| **seen < EQUAL).map(|seen| {
            format!(
                "the embedder gives slightly different vectors each time: texts that were embedded twice had a mean cosine \
                 of {seen:.5}; this noise is in every figure, as a weak defense would be, so turn off dropout and whatever \
                 else in the embedder is random"
            )
        }));
        caveats
    }

    fn dimension(&self) -> Option<usize> {
        self.embedder.dimension()
    }

    fn normalizer(&self) -> Option<Normalizer> {
        self.embedder.normalizer()
    }

    fn identity(&self) -> Option<Identity> {
        self.embedder.identity()
    }

    fn has_unit_norm(&self) -> Option<bool> {
        self.embedder.has_unit_norm()
    }

    fn has_roles(&self) -> bool {
        self.embedder.has_roles()
    }

    fn similarity(&self) -> Option<Similarity> {
        self.embedder.similarity()
    }

    fn window(&self, document: &str) -> Option<Range<usize>> {
        self.embedder.window(document)
    }

    fn token_count(&self, role: Role, texts: &[&str]) -> Option<usize> {
        self.embedder.token_count(role, texts)
    }

    fn can_embed(&self) -> bool {
        self.embedder.can_embed()
    }

    fn white_box(&self) -> Option<&dyn WhiteBox> {
        self.embedder.white_box()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Gives equal vectors to empty texts, and other ones each time to the rest.
    #[derive(Default)]
    struct Noisy(AtomicU32);

    impl Embedder for Noisy {
        fn embed(&self, _: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
            let turn = (self.0.fetch_add(1, Ordering::Relaxed) % 2) as f32;
            let value = |(row, at): (usize, usize)| if texts[row].is_empty() || at == 0 { 1.0 } else { turn };
            Ok(Array2::from_shape_fn((texts.len(), 2), value))
        }
    }

    #[test]
    fn empty_and_equal_texts_decide_nothing() {
        let steady = Steady::new(Noisy::default());
        for texts in [&["", " "][..], &["", "", ""], &["a"], &["a", "a", ""]] {
            assert!(steady.embed(Role::Document, texts).is_ok(), "{texts:?}");
        }
        let noisy = Steady::new(Noisy::default());
        // whoever is refused is not believed the next time
        for _ in 0..2 {
            assert!(noisy.embed(Role::Document, &["a", "b"]).is_err() && noisy.seen.get().is_none());
        }
    }

    #[test]
    fn equal_rows_agree_and_answers_of_other_shapes_do_not() {
        let zeros = Array2::zeros((2, 3));
        assert_eq!(mean_cosine(&zeros, &zeros).to_bits(), 1.0_f64.to_bits());
        assert_eq!(mean_cosine(&zeros, &Array2::ones((2, 3))).to_bits(), 0.0_f64.to_bits());
        assert_eq!(mean_cosine(&zeros, &Array2::zeros((2, 4))).to_bits(), 0.0_f64.to_bits());
    }
}
