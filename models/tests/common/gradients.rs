//! Gradients as PyTorch computes them, which models/tests/golden/gradients.py writes.

use embosk_models::SentenceTransformer;
use ndarray::Array2;
use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Case {
    /// Of a variant of the folder, or of a model.
    pub(crate) name: String,
    step: usize,
    texts: Vec<String>,
    gradients: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    pieces: Vec<u32>,
    similarity: f32,
    /// Every `step`-th place of the gradient of each piece.
    rows: Vec<Vec<f32>>,
}

pub(crate) fn cases() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gradients.json");
    let path =
        path.replace("/tests/", if path.contains("/models/tests/") { "/tests/" } else { "/models/tests/" });
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// All texts in one call.
pub(crate) fn agrees(model: &SentenceTransformer, case: &Case) {
    let pieces: Vec<Vec<u32>> = case.texts.iter().map(|text| model.pieces(text).unwrap()).collect();
    let targets =
        Array2::from_shape_fn((pieces.len(), model.dimension()), |(_, at)| (1.7 * at as f32 + 1.0).sin());
    let views: Vec<&[u32]> = pieces.iter().map(Vec::as_slice).collect();
    let found = model.gradients(&views, targets.view()).unwrap();
    for ((pieces, expected), found) in pieces.iter().zip(&case.gradients).zip(found) {
        assert_eq!(*pieces, expected.pieces, "{}", case.name);
        assert!((found.similarity - expected.similarity).abs() < 1e-5, "{}", case.name);
        let rows = expected.rows.iter().flatten();
        let every = found.by_piece.rows().into_iter().flat_map(|row| row.into_iter().step_by(case.step));
        let largest = rows.clone().fold(0f32, |most, value| most.max(value.abs()));
        assert_eq!(every.clone().count(), rows.clone().count(), "{}", case.name);
        for (found, expected) in every.zip(rows) {
            assert!((found - expected).abs() < 1e-4 * largest.max(1e-3), "{}: {found} {expected}", case.name);
        }
    }
}
