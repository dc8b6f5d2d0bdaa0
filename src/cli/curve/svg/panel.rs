//! What is recovered and what is kept of retrieval, along one sweep.

use super::super::points::{Axis, Curve, MeasuredStack};
use super::{legend, scatter};
use crate::cli::chart::{Figure, Frame, Mark, Scale, Size, at, escape, mark, number};
use crate::evaluate::Row;
use crate::evaluate::statistics::Score;

/// Draws the figure; `None` for a sweep that does not have exactly one range.
pub(super) fn figure(curve: &Curve<'_>, line: usize, size: Size) -> Option<Figure> {
    let axis = curve.lines[line].axis.as_ref()?;
    let stacks = curve.along(line);
    let (legend, legend_height) = legend::draw(curve, size, false);
    let series = series(curve, &stacks);
    let frame = frame(axis, &series, size, legend_height)?;
    let upright = match (curve.is_attacked(), curve.undefended_ndcg().is_some()) {
        (true, true) => format!("{}, and share of nDCG@10 kept", curve.measure()),
        (true, false) => curve.measure().to_owned(),
        _ => "share of nDCG@10 kept".into(),
    };
    let mut body = legend + &frame.draw((&name(axis), &upright), size);
    body += &references(curve, &frame, &stacks);
    for one in &series {
        body += &one.draw(&frame, axis);
    }
    if !size.is_narrow() && !axis.whole {
        body += &ends(&series, &frame, size);
    }
    let height = frame.bottom() + 3.8 * size.font();
    let about = format!(
        "From left to right, {} rises; from bottom to top, {upright}. The table below has the numbers.",
        axis.parameter
    );
    Some(Figure { title: curve.lines[line].title.clone(), about, height, body })
}

/// The parameter with its unit.
fn name(axis: &Axis) -> String {
    let unit = match axis.parameter.as_str() {
        "sigma" | "bits" => " per coordinate",
        _ => "",
    };
    let scale = if axis.log { ", on a logarithmic axis" } else { "" };
    format!("{}{unit}{scale}", axis.parameter)
}

/// One measure along the sweep: an adversary's, or retrieval.
struct Series {
    adversary: Option<usize>,
    name: String,
    /// Pixels to the right, so that series that would overlap are side by side.
    shift: f64,
    /// Strength, score, whether it is the worst adversary's, and the tooltip.
    points: Vec<(f64, Score, bool, String)>,
}

impl Series {
    fn draw(&self, frame: &Frame, axis: &Axis) -> String {
        let x = |strength: f64| frame.x(strength) + self.shift;
        let places: Vec<_> =
            self.points.iter().map(|(strength, score, ..)| (x(*strength), frame.y(score.value))).collect();
        let mark = |(strength, score, full, title): &(f64, Score, bool, String)| Mark {
            x: x(*strength),
            y: frame.y(score.value),
            adversary: self.adversary,
            full: *full,
            across: None,
            upright: Some((frame.y(score.low), frame.y(score.high))),
            title: title.clone(),
        };
        let marks: String = self.points.iter().map(|point| mark(point).draw()).collect();
        // there is nothing between whole numbers
        let line = if axis.whole { String::new() } else { mark::line(&places, &mark::class(self.adversary)) };
        line + &marks
    }
}

fn series(curve: &Curve<'_>, stacks: &[&MeasuredStack<'_>]) -> Vec<Series> {
    let adversaries: Vec<Option<usize>> =
        if curve.is_attacked() { (0..curve.adversaries.len()).map(Some).collect() } else { Vec::new() };
    let all: Vec<Option<usize>> = std::iter::once(None).chain(adversaries).collect();
    let middle = (all.len() - 1) as f64 / 2.0;
    let one = |(place, &adversary): (usize, &Option<usize>)| Series {
        adversary,
        name: adversary.map_or_else(|| "nDCG@10".to_owned(), |index| curve.adversaries[index].to_owned()),
        shift: 5.0 * (place as f64 - middle),
        points: stacks.iter().filter_map(|stack| point(curve, stack, adversary)).collect(),
    };
    all.iter().enumerate().map(one).filter(|series| !series.points.is_empty()).collect()
}

fn point(
    curve: &Curve<'_>,
    stack: &MeasuredStack<'_>,
    adversary: Option<usize>,
) -> Option<(f64, Score, bool, String)> {
    let strength = *stack.of.as_ref()?.1.first()?;
    let row: &Row = match adversary {
        None => stack.worst,
        Some(index) => stack.rows.iter().find(|row| row.adversary == curve.adversaries[index])?,
    };
    let score = if adversary.is_some() { curve.recovered(row)? } else { curve.kept(row)? };
    let is_worst = adversary.is_some() && row.adversary == stack.worst.adversary;
    Some((strength, score, is_worst, scatter::title(curve, row)))
}

fn frame(axis: &Axis, series: &[Series], size: Size, legend: f64) -> Option<Frame> {
    let points = || series.iter().flat_map(|series| &series.points);
    let strengths = || points().map(|(strength, ..)| *strength);
    let (from, to) = (strengths().reduce(f64::min)?, strengths().reduce(f64::max)?);
    let low = points().map(|(_, score, ..)| score.low).fold(0.0, f64::min);
    let high = points().map(|(_, score, ..)| score.high).fold(1.0, f64::max);
    let (left, right, height) = if size.is_narrow() { (34.0, 8.0, 240.0) } else { (46.0, 120.0, 320.0) };
    Some(Frame {
        left,
        top: legend + 3.4 * size.font(),
        width: size.width() - left - right,
        height,
        x: Scale::new(from, to, axis.log, 0.05).whole(axis.whole),
        y: Scale::new(low, high, false, 0.02),
    })
}

/// The undefended attack and chance, and the limit and the strength of a search.
fn references(curve: &Curve<'_>, frame: &Frame, stacks: &[&MeasuredStack<'_>]) -> String {
    let mut text = "<g class=\"references\">\n".to_owned();
    text += &frame.across(1.0, "", "reference undefended");
    text += &frame.across(0.0, "", "reference floor");
    if let Some((limit, _)) = &curve.found {
        let is_here = |found: &MeasuredStack<'_>| stacks.iter().any(|stack| stack.defense == found.defense);
        if curve.leak().is_some_and(|leak| limit.is_of(leak)) {
            text += &frame.across(limit.most, &limit.to_string(), "limit");
        }
        if let Some((_, values)) =
            curve.found_stack().filter(|stack| is_here(stack)).and_then(|stack| stack.of.as_ref())
        {
            text += &frame.upright(values[0], &format!("found: {}", number(values[0])), "limit", "middle");
        }
    }
    text + "</g>\n"
}

/// The lines' names where they end, in their colours, one below the other. A line that is hidden by another has none.
fn ends(series: &[Series], frame: &Frame, size: Size) -> String {
    let values = |series: &Series| series.points.iter().map(|(_, score, ..)| score.value).collect::<Vec<_>>();
    let is_hidden = |at: usize| series[..at].iter().any(|other| values(other) == values(&series[at]));
    let shown = (0..series.len()).filter(|at| !is_hidden(*at)).map(|at| &series[at]);
    let last = |series: &Series| series.points.last().map(|(_, score, ..)| frame.y(score.value));
    let mut names: Vec<(f64, &Series)> = shown.filter_map(|series| Some((last(series)?, series))).collect();
    names.sort_by(|a, b| a.0.total_cmp(&b.0));
    let least = 1.2 * size.font();
    for place in 1..names.len() {
        names[place].0 = names[place].0.max(names[place - 1].0 + least);
    }
    let beyond = names.last().map_or(0.0, |(y, _)| (y - frame.bottom()).max(0.0));
    let name = |(y, series): &(f64, &Series)| {
        let (x, y) = (at(frame.right() + 8.0), at(y - beyond + 0.35 * size.font()));
        let class = mark::class(series.adversary);
        format!("<text class=\"label {class}\" x=\"{x}\" y=\"{y}\">{}</text>\n", escape(&series.name))
    };
    format!("<g class=\"labels\">\n{}</g>\n", names.iter().map(name).collect::<String>())
}
