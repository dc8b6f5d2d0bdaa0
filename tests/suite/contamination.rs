//! Texts that an attack was trained on are not attacked, unless that is asked for.

use std::fmt;

use embosk::Error;
use embosk::attacks::{self, Attack, Inversion, Resources};
use embosk::evaluate::adversaries::{Naive, Retrained};
use embosk::evaluate::{Corpus, Evaluation, Report};
use ndarray::ArrayView2;
use serde_json::json;

use crate::common::letters::letters;
use crate::common::lookup::Lookup;

/// Knows every text, and says that it was trained on those with this word.
#[derive(Debug)]
struct Remembering(Lookup, Option<&'static str>);

impl fmt::Display for Remembering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Attack for Remembering {
    fn invert(
        &self,
        vectors: ArrayView2<'_, f32>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, attacks::Error> {
        self.0.invert(vectors, resources)
    }

    fn trained_on(&self, text: &str) -> Option<bool> {
        Some(text.contains(self.1?))
    }
}

/// Every fifth of 100 notes is about Monday.
fn corpus() -> Corpus {
    let day = |n: usize| if n.is_multiple_of(5) { "Monday" } else { "Friday" };
    Corpus::passages("notes", (0..100).map(|n| format!("{} note {n}", day(n))).collect())
}

fn evaluation(corpus: Corpus, word: Option<&'static str>) -> Evaluation<impl embosk::Embedder> {
    let attack = Remembering(Lookup(corpus.texts().to_vec()), word);
    Evaluation::new(letters).corpus(corpus).attack(attack).samples(40).examples(40).adversary(Naive)
}

fn attacked(report: &Report) -> Vec<&str> {
    report.rows[0].examples.iter().map(|example| example.text.as_str()).collect()
}

#[track_caller]
fn warning(report: &Report) -> &str {
    let mut warnings = report.warnings.iter().filter(|warning| warning.contains("training texts"));
    warnings.next().expect("a warning")
}

#[test]
fn others_are_attacked_in_their_place() {
    // comparison is without case, as the embedder does not say how it reads
    let all = evaluation(corpus(), None).run().unwrap();
    let mondays = attacked(&all).iter().filter(|text| text.contains("monday")).count();
    assert!((3..15).contains(&mondays), "{mondays}");
    assert!(!all.warnings.iter().any(|warning| warning.contains("training texts")), "it is not known");
    let unlisted = |report: &Report| report.warnings.iter().filter(|it| it.contains("does not list")).count();
    assert_eq!(unlisted(&all), 1, "{:?}", all.warnings);
    assert!(!all.signature.contains_key("contamination"));

    let left_out = evaluation(corpus(), Some("monday")).run().unwrap();
    let texts = attacked(&left_out);
    assert_eq!((texts.len(), texts.iter().filter(|text| text.contains("monday")).count()), (40, 0));
    assert_eq!(unlisted(&left_out), 0, "{:?}", left_out.warnings);
    let expected = format!("{mondays} of 40 texts to attack were in the attack's training texts, so others");
    assert!(warning(&left_out).starts_with(&expected), "{}", warning(&left_out));
    assert_eq!(left_out.signature["contamination"], json!({"texts": mondays, "left_out": true}));
    // those that were to be attacked anyway are, in the same order
    let others = attacked(&all).into_iter().filter(|text| !text.contains("monday"));
    assert!(others.eq(texts[..40 - mondays].iter().copied()));

    let kept = evaluation(corpus(), Some("monday")).keep_contaminated(true).run().unwrap();
    assert_eq!(attacked(&kept), attacked(&all));
    assert!(warning(&kept).contains("little about other texts"), "{}", warning(&kept));
    assert_eq!(kept.signature["contamination"], json!({"texts": mondays, "left_out": false}));
}

#[test]
fn a_report_without_them_is_as_before() {
    let json = |word| {
        let mut report = evaluation(corpus(), word).run().unwrap();
        report.warnings.clear();
        report.to_json().unwrap()
    };
    assert_eq!(json(Some("sunday")), json(None));
}

#[test]
fn what_the_retrained_attack_was_trained_on_counts_too() {
    let retrained = Remembering(Lookup(corpus().texts().to_vec()), Some("monday"));
    let report = evaluation(corpus(), None).retrained(retrained).adversary(Retrained::new()).run().unwrap();
    assert!(attacked(&report).iter().all(|text| !text.contains("monday")));
}

#[test]
fn too_few_other_texts_are_an_error_that_says_what_to_do() {
    let Err(Error::Setting(message)) = evaluation(corpus(), Some("friday")).run() else {
        panic!("20 are left")
    };
    assert!(message.contains("trained on all but 20 of 100") && message.contains("keep"), "{message}");
    evaluation(corpus(), Some("friday")).samples(20).run().unwrap();
    // where fewer will do, those are attacked
    let fewer = evaluation(corpus(), Some("friday")).samples_at_most(50).run().unwrap();
    assert_eq!(fewer.rows[0].n, 20);
}

/// Held-out records are in no training, and a hash that hits one does so by chance.
#[test]
fn records_are_never_left_out() {
    for word in [Some("a"), None] {
        let report = evaluation(Corpus::records(100, 1), word).run().unwrap();
        assert!(!report.signature.contains_key("contamination"));
        assert!(!report.warnings.iter().any(|it| it.contains("trained on")), "{:?}", report.warnings);
    }
}
