//! The words that come back: recall, leak, and the count of whole texts, from beginning to end.
#![allow(clippy::float_cmp)]

use embosk::Stack;
use embosk::attacks::Attack;
use embosk::evaluate::adversaries::Naive;
use embosk::evaluate::text::ContentWords;
use embosk::evaluate::{Corpus, Evaluation, Report};

use crate::common::backwards::Backwards;
use crate::common::letters::letters;
use crate::common::lookup::Lookup;

fn corpus() -> Corpus {
    Corpus::records(300, 1)
}

fn report(attack: impl Attack + 'static) -> Report {
    let noisy = "gaussian(sigma=20)".parse().unwrap();
    let evaluation = Evaluation::new(letters).corpus(corpus()).attack(attack).samples(40).adversary(Naive);
    evaluation.defense(Stack::new()).defense(noisy).run().unwrap()
}

#[test]
fn words_come_back_where_their_order_does_not() {
    let report = report(Backwards(Lookup(corpus().texts().to_vec())));
    let value = |row: usize, metric: &str| report.rows[row].score(metric).unwrap().value;
    assert_eq!([value(0, "word_recall"), value(0, "word_f1"), value(0, "word_leak")], [1.0; 3]);
    assert!(value(0, "bleu") < 30.0 && value(0, "exact_match") < 0.1);
    // noise leaves a text drawn by chance: its words are those of any text
    let floor = report.floor.as_ref().unwrap().score("word_recall").unwrap();
    assert!(floor.value < 0.3 && value(1, "word_recall") < floor.value + 0.1, "{floor:?}");
    assert!(value(1, "word_leak").abs() < 0.1, "{}", value(1, "word_leak"));
}

#[test]
fn whole_texts_are_counted() {
    let report = report(Lookup(corpus().texts().to_vec()));
    let [clean, noisy] = &report.rows[..] else { panic!() };
    assert_eq!((clean.recovered, clean.n), (40, 40));
    let share = noisy.score("exact_match").unwrap().value;
    assert_eq!(noisy.recovered as f64 / 40.0, share);
    let read = Report::from_json(&report.to_json().unwrap()).unwrap();
    assert_eq!([read.rows[0].recovered, read.rows[1].recovered], [40, noisy.recovered]);
}

/// What all texts of a corpus say is no content of one: here the attack returns another ticket.
#[test]
fn words_that_the_whole_corpus_shares_do_not_count() {
    let names = ["Ann", "Bob", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal"];
    let ticket = |at: usize| format!("{} reports ticket {at}: the printer is broken", names[at % 8]);
    let corpus = Corpus::passages("tickets", (0..60).map(ticket).collect());
    let attack = Lookup(vec![ticket(100)]);
    let evaluation = Evaluation::new(letters).corpus(corpus.clone()).attack(attack).samples(20);
    let report = evaluation.adversary(Naive).run().unwrap();
    let value = |metric: &str| report.rows[0].score(metric).unwrap().value;
    // of `Eve reports ticket 100: the printer is broken` only the number and the name can be content, and a name that
    // every eighth ticket has is not
    assert_eq!((value("word_recall"), value("word_f1")), (0.0, 0.0));
    assert!(value("token_f1") > 0.7);
    let words = ContentWords::of_corpus(corpus.texts());
    assert_eq!(words.of("Eve reports ticket 100: the printer is broken"), ["100".to_owned()].into());
}
