//! The curve as a picture: what the worst adversary recovers against what is left of retrieval, and both
//! along each sweep. Static SVG, in a wide and a narrow size, light and dark.

mod legend;
mod panel;
mod scatter;

use std::fmt::Write;

use super::points::Curve;
use crate::cli::chart::{self, Figure, Size, escape};

/// All figures that have something to show.
pub(super) fn figures(curve: &Curve<'_>, size: Size) -> Vec<Figure> {
    let lines = 0..curve.lines.len();
    scatter::figure(curve, size)
        .into_iter()
        .chain(lines.filter_map(|line| panel::figure(curve, line, size)))
        .collect()
}

/// All figures in one self-contained file.
pub(super) fn file(curve: &Curve<'_>) -> String {
    let (width, margin, heading) = (Size::Wide.width(), 24.0, 40.0);
    let mut body = String::new();
    let mut top = margin;
    for figure in figures(curve, Size::Wide) {
        let baseline = top + 22.0;
        let _ = writeln!(
            body,
            "<text class=\"title\" x=\"{margin}\" y=\"{baseline}\">{}</text>",
            escape(&figure.title)
        );
        let _ =
            writeln!(body, "<g transform=\"translate({margin},{})\">\n{}</g>", top + heading, figure.body);
        top += heading + figure.height + margin;
    }
    if body.is_empty() {
        top += heading;
        let _ = writeln!(
            body,
            "<text x=\"{margin}\" y=\"{heading}\">There is nothing to draw: see the table.</text>"
        );
    }
    let (width, height) = (width + 2.0 * margin, top.ceil());
    chart::file(curve.heading(), (width, height), &body)
}
