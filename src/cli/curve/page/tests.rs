use super::*;
use crate::evaluate::Report;

/// Two stacks and two adversaries: `naive` guesses better, and `informed(9)` recovers more words.
fn report(conclusive: &[&str]) -> Report {
    let score = |value: f64| serde_json::json!({ "value": value, "low": value, "high": value });
    let row = |defense: &str, adversary: &str, [leak, words, guess, ndcg]: [f64; 4]| {
        serde_json::json!({
            "defense": defense, "adversary": adversary, "n": 9, "map": null, "leak": score(leak), "bleu": score(leak),
            "word_leak": score(words), "guess_leak": score(guess), "ndcg_at_10": score(ndcg)
        })
    };
    let noise = "gaussian(sigma=0.1)";
    let rows = [
        row("none", "naive", [1.0, 1.0, 1.0, 0.8]),
        row("none", "informed(9)", [1.0, 1.0, 1.0, 0.8]),
        row(noise, "naive", [0.1, 0.2, 0.7, 0.4]),
        row(noise, "informed(9)", [0.3, 0.5, 0.6, 0.4]),
    ];
    let report = serde_json::json!({
        "signature": {}, "rows": rows, "ceiling": { "bleu": score(90.0) }, "floor": { "bleu": score(2.0) },
        "conclusive": conclusive, "reason": null
    });
    Report::from_json(&report.to_string()).expect("a report")
}

#[test]
fn each_leak_that_can_be_read_is_drawn_with_its_own_worst_adversary() {
    let report = report(&["leak", "word_leak", "guess_leak"]);
    let curve = Curve::new(&report, &[], None, None);
    let worst = |curve: &Curve<'_>| (curve.measure().to_owned(), curve.stacks[1].worst.adversary.clone());
    let others: Vec<_> = curve.by_other_leaks().iter().map(worst).collect();
    let expected = [("leak", "informed(9)"), ("word leak", "informed(9)"), ("guess leak", "naive")]
        .map(|(leak, adversary)| (leak.to_owned(), adversary.to_owned()));
    assert_eq!(std::iter::once(worst(&curve)).chain(others).collect::<Vec<_>>(), expected);

    let page = page(&curve, "embosk curve");
    let summaries: Vec<&str> =
        page.split("<summary>").skip(1).filter_map(|rest| rest.split('<').next()).collect();
    assert_eq!(summaries, ["Figures for the word leak", "Figures for the guess leak"]);
    for name in ["leak", "word leak", "guess leak"] {
        // in both sizes
        assert_eq!(
            page.matches(&format!(">{name} (what comes back; 1 is undefended)<")).count(),
            2,
            "{name}"
        );
    }
    assert_eq!(page.matches("<svg ").count(), page.matches("<desc>").count());
}

#[test]
fn a_leak_that_cannot_be_read_is_not_drawn() {
    let report = report(&["leak"]);
    let page = page(&Curve::new(&report, &[], None, None), "embosk curve");
    assert!(!page.contains("<details>") && page.contains("<svg "), "{page}");
}
