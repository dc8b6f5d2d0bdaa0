//! A file system that is full, breaks, writes or reads less than asked, and a process that is killed: at each call in
//! turn. No half file is ever believed, and the next run ends as an undisturbed one does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::thread::sleep;
use std::time::Instant;

use embosk::{Defense, Key, Stack};
use ndarray::Array2;
use ndarray_npy::read_npy;
use tempfile::TempDir;

use crate::common::command::embosk;

/// The library that makes the faults, compiled once.
static LIBRARY: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("fault.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/faults/fault.c");
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
    /// Which calls are disturbed: long commands have many.
    calls: Calls,
}

/// How a call can be disturbed.
const KINDS: [&str; 4] = ["full", "broken", "short", "kill"];

/// Each how many-th of the last calls, which write what is asked for; with `EMBOSK_FAULTS=all`, every call.
#[derive(Clone, Copy)]
struct Calls {
    last: usize,
    stride: usize,
}

impl Calls {
    fn each(stride: usize) -> Self {
        Self { last: usize::MAX, stride }
    }

    /// The numbers of the calls to disturb, of so many. Different kinds disturb different ones, if not all.
    fn of(self, calls: usize, kind: usize) -> impl Iterator<Item = usize> {
        let all = std::env::var("EMBOSK_FAULTS").is_ok_and(|which| which == "all");
        let (last, stride) = if all { (calls, 1) } else { (self.last.min(calls), self.stride) };
        (calls - last + 1 + kind * stride / KINDS.len()..=calls).step_by(stride)
    }
}

impl Case {
    fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        (self.start)(folder.path());
        folder
    }

    /// Runs the command, or goes on with it where its training has a checkpoint.
    fn run(&self, folder: &Path, environment: &[(&str, &str)]) -> Output {
        let command = &mut embosk(folder, self.line);
        command.args(folder.join(CHECKPOINT).exists().then_some("--resume"));
        // one thread, so that calls come in the same order
        command.env("LD_PRELOAD", &LIBRARY.1).env("RAYON_NUM_THREADS", "1");
        command.envs(environment.iter().copied()).output().unwrap()
    }

    fn outputs(&self, folder: &Path) -> Files {
        let content = |name: &str| match fs::read(folder.join(name)).ok()? {
            bytes if name == SEALED && bytes != OLDER => opened(folder),
            bytes => Some(bytes),
        };
        self.outputs.iter().map(|name| (*name, content(name))).collect()
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
        for (nth, kind) in KINDS.into_iter().enumerate() {
            for at in self.calls.of(calls, nth) {
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
            let is_removed = *name == DESCRIPTION && content.is_none();
            assert!(
                is_removed || *content == before[name] || *content == whole[name],
                "{place}: {name} is neither old nor whole"
            );
        }
        if left.get(DESCRIPTION).is_some_and(Option::is_some) {
            assert!(left == *before || left == *whole, "{place}: the description is of other codes");
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
    for name in ["out.npy", DESCRIPTION, "out.npy.scales.npy", "out.jsonl", "out.parquet", SEALED] {
        fs::write(folder.join(name), OLDER).unwrap();
    }
}

/// What says how to read codes: it is removed before they are replaced, and written after them.
const DESCRIPTION: &str = "out.npy.json";

/// What is in a file before the command writes it.
const OLDER: &[u8] = b"an older file";

#[test]
fn a_table_is_old_or_whole() {
    for (line, outputs) in [
        ("protect --defense quantization(bits=8) --role document clean.npy out.npy", &["out.npy"][..]),
        ("protect --defense quantization(bits=8) --role document lines.jsonl out.jsonl", &["out.jsonl"]),
        ("protect --defense quantization(bits=8) --role document list.parquet out.parquet", &["out.parquet"]),
        (
            "protect --defense quantization(bits=8) --role document --codes int8 clean.npy out.npy",
            &["out.npy", DESCRIPTION, "out.npy.scales.npy"],
        ),
    ] {
        Case { start: &vectors, line, outputs, calls: Calls::each(1) }.check();
    }
}

const SEALED: &str = "sealed.npy";
const IDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// The vectors in the sealed file, if it is whole. Its bytes are different each time.
fn opened(folder: &Path) -> Option<Vec<u8>> {
    let sealed: Array2<u8> = read_npy(folder.join(SEALED)).ok()?;
    let rows: Vec<Vec<u8>> = sealed.rows().into_iter().map(|row| row.to_vec()).collect();
    let key = folder.join("key").display().to_string();
    let stack: Stack =
        format!("quantization(bits=1) | rerank(candidates=9, key=file:{key:?})").parse().unwrap();
    let sealer = stack.reranking().unwrap().sealer(&stack).unwrap();
    let vectors = sealer.open_vectors(&IDS, &rows).ok()?;
    Some(vectors.iter().flat_map(|value| value.to_le_bytes()).collect())
}

fn vectors_to_seal(folder: &Path) {
    vectors(folder);
    fs::write(folder.join("ids"), IDS.join("\n")).unwrap();
    assert!(embosk(folder, "keygen --output key").output().unwrap().status.success());
}

#[test]
fn sealed_vectors_are_old_or_whole() {
    let line = "protect --defense quantization(bits=1)|rerank(candidates=9,key=file:key) --role document --ids ids \
                --sealed sealed.npy clean.npy out.npy";
    Case { start: &vectors_to_seal, line, outputs: &["out.npy", SEALED], calls: Calls::each(1) }.check();
}

/// A key is whole, or not there and can be made; it is never replaced.
#[test]
fn a_key_is_whole_or_missing() {
    let case = Case { start: &|_| (), line: "keygen --output key", outputs: &["key"], calls: Calls::each(1) };
    let key = |folder: &Path| fs::read_to_string(folder.join("key")).ok();
    // it makes six calls; where there is none, nothing is disturbed
    for (kind, at) in KINDS.into_iter().flat_map(|kind| (1..=8).map(move |at| (kind, at.to_string()))) {
        let folder = case.folder();
        let output = case.run(folder.path(), &[("FAULT", kind), ("FAULT_AT", &at)]);
        let (place, found) = (format!("{kind} at call {at}"), key(folder.path()));
        assert!(
            found.as_ref().is_none_or(|text| text.trim_end().parse::<Key>().is_ok()),
            "{place}: half a key"
        );
        match output.status.code() {
            Some(code) => assert_eq!(found.is_some(), code == 0, "{place}: {code}"),
            None => assert_eq!(kind, "kill", "{place}"),
        }
        let again = case.run(folder.path(), &[]).status.success();
        assert!(again == found.is_none() && key(folder.path()).is_some(), "{place}, and then undisturbed");
        assert!(found.is_none() || key(folder.path()) == found, "{place}: another key");
    }
}

fn texts_and_a_fit(folder: &Path) {
    fs::write(folder.join("texts.txt"), "one text\nand another\nand the last of three\n").unwrap();
    fs::write(folder.join("scales"), OLDER).unwrap();
}

#[test]
fn a_fit_is_old_or_whole() {
    let line = "fit scales --bits 8 --corpus texts.txt --output scales";
    Case { start: &texts_and_a_fit, line, outputs: &["scales"], calls: Calls { last: 24, stride: 3 } }
        .check();
}

const CHECKPOINT: &str = "model/training.safetensors";

/// The last calls write the checkpoint, the model and what is told of it.
#[test]
fn a_training_goes_on_after_any_fault() {
    let line = "train embedder --teacher reference --corpus records:40 --vocabulary 512 --out model --steps 2 \
                --batch-size 4 --held-out-every 1000";
    let outputs = &["model/model.safetensors", "model/2_Dense/model.safetensors"];
    Case { start: &|_| (), line, outputs, calls: Calls { last: 24, stride: 12 } }.check();
}

const CACHING: &str =
    "evaluate --attack none --corpus records:40 --defense none --format json --output report.json";

#[test]
fn cached_vectors_are_right_or_made_again() {
    Case { start: &|_| (), line: CACHING, outputs: &["report.json"], calls: Calls::each(37) }.check();
}

const CURVE: &str = "curve --attack none --corpus records:40 --defense gaussian(sigma=0.1) --output curve";
const CURVE_FILES: &[&str] = &["curve/curve.json", "curve/curve.csv"];

#[test]
fn a_curve_goes_on_after_any_fault() {
    Case { start: &|_| (), line: CURVE, outputs: CURVE_FILES, calls: Calls::each(61) }.check();
}

/// A budget that a search without a defense keeps.
const BUDGET: &str = "corpus = \"records:300\"\nattack = \"none\"\nadversaries = [\"naive\"]\nsamples = 20\n\
    [limits]\nndcg_drop = 0.9\n[tolerance]\nndcg_drop = 0.9\n[[stack]]\ndefense = \"none\"\n[[stack]]\n\
    defense = \"quantization(bits=8)\"\n";

const MAKE_BASELINE: &str = "gate --cache cache --baseline baseline.json --update-baseline --resume --format json --output verdict.json";

/// What [`MAKE_BASELINE`] makes; its cache spares the other runs the embedding.
static MADE: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("privacy-budget.toml"), BUDGET).unwrap();
    let made = embosk(folder.path(), MAKE_BASELINE).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder
});

fn budget(folder: &Path) {
    copy(&MADE.path().join("cache"), &folder.join("cache"));
    fs::write(folder.join("privacy-budget.toml"), BUDGET).unwrap();
    for name in ["baseline.json", "verdict.json"] {
        fs::write(folder.join(name), OLDER).unwrap();
    }
}

fn budget_and_baseline(folder: &Path) {
    budget(folder);
    fs::copy(MADE.path().join("baseline.json"), folder.join("baseline.json")).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_baseline_is_old_or_whole() {
    let outputs = &["baseline.json", "verdict.json"];
    Case { start: &budget, line: MAKE_BASELINE, outputs, calls: Calls { last: 10, stride: 2 } }.check();
}

/// How often a run is killed; `EMBOSK_KILLS` names another number.
const KILLS: usize = 4;

/// Kills a command at moments that are spread over its run, goes on with `again` where it stopped, and compares what it
/// leaves in the end with what an undisturbed run does.
fn survives_kills(start: impl Fn(&Path), line: &str, again: impl Fn(&Path) -> bool, outputs: &[&str]) {
    let kills = std::env::var("EMBOSK_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let folder = || {
        let folder = tempfile::tempdir().unwrap();
        start(folder.path());
        folder
    };
    let left = |folder: &Path| -> Vec<Vec<u8>> {
        outputs.iter().map(|name| fs::read(folder.join(name)).unwrap()).collect()
    };
    let resumed = |folder: &Path| if again(folder) { format!("{line} --resume") } else { line.to_owned() };
    let undisturbed = folder();
    let began = Instant::now();
    let done = embosk(undisturbed.path(), line).output().unwrap();
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    let (whole, span) = (left(undisturbed.path()), began.elapsed());
    let (mut killed, mut moment) = (0, 0.0_f64);
    while killed < kills {
        let folder = folder();
        loop {
            let line = resumed(folder.path());
            let mut run =
                embosk(folder.path(), &line).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            // steps of the golden ratio fill the run evenly
            moment = (moment + 0.618_034).fract();
            if killed < kills {
                sleep(span.mul_f64(moment));
            }
            if killed < kills && run.try_wait().unwrap().is_none() {
                run.kill().unwrap();
                run.wait().unwrap();
                killed += 1;
                continue;
            }
            let done = run.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{line}, after {killed} kills: {said}");
            break;
        }
        for ((name, now), then) in outputs.iter().zip(left(folder.path())).zip(&whole) {
            assert!(now == *then, "{line}, after {killed} kills: {name} differs");
        }
    }
    println!("{line}: killed {killed} times within {span:?}");
}

/// The weights are those of an undisturbed training, bit for bit.
#[test]
fn a_training_goes_on_after_a_kill_at_any_moment() {
    let line = "train inverter --corpus records:300 --out model --steps 12 --batch-size 32 --checkpoint-every 0 \
                --held-out-every 1000";
    let is_begun = |folder: &Path| folder.join(CHECKPOINT).exists();
    survives_kills(
        |_| (),
        line,
        is_begun,
        &["model/model.safetensors", "model/config.json", "model/tokenizer.json"],
    );
}

/// These go on without `--resume`, or have it in their lines.
fn never(_: &Path) -> bool {
    false
}

#[test]
fn a_curve_goes_on_after_a_kill_at_any_moment() {
    survives_kills(|_| (), CURVE, never, CURVE_FILES);
}

#[test]
fn a_cache_is_right_after_a_kill_at_any_moment() {
    survives_kills(|_| (), CACHING, never, &["report.json"]);
}

#[test]
fn a_gate_goes_on_after_a_kill_at_any_moment() {
    survives_kills(budget, MAKE_BASELINE, never, &["baseline.json", "verdict.json"]);
    let compared = "gate --cache cache --baseline baseline.json --resume --format json --output verdict.json";
    survives_kills(budget_and_baseline, compared, never, &["baseline.json", "verdict.json"]);
}
