//! What comes with the program: that it is what lies in the source, how large it is, and that it needs nothing
//! else.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use embosk::attacks::Attack;
use embosk::attacks::vec2text::{SHIPPED, Vec2Text, shipped, shipped_for};
use embosk::embedder::{self, SentenceTransformer};
use embosk::models::Location;
use serde_json::Value;

const EMBOSK: &str = env!("CARGO_BIN_EXE_embosk");

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("attacks/models").join(name)
}

fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { bytes(&path) } else { fs::metadata(path).unwrap().len() }).sum()
}

#[test]
fn what_is_in_the_program_is_what_lies_in_the_source() {
    for name in SHIPPED {
        let folder = Vec2Text::load(source(name)).unwrap();
        let embedded = Vec2Text::shipped(name).unwrap();
        assert_eq!((embedded.hash(), embedded.embedder_hash()), (folder.hash(), folder.embedder_hash()));
        for part in ["inverter", "corrector"] {
            let read = |name: &str, part: &str, file: &str| {
                shipped(name).unwrap().join(part).join(file).read().unwrap()
            };
            let texts = fs::read(source("minilm").join(part).join("training_texts.bin")).unwrap();
            assert!(read(name, part, "training_texts.bin") == texts, "the same list for both attacks");
            for file in ["config.json", "manifest.json", "tokenizer.json", "model.safetensors"] {
                let embedded = shipped(name).unwrap().join(part).join(file);
                assert!(embedded.read().unwrap() == fs::read(source(name).join(part).join(file)).unwrap());
                assert!(!embedded.path().exists(), "it is read from the disk");
            }
        }
    }
    let folder = SentenceTransformer::load(source("reference/embedder")).unwrap();
    let embedded = embedder::reference().unwrap();
    assert_eq!((embedded.hash(), embedded.dimension()), (folder.hash(), folder.dimension()));
    assert_eq!(embedded.to_string(), "reference");
}

#[test]
fn each_attack_is_for_one_embedder() {
    assert_eq!(shipped_for(embedder::reference().unwrap().hash()), Some("reference"));
    let minilm = Vec2Text::shipped("minilm").unwrap();
    assert_eq!(shipped_for(minilm.embedder_hash().unwrap()), Some("minilm"));
    assert_eq!(shipped_for("another"), None);
    assert!(shipped("another").unwrap_err().to_string().contains("name reference or minilm"));
}

/// Of a sentence of each source, and of held-out ones.
#[test]
fn the_attacks_say_what_they_were_trained_on() {
    for name in SHIPPED {
        let attack = Vec2Text::shipped(name).unwrap();
        let trained_on = |text: &str| attack.trained_on(text);
        for text in [
            "Our work takes a step forward towards building a more explainable multi-hop QA system.",
            "so the next thing I have is about testing",
        ] {
            assert_eq!(trained_on(text), Some(true), "{text}");
        }
        assert_eq!(trained_on("Nobody ever wrote this sentence of nine words."), Some(false));
    }
}

/// Whoever builds the program gets all of it.
#[test]
fn the_models_are_small() {
    assert!(bytes(&source("reference")) <= 30_000_000, "{}", bytes(&source("reference")));
    assert!(bytes(&source("minilm")) <= 20_000_000, "{}", bytes(&source("minilm")));
}

/// A copy of the program in an empty folder, without an environment.
fn alone(program: &Path, line: &str) -> Output {
    let folder = program.parent().unwrap();
    Command::new(program).current_dir(folder).env_clear().args(line.split_whitespace()).output().unwrap()
}

#[test]
fn a_program_that_was_moved_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("embosk");
    fs::copy(EMBOSK, &program).unwrap();
    let models = source("").display().to_string();
    let code = fs::read(&program).unwrap();
    let knows = code.windows(models.len()).any(|part| part == models.as_bytes());
    assert!(!knows, "the program names {models}");

    let line = "evaluate --corpus records:60 --samples 4 --steps 1 --beam-width 1 --local-queries 0 \
                --defense none --adversary naive --format json";
    let output = alone(&program, line);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let said = |name: &str| report["signature"][name].as_str().unwrap().to_owned();
    assert_eq!(["embedder", "attack_name"].map(said), ["reference", "reference"]);
    assert_eq!(said("embedder_sha256"), embedder::reference().unwrap().hash());
    assert_eq!(said("attack_sha256"), Vec2Text::shipped("reference").unwrap().hash());

    fs::write(folder.path().join("texts.txt"), "one text\n").unwrap();
    let output = alone(&program, "invert --input texts.txt --steps 1 --format text");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1);
}

/// An embedder of four dimensions that nobody trained an attack for.
#[test]
fn the_reference_is_a_surrogate() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("embosk");
    fs::copy(EMBOSK, &program).unwrap();
    let embedder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sentence-t5");
    let line = format!(
        "evaluate --embedder {} --surrogate reference --corpus records:60 --attacker-corpus records:200 --samples 4 \
         --steps 0 --beam-width 1 --local-queries 0 --defense none --adversary leaked(40) --format json",
        embedder.display()
    );
    let output = alone(&program, &line);
    // four numbers say little: that may be too little for a conclusion
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (name, value) in
        [("embedder", "sentence-t5"), ("surrogate", "reference"), ("attack_name", "reference")]
    {
        assert_eq!(report["signature"][name], value);
    }
}

/// Whoever reads a folder cannot tell where it lies.
#[test]
fn files_in_the_program_are_as_files_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("a/b")).unwrap();
    fs::write(folder.path().join("a/b/c.txt"), "0123456789").unwrap();
    fs::write(folder.path().join("a/d"), "").unwrap();
    let on_disk = Location::from(folder.path());
    let embedded = Location::embedded(&[("a/b/c.txt", b"0123456789"), ("a/d", b"")]);
    for name in ["", "a", "a/b", "a/b/c.txt", "a/d", "a/b/c", "b", "c.txt", "a/b/c.txt/d"] {
        let (here, there) = (on_disk.join(name), embedded.join(name));
        assert_eq!((here.exists(), here.is_dir()), (there.exists(), there.is_dir()), "{name}");
        if !here.is_dir() {
            assert_eq!(here.read().ok(), there.read().ok(), "{name}");
        }
    }
    for location in [on_disk, embedded] {
        let mut file = location.join("a").join("b/c.txt").open().unwrap();
        assert_eq!(file.size().unwrap(), 10);
        let mut part = [0; 3];
        file.seek(SeekFrom::Start(4)).unwrap();
        file.read_exact(&mut part).unwrap();
        assert_eq!(&part, b"456");
    }
}
