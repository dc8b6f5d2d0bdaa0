//! What each adversary recovers (horizontal) against what is left of retrieval (vertical).

use std::fmt::Write;

use super::super::points::{Curve, Line, MeasuredStack, RETRIEVAL};
use super::legend;
use crate::cli::chart::{Figure, Frame, Mark, Scale, Size, Words, at, mark, number};
use crate::cli::table;
use crate::evaluate::Row;
use crate::evaluate::metrics::Scores;
use crate::evaluate::statistics::Score;

/// Draws the figure; `None` if one of the two was not measured.
pub(super) fn figure(curve: &Curve<'_>, size: Size) -> Option<Figure> {
    let undefended = curve.undefended_ndcg()?;
    if !curve.is_attacked() {
        return None;
    }
    let (legend, legend_height) = legend::draw(curve, size, true);
    let frame = frame(curve, size, legend_height)?;
    let across = format!("{} (what comes back; 1 is undefended)", curve.measure());
    let mut body = legend + &frame.draw((&across, "nDCG@10 (what is left of retrieval)"), size);
    body += &references(curve, &frame, undefended, size);
    let marks: Vec<Mark> = marks(curve, &frame);
    body += &lines(curve, &frame);
    body += &front(curve, &frame);
    body += &marks.iter().map(Mark::draw).collect::<String>();
    body += &labels(curve, &frame, &marks, size);
    let height = frame.bottom() + 3.8 * size.font();
    let about = format!(
        "A mark for each stack and adversary: from left to right, {} rises, and from bottom to top, nDCG@10. The table \
         below has the numbers.",
        curve.measure()
    );
    Some(Figure {
        title: "What an attacker recovers, and what is left of retrieval".into(),
        about,
        height,
        body,
    })
}

fn frame(curve: &Curve<'_>, size: Size, legend: f64) -> Option<Frame> {
    let rows = || curve.stacks.iter().flat_map(|stack| &stack.rows);
    let recovered = || rows().filter_map(|row| curve.recovered(row));
    let ndcg = rows().filter_map(|row| row.score(RETRIEVAL)).map(|score| score.high).reduce(f64::max)?;
    let low = recovered().map(|score| score.low).fold(0.0, f64::min);
    let high = recovered().map(|score| score.high).fold(1.0, f64::max);
    let (left, right, height) = if size.is_narrow() { (34.0, 8.0, 320.0) } else { (46.0, 64.0, 470.0) };
    Some(Frame {
        left,
        top: legend + 3.4 * size.font(),
        width: size.width() - left - right,
        height,
        x: Scale::new(low, high, false, 0.03),
        y: Scale::new(0.0, ndcg * 1.04, false, 0.0),
    })
}

/// What the undefended attack reaches, what chance gives, and retrieval without a defense.
fn references(curve: &Curve<'_>, frame: &Frame, undefended: Score, size: Size) -> String {
    let bleu = |scores: &Option<Scores>| scores.as_ref().and_then(|scores| scores.score("bleu"));
    let (floor, ceiling) = if curve.report.is_conclusive() {
        (Some(0.0), Some(1.0))
    } else {
        let share = |score: Option<Score>| score.map(|score| score.value / 100.0);
        (share(bleu(&curve.report.floor)), share(bleu(&curve.report.ceiling)))
    };
    let mut text = "<g class=\"references\">\n".to_owned();
    if let Some(floor) = floor {
        text += &frame.upright(floor, "chance", "reference floor", "middle");
    }
    if let Some(ceiling) = ceiling {
        text += &frame.upright(ceiling, "undefended attack", "reference ceiling", "end");
    }
    text += &frame.across(undefended.value, "", "reference undefended");
    if !size.is_narrow() {
        text += &shares(frame, undefended.value, size);
    }
    text + "</g>\n"
}

/// The right-hand axis: nDCG@10 as a share of the undefended.
fn shares(frame: &Frame, undefended: f64, size: Size) -> String {
    let x = at(frame.right() + 8.0);
    let tick = |share: i32| {
        let y = at(frame.y(undefended * f64::from(share) / 100.0) + 0.35 * size.font());
        format!("<text class=\"muted tick share\" x=\"{x}\" y=\"{y}\">{share} %</text>\n")
    };
    let name = format!(
        "<text class=\"muted\" x=\"{}\" y=\"{}\" text-anchor=\"end\">of undefended nDCG@10</text>\n",
        at(size.width()),
        at(frame.top - 1.9 * size.font())
    );
    [0, 25, 50, 75, 100].map(tick).concat() + &name
}

fn place(curve: &Curve<'_>, frame: &Frame, row: &Row) -> Option<(f64, f64)> {
    Some((frame.x(curve.recovered(row)?.value), frame.y(row.score(RETRIEVAL)?.value)))
}

/// The worst adversaries' marks are drawn last, above the others.
fn marks(curve: &Curve<'_>, frame: &Frame) -> Vec<Mark> {
    let rows = curve.stacks.iter().flat_map(|stack| stack.rows.iter().map(move |row| (stack, *row)));
    let mut marks: Vec<Mark> = rows.filter_map(|(stack, row)| one(curve, frame, stack, row)).collect();
    marks.sort_by_key(|mark| mark.full);
    marks
}

fn one(curve: &Curve<'_>, frame: &Frame, stack: &MeasuredStack<'_>, row: &Row) -> Option<Mark> {
    let (x, y) = place(curve, frame, row)?;
    let (recovered, ndcg) = (curve.recovered(row)?, row.score(RETRIEVAL)?);
    let full = stack.worst.adversary == row.adversary;
    Some(Mark {
        x,
        y,
        adversary: curve.adversaries.iter().position(|name| *name == row.adversary),
        full,
        across: Some((frame.x(recovered.low), frame.x(recovered.high))),
        upright: full.then(|| (frame.y(ndcg.low), frame.y(ndcg.high))),
        title: title(curve, row),
    })
}

pub(super) fn title(curve: &Curve<'_>, row: &Row) -> String {
    let kept = curve.kept_in_percent(row).map_or_else(String::new, |kept| format!(", {kept} kept"));
    let ndcg = row.score(RETRIEVAL).map(|score| format!("nDCG@10 {}{kept}", table::long(Some(score), 3)));
    let leak = || format!("{} {}", curve.measure(), table::long(curve.recovered(row), 2));
    let scores: Vec<String> = curve.is_attacked().then(leak).into_iter().chain(ndcg).collect();
    let of =
        if curve.is_attacked() { format!("{}, {}", row.defense, row.adversary) } else { row.defense.clone() };
    let threat = row.threat.map_or_else(String::new, |threat| format!(" (threat: {threat})"));
    format!("{of}: {}{threat}", scores.join(", "))
}

/// A line for each sweep and adversary, by rising strength.
fn lines(curve: &Curve<'_>, frame: &Frame) -> String {
    let mut text = String::new();
    // there is nothing between whole numbers
    let is_drawn = |line: &Line| line.axis.as_ref().is_some_and(|axis| !axis.whole);
    for (number, _) in curve.lines.iter().enumerate().filter(|(_, line)| is_drawn(line)) {
        for (index, adversary) in curve.adversaries.iter().enumerate() {
            let rows = curve.along(number).into_iter().filter_map(|stack| {
                let row = stack.rows.iter().find(|row| row.adversary == *adversary)?;
                place(curve, frame, row)
            });
            text += &mark::line(
                &rows.collect::<Vec<_>>(),
                &format!("{} d{}", mark::class(Some(index)), number % 4),
            );
        }
    }
    text
}

/// A ring around each stack on the front, and the step that they make: one without the stacks for a stolen store, and
/// one with them if there are any.
fn front(curve: &Curve<'_>, frame: &Frame) -> String {
    let on_front = || curve.stacks.iter().filter(|stack| stack.front);
    let of_stack = |stack: &MeasuredStack<'_>| place(curve, frame, stack.worst);
    let rings = on_front().filter_map(of_stack).map(|(x, y)| {
        format!("<circle class=\"ring\" cx=\"{}\" cy=\"{}\" r=\"9.5\"><title>on the Pareto front</title></circle>\n", at(x), at(y))
    });
    let rings: String = rings.collect();
    let mut steps =
        step(on_front().filter(|stack| !stack.is_for_stolen_store()).filter_map(of_stack).collect());
    if on_front().any(MeasuredStack::is_for_stolen_store) {
        steps += &step(on_front().filter_map(of_stack).collect());
    }
    format!("<g class=\"front\">\n{steps}{rings}</g>\n")
}

/// The step from left to right and up, past places that are below one on their left.
fn step(mut places: Vec<(f64, f64)>) -> String {
    places.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut path = String::new();
    let mut highest = f64::INFINITY;
    for (x, y) in places {
        if path.is_empty() {
            path = format!("M{} {}", at(x), at(y));
        } else if y < highest {
            let _ = write!(path, "H{}V{}", at(x), at(y));
        }
        highest = highest.min(y);
    }
    format!("<path class=\"step\" d=\"{path}\"/>\n")
}

fn labels(curve: &Curve<'_>, frame: &Frame, marks: &[Mark], size: Size) -> String {
    let bounds = [frame.left + 2.0, frame.top, frame.right() - 2.0, frame.bottom() - 2.0];
    let mut words = Words::new(size, bounds);
    for mark in marks {
        words.avoid(mark);
    }
    // the front first, where there is not room for all
    let mut stacks: Vec<&MeasuredStack<'_>> = curve.stacks.iter().collect();
    stacks.sort_by_key(|stack| !stack.front);
    let label = |stack: &MeasuredStack<'_>| {
        let (x, y) = place(curve, frame, stack.worst)?;
        Some(words.place(&name(curve, stack), x, y))
    };
    let labels: Vec<String> = stacks.into_iter().filter_map(label).collect();
    let better =
        if size.is_narrow() { "↖ better" } else { "↖ better: less comes back, search still works" };
    let corner = words.place(better, frame.left - 2.0, frame.top + 1.4 * size.font());
    format!("<g class=\"labels\">\n{}{}</g>\n", labels.concat(), corner.replace("label halo", "muted"))
}

/// For a stack on a line, its strength, after the first defense's name if several lines have the same parameter.
/// Otherwise, as much of its spec as there is room for.
fn name(curve: &Curve<'_>, stack: &MeasuredStack<'_>) -> String {
    let Some((line, values)) = &stack.of else { return shortened(stack.defense) };
    let values = values.iter().map(|value| number(*value)).collect::<Vec<_>>().join(", ");
    let Some(axis) = &curve.lines[*line].axis else { return values };
    let same = |other: &&Line| other.axis.as_ref().is_some_and(|other| other.parameter == axis.parameter);
    if curve.lines.iter().filter(same).count() > 1 {
        let title = &curve.lines[*line].title;
        let first = title.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        return format!("{first} {} {values}", axis.parameter);
    }
    format!("{} {values}", axis.parameter)
}

fn shortened(spec: &str) -> String {
    let most = 26;
    if spec.chars().count() <= most {
        spec.to_owned()
    } else {
        spec.chars().take(most - 1).chain(['…']).collect()
    }
}
