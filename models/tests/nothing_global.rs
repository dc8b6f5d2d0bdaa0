//! What belongs to the process is as it was after a model has run. One test alone, as it counts threads.
#![allow(clippy::unwrap_used)]

mod common;

use std::hint::black_box;
use std::time::Duration;

use embosk_models::SentenceTransformer;

/// The names of this process' threads, where the system tells (Linux).
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let mut names: Vec<String> =
        tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok()).collect();
    names.sort();
    names
}

#[test]
fn embedding_leaves_threads_settings_and_floating_point_mode_alone() {
    let place = tempfile::tempdir().unwrap();
    common::write(place.path());
    let texts: Vec<String> =
        (0..200).map(|at| format!("text {at} {}", "of many words ".repeat(1 + at % 20))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let half = || black_box(f32::MIN_POSITIVE) * black_box(0.5);
    for folder in [common::REFERENCE.as_ref(), place.path()] {
        let embedder = SentenceTransformer::load(folder).unwrap();
        let before = threads();
        embedder.encode(&texts).unwrap();
        let pieces: Vec<Vec<u32>> = texts.iter().map(|text| embedder.pieces(text).unwrap()).collect();
        let pieces: Vec<&[u32]> = pieces.iter().map(Vec::as_slice).collect();
        let targets = ndarray::Array2::ones((pieces.len(), embedder.dimension()));
        embedder.gradients(&pieces, targets.view()).unwrap();
        // a thread that was joined may take a moment to end, also one of those that were there before
        let ended = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            threads().len() <= before.len()
        });
        assert!(ended, "a thread outlives the call: {:?} where there were {before:?}", threads());
        // one text's products may be shared by rayon's own pool, but by no other
        embedder.encode(&texts[199..]).unwrap();
        embedder.gradients(&pieces[199..], targets.slice(ndarray::s![199.., ..])).unwrap();
        assert!(!threads().iter().any(|name| name.starts_with("candle")));
        assert_eq!(gemm::get_threading_threshold(), gemm::DEFAULT_THREADING_THRESHOLD);
        assert!(half() > 0.0, "subnormal numbers are flushed on the caller's thread");
    }
}
