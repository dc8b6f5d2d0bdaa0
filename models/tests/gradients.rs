//! Gradients with respect to word pieces, against PyTorch's (models/tests/golden/gradients.py) and against finite
//! differences; and texts as pieces.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/slopes.rs"]
mod slopes;

use std::path::Path;

use common::folders::{folder, goldens};
use common::gradients::{agrees, cases};
use embosk_models::SentenceTransformer;
use ndarray::{Array2, Axis, concatenate};
use serde_json::json;

use self::slopes::Embeddings;

#[test]
fn gradients_are_those_of_pytorch() {
    let variants = goldens().variants;
    let mut compared = 0;
    for case in cases() {
        let place = variants.iter().find(|variant| variant.name == case.name).map(|of| folder(&of.files));
        let model = match &place {
            Some(place) => SentenceTransformer::load(place.path()).unwrap(),
            None if case.name == "reference" => SentenceTransformer::load(common::REFERENCE).unwrap(),
            // the root's tests have this one
            None => continue,
        };
        agrees(&model, &case);
        compared += 1;
    }
    assert!(compared > 20);
}

/// Many texts of different lengths give what each gives alone.
#[test]
fn texts_do_not_change_each_other() {
    let place = tempfile::tempdir().unwrap();
    common::write(place.path());
    for folder in [common::REFERENCE.as_ref(), place.path()] {
        let model = SentenceTransformer::load(folder).unwrap();
        let texts: Vec<Vec<u32>> = (0..13)
            .map(|at| (0..at * 5 % 23).map(|piece| 100 + (piece * 37 + at) as u32).collect())
            .collect();
        let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let target =
            |row: usize| Array2::from_shape_fn((1, model.dimension()), |(_, at)| ((row + at) as f32).sin());
        let targets: Vec<Array2<f32>> = (0..texts.len()).map(target).collect();
        let views: Vec<_> = targets.iter().map(|target| target.view()).collect();
        let together = model.gradients(&texts, concatenate(Axis(0), &views).unwrap().view()).unwrap();
        for ((text, target), together) in texts.iter().zip(&targets).zip(together) {
            let alone = model.gradients(&[text], target.view()).unwrap().remove(0);
            assert_eq!(together.by_piece.dim(), (text.len(), model.piece_embeddings().unwrap().ncols()));
            assert!((alone.similarity - together.similarity).abs() < 1e-6);
            let far = (&alone.by_piece - &together.by_piece).iter().fold(0f32, |most, at| most.max(at.abs()));
            assert!(far < 1e-6, "{far}");
        }
    }
}

/// The embedding of one piece is moved in the file itself, and the text is embedded as ever.
#[test]
fn gradients_are_finite_differences() {
    for (kind, layer) in
        [("bert", "gelu"), ("bert", "relu"), ("bert", "gelu_new"), ("t5", "relu"), ("t5", "gated-gelu")]
    {
        let place = tempfile::tempdir().unwrap();
        common::write_kind(place.path(), kind, layer);
        let load = || SentenceTransformer::load(place.path()).unwrap();
        let model = load();
        let pieces = model.pieces("the quick brown fox, unaffordable").unwrap();
        let text = model.spell(&pieces).unwrap();
        let target = Array2::from_shape_fn((1, model.dimension()), |(_, at)| (at as f32 * 1.3).cos());
        let similarity = |model: &SentenceTransformer| {
            let vector = model.encode_documents(&[text.as_str()]).unwrap().mapv(f64::from);
            let target = target.mapv(f64::from);
            (&vector * &target).sum() / ((&vector * &vector).sum() * (&target * &target).sum()).sqrt()
        };
        let found = model.gradients(&[&pieces], target.view()).unwrap().remove(0);
        assert!((similarity(&model) - f64::from(found.similarity)).abs() < 1e-6, "{kind} {layer}");
        let file = place.path().join("model.safetensors");
        let name = if kind == "bert" { "embeddings.word_embeddings.weight" } else { "shared.weight" };
        let table = model.piece_embeddings().unwrap().to_owned();
        let embeddings = Embeddings { file: &file, name, table };
        // the T5 bends sharply, and rounding hides shorter steps of the BERT
        let step = if kind == "t5" { 0.0003 } else { 0.01 };
        for (along, &piece) in found.by_piece.rows().into_iter().zip(&pieces) {
            let (slope, length) = embeddings.slope(piece, along, step, || similarity(&load()));
            assert!((slope / length - 1.0).abs() < 0.02, "{kind} {layer}: {slope} {length}");
        }
    }
}

/// Prompts take room, texts are cut on either side, and what is cut has no gradient.
#[test]
fn pieces_are_cut_where_the_embedder_cuts() {
    let files = json!({
        "config_sentence_transformers.json": { "prompts": { "document": "fade " } },
        "sentence_bert_config.json": { "max_seq_length": 8 },
    });
    let place = folder(&serde_json::from_value(files).unwrap());
    let model = SentenceTransformer::load(place.path()).unwrap();
    let long = "bead cafe fade dad bad cab bead";
    let pieces = model.pieces(long).unwrap();
    assert_eq!((pieces.len(), model.spell(&pieces).unwrap().as_str()), (5, "bead cafe fade dad bad"));
    let whole = [&pieces[..], &[30, 31]].concat();
    let target = Array2::from_shape_fn((1, 8), |(_, at)| at as f32 - 3.0);
    let found = model.gradients(&[&whole], target.view()).unwrap().remove(0);
    let cut = model.gradients(&[&pieces], target.view()).unwrap().remove(0);
    assert_eq!(found.similarity.to_bits(), cut.similarity.to_bits());
    assert_eq!(found.by_piece.slice(ndarray::s![..5, ..]), cut.by_piece);
    assert!(found.by_piece.slice(ndarray::s![5.., ..]).iter().all(|value| *value == 0.0));

    let files = json!({
        "tokenizer_config.json": { "tokenizer_class": "BertTokenizer", "truncation_side": "left", "model_max_length": 6 },
        "sentence_bert_config.json": { "max_seq_length": null },
    });
    let place = folder(&serde_json::from_value(files).unwrap());
    let model = SentenceTransformer::load(place.path()).unwrap();
    let pieces = model.pieces(long).unwrap();
    assert_eq!(model.spell(&pieces).unwrap(), "dad bad cab bead");
    let found = model.gradients(&[&[&[30, 31], &pieces[..]].concat()], target.view()).unwrap().remove(0);
    let vector = model.encode_documents(&[long]).unwrap();
    let cosine = (&vector * &target).sum() / ((&vector * &vector).sum() * (&target * &target).sum()).sqrt();
    assert!((found.similarity - cosine).abs() < 1e-6);
    assert!(found.by_piece.slice(ndarray::s![..2, ..]).iter().all(|value| *value == 0.0));
    assert!(found.by_piece.slice(ndarray::s![2.., ..]).iter().any(|value| *value != 0.0));
}

#[test]
fn texts_become_pieces_and_texts_again() {
    let model = SentenceTransformer::load(Path::new(common::REFERENCE)).unwrap();
    for text in [
        "anna lee's dog didn't bark at 12:30, and that cost $4,000.50 (or 3%).",
        "\"never,\" she wrote to a.b-c@mail.example.org; see https://www.example.org/x",
        "an unaffordable xylophonist",
    ] {
        let pieces = model.pieces(text).unwrap();
        assert_eq!(model.pieces(&model.spell(&pieces).unwrap()).unwrap(), pieces, "{text}");
    }
    assert_eq!(
        model.spell(&model.pieces("Anna's 3.5% isn't much.").unwrap()).unwrap(),
        "anna's 3.5% isn't much."
    );
    assert_eq!(model.spell(&[]).unwrap(), "");
    assert!(model.spell(&[1 << 20]).is_err());
    let special = model.special_pieces();
    assert!(special.starts_with(&[0, 1, 2]) && special.len() < 100, "{}", special.len());
    assert_eq!(model.piece_embeddings().unwrap().dim(), (8192, 256));
    let none = Array2::zeros((0, 384));
    assert!(model.gradients(&[], none.view()).unwrap().is_empty());
    assert!(model.gradients(&[&[5]], none.view()).is_err());
    assert!(model.gradients(&[&[5]], Array2::zeros((1, 3)).view()).is_err());
    assert!(model.gradients(&[&[1 << 20]], Array2::zeros((1, 384)).view()).is_err());
}
