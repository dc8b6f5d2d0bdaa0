//! The legend: what shapes, colours and lines mean.

use std::fmt::Write;

use super::super::points::{Curve, Line};
use crate::cli::chart::{Size, at, escape, mark};

/// A sample and its name.
struct Entry {
    sample: fn(&Entry, f64, f64) -> String,
    adversary: Option<usize>,
    line: usize,
    name: String,
}

/// The legend's elements and its height, from the top of the figure on.
pub(super) fn draw(curve: &Curve<'_>, size: Size, is_scatter: bool) -> (String, f64) {
    let mut entries: Vec<Entry> = Vec::new();
    if curve.is_attacked() {
        let adversaries = curve.adversaries.iter().enumerate();
        entries.extend(adversaries.map(|(index, name)| entry(adversary, Some(index), 0, name)));
    }
    if is_scatter {
        entries.push(entry(worst, None, 0, "filled: the worst for a stack"));
        let has_two = curve.stacks.iter().any(|stack| stack.front && stack.is_for_stolen_store());
        let front = if has_two { "Pareto front (the upper one: for a stolen store)" } else { "Pareto front" };
        entries.push(entry(ring, None, 0, front));
        let is_drawn = |line: &Line| line.axis.as_ref().is_some_and(|axis| !axis.whole);
        let lines = curve.lines.iter().enumerate().filter(|(_, line)| is_drawn(line));
        let lines: Vec<_> = lines.filter(|(at, _)| curve.along(*at).len() > 1).collect();
        if lines.len() > 1 {
            entries.extend(lines.iter().map(|(index, line)| entry(stroke, None, *index, &line.title)));
        }
    } else {
        if curve.is_attacked() {
            entries.push(entry(worst, None, 0, "filled: the worst for a stack"));
        }
        if curve.undefended_ndcg().is_some() {
            entries.push(entry(adversary, None, 0, "nDCG@10 kept"));
        }
    }
    arranged(&entries, size)
}

fn entry(sample: fn(&Entry, f64, f64) -> String, adversary: Option<usize>, line: usize, name: &str) -> Entry {
    Entry { sample, adversary, line, name: name.to_owned() }
}

/// From left to right, on as many lines as are needed.
fn arranged(entries: &[Entry], size: Size) -> (String, f64) {
    let (row, gap) = (1.7 * size.font(), 28.0);
    let (mut x, mut y) = (0.0, 0.5 * row);
    let mut text = "<g class=\"legend\">\n".to_owned();
    for entry in entries {
        let name = mark::fitted(&entry.name, size.width() - gap, size);
        let width = gap + mark::width(&name, size);
        if x > 0.0 && x + width > size.width() {
            (x, y) = (0.0, y + row);
        }
        text += &(entry.sample)(entry, x + 10.0, y);
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{}\">{}</text>",
            at(x + gap),
            at(y + 0.35 * size.font()),
            escape(&name)
        );
        x += width + 18.0;
    }
    (text + "</g>\n", y + 0.5 * row)
}

fn adversary(entry: &Entry, x: f64, y: f64) -> String {
    let line = mark::line(&[(x - 10.0, y), (x + 10.0, y)], &mark::class(entry.adversary));
    let shape = mark::shape(entry.adversary, x, y, true);
    format!("{line}<g class=\"{}\">{shape}</g>\n", mark::class(entry.adversary))
}

fn worst(_: &Entry, x: f64, y: f64) -> String {
    let [hollow, full] =
        [(x - 6.0, false), (x + 5.0, true)].map(|(x, full)| mark::shape(Some(0), x, y, full));
    format!("<g class=\"a5\">{hollow}{full}</g>\n")
}

fn ring(_: &Entry, x: f64, y: f64) -> String {
    let (left, right, x, y) = (at(x - 10.0), at(x + 12.0), at(x), at(y));
    format!(
        "<path class=\"step\" d=\"M{left} {y}H{right}\"/><circle class=\"ring\" cx=\"{x}\" cy=\"{y}\" r=\"8\"/>\n"
    )
}

fn stroke(entry: &Entry, x: f64, y: f64) -> String {
    mark::line(&[(x - 10.0, y), (x + 12.0, y)], &format!("a5 d{}", entry.line % 4))
}
