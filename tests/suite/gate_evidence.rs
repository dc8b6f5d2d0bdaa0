//! When a limit that an attack keeps is no pass: a leak that cannot be read, a key that nobody attacks, too few queries.

use std::fmt;

use embosk::attacks::Attack;
use embosk::evaluate::adversaries::{
    Adversary, Averaging, Informed, Knowledge, Leaked, Naive, Needs, Restored, Retrained,
};
use embosk::evaluate::{Advice, Budget, Corpus, Evaluation, FindingKind, Outcome, Report, Verdict};
use embosk::{BoxError, Defense, Error, GaussianNoise, Key, Rotation, Scaling, Stack};
use ndarray::Array2;
use serde_json::{Value, json};

use crate::common::backwards::Backwards;
use crate::common::letters::letters;
use crate::common::lookup::Lookup;

type Letters = fn(&[&str]) -> Result<Array2<f32>, BoxError>;

fn evaluation(attack: impl Attack + 'static) -> Evaluation<Letters> {
    let embedder: Letters = letters;
    Evaluation::new(embedder).corpus(Corpus::records(400, 1)).attack(attack).samples(60).seed(3)
}

fn knowing() -> Lookup {
    Lookup(Corpus::records(400, 1).texts().to_vec())
}

fn noise(sigma: f64) -> Stack {
    Stack::new().with(GaussianNoise::new(sigma).unwrap())
}

fn key() -> Key {
    Key::from_bytes([7; 32])
}

fn rotation() -> Stack {
    Stack::new().with(Rotation::new(&key(), 64).unwrap())
}

/// An attack that gets words and no sentence decides limits on words, and none on sentences.
#[test]
fn each_limited_leak_must_be_one_that_can_be_read() {
    let report = evaluation(Backwards(knowing())).defense(noise(5.0)).adversary(Naive).run().unwrap();
    let check = |budget: Budget| report.check(&budget).unwrap();
    for words in [Budget::new().word_leak(0.5), Budget::new().word_recall(0.5)] {
        let verdict = check(words);
        assert!(verdict.passed(), "{verdict}");
        let canary = &verdict.findings[0];
        assert_eq!((canary.kind, canary.metric.as_str()), (FindingKind::Canary, "word_recall"));
        // chance, and the least gap above it
        let chance = report.floor.as_ref().unwrap().score("word_recall").unwrap().value;
        assert!((canary.limit - chance - 0.1).abs() < 1e-3 && canary.lower > canary.limit, "{canary}");
    }
    for sentences in [Budget::new().leak(0.5), Budget::new().bleu(90.0)] {
        let verdict = check(sentences);
        assert_eq!(verdict.outcome, Outcome::Inconclusive, "{verdict}");
        assert!(verdict.reason.as_ref().unwrap().contains("leak: BLEU "), "{verdict}");
        assert_eq!(verdict.advice, [Advice::GuidedSearch, Advice::FineTune]);
    }
    // one does not stand for the other
    let both = check(Budget::new().leak(0.5).word_leak(0.5));
    let outcomes: Vec<Outcome> = both.findings.iter().map(|finding| finding.outcome).collect();
    let (pass, open) = (Outcome::Pass, Outcome::Inconclusive);
    assert_eq!((outcomes.as_slice(), both.outcome), (&[open, pass, open, pass][..], open), "{both}");
    // what it does not write without a defense it does not write with one
    let whole = check(Budget::new().exact_match(0.5));
    assert!(whole.passed() && whole.warnings[0].contains("exact_match 0.5 too"), "{whole}");
    // a stated canary is honored
    assert!(check(Budget::new().word_leak(0.5).canary("word_recall", 0.9)).passed());
    let stated = check(Budget::new().word_leak(0.5).canary("bleu", 50.0));
    assert_eq!(stated.outcome, Outcome::Inconclusive);
    assert!(stated.reason.unwrap().contains("stated strength"));
}

#[test]
fn a_pass_under_a_weak_attack_says_so() {
    let attack = Lookup(Corpus::records(400, 1).texts()[..160].to_vec());
    let report = evaluation(attack).samples(150).defense(noise(5.0)).adversary(Naive).run().unwrap();
    let verdict = report.check(&Budget::new().leak(0.5)).unwrap();
    assert!(verdict.passed(), "{verdict}");
    assert!(verdict.warnings[0].contains("a low leak is weak evidence"), "{verdict}");
    assert!(verdict.to_string().contains("weak evidence: the undefended attack reaches only"), "{verdict}");
}

fn under(stack: Stack, adversaries: &[&str]) -> Verdict {
    let named = adversaries.iter().map(|name| embosk::evaluate::adversaries::parse(name).unwrap());
    let evaluation = named.fold(evaluation(knowing()).retrained(knowing()), Evaluation::adversary);
    evaluation.defense(stack).run().unwrap().check(&Budget::new().leak(0.3).ndcg_drop(0.1)).unwrap()
}

#[test]
fn a_key_that_nobody_attacks_is_no_pass() {
    let blind = under(rotation(), &["naive", "informed(200)", "retrained"]);
    assert_eq!(blind.outcome, Outcome::Inconclusive, "{blind}");
    let limits: Vec<(&str, Outcome)> =
        blind.findings[1..].iter().map(|finding| (finding.metric.as_str(), finding.outcome)).collect();
    assert_eq!(limits, [("leak", Outcome::Inconclusive), ("ndcg_drop", Outcome::Pass)], "{blind}");
    assert!(
        blind.reason.as_ref().unwrap().contains("tries to undo the key of rotation(key=fingerprint:"),
        "{blind}"
    );
    assert_eq!(blind.advice[0], Advice::AttackKey { pairs: 128 });
    for adversary in ["leaked(200)", "retrained(leaked(200))"] {
        assert_eq!(under(rotation(), &["naive", adversary]).outcome, Outcome::Fail, "{adversary}");
    }
    let report = evaluation(knowing()).defense(rotation()).adversary(Naive).run().unwrap();
    assert_eq!(report.rows[0].key_attacked, Some(false));
    assert!(
        report.warnings.iter().any(|warning| warning.contains("tries to undo the key")),
        "{:?}",
        report.warnings
    );
    assert!(report.check(&Budget::new().leak(0.3).accept_unmeasured_key(true)).unwrap().passed());
    // nobody's business where nothing of an attack is limited
    assert!(report.check(&Budget::new().ndcg_drop(0.1)).unwrap().passed());
    let kept = Report::from_json(&report.to_json_full().unwrap()).unwrap();
    assert_eq!(
        kept.check(&Budget::new().leak(0.3)).unwrap(),
        report.check(&Budget::new().leak(0.3)).unwrap()
    );
}

#[test]
fn pairs_are_advised_that_the_corpus_has() {
    for (documents, advice) in [
        (400, Advice::AttackKey { pairs: 128 }),
        (160, Advice::AttackKey { pairs: 64 }),
        (100, Advice::DocumentsToLeak { documents: 124, pairs: 64 }),
    ] {
        let evaluation = evaluation(knowing()).corpus(Corpus::records(documents, 1));
        let report = evaluation.defense(rotation()).adversary(Naive).run().unwrap();
        assert_eq!(report.check(&Budget::new().leak(0.3)).unwrap().advice[0], advice);
    }
}

#[test]
fn a_key_that_nobody_attacks_is_a_reason_for_its_own_stack_alone() {
    let report =
        evaluation(knowing()).defense(noise(5.0)).defense(rotation()).adversary(Naive).run().unwrap();
    let verdict = report.check(&Budget::new().leak(0.3)).unwrap();
    assert!(verdict.reason.is_some(), "{verdict}");
    for finding in &verdict.findings {
        let expected = verdict.reason.clone().filter(|_| finding.defense.starts_with("rotation("));
        assert_eq!(verdict.reason_for(finding), expected, "{finding}");
    }
}

/// Only a key that turns the space hides anything from attackers who draw keys of their own.
#[test]
fn a_key_that_turns_nothing_needs_no_adversary_of_its_own() {
    let keyed = Stack::new().with(GaussianNoise::keyed(&key(), 5.0).unwrap());
    for stack in
        [keyed, Stack::new().with(Scaling::new(&key())).with(GaussianNoise::new(500.0).unwrap()), noise(5.0)]
    {
        let name = stack.to_string();
        let verdict = under(stack, &["naive", "informed(200)"]);
        assert!(verdict.reason.is_none(), "{name}: {verdict}");
    }
}

/// Has some pairs, and either makes nothing of them or finds the key.
#[derive(Debug)]
struct Lucky {
    pairs: usize,
    undoes: bool,
}

impl fmt::Display for Lucky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lucky({}, {})", self.pairs, self.undoes)
    }
}

impl Adversary for Lucky {
    fn needs(&self) -> Needs {
        Needs::default().leaked_pairs(self.pairs)
    }

    fn restore(&self, knowledge: &mut Knowledge<'_>) -> Result<Restored, Error> {
        let mut vectors = knowledge.attacked()?;
        if self.undoes {
            rotation().unprotect(vectors.view_mut())?;
        }
        Ok(Restored::same(vectors))
    }
}

/// A few pairs let a rotation pass that as many as there are dimensions (64 here) would undo.
#[test]
fn who_attacks_keys_is_known_by_what_they_need_and_restore() {
    let report = |adversary: Box<dyn Adversary>| {
        evaluation(knowing()).retrained(knowing()).defense(rotation()).adversary(adversary).run().unwrap()
    };
    let cases: [(Box<dyn Adversary>, bool); 10] = [
        (Box::new(Naive), false),
        (Box::new(Informed(100)), false),
        (Box::new(Retrained::new()), false),
        (Box::new(Lucky { pairs: 5, undoes: false }), false),
        (Box::new(Lucky { pairs: 63, undoes: false }), false),
        (Box::new(Lucky { pairs: 64, undoes: false }), true),
        (Box::new(Lucky { pairs: 5, undoes: true }), true),
        (Box::new(Leaked(64)), true),
        (Box::new(Averaging::new(2).leaked(64)), true),
        (Box::new(Retrained::after(Leaked(64))), true),
    ];
    for (adversary, expected) in cases {
        let name = adversary.to_string();
        let report = report(adversary);
        assert_eq!(report.rows[0].key_attacked, Some(expected), "{name}");
        let verdict = report.check(&Budget::new().leak(0.3)).unwrap();
        assert_eq!(verdict.reason.is_none(), expected, "{name}: {verdict}");
    }
}

/// A report of 200 attacked texts: without a defense each has the score `best`, and under a stack the first `hits`.
fn attacked(metric: &str, best: f64, chance: f64, hits: usize) -> Report {
    let texts = |hits: usize| {
        let scores: Vec<f64> = (0..200).map(|text| if text < hits { best } else { 0.0 }).collect();
        json!({metric: scores})
    };
    let unrelated = json!({metric: vec![chance; 200]});
    let row = json!({
        "defense": "stack", "adversary": "naive", "n": 200, "map": null, "oracle_queries": null, "texts": texts(hits),
        "unrelated": unrelated
    });
    let undefended =
        json!({"oracle_queries": null, "texts": texts(200), "unrelated": unrelated, "queries": {}});
    report_of(&row, &undefended)
}

/// That facts are guessed says nothing of an attack that writes texts.
#[test]
fn a_stated_canary_of_guesses_does_not_vouch_for_limits_on_texts() {
    let texts = json!({"guess": vec![1.0; 200], "bleu": vec![0.0; 200], "exact_match": vec![0.0; 200]});
    let unrelated = json!({"guess": vec![1.0 / 64.0; 200], "bleu": vec![0.0; 200]});
    let row = json!({
        "defense": "stack", "adversary": "naive", "n": 200, "map": null, "oracle_queries": null,
        "texts": {"guess": vec![0.0; 200], "bleu": vec![0.0; 200], "exact_match": vec![0.0; 200]},
        "unrelated": unrelated
    });
    let undefended = json!({"oracle_queries": null, "texts": texts, "unrelated": unrelated, "queries": {}});
    let report = report_of(&row, &undefended);
    let check = |budget: Budget| report.check(&budget.canary("guess", 0.9)).unwrap();
    let guesses = check(Budget::new().limit("guess", 0.1));
    assert!(guesses.passed(), "{guesses}");
    let both = check(Budget::new().limit("guess", 0.1).limit("exact_match", 0.1));
    assert_eq!(both.outcome, Outcome::Inconclusive, "{both}");
    let outcome = |name: &str| {
        let mut of = both.findings.iter().filter(|finding| finding.kind != FindingKind::Canary);
        of.find(|finding| finding.metric == name).map(|finding| finding.outcome)
    };
    assert_eq!(outcome("guess"), Some(Outcome::Pass), "{both}");
    assert_eq!(outcome("exact_match"), Some(Outcome::Inconclusive), "{both}");
}

/// The numbers of hits are from binomial tails for `guess`, and for leaks from four million draws in numpy of Beta(k,
/// n - k) + Exponential / Gamma(n): two on either side of each bound.
#[test]
fn limits_on_attacks_are_decided_at_their_bounds() {
    let chance = 1.0 / 64.0;
    for (limited, limit, (metric, best, chance), [pass, open, still_open, fail]) in [
        ("guess", 0.1, ("guess", 1.0, chance), [12, 13, 27, 28]),
        ("guess", 0.6, ("guess", 1.0, chance), [108, 109, 131, 132]),
        ("guess_leak", 0.1, ("guess", 1.0, chance), [14, 17, 30, 34]),
        ("guess_leak", 0.6, ("guess", 1.0, chance), [107, 111, 131, 135]),
        ("word_leak", 0.1, ("word_recall", 1.0, 0.0), [12, 14, 27, 31]),
        ("leak", 0.6, ("bleu", 100.0, 0.0), [106, 110, 130, 134]),
    ] {
        for (hits, expected) in [
            (pass, Outcome::Pass),
            (open, Outcome::Inconclusive),
            (still_open, Outcome::Inconclusive),
            (fail, Outcome::Fail),
        ] {
            let report = attacked(metric, best, chance, hits);
            let verdict = report.check(&Budget::new().limit(limited, limit)).unwrap();
            let [canary, finding] = verdict.findings.as_slice() else { panic!("{verdict}") };
            assert_eq!((canary.kind, canary.outcome), (FindingKind::Canary, Outcome::Pass), "{verdict}");
            assert_eq!(
                (finding.n, finding.outcome),
                (200, expected),
                "{hits} of 200 for {limited}: {verdict}"
            );
        }
    }
}

/// A report of retrieval with these scores of queries, before and under a stack.
fn retrieval(before: &[f64], after: &[f64]) -> Report {
    let queries = |scores: &[f64]| json!({"ndcg_at_10": scores});
    let row = json!({
        "defense": "stack", "adversary": "none", "n": 0, "map": null, "oracle_queries": null, "queries": queries(after),
        "ndcg_at_10": null
    });
    let undefended =
        json!({"oracle_queries": null, "texts": {}, "unrelated": {}, "queries": queries(before)});
    report_of(&row, &undefended)
}

/// A report of this row, beside the scores of undefended vectors.
fn report_of(row: &Value, undefended: &Value) -> Report {
    let report = json!({
        "signature": {"seed": 0}, "rows": [row], "ceiling": null, "floor": null, "conclusive": [], "reason": null,
        "undefended": undefended
    });
    Report::from_json(&report.to_string()).unwrap()
}

/// That nothing was lost in `n` queries proves a drop below 1 − 0.05^(1/n): the rule of three.
#[test]
fn queries_that_lose_nothing_prove_no_more_than_they_can() {
    for (n, least) in [(30, 0.0950), (150, 0.0198), (300, 0.00994), (3000, 0.000_998)] {
        let report = retrieval(&vec![0.8; n], &vec![0.8; n]);
        let outcome = |limit: f64| report.check(&Budget::new().ndcg_drop(limit)).unwrap().outcome;
        assert_eq!(outcome(least * 1.06), Outcome::Pass, "{n}");
        assert_eq!(outcome(least * 0.94), Outcome::Inconclusive, "{n}");
    }
    let few = retrieval(&[0.8; 30], &[0.8; 30]);
    let verdict = few.check(&Budget::new().ndcg_drop(0.001)).unwrap();
    let needed = verdict.findings[0].needed.unwrap();
    assert!((2700..3300).contains(&needed), "{verdict}");
}

/// With as many queries as test collections have, and losses that differ, usual limits are decided.
#[test]
fn three_hundred_queries_decide_what_they_did() {
    // a third of the queries lose something, a sixth gain; the mean loss is `mean`
    let spread = |mean: f64| -> Vec<f64> {
        let change = |query: usize| match query % 6 {
            0 | 1 => -0.12,
            2 => 0.24,
            _ => 0.0,
        };
        (0..300).map(|query| 0.6 - mean + change(query)).collect()
    };
    for (mean, limit, expected) in [
        (0.01, 0.05, Outcome::Pass),
        (0.0, 0.02, Outcome::Pass),
        (0.018, 0.02, Outcome::Inconclusive),
        (0.1, 0.05, Outcome::Fail),
        (0.05, 0.02, Outcome::Fail),
    ] {
        let verdict = retrieval(&[0.6; 300], &spread(mean)).check(&Budget::new().ndcg_drop(limit)).unwrap();
        assert_eq!(verdict.outcome, expected, "{mean} of {limit}: {verdict}");
    }
}

#[test]
fn a_verdict_is_read_as_it_was_written() {
    for verdict in [
        under(rotation(), &["naive"]),
        evaluation(Backwards(knowing()))
            .defense(noise(5.0))
            .adversary(Naive)
            .run()
            .unwrap()
            .check(&Budget::new().leak(0.1).word_leak(0.5).exact_match(0.001).ndcg_drop(0.5))
            .unwrap(),
    ] {
        let text = serde_json::to_string(&verdict).unwrap();
        let read: Verdict = serde_json::from_str(&text).unwrap();
        let again = serde_json::to_string(&read).unwrap();
        assert_eq!((again, read.to_string()), (text, verdict.to_string()));
    }
}
