//! Plots, as SVG that takes its colours from the page by classes alone, so that pages that allow no
//! inline style can have them.

use std::fmt::Write;

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 340.0;
/// Room for the names of the axes and their ticks, and for the legend.
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 48.0;
/// The height of a bar and the gap after it.
const BAR: f64 = 26.0;
/// Colours of the page's style.
const COLOURS: usize = 7;

/// Lines in a frame with two axes.
pub(crate) struct Chart<'c> {
    pub(crate) x: Scale,
    pub(crate) y: Scale,
    pub(crate) x_name: &'c str,
    pub(crate) y_name: &'c str,
    pub(crate) x_tick: fn(f64) -> String,
    pub(crate) y_tick: fn(f64) -> String,
}

/// A line of a chart, with its points from left to right.
pub(crate) struct ChartLine<'l> {
    pub(crate) name: &'l str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// The mapping of values to an axis.
pub(crate) enum Scale {
    Linear {
        from: f64,
        to: f64,
    },
    Logarithmic {
        from: f64,
        to: f64,
    },
    /// The first value is 0, the next 1.
    Named(Vec<String>),
}

// === impl Scale ===

impl Scale {
    pub(crate) fn linear(from: f64, to: f64) -> Self {
        Self::Linear { from, to: if to > from { to } else { from + 1.0 } }
    }

    /// From the power of ten below the least to that above the greatest.
    pub(crate) fn logarithmic(values: impl IntoIterator<Item = f64>) -> Self {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for value in values.into_iter().filter(|value| *value > 0.0) {
            (least, most) = (least.min(value), most.max(value));
        }
        if most == 0.0 {
            (least, most) = (1.0, 10.0);
        }
        let (from, to) = (least.log10().floor(), most.log10().ceil());
        Self::Logarithmic { from, to: if to > from { to } else { from + 1.0 } }
    }

    pub(crate) fn named(names: Vec<String>) -> Self {
        Self::Named(names)
    }

    /// The part of the axis before a value.
    #[expect(clippy::cast_precision_loss, reason = "few names")]
    fn part(&self, value: f64) -> f64 {
        match self {
            Self::Linear { from, to } => (value - from) / (to - from),
            Self::Logarithmic { from, to } => {
                // Values below the axis are at its beginning.
                (value.max(1e-6).log10() - from).max(0.0) / (to - from)
            }
            Self::Named(names) => (value + 0.5) / names.len().max(1) as f64,
        }
    }

    /// Values to be marked, with their words.
    #[expect(clippy::cast_precision_loss, reason = "few names")]
    #[expect(clippy::cast_possible_truncation, reason = "few powers of ten")]
    fn ticks(&self, word: fn(f64) -> String) -> Vec<(f64, String)> {
        let worded = |value: f64| (value, word(value));
        match self {
            Self::Linear { from, to } => {
                let step = step((to - from) / 5.0);
                let first = (from / step).ceil() as i64;
                let values = (first..).map(|n| n as f64 * step);
                values.take_while(|value| *value <= to + step * 1e-9).map(worded).collect()
            }
            Self::Logarithmic { from, to } => {
                (*from as i32..=*to as i32).map(|power| worded(10_f64.powi(power))).collect()
            }
            Self::Named(names) => {
                names.iter().enumerate().map(|(at, n)| (at as f64, n.clone())).collect()
            }
        }
    }
}

/// The next number that is 1, 2 or 5 times a power of ten.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= least);
    factor.unwrap_or(10.0) * power
}

// === impl Chart ===

impl Chart<'_> {
    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (x, y) = (self.x.part(x), self.y.part(y));
        (LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM))
    }

    pub(crate) fn svg(&self, lines: &[ChartLine<'_>]) -> String {
        let mut svg = open(HEIGHT, &format!("{} by {}", self.y_name, self.x_name));
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for (value, word) in self.y.ticks(self.y_tick) {
            let y = HEIGHT - BOTTOM - self.y.part(value) * (HEIGHT - TOP - BOTTOM);
            _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>"
            );
            svg += &text(LEFT - 8.0, y + 4.0, "end", &word, "");
        }
        for (value, word) in self.x.ticks(self.x_tick) {
            let x = LEFT + self.x.part(value) * (WIDTH - LEFT - RIGHT);
            _ = write!(
                svg,
                "<line class=\"axis\" x1=\"{x:.1}\" y1=\"{bottom}\" x2=\"{x:.1}\" y2=\"{}\"/>",
                bottom + 5.0
            );
            svg += &text(x, bottom + 19.0, "middle", &word, "");
        }
        _ = write!(
            svg,
            "<path class=\"axis\" fill=\"none\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>"
        );
        svg += &text(f64::midpoint(LEFT, right), HEIGHT - 8.0, "middle", self.x_name, "soft");
        let y = f64::midpoint(TOP, bottom);
        _ = write!(
            svg,
            "<g transform=\"rotate(-90 14 {y})\">{}</g>",
            text(14.0, y, "middle", self.y_name, "soft")
        );
        let mut legend = LEFT;
        for (at, line) in lines.iter().enumerate() {
            let colour = colour(at);
            let places: Vec<_> = line.points.iter().map(|point| self.place(*point)).collect();
            let path: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            _ = write!(svg, "<polyline class=\"line {colour}\" points=\"{}\"/>", path.join(" "));
            if matches!(self.x, Scale::Named(_)) {
                for (x, y) in places {
                    _ = write!(
                        svg,
                        "<circle class=\"dot {colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"
                    );
                }
            }
            _ = write!(
                svg,
                "<rect class=\"dot {colour}\" x=\"{legend:.1}\" y=\"8\" width=\"12\" height=\"12\"/>"
            );
            svg += &text(legend + 18.0, 18.5, "start", line.name, "");
            legend += 40.0 + 7.0 * width(line.name);
        }
        svg + "</svg>"
    }
}

/// A bar for each of these times, in microseconds, on one scale from nothing.
pub(crate) fn bars(times: &[(&str, f64)], word: fn(f64) -> String) -> String {
    let most = times.iter().map(|(_, us)| *us).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let height = BAR * width_of(times.len()) + 6.0;
    let mut svg = open(height, "median of each step");
    let room = WIDTH - LEFT - 100.0;
    for (at, (name, us)) in times.iter().enumerate() {
        let y = BAR * width_of(at) + 4.0;
        // A bar that is too short to be seen is drawn all the same.
        let long = (us / most * room).max(1.0);
        _ = write!(
            svg,
            "<rect class=\"dot {}\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{long:.1}\" height=\"{:.1}\"/>",
            colour(1),
            BAR - 8.0
        );
        svg += &text(LEFT - 8.0, y + 13.0, "end", name, "");
        svg += &text(LEFT + long + 8.0, y + 13.0, "start", &word(*us), "");
    }
    svg + "</svg>"
}

/// A line without axes, in a box of 100 by 24, from nothing to the largest of the values. Missing
/// values leave a gap.
pub(crate) fn spark(values: &[Option<f64>], what: &str) -> String {
    let most = values.iter().flatten().copied().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let last = width_of(values.len().saturating_sub(1)).max(1.0);
    let mut path = String::new();
    let mut drawing = false;
    for (at, value) in values.iter().enumerate() {
        if let Some(value) = value {
            let (x, y) = (width_of(at) / last * 100.0, 23.0 - value / most * 22.0);
            _ = write!(path, "{}{x:.1} {y:.1}", if drawing { "L" } else { "M" });
        }
        drawing = value.is_some();
    }
    format!(
        "<svg class=\"spark\" viewBox=\"0 0 100 24\" role=\"img\" aria-label=\"{}\">\
         <path class=\"line c1\" d=\"{path}\"/></svg>",
        escape(what)
    )
}

/// Text as it stands in HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn open(height: f64, what: &str) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">", escape(what))
}

fn text(x: f64, y: f64, anchor: &str, words: &str, class: &str) -> String {
    let words = escape(words);
    format!(
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
    )
}

fn colour(at: usize) -> String {
    format!("c{}", at % COLOURS)
}

fn width(text: &str) -> f64 {
    width_of(text.chars().count())
}

#[expect(clippy::cast_precision_loss, reason = "few")]
fn width_of(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spark_reaches_from_its_first_value_to_its_last_with_gaps() {
        let svg = spark(&[None, Some(2.0), Some(4.0), None, Some(0.0)], "a & b");
        assert!(svg.contains("aria-label=\"a &amp; b\""), "{svg}");
        assert!(svg.contains("d=\"M25.0 12.0L50.0 1.0M100.0 23.0\""), "{svg}");
        assert!(spark(&[], "").contains("d=\"\""));
    }

    #[test]
    fn scales_have_round_ticks_and_place_values_between_them() {
        let ticks = |scale: Scale| {
            scale.ticks(|v| format!("{v}")).into_iter().map(|t| t.1).collect::<Vec<_>>()
        };
        assert_eq!(ticks(Scale::linear(0.0, 100.0)), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(ticks(Scale::linear(0.0, 11.3)), ["0", "5", "10"]);
        let scale = Scale::logarithmic([30.0, 4000.0]);
        assert_eq!(scale.part(10.0), 0.0);
        assert_eq!(scale.part(10_000.0), 1.0);
        assert!((scale.part(100.0) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(ticks(scale), ["10", "100", "1000", "10000"]);
        assert_eq!(ticks(Scale::logarithmic([])), ["1", "10"]);
        let names = Scale::named(vec!["a".into(), "b".into()]);
        assert_eq!((names.part(0.0), names.part(1.0)), (0.25, 0.75));
    }
}
