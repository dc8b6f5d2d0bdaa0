//! The verbs around the measuring ones, from outside: `doctor`, `init`, `cache`, `completions`, `man`.

use std::fs;
use std::path::Path;
use std::process::Output;

use embosk::Key;
use tempfile::TempDir;

use crate::common::command;

fn embosk(folder: &Path, arguments: &[&str]) -> Output {
    command::embosk(folder, "")
        .args(arguments)
        .env("SETUP_KEY", Key::from_bytes([7; 32]).to_text().as_str())
        .output()
        .unwrap()
}

#[track_caller]
fn succeeds(folder: &Path, arguments: &[&str]) -> (String, String) {
    let output = embosk(folder, arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
    (String::from_utf8(output.stdout).unwrap(), stderr)
}

#[track_caller]
fn refused(folder: &Path, arguments: &[&str], part: &str) {
    let output = embosk(folder, arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert!(message.starts_with("error: ") && message.contains(part), "{message} has no {part}");
}

fn workplace() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let notes: String = (0..40).map(|n| format!("the patient in bed {n} has a cough\n")).collect();
    fs::write(folder.path().join("notes.txt"), notes).unwrap();
    folder
}

#[test]
fn doctor_says_what_is_here_and_what_comes_next() {
    let folder = workplace();
    let (said, _) = succeeds(folder.path(), &["doctor"]);
    for part in [
        "embosk 0.",
        "cli",
        "(reference, minilm)",
        "384 dimensions, norm 1",
        "reference, trained on",
        "queries",
        "embosk init",
    ] {
        assert!(said.contains(part), "{said} has no {part}");
    }
    fs::write(folder.path().join("privacy-budget.toml"), "").unwrap();
    let address = "http://127.0.0.1:1/v1#model";
    let (said, _) = succeeds(folder.path(), &["doctor", "--embedder", address, "--corpus", "notes.txt"]);
    for part in ["behind an address", "guided search", "40 texts of 8 words", "no queries", "embosk gate"] {
        assert!(said.contains(part), "{said} has no {part}");
    }
    assert!(!said.contains("cough") && !folder.path().join(".cache").exists());
    refused(folder.path(), &["doctor", "--corpus", "nothing.txt"], "nothing.txt");
}

#[test]
fn init_writes_a_budget_that_the_gate_reads_and_a_workflow_with_the_keys() {
    let folder = workplace();
    let place = folder.path();
    let defense = "rotation(key=env:SETUP_KEY) | gaussian(sigma=0.1)";
    let given = ["init", "--embedder", "reference", "--corpus", "records:200", "--defense", defense];
    let (next, wrote) = succeeds(place, &given);
    assert!(next.contains("embosk evaluate") && next.contains("--update-baseline"), "{next}");
    assert_eq!(wrote.lines().count(), 2, "{wrote}");
    assert!(next.contains("replace REPOSITORY and REVISION"), "{next}");
    let workflow = fs::read_to_string(place.join(".github/workflows/privacy.yml")).unwrap();
    assert!(
        workflow.contains("      SETUP_KEY: ${{ secrets.SETUP_KEY }} ") && !workflow.contains("SECRETS"),
        "{workflow}"
    );
    let toolchain = concat!("rustup default ", env!("CARGO_PKG_RUST_VERSION"), "\n");
    assert!(workflow.contains(toolchain) && !workflow.contains("RUST "), "{workflow}");
    let budget = place.join("privacy-budget.toml");
    let text = fs::read_to_string(&budget).unwrap();
    assert!(text.contains(defense) && text.contains("ndcg_drop") && !text.contains("embosk1-"), "{text}");
    assert!(
        ["exact_match = ", "word_leak = ", "guess_leak = "].iter().all(|limit| text.contains(limit)),
        "{text}"
    );
    assert!(text.contains("[[stack]]\n# Against the store's operator, "), "{text}");
    assert!(
        text.contains("samples = 100") && !text.contains("adversaries = ["),
        "there are 200 texts: {text}"
    );
    // few texts and one adversary are enough to see that the gate takes it
    let small = text.replace(
        "samples = 100",
        "samples = 4\nadversaries = [\"naive\"]\nguess_candidates = 8\nattack = { steps = 1, beam_width = 1, \
         local_queries = 0 }",
    );
    fs::write(&budget, small).unwrap();
    let gate = embosk(place, &["gate"]);
    assert!([Some(1), Some(3)].contains(&gate.status.code()), "{}", String::from_utf8_lossy(&gate.stderr));
    refused(place, &given, "--force");
    succeeds(place, &[&given[..], &["--force"]].concat());
    assert_eq!(fs::read_to_string(&budget).unwrap(), text);
}

#[test]
fn init_in_another_folder_writes_paths_that_lead_back() {
    let folder = workplace();
    let place = folder.path();
    let given = ["--corpus", "notes.txt", "--defense", "gaussian(sigma=0.1, on=documents)", "--ci", "none"];
    let start = ["init", "--embedder", "reference", "--output", "ci/budgets"];
    succeeds(place, &[&start[..], &given].concat());
    let text = fs::read_to_string(place.join("ci/budgets/privacy-budget.toml")).unwrap();
    assert!(text.contains("corpus = \"../../notes.txt\"") && !text.contains("ndcg_drop"), "{text}");
    assert!(text.contains("[[stack]]\n# Against a stolen store: "), "{text}");
    assert!(!place.join(".github").exists());
    // a key's file too, and the workflow names the budget
    succeeds(place, &["keygen", "--output", "key"]);
    let keyed = ["--corpus", "notes.txt", "--defense", "rotation(key=file:key)", "--force"];
    let (next, said) = succeeds(place, &[&start[..], &keyed].concat());
    let text = fs::read_to_string(place.join("ci/budgets/privacy-budget.toml")).unwrap();
    assert!(text.contains("rotation(key=file:../../key)"), "{text}");
    assert!(said.contains("CI will not have key;"), "{said}");
    let workflow = fs::read_to_string(place.join(".github/workflows/privacy.yml")).unwrap();
    let gate = "embosk gate --budget ci/budgets/privacy-budget.toml";
    assert!(workflow.contains(gate) && next.contains(gate), "{workflow}{next}");
}

#[test]
fn init_warns_of_what_ci_lacks_and_of_what_few_texts_cannot_prove() {
    let folder = workplace();
    let place = folder.path();
    let own = |embedder: &str, corpus: &str| {
        let given = ["--embedder", embedder, "--corpus", corpus, "--defense", "none"];
        succeeds(place, &[&["init", "--ci", "none", "--force"], &given[..]].concat())
    };
    let notes = place.join("notes.txt").display().to_string();
    let (next, said) = own("reference", &notes);
    assert!(said.contains(&format!("warning: {notes} is outside this folder")), "{said}");
    assert!(
        said.contains("20 of the 40 texts are attacked") && said.contains("at least 118 texts"),
        "{said}"
    );
    assert!(!next.contains("REPOSITORY"), "{next}");
    let (_, said) = own("http://localhost:1/v1#m", "records");
    assert!(said.contains("http://localhost:1/v1#m is on this machine"), "{said}");
    let (_, said) = own("reference", "records");
    assert!(!said.contains("warning"), "{said}");
    let given = ["--embedder", "reference", "--corpus", "records", "--defense", "none"];
    let into_a_file = [&["init", "--output", "notes.txt"], &given[..]].concat();
    refused(place, &into_a_file, "notes.txt: it is a file; name a folder");
}

#[test]
fn init_names_no_defense_once() {
    let folder = workplace();
    let given =
        ["init", "--embedder", "reference", "--corpus", "notes.txt", "--defense", "none", "--ci", "none"];
    let (next, _) = succeeds(folder.path(), &given);
    assert_eq!(next.matches("--defense").count(), 1, "{next}");
    let text = fs::read_to_string(folder.path().join("privacy-budget.toml")).unwrap();
    assert_eq!(text.matches("--defense").count(), 1, "{text}");
}

#[test]
fn init_without_a_terminal_names_what_is_missing() {
    let folder = workplace();
    refused(folder.path(), &["init"], "--embedder is missing");
    let bad = ["init", "--embedder", "reference", "--corpus", "notes.txt", "--defense", "gaussian(sigma=-1)"];
    refused(folder.path(), &bad, "sigma");
    let missing = ["init", "--embedder", "no-such-model", "--corpus", "notes.txt", "--defense", "none"];
    refused(folder.path(), &missing, "no-such-model: there is no such folder");
    fs::create_dir(folder.path().join("empty")).unwrap();
    refused(
        folder.path(),
        &["init", "--embedder", "empty", "--corpus", "notes.txt", "--defense", "none"],
        "empty",
    );
    let address = "http://user:planted@127.0.0.1:1/v1#m";
    let secret = ["init", "--embedder", address, "--corpus", "notes.txt", "--defense", "gaussian(sigma=0.1)"];
    refused(folder.path(), &secret, "password");
    let said = embosk(folder.path(), &secret);
    assert!(!String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).contains("planted"));
    assert!(!folder.path().join("privacy-budget.toml").exists());
}

#[test]
fn the_cache_is_listed_and_cleared() {
    let folder = workplace();
    let place = folder.path();
    let (empty, _) = succeeds(place, &["cache", "list"]);
    assert!(empty.contains(".cache/embosk: 0 B"), "{empty}");
    refused(place, &["cache", "clear"], ".cache/embosk: there is no such folder, so nothing was removed");
    refused(place, &["cache", "clear", "--cache", "mistyped"], "mistyped: there is no such folder");
    let embed = ["evaluate", "--attack", "none", "--corpus", "records:40", "--defense", "none"];
    succeeds(place, &embed);
    fs::write(place.join(".cache/embosk/embeddings/mine"), "").unwrap();
    let (full, _) = succeeds(place, &["cache", "list"]);
    assert!(full.contains("embeddings") && full.contains("kB"), "{full}");
    let (_, said) = succeeds(place, &["cache", "clear", "embeddings"]);
    assert!(said.contains("removed 1 file (") && said.contains("did not make: 1"), "{said}");
    assert!(place.join(".cache/embosk/embeddings/mine").exists());
    refused_by_clap(place, &["cache", "clear", "everything"]);
}

/// What clap refuses has its own words, and exit code 2.
fn refused_by_clap(folder: &Path, arguments: &[&str]) {
    assert_eq!(embosk(folder, arguments).status.code(), Some(2));
}

#[test]
fn completions_and_pages_name_every_verb() {
    let folder = workplace();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (script, _) = succeeds(folder.path(), &["completions", shell]);
        assert!(script.contains("evaluate") && script.contains("keygen"), "{shell}");
    }
    let (page, _) = succeeds(folder.path(), &["man"]);
    assert!(page.contains(".TH embosk 1") && page.contains("evaluate"), "{page}");
    succeeds(folder.path(), &["man", "--output", "pages"]);
    let pages = folder.path().join("pages");
    assert!(fs::read_to_string(pages.join("embosk-evaluate.1")).unwrap().contains("sigma=0.01"));
}
