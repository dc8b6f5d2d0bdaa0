//! Evaluations of vectors that exist already.
#![allow(clippy::float_cmp)]

use embosk::embedder::NoEmbedder;
use embosk::evaluate::adversaries::{Informed, Leaked, Naive};
use embosk::evaluate::retrieval::Judgements;
use embosk::evaluate::{Corpus, Evaluation, Report};
use embosk::{BoxError, Embedder, Role, Stack};
use ndarray::{Array2, Axis};

#[allow(clippy::unnecessary_wraps, reason = "an embedder may fail")]
fn letters(texts: &[&str]) -> Result<Array2<f32>, BoxError> {
    let count = |text: &str, letter: usize| {
        text.bytes()
            .filter(|byte| usize::from(byte.to_ascii_lowercase()) == usize::from(b'a') + letter)
            .count()
    };
    Ok(Array2::from_shape_fn((texts.len(), 26), |(row, letter)| 0.1 + count(texts[row], letter) as f32))
}

fn vectors(texts: &[String]) -> Array2<f32> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    letters.embed(Role::Document, &texts).unwrap()
}

/// Of made-up records, but not one of them, so that there are no others to draw.
fn corpus() -> Corpus {
    let records = Corpus::records(400, 0);
    let judgements = Judgements(records.judgements().0.clone());
    Corpus::passages("mine", records.texts().to_vec())
        .questions(records.queries().to_vec(), judgements)
        .unwrap()
}

fn scores(report: &Report, metrics: &[&str]) -> Vec<Option<f64>> {
    let rows = report.rows.iter();
    rows.flat_map(|row| metrics.iter().map(|metric| row.score(metric).map(|score| score.value))).collect()
}

#[test]
fn retrieval_of_given_vectors_is_that_of_the_embedder() {
    let defended =
        |evaluation: Evaluation<NoEmbedder>| evaluation.defense("gaussian(sigma=0.5)".parse().unwrap());
    let given = |documents, queries| {
        defended(
            Evaluation::new(NoEmbedder::of(26))
                .corpus(corpus())
                .defense(Stack::new())
                .vectors(documents, queries),
        )
    };
    let (documents, queries) = (vectors(corpus().texts()), vectors(corpus().queries()));
    let report = given(documents.clone(), Some(queries.clone())).run().unwrap();
    let embedded = Evaluation::new(letters).corpus(corpus()).defense(Stack::new());
    let embedded = embedded.defense("gaussian(sigma=0.5)".parse().unwrap()).run().unwrap();
    let metrics = ["ndcg_at_10", "recall_at_10"];
    assert_eq!(scores(&report, &metrics), scores(&embedded, &metrics));
    assert!(scores(&report, &metrics).iter().all(Option::is_some));
    assert!(report.signature["vectors_sha256"].is_string() && !report.signature.contains_key("embedder"));
    let refused = |documents, queries| given(documents, queries).run().unwrap_err().to_string();
    let short = documents.slice_axis(Axis(0), (..399).into()).to_owned();
    assert!(
        refused(short, Some(queries.clone())).contains("399 vectors of documents, and the corpus has 400")
    );
    let few = queries.slice_axis(Axis(0), (..1).into()).to_owned();
    assert!(refused(documents.clone(), Some(few)).contains("1 vectors of queries"));
    assert!(refused(documents, None).contains("nothing to measure"));
}

#[test]
fn adversaries_that_ask_no_embedder_are_measured() {
    let report = Evaluation::new(NoEmbedder::of(26))
        .corpus(corpus())
        .samples(20)
        .defense("gaussian(sigma=0.1)".parse().unwrap())
        .adversary(Naive)
        .adversary(Informed(100))
        .adversary(Leaked(60))
        .vectors(vectors(corpus().texts()), None)
        .run()
        .unwrap();
    assert_eq!(report.rows.len(), 3);
    assert!(
        scores(&report, &["restored_cosine", "membership_auc"]).iter().all(Option::is_some),
        "{:?}",
        report.rows
    );
    assert!(scores(&report, &["guess", "bleu", "ndcg_at_10"]).iter().all(Option::is_none));
    let warned = report.warnings.join("\n");
    assert!(
        warned.contains("no facts are guessed") && warned.contains("retrieval is not measured"),
        "{warned}"
    );
}

#[test]
fn what_asks_an_embedder_is_refused_by_name() {
    let given =
        || Evaluation::new(NoEmbedder::of(26)).corpus(corpus()).vectors(vectors(corpus().texts()), None);
    let attacked = given().attack(embosk::attacks::guided::Guided::new());
    let refused = attacked.run().unwrap_err().to_string();
    assert!(refused.contains("the attack asks for the vectors of its hypotheses"), "{refused}");
    let own = given().adversary(Naive).attacker_texts("mine", vec!["a letter".into()]);
    assert!(own.run().unwrap_err().to_string().contains("the attacker's own texts must be embedded"));
    let nothing = Evaluation::new(NoEmbedder::of(26)).corpus(corpus()).adversary(Naive);
    assert!(nothing.run().unwrap_err().to_string().contains("neither an embedder nor vectors"));
}

#[test]
fn vectors_must_be_those_of_the_embedder_that_is_named() {
    let of = |documents| {
        Evaluation::new(letters).corpus(corpus()).samples(10).adversary(Naive).vectors(documents, None).run()
    };
    let right = vectors(corpus().texts());
    assert!(of(right.clone()).is_ok());
    let mut shuffled = right.clone();
    shuffled.invert_axis(Axis(0));
    let refused = of(shuffled).unwrap_err().to_string();
    assert!(refused.contains("not those of the embedder") && refused.contains("document 1 "), "{refused}");
    let narrow = right.slice_axis(Axis(1), (..20).into()).to_owned();
    assert!(of(narrow).unwrap_err().to_string().contains("20 dimensions, and the embedder has 26"));
}

#[cfg(feature = "cli")]
mod from_outside {
    use std::fs;
    use std::path::Path;
    use std::process::Output;

    use ndarray_npy::{read_npy, write_npy};
    use serde_json::Value;

    use super::*;
    use crate::common::command;

    fn embosk(folder: &Path, line: &str) -> Output {
        command::embosk(folder, line).env("EMBOSK_CACHE", folder.join("cache")).output().unwrap()
    }

    #[track_caller]
    fn rows(folder: &Path, line: &str) -> Value {
        let output = embosk(
            folder,
            &format!("evaluate {line} --format json --defense none --defense gaussian(sigma=0.05)"),
        );
        assert!(
            matches!(output.status.code(), Some(0 | 3)),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["rows"].clone()
    }

    #[track_caller]
    fn refused(folder: &Path, line: &str) -> String {
        let output = embosk(folder, &format!("evaluate {line}"));
        assert_eq!(output.status.code(), Some(2), "{line}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// A text file with queries, and the same as a BEIR folder in which some queries have no judgement.
    fn write(folder: &Path) {
        let documents: Vec<String> =
            (0..60).map(|n| format!("note {n} of the {}th day", n * 7 % 31)).collect();
        let queries: Vec<String> = (0..8).map(|n| format!("the {}th day", n * 7 % 31)).collect();
        let lines = |texts: &[String]| texts.join("\n") + "\n";
        fs::write(folder.join("t.txt"), lines(&documents)).unwrap();
        fs::write(folder.join("q.txt"), lines(&queries)).unwrap();
        let judged: Vec<String> = (2..8).map(|n| format!("{}\t{}\t1", n + 1, n + 1)).collect();
        fs::write(folder.join("qrels.tsv"), "query-id\tcorpus-id\tscore\n".to_owned() + &lines(&judged))
            .unwrap();
        let entry = |(n, text): (usize, &String)| format!("{{\"_id\": \"{}\", \"text\": \"{text}\"}}", n + 1);
        let entries = |texts: &[String]| lines(&texts.iter().enumerate().map(entry).collect::<Vec<_>>());
        fs::create_dir_all(folder.join("beir/qrels")).unwrap();
        fs::write(folder.join("beir/corpus.jsonl"), entries(&documents)).unwrap();
        fs::write(folder.join("beir/queries.jsonl"), entries(&queries)).unwrap();
        fs::copy(folder.join("qrels.tsv"), folder.join("beir/qrels/test.tsv")).unwrap();
        for (texts, vectors, role) in [("t.txt", "v.npy", "document"), ("q.txt", "q.npy", "query")] {
            let line = format!("embed --input {texts} --output {vectors} --role {role}");
            assert!(embosk(folder, &line).status.success());
        }
    }

    #[test]
    fn files_of_vectors_take_the_place_of_an_embedder() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        write(folder);
        let embedded = rows(folder, "--corpus beir --attack none");
        assert_eq!(
            rows(folder, "--corpus beir --attack none --vectors v.npy --query-vectors q.npy"),
            embedded
        );
        let of_texts = "--texts t.txt --query-texts q.txt --qrels qrels.tsv --attack none --vectors v.npy --query-vectors";
        assert_eq!(rows(folder, &format!("{of_texts} q.npy"))[0]["ndcg_at_10"], embedded[0]["ndcg_at_10"]);
        let told =
            rows(folder, "--texts t.txt --vectors v.npy --attack none --adversary leaked(30) --samples 10");
        assert!(told[1]["restored_cosine"]["value"].as_f64().unwrap() > 0.5, "{told}");
        let asked = rows(
            folder,
            "--texts t.txt --vectors v.npy --embedder reference --attack guided --queries 20 \
                                  --samples 4 --adversary naive",
        );
        // all texts share four of six words
        assert!(asked[0]["token_f1"]["value"].as_f64().unwrap() > 0.5, "{asked}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        write(folder);
        let q: Array2<f32> = read_npy(folder.join("q.npy")).unwrap();
        write_npy(folder.join("narrow.npy"), &q.slice_axis(Axis(1), (..9).into()).to_owned()).unwrap();
        for (line, part) in [
            ("--texts t.txt --vectors v.npy", "the attack asks for the vectors of its hypotheses"),
            ("--vectors v.npy --attack none", "not whose"),
            ("--corpus beir --vectors q.npy --attack none --query-vectors q.npy", "8 vectors of documents"),
            ("--corpus beir --vectors v.npy --attack none --query-vectors v.npy", "60 vectors of queries"),
            ("--corpus beir --vectors v.npy --attack none --query-vectors narrow.npy", "those of queries 9"),
            (
                "--texts t.txt --vectors v.npy --attack none --adversary naive --samples 9 --query-vectors q.npy",
                "no queries and judgements",
            ),
            ("--corpus beir --attack none --query-texts q.txt --qrels qrels.tsv", "has its own"),
            ("--texts t.txt --vectors q.npy --attack none --adversary naive", "8 vectors of documents"),
            ("--attack none --query-vectors q.npy", "--vectors"),
        ] {
            let message = refused(folder, line);
            assert!(message.contains(part), "{line}: {message}");
        }
    }
}
