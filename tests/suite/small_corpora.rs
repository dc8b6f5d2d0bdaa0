//! Corpora that are too small for what attackers would use, and attackers whose knowledge gains them nothing.

use embosk::BoxError;
use embosk::attacks::guided::Guided;
use embosk::evaluate::adversaries::{Informed, Leaked, Naive};
use embosk::evaluate::records::{Split, generate};
use embosk::evaluate::{Corpus, Evaluation, Report};
use ndarray::Array2;

use crate::common::letters::letters;
use crate::common::lookup::Lookup;

type Letters = fn(&[&str]) -> Result<Array2<f32>, BoxError>;

fn evaluation(corpus: Corpus, samples: usize) -> Evaluation<Letters> {
    let embedder: Letters = letters;
    let known = Lookup(corpus.texts().to_vec());
    Evaluation::new(embedder).corpus(corpus).attack(known).samples(samples).seed(3)
}

fn passages(n: usize) -> Corpus {
    Corpus::passages("mine", Corpus::records(n, 1).texts().to_vec())
}

fn warned(report: &Report, part: &str) -> Option<String> {
    report.warnings.iter().find(|warning| warning.contains(part)).cloned()
}

#[test]
fn attackers_who_lack_texts_are_said_to() {
    let starved = evaluation(passages(100), 20).run().unwrap();
    let texts = warned(&starved, "texts of their own").unwrap();
    assert!(
        texts.contains("have 80 texts of their own and would use 10000, so informed(80), leaked(80) may be"),
        "{texts}"
    );
    assert!(texts.contains("--attacker-corpus FILE"), "{texts}");
    let pairs = warned(&starved, "fewer pairs").unwrap();
    assert!(pairs.contains("leaked(80) has fewer pairs than the 128 that determine any key"), "{pairs}");
    assert!(pairs.ends_with("take a larger corpus"), "no number of samples leaves enough: {pairs}");
    let pairs = warned(&evaluation(passages(140), 20).run().unwrap(), "fewer pairs").unwrap();
    assert!(pairs.ends_with("take a larger corpus, or attack 12 samples at most"), "{pairs}");
    // records of the training split have no end, and there are pairs enough
    let fed = evaluation(Corpus::records(300, 1), 20).run().unwrap();
    assert!(
        warned(&fed, "texts of their own").is_none() && warned(&fed, "fewer pairs").is_none(),
        "{:?}",
        fed.warnings
    );
    // who is named with a number has that many
    let named = evaluation(passages(100), 20).adversary(Naive).adversary(Informed(50)).run().unwrap();
    assert!(warned(&named, "texts of their own").is_none(), "{:?}", named.warnings);
    let pairs = evaluation(passages(100), 20).adversary(Leaked(9)).run().unwrap();
    assert!(warned(&pairs, "fewer pairs").is_none() && warned(&pairs, "so leaked(9) may be").is_some());
    let given = evaluation(passages(100), 20).attacker_texts("own", Corpus::records(300, 2).texts().to_vec());
    let given = warned(&given.run().unwrap(), "texts of their own").unwrap();
    assert!(given.contains("would use 10000") && !given.contains("have 80"), "{given}");
}

#[test]
fn the_usual_number_of_samples_leaves_half_of_a_small_corpus_to_attackers() {
    let attacked = |evaluation: Evaluation<Letters>| evaluation.run().map(|report| report.rows[0].n);
    let usual = || evaluation(passages(30), 2).samples_at_most(50);
    assert_eq!(attacked(usual().adversary(Naive)).unwrap(), 15);
    assert_eq!(attacked(usual().adversary(Leaked(20))).unwrap(), 10);
    assert_eq!(attacked(usual().samples_at_most(7).adversary(Leaked(20))).unwrap(), 7);
    let defaults = usual().run().unwrap();
    assert!(defaults.rows.iter().any(|row| row.adversary == "leaked(15)"), "{:?}", defaults.rows);
    assert!(attacked(usual().adversary(Leaked(40))).is_err(), "none is left");
    assert!(attacked(usual().samples(50)).is_err(), "this number was asked for");
}

/// Built-in sentences are no texts of the stored kind: an attacker tells them apart by their kind alone.
#[test]
fn built_in_sentences_do_not_stand_for_texts_that_are_not_stored() {
    let embedder: Letters = letters;
    let attacked = |evaluation: Evaluation<Letters>| {
        let attack = Guided::new().queries(5).own_texts(300);
        evaluation.attack(attack).adversary(Naive).samples(20).seed(3).run().unwrap()
    };
    let starved = attacked(Evaluation::new(embedder).corpus(passages(60)));
    let warning = warned(&starved, "built-in English sentences").unwrap();
    assert!(warning.contains("`membership_tpr` can be scored"), "{warning}");
    let row = &starved.rows[0];
    assert!(row.score("membership_tpr").is_none(), "no rate of 1 % among 20 texts");
    assert!(row.score("candidate_recall_at_1").is_some());
    let own = Corpus::records(400, 2).texts().to_vec();
    let fed = attacked(Evaluation::new(embedder).corpus(passages(60)).attacker_texts("own", own));
    assert!(fed.rows[0].score("membership_tpr").is_some(), "texts of the stored kind");
}

/// If no key turns the space, pairs say no more than texts of one's own.
#[test]
fn adversaries_who_do_the_same_share_a_row() {
    let report = evaluation(Corpus::records(400, 1), 30)
        .defense("gaussian(sigma=0.1)".parse().unwrap())
        .adversary(Naive)
        .adversary(Informed(1000))
        .adversary(Leaked(200))
        // as many as `leaked` makes pairs of
        .attacker_texts("own", generate(Split::Train, 9).take(1000).map(|record| record.text).collect())
        .run()
        .unwrap();
    let told = |report: &Report| -> Vec<(String, Vec<String>)> {
        let distinct = report.distinct_rows();
        let told = distinct.iter().map(|distinct| {
            (distinct.row.adversary.clone(), distinct.same.iter().map(ToString::to_string).collect())
        });
        told.collect()
    };
    let name = |name: &str| name.to_owned();
    let expected = [(name("naive"), vec![]), (name("informed(1000)"), vec![name("leaked(200)")])];
    assert_eq!(told(&report), expected);
    assert_eq!(report.rows.len(), 3);
    let read = Report::from_json(&report.to_json().unwrap()).unwrap();
    assert_eq!(told(&read), expected);
}
