//! Pictures as SVG, and the text and numbers in them.

use super::style::style;

/// The sizes that a figure is drawn in, because a picture cannot reflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Wide,
    Narrow,
}

impl Size {
    pub(crate) fn width(self) -> f64 {
        match self {
            Self::Wide => 960.0,
            Self::Narrow => 360.0,
        }
    }

    pub(crate) fn font(self) -> f64 {
        match self {
            Self::Wide => 14.0,
            Self::Narrow => 12.0,
        }
    }

    pub(crate) fn is_narrow(self) -> bool {
        self == Self::Narrow
    }
}

/// A picture with its title; the body has its own coordinates.
pub(crate) struct Figure {
    pub(crate) title: String,
    /// What is drawn, for those who do not see it.
    pub(crate) about: String,
    pub(crate) height: f64,
    pub(crate) body: String,
}

impl Figure {
    /// Writes a separate picture, for a page that has [`style`](super::style::style).
    pub(crate) fn svg(&self, size: Size) -> String {
        let (width, height) = (size.width(), self.height.ceil());
        let class = if size.is_narrow() { "narrow" } else { "wide" };
        format!(
            "<svg class=\"embosk {class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">\n<desc>{}</desc>\n{}</svg>\n",
            escape(&self.title),
            escape(&self.about),
            self.body
        )
    }
}

/// A file with a self-contained picture.
pub(crate) fn file(title: &str, (width, height): (f64, f64), body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"embosk\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{title}</title>\n<style>{}</style>\n\
         <rect class=\"page\" width=\"{width}\" height=\"{height}\"/>\n{body}</svg>\n",
        style()
    )
}

/// Escapes text for XML and HTML.
pub(crate) fn escape(text: &str) -> String {
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
pub(crate) fn at(value: f64) -> String {
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
