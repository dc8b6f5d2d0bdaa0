//! The curve as one page that needs no network and no script.

#[cfg(test)]
mod tests;

use std::fmt::Write;

use serde_json::Value;

use super::points::{Curve, KEPT, MeasuredStack};
use super::{summary, svg};
use crate::cli::chart::{self, Figure, Size, escape};
use crate::cli::table;
use crate::evaluate::keys;
use crate::evaluate::metrics::{Shown, Unit};
use crate::evaluate::statistics::Score;
use crate::evaluate::{AttackStrength, DistinctRow, Metric, Row};

pub(super) fn page(curve: &Curve<'_>, command: &str) -> String {
    let body =
        [head(curve), verdict(curve), figures(curve), scores(curve), examples(curve), foot(curve, command)];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n<title>{} · embosk</title>\n\
         <style>{}{}</style>\n</head>\n<body>\n<main>\n{}</main>\n</body>\n</html>\n",
        curve.heading(),
        STYLE,
        chart::style(),
        body.concat()
    )
}

const STYLE: &str = include_str!("page.css");

fn head(curve: &Curve<'_>) -> String {
    let setting = |name: &str| escape(&shown(curve.report.signature.get(name)));
    let attack = curve.report.signature.get("attack_name");
    let attacked = match (curve.stacks.first().map(|stack| stack.worst.n), attack) {
        (Some(n), Some(name)) if n > 0 => format!("{n} of them attacked by {}, ", escape(&shown(Some(name)))),
        (Some(n), None) if n > 0 => format!("the facts of {n} of them guessed, "),
        _ => String::new(),
    };
    let queries = match curve.report.signature.get("queries").and_then(Value::as_u64) {
        Some(0) | None => "no queries".to_owned(),
        Some(count) => format!("{count} queries"),
    };
    format!(
        "<header>\n<a class=\"skip\" href=\"#points\">All points as a table</a>\n<h1>{}</h1>\n<p class=\"lead\">{} documents of <b>{}</b>, {attacked}{queries}; \
         vectors of {}.{}</p>\n</header>\n",
        curve.heading(),
        setting("documents"),
        setting("corpus"),
        setting("embedder"),
        match (curve.is_attacked(), curve.undefended_ndcg().is_some()) {
            (true, true) => " Attack and search read the same protected vectors.",
            (true, false) => "",
            (false, _) => " Nothing was attacked.",
        }
    )
}

/// What the numbers mean, in words.
fn verdict(curve: &Curve<'_>) -> String {
    let mut text = String::new();
    if let Some(reason) = &curve.report.reason {
        let _ = writeln!(text, "<p class=\"warning\"><b>Inconclusive:</b> {}.</p>", escape(reason));
    }
    if let Some(conclusion) = conclusion(curve) {
        let weak = if curve.report.strengths.iter().any(|strength| strength.warning().is_some()) {
            " weak"
        } else {
            ""
        };
        let _ = writeln!(text, "<p class=\"answer{weak}\">{}</p>", escape(&conclusion));
    }
    for warning in curve.report.strengths.iter().filter_map(AttackStrength::warning) {
        let _ = writeln!(text, "<p class=\"warning\"><b>Weak evidence:</b> {}.</p>", escape(&warning));
    }
    for warning in &curve.report.warnings {
        let _ = writeln!(text, "<p class=\"warning\">{}.</p>", escape(warning));
    }
    if let Some(sentence) = curve.unadaptive() {
        let _ = writeln!(text, "<p class=\"warning\">{}</p>", escape(sentence));
    }
    let sentences = summary::sentences(curve);
    if !sentences.is_empty() {
        let _ = writeln!(text, "<p class=\"answer\">{}</p>", escape(&sentences.join(" ")));
    }
    if let Some(sentence) = curve.threats() {
        let _ = writeln!(text, "<p>{}</p>", escape(sentence));
    }
    text += &undefended(curve);
    if curve.is_attacked() {
        text += "<p class=\"muted\">Judge a defense by its worst row. Low numbers mean that the attackers who were tried did not \
                 succeed, not that nobody can.</p>\n";
    }
    let over = if curve.undefended_ndcg().is_some() { "texts and queries" } else { "texts" };
    text + &format!("<p class=\"muted\">Bars are 95 % intervals over {over}.</p>\n")
}

/// The least leak among the stacks that keep most of retrieval, or among all if there is no retrieval, in one sentence.
fn conclusion(curve: &Curve<'_>) -> Option<String> {
    let leak = curve.leak()?;
    let is_searched = curve.undefended_ndcg().is_some();
    let of_most = format!("at least {:.0} % of nDCG@10", 100.0 * KEPT);
    let Some(best) = curve.best() else {
        let decided = if keys::unattacked(&curve.report.rows).next().is_some() {
            "No defense whose key, if it has one, is attacked"
        } else {
            "No defense here"
        };
        return is_searched.then(|| format!("{decided} keeps {of_most}."));
    };
    let of = if is_searched {
        format!("Of the defenses that keep {of_most}")
    } else {
        "Of the defenses here".into()
    };
    let score = table::long(curve.recovered(best.worst), leak.digits);
    let others = curve.other_leaks(best);
    let others =
        if others.is_empty() { String::new() } else { format!("; its {}", others.join(", and its ")) };
    let threat = best.worst.threat.map_or_else(String::new, |threat| format!(" (threat: {threat})"));
    Some(format!(
        "{of}, {}{threat} has the lowest {}: {score} against its worst adversary (1 is undefended){others}.",
        best.defense, leak.heading
    ))
}

/// What the undefended attack recovers, and what each leak lies between.
fn undefended(curve: &Curve<'_>) -> String {
    let report = curve.report;
    let (Some(ceiling), Some(floor)) = (&report.ceiling, &report.floor) else { return String::new() };
    let leak = |strength: &AttackStrength| {
        let metric = report.metrics.iter().find(|metric| metric.name == strength.metric)?;
        let [ceiling, floor] =
            [ceiling, floor].map(|scores| table::long(scores.score(&metric.name), metric.digits));
        let name = strength.leak.replace('_', " ");
        Some(if strength.is_conclusive() {
            format!(
                "<b>{}</b> is computed from {}: {ceiling} undefended, {floor} by chance.",
                escape(&name),
                escape(&metric.title)
            )
        } else {
            format!("<b>{}</b> cannot be read: {}.", escape(&name), escape(&strength.to_string()))
        })
    };
    let leaks: Vec<String> = report.strengths.iter().filter_map(leak).collect();
    let whole = ceiling.score("exact_match").map_or_else(String::new, |score| {
        format!(
            "Without a defense, the attack recovers {} of the texts word for word. ",
            percent(Some(score))
        )
    });
    format!(
        "<p>{whole}A leak is 1 if the attack does as well as without a defense, and 0 if it does no better than \
         chance. {}</p>\n",
        leaks.join(" ")
    )
}

/// The figures of the first leak, and those of each other leak, folded.
fn figures(curve: &Curve<'_>) -> String {
    let mut text = drawn(curve);
    for other in curve.by_other_leaks() {
        let leak = escape(other.measure());
        let _ = write!(
            text,
            "<details>\n<summary>Figures for the {leak}</summary>\n{}</details>\n",
            drawn(&other)
        );
    }
    text
}

/// Each figure in both sizes; the style shows the one that fits.
fn drawn(curve: &Curve<'_>) -> String {
    let (wide, narrow) = (svg::figures(curve, Size::Wide), svg::figures(curve, Size::Narrow));
    let figure = |(wide, narrow): (&Figure, &Figure)| {
        format!(
            "<figure>\n<figcaption>{}</figcaption>\n{}{}</figure>\n",
            escape(&wide.title),
            wide.svg(Size::Wide),
            narrow.svg(Size::Narrow)
        )
    };
    wide.iter().zip(&narrow).map(figure).collect()
}

/// A column of the table: a metric's scores, how many texts were recovered word for word, or how much is left of
/// retrieval.
enum Column<'a> {
    Scores(&'a Metric),
    Recovered,
    Kept,
}

impl Column<'_> {
    fn heading(&self) -> &str {
        match self {
            Self::Scores(metric) => &metric.title,
            Self::Recovered => "word for word",
            Self::Kept => "kept",
        }
    }

    fn cell(&self, curve: &Curve<'_>, row: &Row) -> String {
        match self {
            Self::Scores(metric) => interval(row.score(&metric.name), metric.digits),
            Self::Recovered => format!("{} of {}", row.recovered, row.n),
            Self::Kept => curve.kept_in_percent(row).unwrap_or_else(|| "–".into()),
        }
    }
}

/// What was measured; leaks and retrieval first, so that a narrow window shows them.
fn columns<'a>(curve: &Curve<'a>) -> Vec<Column<'a>> {
    let mut metrics = table::columns(&curve.report.metrics, Shown::Page);
    metrics.retain(|metric| match metric.unit() {
        Unit::Queries => curve.undefended_ndcg().is_some(),
        _ => curve.is_attacked() && curve.report.rows.iter().any(|row| row.score(&metric.name).is_some()),
    });
    let is_leak = |metric: &&Metric| metric.leaking().is_some();
    let (leaks, rest): (Vec<&Metric>, Vec<&Metric>) = metrics.into_iter().partition(is_leak);
    let (retrieval, rest): (Vec<&Metric>, Vec<&Metric>) =
        rest.into_iter().partition(|metric| metric.is_retrieval());
    let recovered = curve.is_attacked().then_some(Column::Recovered);
    let kept = curve.undefended_ndcg().map(|_| Column::Kept);
    let scores = |metrics: Vec<&'a Metric>| metrics.into_iter().map(Column::Scores);
    recovered
        .into_iter()
        .chain(scores(leaks))
        .chain(scores(retrieval))
        .chain(kept)
        .chain(scores(rest))
        .collect()
}

fn scores(curve: &Curve<'_>) -> String {
    let columns = columns(curve);
    let headings: String =
        columns.iter().map(|column| format!("<th scope=\"col\">{}</th>", escape(column.heading()))).collect();
    let rows: String = curve.stacks.iter().map(|stack| rows(curve, stack, &columns)).collect();
    let mut marks = curve.front().map_or_else(String::new, |means| format!("◆ is {means} "));
    if curve.is_attacked() {
        marks += "The worst adversary of a stack is in bold. ";
    }
    format!(
        "<h2 id=\"points\">All points</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"All points\">\n<table>\n<thead><tr><th scope=\"col\">defense</th><th scope=\"col\">adversary</th>{headings}</tr></thead>\n\
         {rows}</table>\n</div>\n<p class=\"muted\">{marks}In brackets: 95 % intervals.</p>\n"
    )
}

/// A stack's rows form a group, and its name is seen in the first. Adversaries who did exactly the same share a row.
fn rows(curve: &Curve<'_>, stack: &MeasuredStack<'_>, columns: &[Column<'_>]) -> String {
    let class = if stack.front { " class=\"front\"" } else { "" };
    let threat =
        stack.worst.threat.map_or_else(String::new, |threat| format!(" <small>threat: {threat}</small>"));
    let mut text = format!("<tbody{class}>\n");
    let of_stack =
        curve.report.distinct_rows().into_iter().filter(|distinct| distinct.row.defense == stack.defense);
    for (place, DistinctRow { row, same, .. }) in of_stack.enumerate() {
        let worst = if curve.is_attacked() && row.adversary == stack.worst.adversary {
            " class=\"worst\""
        } else {
            ""
        };
        let defense = match (place, stack.front) {
            (0, true) => {
                format!(
                    "<span class=\"diamond\" title=\"on the Pareto front\">◆</span> {}{threat}",
                    escape(&row.defense)
                )
            }
            (0, false) => escape(&row.defense) + &threat,
            _ => format!("<span class=\"heard\">{}</span>", escape(&row.defense)),
        };
        let _ = write!(
            text,
            "<tr{worst}><th scope=\"row\">{defense}</th><td data-name=\"adversary\">{}</td>",
            std::iter::once(row.adversary.as_str()).chain(same).map(escape).collect::<Vec<_>>().join(" = ")
        );
        for column in columns {
            let _ = write!(
                text,
                "<td data-name=\"{}\" class=\"number\"><span>{}</span></td>",
                escape(column.heading()),
                column.cell(curve, row)
            );
        }
        text += "</tr>\n";
    }
    text + "</tbody>\n"
}

/// `0.83`, and its interval in a smaller type.
fn interval(score: Option<Score>, decimals: usize) -> String {
    score.map_or_else(
        || "–".into(),
        |Score { value, low, high }| {
            let [value, low, high] = [value, low, high].map(|number| table::fixed(number, decimals));
            format!("{value} <small>[{low}, {high}]</small>")
        },
    )
}

fn percent(score: Option<Score>) -> String {
    score.map_or_else(|| "–".into(), |score| format!("{:.0} %", 100.0 * score.value))
}

/// What the worst adversary recovered of the same texts at each strength, if it was asked for.
fn examples(curve: &Curve<'_>) -> String {
    let count = curve.stacks.iter().map(|stack| stack.worst.examples.len()).max().unwrap_or(0);
    if count == 0 {
        return String::new();
    }
    let mut text = "<h2>What comes back</h2>\n<p class=\"muted\">What the worst adversary of each stack recovers from \
                    the same texts. All are shown as the embedder reads them. Words of the original are underlined.</p>\n"
        .to_owned();
    for index in 0..count {
        let of_stacks =
            || curve.stacks.iter().filter_map(|stack| Some((stack, stack.worst.examples.get(index)?)));
        let Some((_, first)) = of_stacks().next() else { continue };
        let _ = writeln!(
            text,
            "<section class=\"example\">\n<blockquote>{}</blockquote>\n<dl>",
            escape(&first.text)
        );
        for (stack, example) in of_stacks() {
            let words = compared(&example.recovered, &example.text);
            let by = &stack.worst.adversary;
            let _ = writeln!(
                text,
                "<dt>{} <small>{}</small></dt><dd>{words}</dd>",
                escape(stack.defense),
                escape(by)
            );
        }
        text += "</dl>\n</section>\n";
    }
    text
}

fn compared(recovered: &str, text: &str) -> String {
    let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
    let own: Vec<String> = text.split_whitespace().map(bare).collect();
    let word = |word: &str| {
        if own.contains(&bare(word)) { format!("<u>{}</u>", escape(word)) } else { escape(word) }
    };
    recovered.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// The command and all settings, so that anyone can repeat it.
fn foot(curve: &Curve<'_>, command: &str) -> String {
    let mut text =
        format!("<footer>\n<h2>Command</h2>\n<pre>{}</pre>\n<h2>Signature</h2>\n<dl>\n", escape(command));
    for (name, value) in &curve.report.signature {
        let _ = writeln!(text, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(&shown(Some(value))));
    }
    text + "</dl>\n</footer>\n"
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "–".into(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(values)) => {
            values.iter().map(|value| shown(Some(value))).collect::<Vec<_>>().join("; ")
        }
        Some(Value::Object(values)) => values
            .iter()
            .map(|(name, value)| format!("{name}: {}", shown(Some(value))))
            .collect::<Vec<_>>()
            .join("; "),
        Some(value) => value.to_string(),
    }
}
