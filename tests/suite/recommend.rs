//! `embosk recommend` from outside: from a collection to a defense, its fit, and commands that run.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use embosk::Projection;

use crate::common::command::{exits, stderr};

/// Runs a command as somebody pastes it into a shell.
#[track_caller]
fn pasted(folder: &Path, line: &str) {
    let program = Path::new(env!("CARGO_BIN_EXE_embosk")).parent().unwrap();
    let path = format!("{}:{}", program.display(), env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.current_dir(folder).args(["-c", line]).env("PATH", path).env("CANDLE_NUM_THREADS", "1");
    let output = shell.env_remove("EMBOSK_CACHE").env_remove("EMBOSK_KEY").output().unwrap();
    assert!(output.status.success(), "{line}: {}", stderr(&output));
}

#[test]
fn a_collection_leads_to_a_defense_and_to_commands_that_run() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    // one adversary who learns nothing, so that it takes seconds
    let line = "recommend --corpus records:300 --attack none --samples 20 --dims 8 --limit guess<=0.3 \
                --adversary naive --output coarse.fit";
    let said = String::from_utf8(exits(folder, line, 0).stdout).unwrap();
    let spec = said.lines().find_map(|line| line.strip_prefix("recommended: ")).unwrap();
    assert!(spec.contains("gaussian(sigma=") && spec.contains("| rerank(candidates="), "{said}");
    assert!(said.lines().any(|line| line.starts_with("  + ") && line.contains(spec)), "{said}");
    // nobody attacks the key of a rotation here
    let mut kept = said.lines().filter(|line| line.starts_with("  + "));
    assert!(!kept.any(|line| line.contains("rotation(")), "{said}");
    for head in ["threat:      ", "search:      nDCG@10 ", "costs:       ", "leaks:       "] {
        assert!(said.lines().any(|line| line.starts_with(head)), "{said} has no {head}");
    }
    assert_eq!(Projection::load(folder.join("coarse.fit")).unwrap().dims(), 8);

    let (_, next) = said.split_once("next:\n").unwrap();
    let next: Vec<&str> = next.lines().filter_map(|line| line.trim().strip_prefix("embosk ")).collect();
    let [keygen, evaluate, protect] = next[..] else { panic!("{said}") };
    assert!(evaluate.contains("--samples 200 ") && !evaluate.contains("--dims"), "{evaluate}");
    pasted(folder, &format!("embosk {keygen}"));
    // so few texts prove nothing
    let quick = evaluate.replace("--samples 200", "--samples 4 --guess-candidates 8");
    pasted(folder, &format!("embosk {quick} || [ $? = 3 ]"));
    // its names of files are for the reader to replace
    fs::write(folder.join("IDS.txt"), "first\nsecond\nthird\n").unwrap();
    exits(folder, "embed --input IDS.txt --output IN.npy --role document", 0);
    pasted(folder, &format!("embosk {protect}"));
    assert!(folder.join("OUT.npy").is_file() && folder.join("SEALED.npy").is_file());
}
