use super::*;
use crate::cli::table::Layout;
use crate::defenses::Registry;
use crate::evaluate::{Report, Sweep};

const NOISE: &str = "gaussian(sigma=0.1)";

/// A defense, an adversary, the three leaks, and nDCG@10 if there are queries.
type Scored<'a> = (&'a str, &'a str, [f64; 3], Option<f64>);

fn report_of(rows: &[Scored<'_>], conclusive: &[&str]) -> Report {
    let score = |value: f64| serde_json::json!({ "value": value, "low": value, "high": value });
    let row = |&(defense, adversary, [leak, words, guess], ndcg): &Scored<'_>| {
        serde_json::json!({
            "defense": defense, "adversary": adversary, "n": 9, "map": null, "leak": score(leak), "bleu": score(leak),
            "word_leak": score(words), "guess_leak": score(guess), "ndcg_at_10": ndcg.map(score)
        })
    };
    let report = serde_json::json!({
        "signature": {}, "rows": rows.iter().map(row).collect::<Vec<_>>(), "ceiling": { "bleu": score(90.0) },
        "floor": { "bleu": score(2.0) }, "conclusive": conclusive, "reason": null
    });
    Report::from_json(&report.to_string()).expect("a report")
}

/// Two stacks and two adversaries: `naive` guesses better, and `informed(9)` recovers more words.
fn report(conclusive: &[&str]) -> Report {
    let rows = [
        ("none", "naive", [1.0, 1.0, 1.0], Some(0.8)),
        ("none", "informed(9)", [1.0, 1.0, 1.0], Some(0.8)),
        (NOISE, "naive", [0.1, 0.2, 0.7], Some(0.4)),
        (NOISE, "informed(9)", [0.3, 0.5, 0.6], Some(0.4)),
    ];
    report_of(&rows, conclusive)
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

#[test]
fn one_sentence_concludes() {
    let said = |ndcg: Option<f64>| {
        let undefended = ndcg.map(|_| 0.8);
        let rows = [
            ("none", "naive", [1.0; 3], undefended),
            (NOISE, "naive", [0.1; 3], ndcg),
            (NOISE, "informed(9)", [0.3; 3], ndcg),
            ("quantization(bits=8)", "naive", [0.9; 3], undefended),
        ];
        let report = report_of(&rows, &["leak"]);
        conclusion(&Curve::new(&report, &[], None, None)).expect("a sentence")
    };
    let noise_is_best = format!("{NOISE} has the lowest leak: 0.30 [0.30, 0.30] against its worst adversary");
    let starts = [
        (Some(0.73), format!("Of the defenses that keep at least 90 % of nDCG@10, {noise_is_best}")),
        (Some(0.71), "Of the defenses that keep at least 90 % of nDCG@10, quantization(bits=8) has".into()),
        (None, format!("Of the defenses here, {noise_is_best}")),
    ];
    for (ndcg, start) in starts {
        assert!(said(ndcg).starts_with(&start), "{}", said(ndcg));
    }
    let rows = [("none", "naive", [1.0; 3], Some(0.8)), (NOISE, "naive", [0.1; 3], Some(0.2))];
    let none_keeps = report_of(&rows, &["leak"]);
    let sentence = conclusion(&Curve::new(&none_keeps, &[], None, None));
    assert_eq!(sentence.as_deref(), Some("No defense here keeps at least 90 % of nDCG@10."));
}

#[test]
fn the_conclusion_names_what_the_same_defense_leaks_besides() {
    let said = |conclusive: &[&str]| {
        let rows = [
            ("none", "naive", [1.0; 3], None),
            (NOISE, "naive", [0.1, 0.2, 0.8], None),
            (NOISE, "informed(9)", [0.3, 0.5, 0.6], None),
        ];
        let report = report_of(&rows, conclusive);
        conclusion(&Curve::new(&report, &[], None, None)).expect("a sentence")
    };
    let end =
        "(1 is undefended); its word leak is 0.50 [0.50, 0.50], and its guess leak is 0.80 [0.80, 0.80].";
    let all = said(&["leak", "word_leak", "guess_leak"]);
    assert!(all.ends_with(end), "{all}");
    assert!(said(&["leak"]).ends_with("(1 is undefended)."));
}

#[test]
fn a_curve_without_an_adversary_that_adapts_says_so() {
    for (adversary, is_said) in [("naive", true), ("informed(9)", false)] {
        let rows = [("none", "naive", [1.0; 3], None), (NOISE, adversary, [0.1; 3], None)];
        let report = report_of(&rows, &["leak"]);
        let curve = Curve::new(&report, &[], None, None);
        let (page, table) = (page(&curve, "embosk curve"), summary::table(&curve, Layout::Usual));
        assert_eq!(page.contains("does not adapt to the defense"), is_said, "{page}");
        assert_eq!(table.contains("does not adapt to the"), is_said, "{table}");
    }
}

#[test]
fn the_front_has_the_undefended_stack_and_none_that_another_beats() {
    let rows = [
        ("none", "naive", [1.0; 3], Some(0.8)),
        ("beaten", "naive", [0.4; 3], Some(0.4)),
        (NOISE, "naive", [0.3; 3], Some(0.5)),
        ("equal", "naive", [0.3; 3], Some(0.5)),
        ("strong", "naive", [0.2; 3], Some(0.1)),
    ];
    let report = report_of(&rows, &["leak"]);
    let curve = Curve::new(&report, &[], None, None);
    let front: Vec<&str> =
        curve.stacks.iter().filter(|stack| stack.front).map(|stack| stack.defense).collect();
    assert_eq!(front, ["none", NOISE, "equal", "strong"]);
}

#[test]
fn a_stack_for_a_stolen_store_is_named_and_displaces_only_its_like() {
    let score = |value: f64| serde_json::json!({ "value": value, "low": value, "high": value });
    let row = |(defense, threat, leak, ndcg): (&str, Option<&str>, f64, f64)| {
        serde_json::json!({
            "defense": defense, "adversary": "naive", "n": 9, "map": null, "threat": threat, "leak": score(leak),
            "ndcg_at_10": score(ndcg)
        })
    };
    let [stolen, reranked] =
        ["gaussian(sigma=0.1, on=documents)", "gaussian(sigma=0.1) | rerank(candidates=200)"];
    let rows = [
        ("none", None, 1.0, 0.8),
        (NOISE, Some("operator"), 0.3, 0.1),
        (reranked, Some("operator"), 0.3, 0.5),
        (stolen, Some("stolen_store"), 0.2, 0.6),
        ("worse", Some("stolen_store"), 0.25, 0.55),
    ];
    let report = serde_json::json!({
        "signature": {}, "rows": rows.map(row), "ceiling": {}, "floor": {}, "conclusive": ["leak"], "reason": null
    });
    let report = Report::from_json(&report.to_string()).expect("a report");
    let curve = Curve::new(&report, &[], None, None);
    let front: Vec<&str> =
        curve.stacks.iter().filter(|stack| stack.front).map(|stack| stack.defense).collect();
    assert_eq!(front, ["none", reranked, stolen]);

    let (page, table) = (page(&curve, "embosk curve"), summary::table(&curve, Layout::Usual));
    for said in [
        format!("{stolen} <small>threat: stolen store</small>"),
        format!("{NOISE} <small>threat: operator</small>"),
    ] {
        assert!(page.contains(&said), "{page}");
    }
    for text in [&page, &table] {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("displace only one another") && words.contains("(on=documents)"), "{words}");
    }
    // a step for each threat, and the legend's
    assert_eq!(svg::figures(&curve, Size::Wide)[0].body.matches("class=\"step\"").count(), 3);
    let csv = crate::cli::curve::json::csv(&curve).expect("text");
    assert!(csv.contains(",operator,") && csv.contains(",stolen_store,"), "{csv}");
}

#[test]
fn no_more_than_all_is_kept_where_all_lies_within_the_interval() {
    let score =
        |low: f64, value: f64, high: f64| serde_json::json!({ "value": value, "low": low, "high": high });
    let row = |defense: &str, ndcg: serde_json::Value| {
        serde_json::json!({
            "defense": defense, "adversary": "naive", "n": 9, "map": null, "leak": score(0.5, 0.5, 0.5), "ndcg_at_10": ndcg
        })
    };
    let rows = [
        row("none", score(0.7, 0.8, 0.9)),
        row("a", score(0.7, 0.82, 0.9)),
        row("b", score(0.81, 0.84, 0.9)),
        row("c", score(0.6, 0.76, 0.9)),
    ];
    let report = serde_json::json!({
        "signature": {}, "rows": rows, "ceiling": {}, "floor": {}, "conclusive": ["leak"], "reason": null
    });
    let report = Report::from_json(&report.to_string()).expect("a report");
    let curve = Curve::new(&report, &[], None, None);
    let kept: Vec<f64> = report
        .rows
        .iter()
        .filter_map(|row| Some(curve.kept(row)?.value))
        .map(|kept| (100.0 * kept).round())
        .collect();
    assert_eq!(kept, [100.0, 100.0, 105.0, 95.0]);
}

#[test]
fn names_at_the_ends_of_lines_are_below_one_another() {
    let stacks: Vec<String> = [0.01, 0.1].iter().map(|sigma| format!("gaussian(sigma={sigma})")).collect();
    let mut rows = vec![("none", "naive", [1.0; 3], Some(0.8))];
    for (stack, leak) in stacks.iter().zip([0.9, 0.0]) {
        // the second is hidden by the first, and the others end beside one another, at the bottom
        for (adversary, more) in
            [("naive", 0.0), ("leaked(9)", 0.0), ("informed(9)", 0.01), ("unpaired(9)", 0.02)]
        {
            rows.push((stack, adversary, [leak + more; 3], Some(0.03)));
        }
    }
    let report = report_of(&rows, &["leak"]);
    let sweep = Sweep::parse(&Registry::default(), "gaussian(sigma=0.01..0.1/2log)").expect("a sweep");
    let curve = Curve::new(&report, &[sweep], None, None);
    let figures = svg::figures(&curve, Size::Wide);
    let labels: Vec<(f64, &str)> = figures[1]
        .body
        .lines()
        .filter_map(|line| line.strip_prefix("<text class=\"label "))
        .map(|rest| {
            let y = rest.split_once(" y=\"").and_then(|(_, rest)| rest.split_once('"')).expect("a place").0;
            let name = rest.split_once('>').and_then(|(_, rest)| rest.split_once('<')).expect("a name").0;
            (y.parse().expect("a number"), name)
        })
        .collect();
    let names: Vec<&str> = labels.iter().map(|(_, name)| *name).collect();
    assert_eq!(names, ["nDCG@10", "unpaired(9)", "informed(9)", "naive"]);
    assert!(labels.windows(2).all(|pair| pair[1].0 - pair[0].0 >= Size::Wide.font()), "{labels:?}");
    let lowest = labels.last().expect("labels").0;
    assert!(lowest < figures[1].height, "{lowest} is within the figure");
}

/// Nobody attacks the key of the stack that leaks the least.
#[test]
fn a_key_that_nobody_attacks_is_no_best_and_is_warned_of() {
    let rotation = "rotation(key=fingerprint:84375e6e, kind=hadamard)";
    let rows = [
        ("none", "naive", [1.0; 3], Some(0.8)),
        (rotation, "naive", [0.0; 3], Some(0.8)),
        (NOISE, "naive", [0.3; 3], Some(0.8)),
    ];
    let mut report = report_of(&rows, &["leak"]);
    let best =
        |report: &Report| Curve::new(report, &[], None, None).best().map(|stack| stack.defense.to_owned());
    report.rows[1].key_attacked = Some(true);
    assert_eq!(best(&report).as_deref(), Some(rotation));
    report.rows[1].key_attacked = Some(false);
    assert_eq!(best(&report).as_deref(), Some(NOISE));
    report.warnings.push("nobody attacks <this> key".into());
    let page = page(&Curve::new(&report, &[], None, None), "embosk curve");
    assert!(page.contains("<p class=\"warning\">nobody attacks &lt;this&gt; key.</p>"), "{page}");
}
