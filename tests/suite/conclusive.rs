//! Which leaks can be read, why others cannot, and what is advised.
#![allow(clippy::float_cmp)]

use std::sync::{Arc, Mutex};

use embosk::attacks::Attack;
use embosk::evaluate::adversaries::Naive;
use embosk::evaluate::{
    Advice, AttackStrength, Corpus, Evaluation, Journal, Metric, Report, Row, Shortfall, Undefended,
};
use embosk::{BoxError, Error};
use ndarray::Array2;

use crate::common::backwards::Backwards;
use crate::common::letters::letters;
use crate::common::lookup::Lookup;

type Letters = fn(&[&str]) -> Result<Array2<f32>, BoxError>;

fn corpus() -> Corpus {
    Corpus::records(400, 1)
}

/// An attack that knows the first texts of the corpus, and returns one of them for every other.
fn knowing(texts: usize) -> Lookup {
    Lookup(corpus().texts()[..texts].to_vec())
}

fn evaluation(attack: impl Attack + 'static, samples: usize) -> Evaluation<Letters> {
    let embedder: Letters = letters;
    Evaluation::new(embedder).corpus(corpus()).attack(attack).samples(samples).seed(3).adversary(Naive)
}

fn report(attack: impl Attack + 'static, samples: usize) -> Report {
    evaluation(attack, samples).run().unwrap()
}

fn strength<'a>(report: &'a Report, leak: &str) -> &'a AttackStrength {
    report.strengths.iter().find(|strength| strength.leak == leak).unwrap()
}

#[test]
fn a_leak_is_read_if_its_own_gap_is_shown() {
    let report = report(knowing(400), 40);
    assert_eq!(report.conclusive[..2], ["leak", "word_leak"]);
    assert_eq!(report.rows[0].conclusive, report.conclusive);
    assert!(report.reason.is_none() && report.advice.is_empty() && report.is_conclusive());
    let bleu = strength(&report, "leak");
    assert_eq!((bleu.metric.as_str(), bleu.least_gap, bleu.n, bleu.ceiling), ("bleu", 10.0, 40, 100.0));
    assert!(!bleu.is_weak() && bleu.warning().is_none());
    // one of one's own: nobody exceeds chance by so much
    let [strict, usual] = ["strict", "usual"].map(|name| Metric::leak_of(name, "token_f1"));
    let own = evaluation(knowing(400), 40).metric(strict.least_gap(0.99)).metric(usual).run().unwrap();
    assert!(own.conclusive.contains(&"usual".into()) && !own.conclusive.contains(&"strict".into()));
    assert!(own.rows[0].score("strict").is_none() && own.rows[0].score("usual").unwrap().value == 1.0);
    assert_eq!([strength(&own, "strict"), strength(&own, "usual")].map(|leak| leak.least_gap), [0.99, 0.1]);
    assert_eq!(strength(&own, "strict").shortfall, Some(Shortfall::TooWeak));
}

/// Of eight texts it recovers a few: that may be chance or not.
#[test]
fn too_few_texts_are_told_from_an_attack_that_is_too_weak() {
    let few = report(knowing(110), 8);
    let bleu = strength(&few, "leak");
    let Some(Shortfall::TooFewTexts { needed }) = bleu.shortfall else { panic!("{bleu}") };
    assert!(bleu.gap.value > 10.0 && bleu.gap.low < 10.0, "{bleu}");
    assert!(needed > 8 && bleu.to_string().contains(&format!("about {needed} texts would decide")), "{bleu}");
    // as many as it says, and some more for luck
    let enough = report(knowing(110), needed.div_ceil(10) * 15);
    assert!(strength(&enough, "leak").is_conclusive(), "{needed}: {}", strength(&enough, "leak"));
    let nothing = report(Lookup(vec!["nothing of the kind".into()]), 8);
    for leak in ["leak", "word_leak"] {
        assert_eq!(strength(&nothing, leak).shortfall, Some(Shortfall::TooWeak));
    }
}

#[test]
fn what_is_advised_is_what_is_missing() {
    let advised = |report: &Report| report.advice.clone();
    // a guess would be conclusive
    let few = evaluation(knowing(110), 8).guess_candidates(0).run().unwrap();
    assert!(matches!(few.advice[0], Advice::MoreSamples(needed) if needed > 8), "{:?}", few.strengths);
    // records of the training split have no end; the documents of a small corpus do
    let passages = Corpus::passages("mine", corpus().texts()[..60].to_vec());
    let evaluation = || {
        let attack = Lookup(vec!["nothing of the kind".into()]);
        Evaluation::new(letters).attack(attack).samples(20).corpus(passages.clone()).guess_candidates(0)
    };
    let starved = evaluation().run().unwrap();
    let [texts, rest @ ..] = &advised(&starved)[..] else { panic!("{:?}", starved.advice) };
    assert_eq!(*texts, Advice::AttackerTexts { there: 40, wanted: 10_000 });
    assert_eq!(rest, [Advice::GuidedSearch, Advice::FineTune]);
    let alone = evaluation().adversary(Naive).run().unwrap();
    assert_eq!(advised(&alone), [Advice::GuidedSearch, Advice::FineTune]);
}

/// A pass under a weak attack is weak evidence, though its leak can be read.
#[test]
fn a_weak_attack_is_called_weak() {
    let weak = report(knowing(110), 200);
    let bleu = strength(&weak, "leak");
    assert!(bleu.is_conclusive() && bleu.ceiling < 50.0 && bleu.is_weak(), "{bleu}");
    let expected = format!(
        "the undefended attack reaches only {:.1} of 100 by BLEU, so a low leak is weak evidence",
        bleu.ceiling
    );
    assert_eq!(bleu.warning(), Some(expected));
}

/// What a journal is told, in order.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Journal for Told {
    fn finished_undefended(&mut self, _: &Undefended) -> Result<(), Error> {
        self.0.lock().unwrap().push("undefended".into());
        Ok(())
    }

    fn judged(&mut self, strengths: &[AttackStrength], advice: &[Advice]) -> Result<(), Error> {
        self.0.lock().unwrap().push(format!("{} weak, {advice:?}", strengths.len()));
        Ok(())
    }

    fn finished(&mut self, row: &Row) -> Result<(), Error> {
        self.0.lock().unwrap().push(row.defense.clone());
        Ok(())
    }
}

#[test]
fn what_will_be_inconclusive_is_told_before_the_first_row() {
    let told = Told::default();
    let evaluation = evaluation(Lookup(vec!["nothing of the kind".into()]), 20).journal(told.clone());
    let report = evaluation.run().unwrap();
    let told = told.0.lock().unwrap();
    assert_eq!((told.len(), told[0].as_str(), told[2].as_str()), (3, "undefended", "none"));
    assert_eq!(told[1], format!("{} weak, [GuidedSearch]", report.strengths.len()));
}

/// The first words and no sentences; the second a few of both, and guesses.
#[test]
fn leaks_that_cannot_be_read_beside_others_get_advice() {
    for (evaluation, advised) in [
        (evaluation(Backwards(knowing(400)), 60), "weak, [GuidedSearch]"),
        (evaluation(knowing(110), 8), "weak, [GuidedSearch, MoreSamples("),
    ] {
        let told = Told::default();
        let report = evaluation.journal(told.clone()).run().unwrap();
        assert!(report.is_conclusive() && report.advice.is_empty());
        let judged = &told.0.lock().unwrap()[1];
        assert!(judged.contains(advised), "{judged}");
    }
}

/// Reports are read as they were written, and those of version 0.1 too.
#[test]
fn a_report_is_read_with_what_it_concludes() {
    let report = report(knowing(400), 20);
    let read = Report::from_json(&report.to_json_full().unwrap()).unwrap();
    assert_eq!((&read.conclusive, &read.strengths), (&report.conclusive, &report.strengths));
    let mut json: serde_json::Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
    for (written, expected) in [(true, vec!["leak".to_owned()]), (false, vec![])] {
        json["conclusive"] = written.into();
        json.as_object_mut().unwrap().remove("strengths");
        assert_eq!(Report::from_json(&json.to_string()).unwrap().conclusive, expected);
    }
}
