//! Points with their intervals, told apart by shape as well as by colour, and words beside them that do
//! not overlap.

use super::picture::{Size, at, escape};
use super::style::COLOURS;

/// A point.
pub(crate) struct Mark {
    pub(crate) x: f64,
    pub(crate) y: f64,
    /// Whose it is; `None` for what is kept of retrieval.
    pub(crate) adversary: Option<usize>,
    /// Whether it is filled, as the worst adversary's is.
    pub(crate) full: bool,
    /// The interval's ends, horizontal and vertical.
    pub(crate) across: Option<(f64, f64)>,
    pub(crate) upright: Option<(f64, f64)>,
    /// The tooltip.
    pub(crate) title: String,
}

impl Mark {
    pub(crate) fn draw(&self) -> String {
        let (x, y) = (at(self.x), at(self.y));
        let across = self.across.map_or_else(String::new, |(from, to)| {
            format!("<path class=\"bar\" d=\"M{} {y}H{}\"/>", at(from), at(to))
        });
        let upright = self.upright.map_or_else(String::new, |(from, to)| {
            format!("<path class=\"bar\" d=\"M{x} {}V{}\"/>", at(from), at(to))
        });
        format!(
            "<g class=\"mark {}\"><title>{}</title>{across}{upright}{}</g>\n",
            class(self.adversary),
            escape(&self.title),
            shape(self.adversary, self.x, self.y, self.full)
        )
    }
}

pub(crate) fn class(adversary: Option<usize>) -> String {
    adversary.map_or_else(|| "kept".to_owned(), |index| format!("a{}", index % COLOURS.len()))
}

/// A circle, square, triangle, diamond, and so on; a small bar for retrieval.
pub(crate) fn shape(adversary: Option<usize>, x: f64, y: f64, full: bool) -> String {
    let class = if full { "shape full" } else { "shape" };
    let path = |points: &[(f64, f64)]| {
        let points: Vec<String> =
            points.iter().map(|(dx, dy)| format!("{} {}", at(x + dx), at(y + dy))).collect();
        format!("<path class=\"{class}\" d=\"M{}Z\"/>", points.join("L"))
    };
    match adversary.map(|index| index % COLOURS.len()) {
        None => path(&[(-5.0, -1.0), (5.0, -1.0), (5.0, 1.0), (-5.0, 1.0)]),
        Some(0) => format!("<circle class=\"{class}\" cx=\"{}\" cy=\"{}\" r=\"5\"/>", at(x), at(y)),
        Some(1) => path(&[(-4.5, -4.5), (4.5, -4.5), (4.5, 4.5), (-4.5, 4.5)]),
        Some(2) => path(&[(0.0, -6.0), (5.5, 4.0), (-5.5, 4.0)]),
        Some(3) => path(&[(0.0, -6.5), (6.0, 0.0), (0.0, 6.5), (-6.0, 0.0)]),
        Some(4) => path(&[(0.0, 6.0), (5.5, -4.0), (-5.5, -4.0)]),
        Some(_) => path(&[(-6.0, 0.0), (-3.0, -5.2), (3.0, -5.2), (6.0, 0.0), (3.0, 5.2), (-3.0, 5.2)]),
    }
}

pub(crate) fn line(points: &[(f64, f64)], class: &str) -> String {
    if points.len() < 2 {
        return String::new();
    }
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{} {}", at(*x), at(*y))).collect();
    format!("<path class=\"line {class}\" d=\"M{}\"/>\n", points.join("L"))
}

/// The approximate width of a text; fonts differ.
pub(crate) fn width(text: &str, size: Size) -> f64 {
    text.chars().count() as f64 * 0.56 * size.font()
}

/// As much of a text as there is room for.
pub(crate) fn fitted(text: &str, room: f64, size: Size) -> String {
    let most = (room / width("x", size)).max(1.0) as usize;
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// Where words may be placed: not on marks, not on other words and not outside; on a bar only if nothing else is
/// free.
pub(crate) struct Words {
    size: Size,
    bounds: [f64; 4],
    taken: Vec<[f64; 4]>,
    bars: Vec<[f64; 4]>,
}

impl Words {
    /// `bounds` are left, top, right and bottom.
    pub(crate) fn new(size: Size, bounds: [f64; 4]) -> Self {
        Self { size, bounds, taken: Vec::new(), bars: Vec::new() }
    }

    pub(crate) fn avoid(&mut self, mark: &Mark) {
        let Mark { x, y, across, upright, .. } = *mark;
        self.taken.push([x - 6.0, y - 6.0, x + 6.0, y + 6.0]);
        self.bars.extend(across.map(|(from, to)| [from, y - 1.0, to, y + 1.0]));
        self.bars.extend(upright.map(|(low, high)| [x - 1.0, high, x + 1.0, low]));
    }

    /// The words beside a mark, at the first free place of several. Empty if none is free: the mark's title and the
    /// table say it too.
    pub(crate) fn place(&mut self, text: &str, x: f64, y: f64) -> String {
        let (width, font) = (width(text, self.size), self.size.font());
        let (beside, half) = (11.0, 0.36 * font);
        let places = [
            (x + beside, y + half),
            (x - beside - width, y + half),
            (x + 6.0, y - beside),
            (x + 6.0, y + beside + 0.7 * font),
            (x - 6.0 - width, y - beside),
            (x - 6.0 - width, y + beside + 0.7 * font),
            (x + 6.0, y - 2.0 * beside),
            (x + 6.0, y + 2.0 * beside + 0.7 * font),
            (x - 6.0 - width, y - 2.0 * beside),
            (x - 6.0 - width, y + 2.0 * beside + 0.7 * font),
        ];
        let boxed = |(left, baseline): (f64, f64)| {
            [left, baseline - 0.8 * font, left + width, baseline + 0.25 * font]
        };
        let near = places[..6].iter().copied();
        let free = |place: &(f64, f64)| self.is_free(boxed(*place));
        let clear = |place: &(f64, f64)| free(place) && !meets(&self.bars, boxed(*place));
        let Some(place) = places.iter().copied().find(clear).or_else(|| near.clone().find(free)) else {
            return String::new();
        };
        self.taken.push(boxed(place));
        let (left, baseline) = (at(place.0), at(place.1));
        format!("<text class=\"label halo\" x=\"{left}\" y=\"{baseline}\">{}</text>\n", escape(text))
    }

    fn is_free(&self, wanted: [f64; 4]) -> bool {
        let ([first, highest, last, lowest], [left, top, right, bottom]) = (self.bounds, wanted);
        let is_inside = left >= first && right <= last && top >= highest && bottom <= lowest;
        is_inside && !meets(&self.taken, wanted)
    }
}

fn meets(taken: &[[f64; 4]], [left, top, right, bottom]: [f64; 4]) -> bool {
    taken.iter().any(|other| left < other[2] && right > other[0] && top < other[3] && bottom > other[1])
}
