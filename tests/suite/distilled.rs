//! An embedder of our own training: its folder in our hands and in Python's (tests/golden/distilled.py).

use std::fs;
use std::path::Path;

use embosk::attacks::vec2text::Preset;
use embosk::attacks::vec2text::train::{Event, Examples, Outputs, Settings, TrainingLength, embedder};
use embosk::embedder::SentenceTransformer;
use embosk::{Embedder, Role};
use ndarray::Array2;

const DIM: usize = 12;
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/distilled");

/// Texts of different lengths, and vectors that texts of like words share something of.
fn examples(from: usize, count: usize) -> Examples {
    let words = "Zoë pays the RENT café, naïve in May 4.50 东京 don't again quick boxing Jove landlord whose key 1976 \
                 (3/8) Größe hyphen-ated literally 🙂";
    let words: Vec<&str> = words.split_whitespace().collect();
    let text = |n: usize| -> String {
        (0..=n % 17)
            .map(|place| words[(n * 7 + place * (5 + n % 3)) % words.len()].to_owned() + " ")
            .collect()
    };
    let texts: Vec<String> = (from..from + count).map(text).collect();
    let vectors = Array2::from_shape_fn((count, DIM), |(row, at)| {
        let n = (row + from) as f32;
        (n * 0.37 * (at + 1) as f32).sin() + 0.2
    });
    Examples { texts, vectors, hypotheses: None }
}

/// Trains a small one for a few steps, and gives what it made of the held-out texts in the end.
fn train(out: &Path) -> Array2<f32> {
    let preset = Preset {
        name: "test",
        width: 16,
        feed_forward: 32,
        heads: 2,
        encoder_layers: 2,
        vocabulary: 300,
        max_length: 24,
        ..Preset::EMBEDDER
    };
    let settings =
        Settings { preset, length: TrainingLength::Steps(40), batch: 16, warm_up: 4, ..Settings::default() };
    let mut last = None;
    embedder(&settings, &examples(0, 200), &examples(200, 40), out, &mut |event| {
        if let Event::HeldOut { outputs: Outputs::Vectors(vectors), .. } = event {
            last = Some(vectors.clone());
        }
    })
    .unwrap();
    last.unwrap()
}

fn furthest(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
    assert_eq!(a.dim(), b.dim());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn the_folder_gives_the_vectors_of_the_training() {
    let place = tempfile::tempdir().unwrap();
    let of_training = train(place.path());
    let loaded = SentenceTransformer::load(place.path()).unwrap();
    assert_eq!(loaded.dimension(), DIM);
    let texts = examples(200, 40).texts;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    // weights are stored in half precision
    let far = furthest(&loaded.embed(Role::Document, &texts).unwrap(), &of_training);
    assert!(far < 1e-3, "{far}");
    assert_eq!(loaded.normalize("Zoë PAYS\t4.50"), "zoe pays 4.50");
    let on_cpu = SentenceTransformer::load_on(place.path(), &candle_core::Device::Cpu).unwrap();
    assert_eq!(on_cpu.hash(), loaded.hash());
}

#[derive(serde::Deserialize)]
struct Golden {
    text: String,
    embedding: Vec<f32>,
}

#[test]
fn python_gives_the_same_vectors() {
    let goldens: Vec<Golden> =
        serde_json::from_slice(&fs::read(format!("{GOLDEN}/expected.json")).unwrap()).unwrap();
    assert!(goldens.len() >= 20);
    let embedder = SentenceTransformer::load(GOLDEN).unwrap();
    let texts: Vec<&str> = goldens.iter().map(|golden| golden.text.as_str()).collect();
    let together = embedder.embed(Role::Document, &texts).unwrap();
    for (row, golden) in goldens.iter().enumerate() {
        let alone = embedder.embed(Role::Document, &texts[row..=row]).unwrap();
        for found in [together.row(row), alone.row(0)] {
            let far = found.iter().zip(&golden.embedding).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(far < 1e-5, "row {row}: {far}");
        }
    }
}

/// Run by tests/golden/distilled.py.
#[test]
#[ignore = "writes the golden's folder"]
fn the_goldens_folder() {
    let _ = fs::remove_dir_all(GOLDEN);
    train(Path::new(GOLDEN));
    fs::remove_file(format!("{GOLDEN}/training.safetensors")).unwrap();
}
