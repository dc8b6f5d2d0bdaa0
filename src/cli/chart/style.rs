//! What the pictures look like, on light and on dark pages.

use std::fmt::Write;

/// The colours of adversaries, on light and on dark. They are Okabe and Ito's (2008), which people with any kind of
/// colour vision can tell apart, made darker or lighter for contrast. Shapes say the same.
pub(crate) const COLOURS: [(&str, &str); 6] = [
    ("#0072b2", "#56b4e9"),
    ("#bf4e00", "#f5924e"),
    ("#00805d", "#2fc89a"),
    ("#a3478a", "#e39bc6"),
    ("#8f6700", "#e6b93d"),
    ("#4a5a68", "#b7c4d0"),
];

/// Page, ink, muted ink, and grid.
const LIGHT: [&str; 4] = ["#ffffff", "#1f2328", "#59636e", "#e3e6ea"];
const DARK: [&str; 4] = ["#14171a", "#e6e9ec", "#9da7b1", "#2c3238"];

/// What the pictures look like.
pub(crate) fn style() -> String {
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
    text += &theme(LIGHT, |colours| colours.0);
    let dark = theme(DARK, |colours| colours.1);
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
         .embosk .kept .shape,.embosk .kept.line,.embosk .kept .bar{{stroke:{muted}}}.embosk .kept .shape,.embosk text.kept{{fill:{muted}}}\n"
    );
    for (index, colours) in COLOURS.iter().enumerate() {
        let colour = colour(colours);
        let _ = writeln!(
            text,
            ".embosk .a{index} .shape,.embosk .a{index}.line,.embosk .a{index} .bar{{stroke:{colour}}}\
             .embosk text.a{index}{{fill:{colour}}}.embosk .a{index} .shape{{fill:{page}}}.embosk .a{index} .full{{fill:{colour}}}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The relative luminance of WCAG 2.
    fn luminance(colour: &str) -> f64 {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).expect("two digits")) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_can_be_read_on_its_page() {
        assert!((contrast("#ffffff", "#000000") - 21.0).abs() < 1e-9);
        let light =
            COLOURS.iter().map(|colours| colours.0).chain([LIGHT[1], LIGHT[2]]).map(|text| (text, LIGHT[0]));
        let dark =
            COLOURS.iter().map(|colours| colours.1).chain([DARK[1], DARK[2]]).map(|text| (text, DARK[0]));
        for (text, page) in light.chain(dark) {
            let contrast = contrast(text, page);
            assert!(contrast >= 4.5, "{text} on {page}: {contrast:.2}");
        }
    }
}
