//! A file system that is full, breaks, writes or reads less than asked, and a process that is killed: at each call in
//! turn. No half file is ever believed, and the next run ends as an undisturbed one does.
#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use tempfile::TempDir;

/// The library that makes the faults, compiled once.
static LIBRARY: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("fault.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/fault.c");
    let compiler =
        Command::new("cc").args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).output();
    let compiled = compiler.expect("a C compiler (cc), which the dependencies need too");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    (folder, library)
});

/// The content of the files that a command writes, if they are there.
type Files = BTreeMap<&'static str, Option<Vec<u8>>>;

/// A command, what it starts from, and what it leaves.
struct Case {
    /// Makes the folder that it runs in.
    start: &'static dyn Fn(&Path),
    line: &'static str,
    /// The files that must be as they were, or as they should be.
    outputs: &'static [&'static str],
    /// Every how many-th call is disturbed: long commands have many.
    stride: usize,
}

impl Case {
    fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        (self.start)(folder.path());
        folder
    }

    fn run(&self, folder: &Path, environment: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_embosk"))
            .current_dir(folder)
            .args(self.line.split_whitespace())
            .env("LD_PRELOAD", &LIBRARY.1)
            // one thread, so that calls come in the same order
            .env("RAYON_NUM_THREADS", "1")
            .env_remove("EMBOSK_CACHE")
            .envs(environment.iter().copied())
            .output()
            .unwrap()
    }

    fn outputs(&self, folder: &Path) -> Files {
        self.outputs.iter().map(|name| (*name, fs::read(folder.join(name)).ok())).collect()
    }

    /// Disturbs one call after the other.
    fn check(&self) {
        let folder = self.folder();
        let before = self.outputs(folder.path());
        let count_file = folder.path().join("count");
        let fresh = self.folder();
        let counted = self.run(fresh.path(), &[("FAULT_COUNT", count_file.to_str().unwrap())]);
        assert!(counted.status.success(), "{}: {}", self.line, String::from_utf8_lossy(&counted.stderr));
        let calls: usize = fs::read_to_string(&count_file).unwrap().parse().unwrap();
        assert!(calls > 3, "{}: {calls} calls are seen", self.line);
        let whole = self.outputs(fresh.path());
        assert!(whole.values().all(Option::is_some) && whole != before, "{}", self.line);
        for kind in ["full", "broken", "short", "kill"] {
            for at in (1..=calls).step_by(self.stride) {
                self.disturb(kind, at, (&before, &whole));
            }
        }
    }

    fn disturb(&self, kind: &str, at: usize, (before, whole): (&Files, &Files)) {
        let place = format!("{} ({kind} at call {at})", self.line);
        let folder = self.folder();
        let output = self.run(folder.path(), &[("FAULT", kind), ("FAULT_AT", &at.to_string())]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{place}: {said}");
        let left = self.outputs(folder.path());
        for (name, content) in &left {
            assert!(
                *content == before[name] || *content == whole[name],
                "{place}: {name} is neither old nor whole"
            );
        }
        match output.status.code() {
            Some(0) => assert_eq!(&left, whole, "{place}: it says that all is well"),
            Some(code) => assert!(code == 2 && said.contains("error: "), "{place}: {code}, {said}"),
            None => assert_eq!(kind, "kill", "{place}: {said}"),
        }
        let again = self.run(folder.path(), &[]);
        let said = String::from_utf8_lossy(&again.stderr);
        assert!(again.status.success(), "{place}, and then undisturbed: {said}");
        assert_eq!(&self.outputs(folder.path()), whole, "{place}, and then undisturbed");
    }
}

fn vectors(folder: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tables");
    for name in ["clean.npy", "lines.jsonl", "list.parquet"] {
        fs::copy(source.join(name), folder.join(name)).unwrap();
    }
    for name in ["out.npy", "out.jsonl", "out.parquet"] {
        fs::write(folder.join(name), "an older file").unwrap();
    }
}

#[test]
fn a_table_is_old_or_whole() {
    for (line, outputs) in [
        ("protect --defense quantization(bits=8) --role document clean.npy out.npy", &["out.npy"][..]),
        ("protect --defense quantization(bits=8) --role document lines.jsonl out.jsonl", &["out.jsonl"]),
        ("protect --defense quantization(bits=8) --role document list.parquet out.parquet", &["out.parquet"]),
    ] {
        Case { start: &vectors, line, outputs, stride: 1 }.check();
    }
}

#[test]
fn cached_vectors_are_right_or_made_again() {
    let line = "evaluate --attack none --corpus records:40 --defense none --format json --output report.json";
    Case { start: &|_| (), line, outputs: &["report.json"], stride: 23 }.check();
}

#[test]
fn a_curve_goes_on_after_any_fault() {
    let line = "curve --attack none --corpus records:40 --defense gaussian(sigma=0.1) --output curve";
    let outputs = &["curve/curve.json", "curve/curve.csv"];
    Case { start: &|_| (), line, outputs, stride: 61 }.check();
}
