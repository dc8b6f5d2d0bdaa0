//! The command: what it prints, and how it refuses.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use embosk::Key;

const TEXTS: [(&str, &str); 3] = [
    (
        "house.txt",
        "The rent of the flat in Alder Street is due on the third.\n\nThe roof above the kitchen leaks when it rains.",
    ),
    ("trips/zagreb.md", "The train to Zagreb leaves at nine from the main station."),
    ("image.png", "Not a text, and not to be read as one at all."),
];

fn rag(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_embosk-rag")).current_dir(folder).args(arguments).output().unwrap()
}

fn key(path: &Path) {
    fs::write(path, Key::generate().unwrap().to_text().as_bytes()).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn texts_are_found_under_their_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (name, text) in TEXTS {
        let path = at.join("texts").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    key(&at.join("ours.key"));
    key(&at.join("other.key"));
    let ours = ["--database", "rag.db", "--key", "ours.key", "--dims", "2"];
    let other = ["--database", "rag.db", "--key", "other.key", "--dims", "2"];

    let run = |verb: &[&str], options: &[&str]| rag(at, &[verb, options].concat());
    let told = |output: &Output| {
        (String::from_utf8(output.stdout.clone()).unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
    };
    let none = run(&["ask", "When does the train leave?"], &ours);
    assert!(!none.status.success() && told(&none).1.contains("ingest texts first"), "{none:?}");

    for expected in [
        "2 files added, 0 replaced, 0 unchanged; 3 chunks stored\n",
        "0 files added, 0 replaced, 2 unchanged; 0 chunks stored\n",
    ] {
        let done = run(&["ingest", "texts"], &ours);
        assert_eq!(told(&done), (expected.into(), String::new()));
    }
    let asked = run(&["ask", "When does the train leave?", "-k", "1"], &ours);
    let (hits, error) = told(&asked);
    assert!(asked.status.success() && error.is_empty(), "{error}");
    let zagreb = Path::new("trips").join("zagreb.md");
    assert!(
        hits.starts_with("1. 0.") && hits.contains(&*zagreb.to_string_lossy()) && hits.contains(TEXTS[1].1),
        "{hits}"
    );
    assert!(!hits.contains("rent"), "{hits}");

    let refused = run(&["ask", "When does the train leave?"], &other);
    let (hits, error) = told(&refused);
    assert!(!refused.status.success() && hits.is_empty(), "{hits}");
    assert!(error.starts_with("embosk-rag: rag.db: the collection was made under the key "), "{error}");
    assert!(!run(&["ask", "When?", "--database", "rag.db"], &[]).status.success());
    let asked = Command::new(env!("CARGO_BIN_EXE_embosk-rag"))
        .current_dir(at)
        .args([
            "ask",
            "When does the train leave?",
            "--database",
            "env:RAG",
            "--key",
            "ours.key",
            "--dims",
            "2",
        ])
        .env("RAG", "rag.db")
        .output()
        .unwrap();
    assert!(told(&asked).0.contains(TEXTS[1].1), "{asked:?}");
}

/// Command lines are for everyone to read.
#[test]
fn no_password_is_taken_from_a_command_line() {
    let folder = tempfile::tempdir().unwrap();
    for address in
        ["postgres://ann:planted@localhost/texts", "postgresql://localhost/texts?user=ann&password=planted"]
    {
        let refused = rag(folder.path(), &["ask", "When?", "--plain", "--database", address]);
        let error = String::from_utf8(refused.stderr).unwrap();
        assert!(
            !refused.status.success() && error.contains("env:NAME") && !error.contains("planted"),
            "{error}"
        );
    }
    let refused = rag(folder.path(), &["ask", "When?", "--plain", "--database", "env:EMBOSK_NONE"]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("no such variable"));
}
