//! Axes: map numbers to places, with grid, ticks and names.

use std::fmt::Write;

use super::picture::{Size, at, escape};

/// Maps numbers to a part of an axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    from: f64,
    to: f64,
    log: bool,
    /// Whether there are ticks only at whole numbers.
    whole: bool,
}

impl Scale {
    /// Creates the scale from `from` to `to`, with some room beyond both if `room` is more than 0.
    pub(crate) fn new(from: f64, to: f64, log: bool, room: f64) -> Self {
        let log = log && from > 0.0;
        let (low, high) = if log { (from.ln(), to.ln()) } else { (from, to) };
        let room = room * if high > low { high - low } else { high.abs().max(1.0) };
        let back = |value: f64| if log { value.exp() } else { value };
        Self { from: back(low - room), to: back(high + room), log, whole: false }
    }

    /// Sets whether there are ticks only at whole numbers.
    pub(crate) fn whole(self, whole: bool) -> Self {
        Self { whole, ..self }
    }

    fn part(self, value: f64) -> f64 {
        let scale = |value: f64| if self.log { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let range = scale(self.to) - scale(self.from);
        if range > 0.0 { (scale(value) - scale(self.from)) / range } else { 0.5 }
    }

    /// About `count` round numbers within the scale.
    pub(crate) fn ticks(self, count: usize) -> Vec<f64> {
        let ticks = if self.log { self.log_ticks(count) } else { Vec::new() };
        let ticks = if ticks.len() >= 2 { ticks } else { self.even_ticks(count) };
        ticks.into_iter().filter(|tick| !self.whole || tick.fract() == 0.0).collect()
    }

    fn even_ticks(self, count: usize) -> Vec<f64> {
        let raw = (self.to - self.from) / count.max(1) as f64;
        let power = 10_f64.powf(raw.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= raw * 0.75);
        let Some(step) = step.filter(|step| step.is_normal()) else { return vec![self.from] };
        let first = (self.from / step - 1e-9).ceil();
        let ticks = (0..=2 * count).map(|n| (first + n as f64) * step);
        // not 0.30000000000000004
        let clean = |tick: f64| format!("{tick:.12}").parse().unwrap_or(tick);
        ticks.filter(|tick| *tick <= self.to + 1e-9 * step).map(clean).collect()
    }

    fn log_ticks(self, count: usize) -> Vec<f64> {
        let decades = self.from.log10().floor() as i32..=self.to.log10().ceil() as i32;
        let of = |factors: &[f64]| -> Vec<f64> {
            let all = decades
                .clone()
                .flat_map(|decade| factors.iter().map(move |factor| factor * 10_f64.powi(decade)));
            all.filter(|tick| *tick >= self.from * 0.999 && *tick <= self.to * 1.001).collect()
        };
        let choices = [of(&[1.0, 2.0, 5.0]), of(&[1.0, 3.0]), of(&[1.0])];
        choices.into_iter().find(|ticks| ticks.len() <= count + 1).unwrap_or_default()
    }
}

/// The place of a chart within its figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) x: Scale,
    pub(crate) y: Scale,
}

impl Frame {
    pub(crate) fn x(&self, value: f64) -> f64 {
        self.left + self.width * self.x.part(value)
    }

    pub(crate) fn y(&self, value: f64) -> f64 {
        self.top + self.height * (1.0 - self.y.part(value))
    }

    pub(crate) fn right(&self) -> f64 {
        self.left + self.width
    }

    pub(crate) fn bottom(&self) -> f64 {
        self.top + self.height
    }

    /// Grid, ticks and the axes' names.
    pub(crate) fn draw(&self, (x_name, y_name): (&str, &str), size: Size) -> String {
        let mut text = "<g class=\"axes\">\n".to_owned();
        let (left, right, top, bottom) = (at(self.left), at(self.right()), at(self.top), at(self.bottom()));
        for tick in self.y.ticks(5) {
            let y = at(self.y(tick));
            let _ = writeln!(text, "<path class=\"grid\" d=\"M{left} {y}H{right}\"/>");
            let (x, y) = (at(self.left - 8.0), at(self.y(tick) + 0.35 * size.font()));
            let _ = writeln!(
                text,
                "<text class=\"muted tick y\" x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{}</text>",
                number(tick)
            );
        }
        for tick in self.x.ticks(if size.is_narrow() { 5 } else { 8 }) {
            let x = at(self.x(tick));
            let _ = writeln!(text, "<path class=\"grid\" d=\"M{x} {top}V{bottom}\"/>");
            let y = at(self.bottom() + 1.5 * size.font());
            let _ = writeln!(
                text,
                "<text class=\"muted tick x\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
                number(tick)
            );
        }
        let _ = writeln!(text, "<path class=\"axis\" d=\"M{left} {top}V{bottom}H{right}\"/>");
        let (x, y) = (at(self.left + self.width / 2.0), at(self.bottom() + 3.2 * size.font()));
        let _ = writeln!(
            text,
            "<text class=\"name x\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
            escape(x_name)
        );
        let y = at(self.top - 1.9 * size.font());
        let _ = writeln!(text, "<text class=\"name y\" x=\"0\" y=\"{y}\">{}</text>\n</g>", escape(y_name));
        text
    }

    /// A line across, at a height, with a name above it at its left.
    pub(crate) fn across(&self, value: f64, name: &str, class: &str) -> String {
        let (left, right, y) = (at(self.left), at(self.right()), at(self.y(value)));
        let (x, above) = (at(self.left + 6.0), at(self.y(value) - 5.0));
        format!(
            "<g><title>{0}</title><path class=\"{class}\" d=\"M{left} {y}H{right}\"/>\
             <text class=\"muted halo\" x=\"{x}\" y=\"{above}\">{0}</text></g>\n",
            escape(name)
        )
    }

    /// A line from bottom to top, with a name above the chart.
    pub(crate) fn upright(&self, value: f64, name: &str, class: &str, anchor: &str) -> String {
        let (top, bottom, x, above) =
            (at(self.top), at(self.bottom()), at(self.x(value)), at(self.top - 6.0));
        format!(
            "<g><title>{0}</title><path class=\"{class}\" d=\"M{x} {top}V{bottom}\"/>\
             <text class=\"muted\" x=\"{x}\" y=\"{above}\" text-anchor=\"{anchor}\">{0}</text></g>\n",
            escape(name)
        )
    }
}

/// Prints a number without trailing zeros.
pub(crate) fn number(value: f64) -> String {
    let value = if value == 0.0 { 0.0 } else { value };
    if value != 0.0 && !(1e-4..1e6).contains(&value.abs()) { format!("{value:.0e}") } else { rounded(value) }
}

fn rounded(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let cases: [(Scale, usize, &[f64]); 6] = [
            (Scale::new(0.0, 1.0, false, 0.0), 5, &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
            (Scale::new(-0.1, 1.1, false, 0.0), 5, &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
            (Scale::new(0.003, 0.1, true, 0.0), 5, &[0.005, 0.01, 0.02, 0.05, 0.1]),
            (Scale::new(0.0001, 1.0, true, 0.0), 5, &[0.0001, 0.001, 0.01, 0.1, 1.0]),
            (Scale::new(0.02, 0.03, true, 0.0), 5, &[0.02, 0.022, 0.024, 0.026, 0.028, 0.03]),
            (Scale::new(1.0, 8.0, false, 0.0), 8, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]),
        ];
        for (scale, count, expected) in cases {
            let ticks = scale.ticks(count);
            assert_eq!(ticks.len(), expected.len(), "{ticks:?} {expected:?}");
            assert!(ticks.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{ticks:?} {expected:?}");
        }
    }

    #[test]
    fn numbers_have_no_tail() {
        for (value, text) in
            [(0.1, "0.1"), (0.0, "0"), (-0.0, "0"), (8.0, "8"), (0.004_642, "0.004642"), (1e-7, "1e-7")]
        {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_range_of_nothing_has_a_place() {
        assert_eq!(Scale::new(0.5, 0.5, false, 0.0).part(0.5), 0.5);
        assert!(Scale::new(0.5, 0.5, true, 0.1).part(0.5).is_finite());
        assert!(!Scale::new(0.5, 0.5, false, 0.0).ticks(5).is_empty());
    }
}
