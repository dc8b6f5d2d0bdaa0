//! Guessing a fact, membership, and whose a vector is, with an embedder and an attack that need no model.
#![allow(clippy::float_cmp)]

use std::fs;
use std::ops::Range;
use std::path::Path;

use embosk::embedder::Normalizer;
use embosk::evaluate::adversaries::{Informed, Leaked, Naive};
use embosk::evaluate::records::{Split, generate};
use embosk::evaluate::{Corpus, Evaluation, Report, Row};
use embosk::{BoxError, Defense, Embedder, Error, GaussianNoise, Key, Rng, Role, Rotation, Stack};
use ndarray::{Array2, ArrayView1};
use serde_json::Value;

use crate::common::lookup::Lookup;
use crate::common::words;

const DIM: usize = 48;

/// A unit vector of a text's words. It reads the first so many bytes of a text, and may not say so.
#[derive(Clone, Copy)]
struct Words {
    reads: usize,
    says: bool,
}

const WHOLE: Words = Words { reads: usize::MAX, says: true };

impl Embedder for Words {
    fn embed(&self, _: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        let read: Vec<&str> = texts.iter().map(|text| &text[..text.len().min(self.reads)]).collect();
        Ok(words::vectors(&read, DIM, |_| 1.0))
    }

    fn normalizer(&self) -> Option<Normalizer> {
        Some(Normalizer::lowercase())
    }

    fn window(&self, document: &str) -> Option<Range<usize>> {
        self.says.then(|| 0..document.len().min(self.reads))
    }
}

fn evaluation(embedder: Words, corpus: &Corpus) -> Evaluation<Words> {
    let known = corpus.texts().iter().map(|text| text.to_uppercase()).collect();
    Evaluation::new(embedder).corpus(corpus.clone()).attack(Lookup(known)).samples(60).seed(5)
}

fn rotation() -> Stack {
    Stack::new().with(Rotation::new(&Key::from_bytes([7; 32]), DIM).unwrap())
}

fn stack(spec: &str) -> Stack {
    spec.parse().unwrap()
}

fn value(row: &Row, metric: &str) -> f64 {
    row.score(metric).unwrap_or_else(|| panic!("{metric} of {}, {}", row.defense, row.adversary)).value
}

fn setting(report: &Report, name: &str) -> u64 {
    report.signature[name].as_u64().unwrap()
}

#[test]
fn what_a_defense_leaves_of_a_fact() {
    let corpus = Corpus::records(400, 1);
    let report = evaluation(WHOLE, &corpus)
        .defense(Stack::new())
        .defense(stack("gaussian(sigma=0.05)"))
        .defense(stack("gaussian(sigma=0.3)"))
        .defense(rotation())
        .adversary(Naive)
        .adversary(Leaked(120))
        .run()
        .unwrap();
    let guess: Vec<f64> = report.rows.iter().map(|row| value(row, "guess")).collect();
    assert_eq!(guess[..2], [1.0, 1.0]);
    assert!(guess[2] > 0.7 && guess[4] < 0.6 && guess[4] > 1.0 / 64.0, "{guess:?}");
    // a key turns a guess into chance, and leaked pairs undo it
    assert!(guess[6] < 0.15 && guess[7] == 1.0, "{guess:?}");
    for row in &report.rows {
        let leak = (value(row, "guess") - 1.0 / 64.0) / (1.0 - 1.0 / 64.0);
        assert!((value(row, "guess_leak") - leak).abs() < 1e-9);
        assert_eq!(row.guess_candidates, Some(64));
        let kinds = &row.guess_by_kind;
        assert!(kinds.contains_key("person") && kinds.contains_key("amount"));
        assert_eq!(kinds.values().map(|kind| kind.n).sum::<usize>(), row.n);
        let right: f64 = kinds.values().map(|kind| kind.n as f64 * kind.score.value).sum();
        assert!((right / row.n as f64 - value(row, "guess")).abs() < 1e-9);
    }
    assert_eq!((setting(&report, "facts"), setting(&report, "fact_outside_window")), (60, 0));
    let kinds: Vec<u64> = report.signature["facts_by_kind"]
        .as_object()
        .unwrap()
        .values()
        .map(|n| n.as_u64().unwrap())
        .collect();
    assert!(kinds.len() == 8 && kinds.iter().all(|&n| n >= 2), "{kinds:?}");
    let row: Value = serde_json::to_value(&report.rows[0]).unwrap();
    let person = &row["guess_by_kind"]["person"];
    assert!(person["n"].is_u64() && person["low"].as_f64() < person["high"].as_f64(), "{row}");
    assert_eq!(report.floor.unwrap().score("guess").unwrap().value, 1.0 / 64.0);
}

/// Everything that was there before guessing is as it was.
#[test]
fn guessing_changes_nothing_else() {
    let corpus = Corpus::records(300, 2);
    let run = |candidates: usize| {
        let evaluation = evaluation(WHOLE, &corpus).defense(stack("gaussian(sigma=0.1)")).defense(rotation());
        evaluation.adversary(Informed(200)).adversary(Leaked(100)).guess_candidates(candidates).run().unwrap()
    };
    let (with, without) = (run(8), run(0));
    for (with, without) in with.rows.iter().zip(&without.rows) {
        for (name, score) in without.scores.iter().filter(|(name, _)| !name.starts_with("guess")) {
            assert_eq!(with.score(name), score, "{name}");
        }
        assert_eq!((without.score("guess"), without.score("guess_leak")), (None, None));
        assert_eq!((without.guess_candidates, without.guess_by_kind.len()), (None, 0));
    }
    assert_eq!(without.floor.unwrap().score("guess"), None);
    assert_eq!(with.floor.unwrap().score("guess").unwrap().value, 0.125);
}

/// One line of the file of guesses.
fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The file has all that it takes to compute the guesses anew: here from the embedder, the defense and cosines alone.
#[test]
fn guesses_are_what_anybody_computes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("guesses.jsonl");
    let corpus = Corpus::records(200, 3);
    let [none, eight, one] = ["none", "quantization(bits=8)", "quantization(bits=1)"].map(stack);
    // noise from a key is the same whoever computes it
    let noise = GaussianNoise::keyed(&Key::from_bytes([9; 32]), 0.15).unwrap();
    let stacks = [none, eight, one, Stack::new().with(noise)];
    let mut evaluation = evaluation(WHOLE, &corpus).adversary(Naive).guesses(&file);
    for stack in &stacks {
        evaluation = evaluation.defense(stack.clone());
    }
    let report = evaluation.run().unwrap();
    let lines = lines(&file);
    assert_eq!(lines.len(), 60);
    for (row, stack) in report.rows.iter().zip(&stacks) {
        let mut right = Vec::new();
        for line in &lines {
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            let candidates: Vec<&str> =
                line["candidates"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
            let texts: Vec<String> = candidates
                .iter()
                .map(|candidate| format!("{}{candidate}{}", text("before"), text("after")))
                .collect();
            let answer = line["answer"].as_u64().unwrap() as usize;
            assert_eq!(texts[answer], corpus.texts()[line["document"].as_u64().unwrap() as usize]);
            let vectors =
                WHOLE.embed(Role::Document, &texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
            let mut stored = vectors.select(ndarray::Axis(0), &[answer]);
            stack.protect(Role::Document, stored.view_mut(), &mut Rng::seeded(0)).unwrap();
            let cosine = |row: ArrayView1<'_, f32>| f64::from(row.dot(&stored.row(0)) / row.dot(&row).sqrt());
            let scores: Vec<f64> = vectors.rows().into_iter().map(cosine).collect();
            let best = (0..scores.len()).rev().max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap();
            let said = line["guesses"]
                .as_array()
                .unwrap()
                .iter()
                .find(|guess| guess["defense"] == row.defense)
                .unwrap();
            assert_eq!(
                (said["guess"].as_u64().unwrap() as usize, &said["adversary"]),
                (best, &Value::from("naive"))
            );
            right.push(best == answer);
        }
        let share = right.iter().filter(|right| **right).count() as f64 / 60.0;
        assert_eq!(value(row, "guess"), share);
    }
    assert!(value(&report.rows[3], "guess") < 1.0, "noise costs the attacker something");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_fact_that_the_embedder_does_not_read_does_not_count() {
    let corpus = Corpus::records(200, 4);
    let outside = |says: bool| {
        let evaluation = evaluation(Words { reads: 40, says }, &corpus).adversary(Naive);
        let report = evaluation.run().unwrap();
        // half a fact is not always told from another
        assert!(value(&report.rows[0], "guess") > 0.85);
        let is_told = |warning: &String| {
            warning.contains("60 of 60 attacked texts are longer than the embedder's window")
        };
        assert_eq!(report.warnings.iter().any(is_told), says, "{:?}", report.warnings);
        (setting(&report, "facts"), setting(&report, "fact_outside_window"))
    };
    // who says what they read is asked for other facts
    let ((facts, unread), (known, unreadable)) = (outside(true), outside(false));
    assert!(facts > known && facts > 40 && known > 10, "{facts} {known}");
    assert!(unread > 60 && known + unreadable == 60, "{unread} {unreadable}");
}

#[test]
fn facts_are_found_by_rule_where_none_are_labelled() {
    let texts: Vec<String> = Corpus::records(300, 6).texts().to_vec();
    let corpus = Corpus::passages("mine", texts.clone());
    let own: Vec<String> = generate(Split::Train, 9).take(300).map(|record| record.text).collect();
    let report = evaluation(WHOLE, &corpus).attacker_texts("theirs", own).adversary(Naive).run().unwrap();
    let kinds = report.signature["facts_by_kind"].as_object().unwrap();
    assert!(["amount", "date", "name"].iter().all(|kind| kinds[*kind].as_u64() > Some(8)), "{kinds:?}");
    assert_eq!(value(&report.rows[0], "guess"), 1.0);
    // texts with neither numbers nor capital letters are asked for their rarest word
    let plain = |text: &String| text.to_lowercase().replace(|c: char| c.is_ascii_digit(), "x");
    let corpus = Corpus::passages("plain", texts.iter().map(plain).collect());
    let report = evaluation(WHOLE, &corpus).adversary(Naive).run().unwrap();
    assert_eq!(report.signature["facts_by_kind"], serde_json::json!({ "word": 60 }));
    assert_eq!(value(&report.rows[0], "guess"), 1.0);
}

#[test]
fn labels_of_ones_own_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("entities.jsonl");
    let texts: Vec<String> = Corpus::records(200, 6).texts().to_vec();
    let label = |(line, text): (usize, &String)| {
        let end = text.chars().position(|c| c == ' ').unwrap();
        format!("{{\"line\": {}, \"start\": 0, \"end\": {end}, \"kind\": \"First\"}}\n", line + 1)
    };
    fs::write(&file, texts.iter().enumerate().skip(20).map(label).collect::<String>()).unwrap();
    let corpus = Corpus::passages("mine", texts).with_entities(&file).unwrap();
    let report = evaluation(WHOLE, &corpus).adversary(Naive).guess_candidates(16).run().unwrap();
    let facts = setting(&report, "facts");
    assert!(facts > 45 && facts < 60, "{facts}");
    assert_eq!(report.signature["facts_by_kind"], serde_json::json!({ "first": facts }));
    assert!(report.rows[0].score("entity_recall").is_some());
}

#[test]
fn what_is_told_of_the_store() {
    let corpus = Corpus::records(700, 1);
    let report = evaluation(WHOLE, &corpus)
        .defense(Stack::new())
        .defense(stack("quantization(bits=4)"))
        .defense(stack("gaussian(sigma=1)"))
        .defense(rotation())
        .adversary(Naive)
        .adversary(Leaked(120))
        .run()
        .unwrap();
    let names = ["membership_tpr", "membership_auc", "candidate_recall_at_1", "candidate_recall_at_10"];
    let scores: Vec<[f64; 4]> = report.rows.iter().map(|row| names.map(|name| value(row, name))).collect();
    for known in [0, 1, 2, 3, 7] {
        assert_eq!(scores[known], [1.0; 4], "row {known}: {scores:?}");
    }
    for hidden in [4, 5, 6] {
        let [tpr, auc, first, tenth] = scores[hidden];
        assert!(
            tpr < 0.15 && (auc - 0.5).abs() < 0.17 && first < 0.15 && tenth < 0.25,
            "row {hidden}: {scores:?}"
        );
    }
    let auc = report.rows[0].score("membership_auc").unwrap();
    assert!(auc.low < 1.0 && auc.high == 1.0 && auc.low > 0.9);
    // without documents outside of the store, own texts are held against the stored ones, if there are any
    let corpus = Corpus::passages("few", corpus.texts()[..60].to_vec());
    let own: Vec<String> = generate(Split::Train, 9).take(150).map(|record| record.text).collect();
    let run = |evaluation: Evaluation<Words>| evaluation.run().unwrap();
    let with_own = evaluation(WHOLE, &corpus).attacker_texts("theirs", own).adversary(Informed(150));
    let with_own = run(with_own);
    assert_eq!(value(&with_own.rows[0], "membership_tpr"), 1.0);
    let is_told = |warning: &String| warning.contains("150 of the attacker's own");
    assert!(with_own.warnings.iter().any(is_told), "{:?}", with_own.warnings);
    assert!(!report.warnings.iter().any(is_told), "{:?}", report.warnings);
    let alone = run(evaluation(WHOLE, &corpus).adversary(Naive));
    assert!(
        alone.rows[0].score("membership_tpr").is_none() && alone.rows[0].score("membership_auc").is_none()
    );
    assert_eq!(value(&alone.rows[0], "candidate_recall_at_1"), 1.0);
}

#[test]
fn guesses_repeat_on_equal_settings() {
    let corpus = Corpus::records(200, 4);
    let run = || {
        let evaluation =
            evaluation(WHOLE, &corpus).defense(stack("gaussian(sigma=0.2)")).adversary(Informed(100));
        evaluation
            .run()
            .and_then(|report| report.to_json_full().map_err(|error| Error::Setting(error.to_string())))
    };
    assert_eq!(run().unwrap(), run().unwrap());
}

/// Without an attack, adversaries still guess and tell what is stored; no text is scored.
#[test]
fn adversaries_need_no_attack() {
    let corpus = Corpus::records(400, 1);
    let run = |evaluation: Evaluation<Words>| {
        let evaluation =
            evaluation.defense(Stack::new()).defense(rotation()).defense(stack("gaussian(sigma=0.3)"));
        evaluation.adversary(Naive).adversary(Leaked(120)).run().unwrap()
    };
    let without = Evaluation::new(WHOLE).corpus(corpus.clone()).samples(60).seed(5);
    let (with, without) = (run(evaluation(WHOLE, &corpus)), run(without));
    for (with, without) in with.rows.iter().zip(&without.rows) {
        assert_eq!(
            (with.n, &with.map, &with.guess_by_kind),
            (without.n, &without.map, &without.guess_by_kind)
        );
        for (name, score) in without.scores.iter().filter(|(_, score)| score.is_some()) {
            assert_eq!(with.score(name), score, "{name}");
        }
        for name in ["guess", "guess_leak", "restored_cosine", "membership_auc", "ndcg_at_10"] {
            assert!(without.score(name).is_some(), "{name}");
        }
        for name in ["exact_match", "bleu", "word_recall", "entity_recall", "cosine", "leak", "floor"] {
            assert!(without.score(name).is_none(), "{name}");
        }
        assert!(without.oracle_queries.is_none() && without.recovered == 0);
    }
    assert_eq!(
        (without.conclusive.as_slice(), &without.signature["attack"]),
        (&["guess_leak".to_owned()][..], &"none".into())
    );
    // nobody attacks where nobody is named
    let searched = Evaluation::new(WHOLE).corpus(corpus).run().unwrap();
    assert_eq!((searched.rows[0].adversary.as_str(), searched.rows[0].n), ("none", 0));
}
