//! A few fixed texts that tell what is behind an address, and whether it is still the same.

use ndarray::{Array2, ArrayView1};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::digest::Digest;
use crate::embedder::Normalizer;

/// The texts. The first two differ in case, the next two in accents.
pub(super) const PROBES: [&str; 6] = [
    "Invoice 4711 for Anna Berg",
    "invoice 4711 for anna berg",
    "Crème brûlée in a café",
    "Creme brulee in a cafe",
    "def area(width, height): return width * height",
    "会议定于星期一上午九点",
];

/// Vectors of one text from one model have at least this cosine, whatever machine and batch they came from; those of
/// two models do not.
const SAME: f64 = 0.999;

/// The steps that cosines are rounded to before they are hashed: wide beside what batches and machines change of a
/// vector.
const STEP: f64 = 0.02;

/// The cosine of the probe that differs most between two rounds of them; less than -1 if the dimensions differ.
pub(super) fn least_cosine(one: &Array2<f32>, other: &Array2<f32>) -> f64 {
    if one.dim() != other.dim() {
        return f64::NEG_INFINITY;
    }
    let cosines = one.rows().into_iter().zip(other.rows()).map(|(one, other)| cosine(one, other));
    cosines.fold(f64::INFINITY, f64::min)
}

/// Whether two rounds of probes come from one model.
pub(super) fn is_same(cosine: f64) -> bool {
    cosine >= SAME
}

/// What is hashed of the probes' vectors: the dimension, and the cosines of all pairs in steps of 0.02. Noise between
/// runs, which moves a cosine far less than a step, changes it only where a cosine lies at the border of two steps.
pub(super) fn digest(vectors: &Array2<f32>) -> String {
    let steps = (0..vectors.nrows()).flat_map(|one| (0..one).map(move |other| (one, other)));
    let steps = steps.map(|(one, other)| {
        let step = (cosine(vectors.row(one), vectors.row(other)) / STEP).round();
        // no negative zero
        format!("{}", step as i64)
    });
    Digest::of(std::iter::once(vectors.ncols().to_string()).chain(steps)).hex()
}

/// Whether all vectors have norm 1.
pub(super) fn has_unit_norm(vectors: &Array2<f32>) -> bool {
    vectors.rows().into_iter().all(|row| (dot(row, row).sqrt() - 1.0).abs() < 1e-3)
}

/// What the model does not see of a text, as the probes show it.
pub(super) fn normalizer(vectors: &Array2<f32>) -> Normalizer {
    let are_alike = |one: usize, other: usize| is_same(cosine(vectors.row(one), vectors.row(other)));
    match (are_alike(0, 1), are_alike(2, 3)) {
        (true, true) => Normalizer::new("lowercase without accents (measured)", |text| {
            without_accents(&text.to_lowercase())
        }),
        (true, false) => Normalizer::new("lowercase (measured)", str::to_lowercase),
        (false, true) => Normalizer::new("without accents (measured)", without_accents),
        (false, false) => Normalizer::new("none (measured)", str::to_owned),
    }
}

/// As BERT's tokenizers drop accents: decomposed, without the marks.
fn without_accents(text: &str) -> String {
    text.nfd().filter(|&letter| !is_combining_mark(letter)).collect()
}

fn cosine(one: ArrayView1<'_, f32>, other: ArrayView1<'_, f32>) -> f64 {
    let norms = (dot(one, one) * dot(other, other)).sqrt();
    if norms > 0.0 { dot(one, other) / norms } else { 0.0 }
}

fn dot(one: ArrayView1<'_, f32>, other: ArrayView1<'_, f32>) -> f64 {
    one.iter().zip(other).map(|(&one, &other)| f64::from(one) * f64::from(other)).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ndarray::Array2;

    use super::*;

    /// Vectors with as many directions as there are kinds of probe.
    fn vectors(kinds: [usize; 6], noise: f32) -> Array2<f32> {
        Array2::from_shape_fn((6, 8), |(row, at)| {
            let wave = ((row * 31 + at * 17) % 7) as f32 - 3.0;
            f32::from(u8::from(kinds[row] == at)) + 0.25 + noise * wave
        })
    }

    #[test]
    fn noise_changes_no_digest_and_another_model_does() {
        let one = vectors([0, 1, 2, 3, 4, 5], 0.0);
        let again = vectors([0, 1, 2, 3, 4, 5], 1e-4);
        let other = vectors([0, 0, 2, 3, 4, 5], 0.0);
        assert_ne!(one, again);
        assert_eq!(digest(&one), digest(&again));
        assert_ne!(digest(&one), digest(&other));
        assert!(is_same(least_cosine(&one, &again)) && !is_same(least_cosine(&one, &other)));
        assert!(!is_same(least_cosine(&one, &Array2::ones((6, 9)))));
    }

    #[test]
    fn what_the_model_does_not_see_is_measured() {
        for (kinds, expected) in [
            ([0, 1, 2, 3, 4, 5], "Émile"),
            ([0, 0, 2, 3, 4, 5], "émile"),
            ([0, 1, 2, 2, 4, 5], "Emile"),
            ([0, 0, 2, 2, 4, 5], "emile"),
        ] {
            assert_eq!(normalizer(&vectors(kinds, 1e-4)).apply("Émile"), expected);
        }
    }

    #[test]
    fn norms_are_measured() {
        let mut unit = Array2::from_shape_fn((6, 4), |(row, at)| f32::from(u8::from(row % 4 == at)));
        assert!(has_unit_norm(&unit));
        unit[[5, 1]] = 1.1;
        assert!(!has_unit_norm(&unit));
    }
}
