//! A file system that is full, breaks, writes or reads less than asked, and a process that is killed: at each call in
//! turn. No half file is ever believed, and the next run ends as an undisturbed one does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::thread::sleep;
use std::time::Instant;

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

#[derive(Clone, Copy)]
enum Calls {
    /// Each how many-th.
    Each(usize),
    /// The last ones, which write what is asked for.
    Last(usize),
}

impl Case {
    fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        (self.start)(folder.path());
        folder
    }

    fn run(&self, folder: &Path, environment: &[(&str, &str)]) -> Output {
        // one thread, so that calls come in the same order
        let command = &mut embosk(folder, self.line);
        command.env("LD_PRELOAD", &LIBRARY.1).env("RAYON_NUM_THREADS", "1");
        command.envs(environment.iter().copied()).output().unwrap()
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
        let (first, stride) = match self.calls {
            Calls::Each(stride) => (1, stride),
            Calls::Last(count) => (calls.saturating_sub(count) + 1, 1),
        };
        for kind in ["full", "broken", "short", "kill"] {
            for at in (first..=calls).step_by(stride) {
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
        Case { start: &vectors, line, outputs, calls: Calls::Each(1) }.check();
    }
}

#[test]
fn cached_vectors_are_right_or_made_again() {
    let line = "evaluate --attack none --corpus records:40 --defense none --format json --output report.json";
    Case { start: &|_| (), line, outputs: &["report.json"], calls: Calls::Each(23) }.check();
}

#[test]
fn a_curve_goes_on_after_any_fault() {
    let line = "curve --attack none --corpus records:40 --defense gaussian(sigma=0.1) --output curve";
    let outputs = &["curve/curve.json", "curve/curve.csv"];
    Case { start: &|_| (), line, outputs, calls: Calls::Each(61) }.check();
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
        fs::write(folder.join(name), "an older file").unwrap();
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
    Case { start: &budget, line: MAKE_BASELINE, outputs, calls: Calls::Last(6) }.check();
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
    let is_begun = |folder: &Path| folder.join("model/training.safetensors").exists();
    survives_kills(
        |_| (),
        line,
        is_begun,
        &["model/model.safetensors", "model/config.json", "model/tokenizer.json"],
    );
}

#[test]
fn a_gate_goes_on_after_a_kill_at_any_moment() {
    // --resume is in the line already
    let never = |_: &Path| false;
    survives_kills(budget, MAKE_BASELINE, never, &["baseline.json", "verdict.json"]);
    let compared = "gate --cache cache --baseline baseline.json --resume --format json --output verdict.json";
    survives_kills(budget_and_baseline, compared, never, &["baseline.json", "verdict.json"]);
}
