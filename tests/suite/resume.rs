//! `evaluate --resume` and `gate --resume` from outside: rows survive an interruption, and no longer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::command;

fn embosk(folder: &Path, line: &str) -> Command {
    let mut command = command::embosk(folder, line);
    command.env("EMBOSK_CACHE", folder.join("cache"));
    command
}

/// Stdout, and stderr without progress.
#[track_caller]
fn runs(folder: &Path, line: &str) -> (String, String) {
    let Output { status, stdout, stderr } = embosk(folder, line).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(matches!(status.code(), Some(0 | 1 | 3)), "{line}: {stderr}");
    (String::from_utf8(stdout).unwrap(), stderr)
}

/// The finished rows that are kept.
fn rows(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("cache/rows")).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths
}

/// How many rows were measured, as `--verbose` says it.
fn measured(stderr: &str) -> usize {
    stderr.lines().filter(|line| line.contains(", after ")).count()
}

/// On few texts and with a short search.
const EVALUATE: &str = "evaluate --corpus records:60 --samples 6 --steps 0 --beam-width 1 --local-queries 0 \
                        --adversary naive --adversary leaked(40) --attacker-corpus records:300 --defense none \
                        --defense gaussian(sigma=0.05) --format json --verbose";

#[test]
fn an_evaluation_goes_on_with_the_rows_of_an_interrupted_one() {
    let place = TempDir::new().unwrap();
    let folder = place.path();
    let (straight, told) = runs(folder, EVALUATE);
    assert_eq!((measured(&told), rows(folder).len()), (5, 0), "rows go with success: {told}");

    assert_eq!(runs(folder, &format!("{EVALUATE} --keep-rows")).0, straight);
    let kept = rows(folder);
    assert_eq!(kept.len(), 5, "four rows and the undefended attack");
    for lost in &kept[..2] {
        fs::remove_file(lost).unwrap();
    }
    fs::write(&kept[2], "{\"settings\": {").unwrap();
    let (resumed, told) = runs(folder, &format!("{EVALUATE} --resume --keep-rows"));
    assert!(told.contains("resuming: up to 2 finished rows are used"), "{told}");
    assert_eq!((measured(&told), &resumed), (3, &straight));

    // without the flag all are measured, and other settings find nothing
    assert_eq!(measured(&runs(folder, &format!("{EVALUATE} --keep-rows")).1), 5);
    let (_, told) = runs(folder, &format!("{EVALUATE} --resume --seed 1"));
    assert!(told.contains("other settings (") && told.contains("seed"), "{told}");
    assert_eq!((measured(&told), rows(folder)), (5, kept), "and leave the others' rows alone");
    let (resumed, told) = runs(folder, &format!("{EVALUATE} --resume"));
    assert_eq!((measured(&told), &resumed, rows(folder).len()), (0, &straight, 0));
    assert!(runs(folder, &format!("{EVALUATE} --resume")).1.contains("no rows are kept"));
}

#[test]
fn a_gate_decides_on_kept_rows_as_on_measured_ones() {
    let place = TempDir::new().unwrap();
    let folder = place.path();
    let budget = "corpus = \"records:80\"\nsamples = 12\nadversaries = [\"naive\"]\n\
                  attack = { model = \"reference\", steps = 0, beam_width = 1, local_queries = 0 }\n\
                  [limits]\nbleu = 50\nndcg_drop = 0.5\n[[stack]]\ndefense = \"none\"\n[[stack]]\n\
                  defense = \"gaussian(sigma=0.2)\"\n";
    fs::write(folder.join("privacy-budget.toml"), budget).unwrap();
    let (straight, told) = runs(folder, "gate --format json --verbose --keep-rows");
    assert_eq!((measured(&told), rows(folder).len()), (3, 3), "{told}");
    let (resumed, told) = runs(folder, "gate --format json --verbose --resume");
    assert_eq!((measured(&told), rows(folder).len()), (0, 0), "{told}");
    assert_eq!(resumed, straight, "the scores of each text are kept, as bounds are computed from them");
    assert!(straight.contains("\"lower\""));
}

#[cfg(unix)]
#[test]
fn what_an_interrupted_run_finished_is_used() {
    let place = TempDir::new().unwrap();
    let folder = place.path();
    let straight = runs(folder, EVALUATE).0;
    let mut child = embosk(folder, EVALUATE).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while rows(folder).is_empty() {
        assert!(began.elapsed() < Duration::from_mins(2), "no row was kept");
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = rows(folder).len();
    let (resumed, told) = runs(folder, &format!("{EVALUATE} --resume"));
    assert_eq!((measured(&told), &resumed), (5 - kept, &straight), "{told}");
}
