//! The attacks that are shipped, on the embedders that they are for, through the command line.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use embosk::evaluate::text::bleu;
use serde_json::Value;

use crate::common;

/// What must come back of 40 held-out records without a defense: the share that is whole, and BLEU.
struct Least {
    exact_match: f64,
    bleu: f64,
}

impl Least {
    fn is_reached_by(&self, row: &Value) {
        let value = |name: &str| row[name]["value"].as_f64().unwrap();
        assert!(value("exact_match") >= self.exact_match && value("bleu") >= self.bleu, "{row:#}");
    }
}

const REFERENCE: Least = Least { exact_match: 0.88, bleu: 96.0 };
const MINILM: Least = Least { exact_match: 0.85, bleu: 95.0 };
/// The mean BLEU of `SENTENCES`: a tenth of it is what unrelated texts have.
const OF_SENTENCES: f64 = 15.0;
/// What ordinary people write, in words that none of the training texts need have had.
const SENTENCES: [&str; 12] = [
    "I would like to book a table for four people on Friday.",
    "What are the symptoms of a vitamin B12 deficiency?",
    "We present a new method for the translation of long documents.",
    "So I think that is a really good point about open source.",
    "Can you find me a flight to Chicago next Tuesday morning?",
    "The patient was told to take the tablets twice a day.",
    "Which river flows through the city of Vienna?",
    "The model was trained on a large corpus of news articles.",
    "She said that the meeting had been moved to the next week.",
    "Is there a cure for this kind of inherited disease?",
    "You should write tests before you change the code.",
    "The glaciers have lost a third of their ice since 1980.",
];
/// And of four records at least so many are whole.
const OF_FOUR: usize = 2;

fn embosk(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_embosk"))
        .args(arguments)
        // always the same: what a small cloud shows is a matter of chance
        .env("EMBOSK_TEST_KEY", embosk::Key::from_bytes([7; 32]).to_text().as_str())
        .env("CANDLE_NUM_THREADS", "1")
        .output()
        .unwrap()
}

#[test]
fn the_reference_attack_recovers_records_and_a_rotation_stops_it_until_pairs_leak() {
    let line = "evaluate --corpus records:900 --attacker-corpus records:500 --samples 40 --format json --defense none \
                --defense rotation(key=env:EMBOSK_TEST_KEY) --adversary naive --adversary leaked(768)";
    let rows = rows_of(line);
    let value = |row: usize, name: &str| rows[row][name]["value"].as_f64().unwrap();
    let names = [0, 1, 2, 3].map(|row: usize| rows[row]["adversary"].as_str().unwrap());
    assert_eq!(names, ["naive", "leaked(768)", "naive", "leaked(768)"]);
    REFERENCE.is_reached_by(&rows[0]);
    assert!(value(2, "exact_match") == 0.0 && value(2, "leak") < 0.1, "{rows:#?}");
    assert!(value(3, "bleu") >= 0.9 * value(0, "bleu"), "{rows:#?}");
    assert!((value(0, "ndcg_at_10") - value(2, "ndcg_at_10")).abs() < 1e-3, "{rows:#?}");
}

#[test]
fn the_attack_on_minilm_recovers_records() {
    let line = "evaluate --corpus records:900 --samples 40 --format json --defense none --adversary naive";
    let report = report_of(line, Some(&common::minilm()));
    MINILM.is_reached_by(&report["rows"][0]);
}

/// Those who adapt, on a small store: noise is removed by a denoiser, and by averaging releases.
#[test]
fn adversaries_who_adapt_do_better_than_the_naive() {
    let line = "evaluate --corpus records:900 --attacker-corpus records:900 --samples 16 --beam-width 1 --local-queries 0 \
                --format json --defense gaussian(sigma=0.1) --adversary naive --adversary informed(900) \
                --adversary averaging(16)";
    let rows = rows_of(line);
    let [naive, informed, averaging] =
        [0, 1, 2].map(|row: usize| rows[row]["leak"]["value"].as_f64().unwrap());
    assert!(naive < 0.4 && informed > naive && averaging > 0.7, "{naive} {informed} {averaging}");
}

/// A rotation is undone without a single pair, from 2,000 vectors on each side.
#[test]
fn a_rotation_is_found_from_clouds_alone() {
    let line = "evaluate --attack none --corpus records:2000 --attacker-corpus records:2000 --samples 40 --seed 3 \
                --format json --defense rotation(key=env:EMBOSK_TEST_KEY) --adversary naive \
                --adversary unpaired(2000)";
    let rows = rows_of(line);
    let [naive, unpaired] = [0, 1].map(|row: usize| rows[row]["restored_cosine"]["value"].as_f64().unwrap());
    assert!(naive.abs() < 0.1 && unpaired > 0.5, "{naive} {unpaired}");
}

fn rows_of(line: &str) -> Vec<Value> {
    report_of(line, None)["rows"].as_array().unwrap().clone()
}

fn report_of(line: &str, embedder: Option<&Path>) -> Value {
    let embedder = embedder.iter().flat_map(|folder| ["--embedder", folder.to_str().unwrap()]);
    let output = embosk(&line.split_whitespace().chain(embedder).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn ordinary_sentences_come_back_in_part() {
    let minilm = common::minilm();
    for options in [&["--embedder", minilm.to_str().unwrap(), "--inverter", "minilm"][..], &[]] {
        let folder = tempfile::tempdir().unwrap();
        let texts = folder.path().join("texts.txt");
        fs::write(&texts, SENTENCES.join("\n")).unwrap();
        let output = embosk(&[&["invert", "--input", texts.to_str().unwrap()], options].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let outputs = String::from_utf8(output.stdout).unwrap();
        let scores = outputs.lines().zip(SENTENCES).map(|(line, text)| {
            let line: Value = serde_json::from_str(line).unwrap();
            bleu(line["output"].as_str().unwrap(), &text.to_lowercase())
        });
        let mean = scores.sum::<f64>() / SENTENCES.len() as f64;
        assert!(mean >= OF_SENTENCES, "{mean}: {outputs}");
    }
}

/// An attack that was not trained for MiniLM, carried over by pairs: much more than the floor comes back.
#[test]
fn the_reference_reads_minilm_by_pairs() {
    let line = "evaluate --surrogate reference --corpus records:1200 --samples 16 --beam-width 1 --local-queries 0 \
                --format json --defense none --adversary leaked(1000)";
    let report = report_of(line, Some(&common::minilm()));
    let f1 = |of: &Value| of["token_f1"]["value"].as_f64().unwrap();
    assert_eq!(report["rows"].as_array().unwrap().len(), 1);
    assert!(f1(&report["rows"][0]) >= f1(&report["floor"]) + 0.3, "{report:#}");
}

#[test]
fn single_texts_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let texts = folder.path().join("texts.txt");
    let records: Vec<String> = embosk::evaluate::Corpus::records(4, 9).texts().to_vec();
    fs::write(&texts, records.join("\n")).unwrap();
    let output = embosk(&["invert", "--input", texts.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), records.len());
    let exact = lines.iter().zip(&records).filter(|(line, text)| line["output"] == text.to_lowercase());
    assert!(exact.count() >= OF_FOUR, "{lines:#?}");
    for (line, text) in lines.iter().zip(&records) {
        assert_eq!(line["input"], text.as_str());
        assert!(line["steps"].as_array().unwrap().len() > 1 || line["cosine"].as_f64() > Some(0.9999));
        assert!(line["cosine"].as_f64() > Some(0.8) && line["queries"].as_u64() > Some(0));
    }
}
