//! What embosk wrote earlier, and reads back: reports, baselines, and cached vectors.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use embosk::Role;
use embosk::embedder::{Described, EmbeddingCache, Identity};
use embosk::evaluate::{Baseline, Budget, Corpus, Evaluation, Report};
use serde_json::Value;

use crate::{choice, letters};

/// A small report, which everything is compared with.
static REPORT: LazyLock<Report> = LazyLock::new(|| {
    let corpus = Corpus::records(60, 0);
    Evaluation::new(letters()).corpus(corpus).samples(8).run().expect("a report")
});

fn budget() -> Budget {
    Budget::new().ndcg_drop(0.5).recall_drop(0.5).guess_leak(0.5)
}

/// A report in either form, or the rows of one.
pub(crate) fn reports(data: &[u8]) {
    let Some((kind, bytes)) = choice(data, 2) else { return };
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let text = if kind == 0 { text.to_owned() } else { with_rows(&REPORT.to_json_full(), text) };
    let Ok(report) = Report::from_json(&text) else { return };
    for json in [report.to_json(), report.to_json_full()] {
        let json = json.expect("what was read can be written");
        assert!(Report::from_json(&json).is_ok(), "and read again: {json}");
    }
    let _ = report.check(&budget());
    let _ = report.check(&budget().baseline(Baseline::of(&report)));
}

/// The report with other rows.
fn with_rows<E: std::fmt::Debug>(report: &Result<String, E>, rows: &str) -> String {
    let mut report: Value = serde_json::from_str(report.as_deref().expect("a report")).expect("JSON");
    report["rows"] = Value::Null;
    report.to_string().replace(r#""rows":null"#, &format!(r#""rows":{rows}"#))
}

/// A baseline, or the rows of one with the settings of a report that it is compared with.
pub(crate) fn baselines(data: &[u8]) {
    let Some((kind, bytes)) = choice(data, 2) else { return };
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let right = || Ok::<_, ()>(Baseline::of(&REPORT).to_json());
    let text = if kind == 0 { text.to_owned() } else { with_rows(&right(), text) };
    let Ok(baseline) = Baseline::from_json(&text) else { return };
    let again = Baseline::from_json(&baseline.to_json());
    assert!(again.is_ok_and(|again| again == baseline), "what is written is read again");
    let metrics = ["ndcg_drop", "recall_drop", "guess_leak"];
    let budget = metrics.into_iter().fold(budget(), |budget, metric| budget.tolerance(metric, 0.01));
    let _ = REPORT.check(&budget.baseline(baseline));
}

/// A file of cached vectors as it is, or rows with checksums that are right.
pub(crate) fn caches(data: &[u8]) {
    let Some((kind, bytes)) = choice(data, 2) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let embedder = Described::new(letters()).identity(Identity::new("letters", "fuzz"));
    let embed = || {
        let cache = EmbeddingCache::new(folder.path()).expect("a cache");
        cache.embed(&embedder, Role::Document, &["a", "", "bc"], |_| ())
    };
    let right = embed().expect("vectors");
    let file = file_in(folder.path().to_owned());
    let whole = fs::read(&file).expect("the file of the cache");
    let row = 16 + 4 + 4 * right.ncols();
    let header = &whole[..whole.len() - 3 * row];
    let damaged = if kind == 0 { bytes.to_vec() } else { with_checksums(header, bytes, row) };
    fs::write(&file, damaged).expect("a file");
    // the second time from what the first has repaired
    for _ in 0..2 {
        if let Ok(vectors) = embed() {
            assert_eq!(vectors.dim(), right.dim());
            assert!(kind == 1 || vectors == right, "a damaged vector is believed");
        }
    }
}

fn file_in(folder: PathBuf) -> PathBuf {
    let mut files = fs::read_dir(folder).expect("the cache").map(|entry| entry.expect("an entry").path());
    files.find(|path| path.extension().is_some_and(|end| end == "f32")).expect("one file")
}

/// A header, and rows of `row` bytes with their checksums: the hash of a text, the checksum, the vector.
fn with_checksums(header: &[u8], bytes: &[u8], row: usize) -> Vec<u8> {
    let rows = bytes.chunks_exact(row - 4).flat_map(|content| {
        let (hash, vector) = content.split_at(16);
        [hash, &crc32fast::hash(content).to_le_bytes(), vector].concat()
    });
    header.iter().copied().chain(rows).collect()
}
