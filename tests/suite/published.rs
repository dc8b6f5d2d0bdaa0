//! Models as they are published, by their names on the hub, from a cache and without network.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::common::command;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// A cache as Hugging Face's tools lay it out, of models in the layout of published ones: without a
/// tokenizer, so that theirs is T5's.
fn cache(place: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let published = root.join("attacks/tests/data/published");
    for (name, from) in [
        ("acme--inverter", published.join("sharded")),
        ("acme--corrector", published.join("corrector")),
        ("acme--embedder", root.join("tests/data/sentence-t5")),
    ] {
        let model = place.join(format!("models--{name}"));
        copy(&from, &model.join("snapshots/0a1b2c"));
        fs::create_dir_all(model.join("refs")).unwrap();
        fs::write(model.join("refs/main"), "0a1b2c").unwrap();
    }
    let t5 = place.join("models--google-t5--t5-base");
    fs::create_dir_all(t5.join("snapshots/3d4e")).unwrap();
    fs::create_dir_all(t5.join("refs")).unwrap();
    fs::write(t5.join("refs/main"), "3d4e").unwrap();
    fs::copy(published.join("tokenizer.json"), t5.join("snapshots/3d4e/tokenizer.json")).unwrap();
}

fn invert(place: &Path, inverter: &str, embedder: &str, more: &[&str]) -> Output {
    fs::write(place.join("texts.txt"), "a cab bed.\na\n").unwrap();
    let line = format!(
        "invert --inverter {inverter} --corrector acme/corrector@main --embedder {embedder} --input texts.txt \
         --steps 2 --beam-width 2 --local-queries 5"
    );
    embosk(place, &line).args(more).output().unwrap()
}

fn embosk(place: &Path, line: &str) -> Command {
    let mut command = command::embosk(place, line);
    command.env("HF_HUB_CACHE", place.join("hub")).env("HF_HUB_OFFLINE", "1");
    command
}

/// A published pair in place of an attack's folder, for the corpus of `corpus.txt`.
fn evaluate(place: &Path, attack: &str) -> Output {
    fs::write(place.join("corpus.txt"), "a cab bed.\na bad cab.\na dead bee.\n").unwrap();
    let line = format!(
        "evaluate --attack {attack} --embedder acme/embedder --corpus corpus.txt --defense none --adversary naive \
         --samples 2 --format json --steps 1 --beam-width 2 --local-queries 0 --cache cache"
    );
    embosk(place, &line).output().unwrap()
}

#[test]
fn a_published_pair_is_an_attack() {
    let place = tempfile::tempdir().unwrap();
    cache(&place.path().join("hub"));
    let report = |attack: &str| -> Value {
        let output = evaluate(place.path(), attack);
        // random weights bring nothing back, and the report that says so is whole
        assert_eq!(output.status.code(), Some(3), "{attack}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let named = report("acme/inverter+acme/corrector@main");
    assert!(named.to_string().contains("inverter+corrector@main"), "the report says which: {named}");
    // the same two in one folder are the same attack
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("attacks/tests/data/published");
    for (part, from) in [("inverter", "sharded"), ("corrector", "corrector")] {
        copy(&published.join(from), &place.path().join("pair").join(part));
        fs::copy(
            published.join("tokenizer.json"),
            place.path().join("pair").join(part).join("tokenizer.json"),
        )
        .unwrap();
    }
    assert_eq!(named["rows"], report("pair")["rows"]);

    for (attack, part) in [
        ("acme/inverter+acme/none", "acme/none is not in the cache"),
        ("acme/none+acme/corrector", "acme/none is not in the cache"),
    ] {
        let output = evaluate(place.path(), attack);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && stderr.contains(part), "{attack}: {stderr}");
    }
}

#[test]
fn names_of_the_hub_are_read_from_its_cache() {
    let place = tempfile::tempdir().unwrap();
    cache(&place.path().join("hub"));
    let output = invert(place.path(), "acme/inverter", "acme/embedder@0a1b2c", &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let inversions: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(inversions.len(), 2);
    for found in &inversions {
        assert!(found["queries"].as_u64().unwrap() > 0 && found["cosine"].as_f64().unwrap() > -1.0);
    }

    let objects = |more: &[&str]| -> Vec<Value> {
        let output = invert(place.path(), "acme/inverter", "acme/embedder", more);
        assert!(output.status.success(), "{more:?}: {}", String::from_utf8_lossy(&output.stderr));
        let stdout = String::from_utf8(output.stdout).unwrap();
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    // batches change nothing, and the published loop makes every step: 1 + 2 + 2·2 queries
    assert_eq!(objects(&["--batch-size", "1"]), inversions);
    assert_eq!(objects(&["--batch-size", "auto:1"]), inversions);
    assert_eq!(objects(&["--batch-size", "auto"]), inversions);
    for more in [&["--paper"][..], &["--paper", "--weights", "bf16"], &["--paper", "--weights", "q8"]] {
        for found in objects(more) {
            assert_eq!((found["steps"].as_array().unwrap().len(), found["queries"].as_u64()), (3, Some(7)));
        }
    }
    for wrong in [["--batch-size", "0"], ["--batch-size", "auto:none"], ["--weights", "f64"]] {
        let output = invert(place.path(), "acme/inverter", "acme/embedder", &wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }

    for (inverter, embedder, part) in [
        ("acme/none", "acme/embedder", "acme/none is not in the cache"),
        ("acme/inverter", "acme/none", "acme/none is not in the cache"),
        ("acme/inverter@v2", "acme/embedder", "acme/inverter@v2 is not in the cache"),
    ] {
        let output = invert(place.path(), inverter, embedder, &[]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(part) && stderr.contains("HF_HUB_OFFLINE"), "{stderr}");
    }
    fs::remove_dir_all(place.path().join("hub/models--google-t5--t5-base")).unwrap();
    let output = invert(place.path(), "acme/inverter", "acme/embedder", &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("tokenizer.json") && stderr.contains("t5-base"), "{stderr}");
}
