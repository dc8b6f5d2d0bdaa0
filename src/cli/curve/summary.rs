//! A curve in a terminal, and what a search found, in words.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{LineStyle, Table};

use super::find::Answer;
use super::points::{Curve, MeasuredStack, RETRIEVAL, leaks};
use crate::cli::limit::Limit;
use crate::cli::table::{self, Layout};
use crate::evaluate::statistics::Score;

/// The widths of a defense and of an adversary in a terminal, as long as they can be broken.
const DEFENSE_WIDTH: usize = 22;
const ADVERSARY_WIDTH: usize = 18;

/// The curve in a terminal: one row per stack.
pub(super) fn table(curve: &Curve<'_>, layout: Layout) -> String {
    let mut table = Table::new();
    let (attacked, searched) = (curve.is_attacked(), curve.undefended_ndcg().is_some());
    let attack = [curve.measure(), "worst adversary"].into_iter().filter(|_| attacked);
    let retrieval = ["nDCG@10", "kept"].into_iter().filter(|_| searched);
    table
        .load_style(UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()))
        .set_header(["  defense"].into_iter().chain(attack).chain(retrieval));
    for stack in &curve.stacks {
        let mark = if stack.front { '◆' } else { ' ' };
        let defense = table::broken(stack.defense, DEFENSE_WIDTH).replace('\n', "\n  ");
        let leak = score(curve.recovered(stack.worst), 2, layout);
        let attack = [leak, table::broken(&stack.worst.adversary, ADVERSARY_WIDTH)];
        let kept = curve.kept_in_percent(stack.worst).unwrap_or_else(|| "–".into());
        let retrieval = [score(stack.worst.score(RETRIEVAL), 3, layout), kept];
        let attack = attack.into_iter().filter(|_| attacked);
        let cells = attack.chain(retrieval.into_iter().filter(|_| searched)).collect();
        table::add(&mut table, &format!("{mark} {defense}"), vec![cells], if attacked { 2.. } else { 0.. });
    }
    table::close_up(&mut table, if attacked { 3 } else { 1 });
    let mut notes = String::new();
    notes += &curve.front().map_or_else(String::new, |means| format!("◆ {means}\n"));
    notes += &curve.threats().map_or_else(String::new, |sentence| format!("{sentence}\n"));
    notes += &others(curve);
    notes += &curve.unadaptive().map_or_else(String::new, |sentence| format!("{sentence}\n"));
    notes += &sentences(curve).iter().map(|sentence| format!("{sentence}\n")).collect::<String>();
    format!("{}\n{}", table::lines(&table), table::wrapped(&notes, layout.width()))
}

/// One line on the leaks that the table does not show.
fn others(curve: &Curve<'_>) -> String {
    let names: Vec<&str> = leaks(curve.report).skip(1).map(|leak| leak.heading.as_str()).collect();
    match curve.best() {
        _ if names.is_empty() => String::new(),
        None => format!("The page also has the {}.\n", names.join(" and the ")),
        Some(best) => {
            format!(
                "Under {}, the {}; the page has all.\n",
                best.defense,
                curve.other_leaks(best).join(", the ")
            )
        }
    }
}

fn score(score: Option<Score>, decimals: usize, layout: Layout) -> String {
    match layout {
        Layout::Usual => table::long(score, decimals),
        Layout::Compact => score.map_or_else(|| "–".into(), |score| table::fixed(score.value, decimals)),
    }
}

/// The results of a search, in words.
pub(super) fn sentences(curve: &Curve<'_>) -> Vec<String> {
    let Some((limit, answer)) = &curve.found else { return Vec::new() };
    let mut sentences = vec![match curve.found_stack() {
        None => {
            let possible = possible(answer);
            format!("No strength in the range keeps {limit} against its worst adversary. {possible}")
        }
        Some(stack) => found(curve, limit, answer, stack),
    }];
    if let Some((weaker, stronger)) = answer.not_monotone {
        sentences.push(format!(
            "The scores do not fall steadily as the defense gets stronger: the attacker reaches more at {stronger} than at \
             the weaker {weaker}. Measure more texts (--samples) before you rely on the strength."
        ));
    }
    sentences
}

fn found(curve: &Curve<'_>, limit: &Limit, answer: &Answer, stack: &MeasuredStack<'_>) -> String {
    let reached = match limit.worst(&stack.rows) {
        Some((row, score)) => format!("{} by {}", table::long(Some(score), 3), row.adversary),
        None => String::new(),
    };
    let ndcg =
        stack.worst.score(RETRIEVAL).map(|ndcg| format!(", with nDCG@10 {}", table::long(Some(ndcg), 3)));
    let kept = curve.kept_in_percent(stack.worst).map(|kept| format!(", {kept} of undefended retrieval"));
    let weaker = if answer.at_the_weak_end {
        " It is the weakest of the range; a weaker one may be enough."
    } else {
        ""
    };
    format!(
        "The weakest strength that keeps {limit} on these texts is {}: {reached}{}{}.{weaker} {}",
        stack.defense,
        ndcg.unwrap_or_default(),
        kept.unwrap_or_default(),
        possible(answer)
    )
}

/// Which strengths the intervals decide.
fn possible(answer: &Answer) -> String {
    let decided = match answer.between {
        (Some(broken), Some(kept)) => {
            format!("{broken} and weaker strengths break the limit, and {kept} and stronger ones keep it")
        }
        (Some(broken), None) => {
            format!("{broken} and weaker strengths break the limit, and no strength is sure to keep it")
        }
        (None, Some(kept)) => {
            format!("{kept} and stronger strengths keep the limit, and none is sure to break it")
        }
        (None, None) => "no strength is sure to keep or to break the limit".into(),
    };
    format!(
        "By the 95 % intervals, {decided}. Confirm a strength with more texts (--samples) before you rely on it."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Report;

    #[test]
    fn nothing_is_wider_than_the_layout() {
        let score = serde_json::json!({ "value": -0.012, "low": -0.123, "high": 0.456 });
        let other = serde_json::json!({ "value": 0.83, "low": 0.7, "high": 0.91 });
        let row = |defense: &str| {
            serde_json::json!({
                "defense": defense, "adversary": "retrained(unpaired(10000))", "n": 9, "map": null, "leak": score,
                "word_leak": other, "guess_leak": other, "ndcg_at_10": { "value": 0.801, "low": 0.712, "high": 0.886 }
            })
        };
        let rows =
            [row("none"), row("rotation(key=fingerprint:84375e6e, kind=hadamard) | gaussian(sigma=0.0125)")];
        let report = serde_json::json!({
            "signature": {}, "rows": rows, "ceiling": {}, "floor": {}, "conclusive": ["leak", "word_leak", "guess_leak"],
            "reason": null
        });
        let report = Report::from_json(&report.to_string()).expect("a report");
        let curve = Curve::new(&report, &[], None, None);
        for layout in [Layout::Usual, Layout::Compact] {
            let text = table(&curve, layout);
            let widest = text.lines().map(|line| line.chars().count()).max().expect("lines");
            assert!(widest <= layout.width() && widest > layout.width() - 25, "{widest}: {text}");
            assert!(text.contains("-0.01") && text.contains("0.801"), "{text}");
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let others =
                "the word leak is 0.83 [0.70, 0.91], the guess leak is 0.83 [0.70, 0.91]; the page has all.";
            assert!(words.contains(others), "{text}");
            assert_eq!(text.contains("0.886]"), layout == Layout::Usual, "{text}");
        }
    }

    #[test]
    fn an_answer_speaks_of_retrieval_where_it_was_measured() {
        let answer = Answer {
            strength: None,
            between: (Some(0.05), None),
            at_the_weak_end: false,
            not_monotone: None,
        };
        let score = |value: f64| serde_json::json!({ "value": value, "low": value, "high": value });
        let limit = Limit::parse("leak<=0.1", crate::evaluate::metrics::built_in()).expect("a limit");
        for (ndcg, said) in [(score(0.8), true), (serde_json::Value::Null, false)] {
            let row = serde_json::json!({
                "defense": "gaussian(sigma=0.1)", "adversary": "naive", "n": 9, "map": null, "leak": score(0.1),
                "ndcg_at_10": ndcg
            });
            let report = serde_json::json!({
                "signature": {}, "rows": [row], "ceiling": {}, "floor": {}, "conclusive": ["leak"], "reason": null
            });
            let report = Report::from_json(&report.to_string()).expect("a report");
            let curve = Curve::new(&report, &[], None, None);
            let text = found(&curve, &limit, &answer, &curve.stacks[0]);
            assert_eq!(text.contains("nDCG@10"), said, "{text}");
            assert!(
                text.contains(
                    "0.05 and weaker strengths break the limit, and no strength is sure to keep it"
                ),
                "{text}"
            );
        }
    }
}
