//! What belongs to the process is as it was after an attack. One test alone, as it looks at threads.
#![cfg(feature = "vec2text")]
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::path::Path;

use embosk_attacks::vec2text::Vec2Text;
use embosk_attacks::{Attack, Resources};
use embosk_models::SentenceTransformer;

/// Enough rows and beams that candle would spread the operations over its own pool.
#[test]
fn an_attack_leaves_candles_pool_and_the_floating_point_mode_alone() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/reference");
    let attack = Vec2Text::load(&folder).unwrap().steps(1).beam_width(4).local_queries(20);
    let embedder = SentenceTransformer::load(folder.join("embedder")).unwrap();
    let texts: Vec<String> =
        (0..40).map(|at| format!("invoice {at} of the third of may is overdue")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let vectors = embedder.encode(&texts).unwrap();
    let oracle = |texts: &[&str]| Ok(embedder.encode(texts)?);
    attack.invert(vectors.view(), &Resources::new(&oracle)).unwrap();
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    assert!(!names.into_iter().any(|name| name.starts_with("candle")), "candle's own pool was started");
    assert!(black_box(f32::MIN_POSITIVE) * black_box(0.5) > 0.0, "subnormal numbers are flushed");
}
