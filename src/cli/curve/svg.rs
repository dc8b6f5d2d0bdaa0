//! The curve as a picture: what the worst adversary recovers against what is left of retrieval, and both
//! along each sweep. Static SVG, in a wide and a narrow size, light and dark.

mod frame;
mod legend;
mod mark;
mod panel;
mod scatter;

use std::fmt::Write;

pub(in crate::cli) use self::frame::{Frame, Scale};
use super::points::Curve;

/// The sizes that a figure is drawn in, as a picture cannot reflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Size {
    Wide,
    Narrow,
}

impl Size {
    pub(in crate::cli) fn width(self) -> f64 {
        match self {
            Self::Wide => 960.0,
            Self::Narrow => 360.0,
        }
    }

    fn font(self) -> f64 {
        match self {
            Self::Wide => 14.0,
            Self::Narrow => 12.0,
        }
    }

    fn is_narrow(self) -> bool {
        self == Self::Narrow
    }
}

/// A picture with its title; the body is in a system of coordinates of its own.
pub(super) struct Figure {
    pub(super) title: String,
    height: f64,
    body: String,
}

impl Figure {
    /// As a picture of its own, for a page that has [`style`].
    pub(super) fn svg(&self, size: Size) -> String {
        let (width, height) = (size.width(), self.height.ceil());
        let class = if size.is_narrow() { "narrow" } else { "wide" };
        format!(
            "<svg class=\"embosk {class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">\n{}</svg>\n",
            escape(&self.title),
            self.body
        )
    }
}

/// All figures that there is something to show in.
pub(super) fn figures(curve: &Curve<'_>, size: Size) -> Vec<Figure> {
    let lines = 0..curve.lines.len();
    scatter::figure(curve, size)
        .into_iter()
        .chain(lines.filter_map(|line| panel::figure(curve, line, size)))
        .collect()
}

/// All figures in one file that needs no other.
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
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"embosk\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>Privacy against utility</title>\n<style>{}</style>\n\
         <rect class=\"page\" width=\"{width}\" height=\"{height}\"/>\n{body}</svg>\n",
        style()
    )
}

/// The colours of adversaries, on light and on dark. They are Okabe and Ito's (2008), which people with
/// any kind of colour vision tell apart, made darker or lighter for contrast; shapes say the same.
const COLOURS: [(&str, &str); 6] = [
    ("#0072b2", "#56b4e9"),
    ("#c85200", "#f5924e"),
    ("#00805d", "#2fc89a"),
    ("#a3478a", "#e39bc6"),
    ("#8f6700", "#e6b93d"),
    ("#4a5a68", "#b7c4d0"),
];

/// What the pictures look like.
pub(in crate::cli) fn style() -> String {
    let mut text = "\n.embosk text{font:14px system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",Arial,sans-serif;fill:#1f2328}\n\
        .embosk.narrow text{font-size:12px}\n\
        .embosk text.title{font-size:18px;font-weight:600}\n\
        .embosk .line{fill:none;stroke-width:1.8;stroke-linejoin:round}\n\
        .embosk .bar{fill:none;stroke-width:1.4;stroke-opacity:.6}\n\
        .embosk .shape{stroke-width:2}\n\
        .embosk .ring{fill:none;stroke-width:1.6}\n\
        .embosk .step{fill:none;stroke-width:1.2;stroke-dasharray:2 4}\n\
        .embosk .limit{fill:none;stroke-width:1.4;stroke-dasharray:7 4}\n\
        .embosk .d1{stroke-dasharray:8 4}.embosk .d2{stroke-dasharray:12 4 3 4}.embosk .d3{stroke-dasharray:4 3}\n"
        .to_owned();
    text += &theme(["#fff", "#1f2328", "#59636e", "#e3e6ea"], |colours| colours.0);
    let dark = theme(["#14171a", "#e6e9ec", "#9da7b1", "#2c3238"], |colours| colours.1);
    let _ = writeln!(text, "@media (prefers-color-scheme:dark){{\n{dark}}}");
    text
}

fn theme(
    [page, ink, muted, grid]: [&str; 4],
    colour: fn(&(&'static str, &'static str)) -> &'static str,
) -> String {
    let mut text = format!(
        ".embosk .page{{fill:{page}}}.embosk text{{fill:{ink}}}.embosk text.muted{{fill:{muted}}}\n\
         .embosk .grid{{stroke:{grid};fill:none}}.embosk .axis,.embosk .reference{{stroke:{muted};fill:none}}\n\
         .embosk .ring,.embosk .step,.embosk .limit{{stroke:{ink}}}.embosk .halo{{stroke:{page};stroke-width:4;stroke-linejoin:round;paint-order:stroke}}\n\
         .embosk .kept .shape,.embosk .kept.line,.embosk .kept .bar{{stroke:{muted}}}.embosk .kept .shape{{fill:{muted}}}\n"
    );
    for (index, colours) in COLOURS.iter().enumerate() {
        let colour = colour(colours);
        let _ = writeln!(
            text,
            ".embosk .a{index} .shape,.embosk .a{index}.line,.embosk .a{index} .bar{{stroke:{colour}}}\
             .embosk .a{index} .shape{{fill:{page}}}.embosk .a{index} .full{{fill:{colour}}}"
        );
    }
    text
}

/// Text as XML and HTML have it.
pub(in crate::cli) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML knows no other control characters, not even escaped
            '\t' | '\n' | '\r' => escaped.push(' '),
            character if character.is_control() => escaped.push('\u{fffd}'),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

/// A coordinate: a tenth of a pixel is enough.
pub(in crate::cli) fn at(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup() {
        let hostile = "<script>alert(\"1\" & '2')</script>\u{0}\n";
        let escaped = escape(hostile);
        assert_eq!(escaped, "&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)&lt;/script&gt;\u{fffd} ");
        assert_eq!([at(1.04), at(-0.26), at(300.0)], ["1", "-0.3", "300"]);
    }
}
