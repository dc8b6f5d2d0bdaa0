//! `log.svg`: the curves of `log.csv`.

use std::fmt::Write;

use crate::cli::chart::{self, Frame, Scale, Size, at, escape};

/// How many points a curve over all steps is drawn with.
const POINTS: usize = 240;
const MARGIN: f64 = 24.0;
const HEIGHT: f64 = 260.0;

/// A line of a chart: its name, the class of its colour, and step and value.
struct Series {
    name: &'static str,
    class: &'static str,
    points: Vec<(f64, f64)>,
}

/// The picture of a log: loss in training and on held-out texts, and how many of these are recovered, or how near
/// they are to the teacher's vectors.
pub(super) fn draw(log: &str) -> String {
    let columns = LogColumns::read(log);
    let loss = Series { name: "training", class: "a0", points: thinned(&columns.of("loss")) };
    let held_out = Series { name: "held-out", class: "a1", points: columns.of("held_out_loss") };
    let bleu = Series { name: "BLEU / 100", class: "a2", points: scaled(columns.of("held_out_bleu"), 0.01) };
    let exact = Series { name: "exact match", class: "a3", points: columns.of("held_out_exact_match") };
    let cosine = Series { name: "cosine", class: "a2", points: columns.of("held_out_cosine") };
    let spearman = Series { name: "Spearman", class: "a3", points: columns.of("held_out_spearman") };
    let of_loss = if cosine.points.is_empty() { "loss of a token, in nats" } else { "1 − cosine" };
    let charts = [
        (of_loss, [loss, held_out]),
        ("held-out texts, one greedy pass", [bleu, exact]),
        ("held-out texts and the teacher", [cosine, spearman]),
    ];
    let mut body = String::new();
    let mut top = MARGIN;
    for (name, curves) in &charts {
        if let Some(chart) = chart(name, curves, top) {
            body += &chart;
            top += HEIGHT + 5.5 * 14.0;
        }
    }
    let (width, height) = (Size::Wide.width() + 2.0 * MARGIN, top + MARGIN);
    chart::file("Training", (width, height), &body)
}

/// Draws a chart; `None` if there is nothing to draw.
fn chart(name: &str, curves: &[Series], top: f64) -> Option<String> {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let last = points().map(|(step, _)| *step).reduce(f64::max)?;
    let (low, high) = (0.0, points().map(|(_, value)| *value).fold(1e-3, f64::max));
    let frame = Frame {
        left: MARGIN + 46.0,
        top: top + 3.4 * 14.0,
        width: Size::Wide.width() - 46.0 - 120.0,
        height: HEIGHT - 3.4 * 14.0,
        x: Scale::new(0.0, last, false, 0.0).whole(true),
        y: Scale::new(low, high, false, 0.02),
    };
    let mut text = frame.draw(("step", name), Size::Wide);
    let mut label = frame.top + 14.0;
    for curve in curves.iter().filter(|curve| !curve.points.is_empty()) {
        let places = curve
            .points
            .iter()
            .map(|(step, value)| format!("{} {}", at(frame.x(*step)), at(frame.y(*value))));
        let path = places.collect::<Vec<_>>().join("L");
        let (x, y) = (at(frame.right() + 8.0), at(label));
        let _ = writeln!(
            text,
            "<path class=\"line {0}\" d=\"M{path}\"/><path class=\"line {0}\" d=\"M{x} {y}h16\"/>\
             <text class=\"label\" x=\"{1}\" y=\"{2}\">{3}</text>",
            curve.class,
            at(frame.right() + 28.0),
            at(label + 5.0),
            escape(curve.name),
        );
        label += 20.0;
    }
    Some(text)
}

/// The log's columns, by name. Values that are not numbers are left out, and so is a line that a kill cut off.
pub(super) struct LogColumns<'a> {
    names: Vec<&'a str>,
    rows: Vec<Vec<&'a str>>,
}

impl<'a> LogColumns<'a> {
    pub(super) fn read(log: &'a str) -> Self {
        let mut lines = log.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let names = lines.next().unwrap_or_default();
        Self { names, rows: lines.collect() }
    }

    /// Step and value.
    pub(super) fn of(&self, name: &str) -> Vec<(f64, f64)> {
        let Some(column) = self.names.iter().position(|it| *it == name) else { return Vec::new() };
        let number = |row: &Vec<&str>, at: usize| row.get(at)?.parse::<f64>().ok().filter(|x| x.is_finite());
        self.rows.iter().filter_map(|row| Some((number(row, 0)?, number(row, column)?))).collect()
    }
}

fn scaled(points: Vec<(f64, f64)>, factor: f64) -> Vec<(f64, f64)> {
    points.into_iter().map(|(step, value)| (step, factor * value)).collect()
}

/// Means of neighbours, if there are more points than can be told apart.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mean = |part: &[(f64, f64)]| {
        let count = part.len() as f64;
        (part.iter().map(|it| it.0).sum::<f64>() / count, part.iter().map(|it| it.1).sum::<f64>() / count)
    };
    points.chunks(points.len().div_ceil(POINTS).max(1)).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "step,loss,samples_per_second,held_out_exact_match,held_out_bleu,held_out_loss\n";

    #[test]
    fn every_curve_that_there_is_is_drawn() {
        let mut log = HEAD.to_owned();
        for step in 1..=1000 {
            let _ = writeln!(log, "{step},{},100.0,,,", 5.0 / f64::from(step));
        }
        log += "500,,,0.1000,30.00,0.9\n1000,,,0.2000,40.00,0.8\n1001,Na";
        let picture = draw(&log);
        for name in ["training", "held-out", "BLEU / 100", "exact match", "loss of a token"] {
            assert!(picture.contains(name), "{name}");
        }
        assert_eq!(picture.matches("<path class=\"line").count(), 8);
        assert!(!picture.contains("NaN") && picture.len() < 20_000, "{}", picture.len());
    }

    #[test]
    fn a_log_without_numbers_is_an_empty_picture() {
        for log in ["", HEAD, "step,loss\n1,inf\n2,\n"] {
            let picture = draw(log);
            assert!(picture.starts_with("<svg") && !picture.contains("class=\"line"), "{picture}");
        }
    }

    #[test]
    fn thinning_keeps_the_mean() {
        let points: Vec<(f64, f64)> = (0..960).map(|n| (f64::from(n), f64::from(n % 4))).collect();
        let thin = thinned(&points);
        assert_eq!(thin.len(), POINTS);
        assert!(thin.iter().all(|(_, value)| (value - 1.5).abs() < 1e-12));
    }
}
