//! A report as a page of its own: plots, each with the table of its figures. The page
//! loads nothing.

use askama::Template;

use super::report::{BenchReport, Point, Series};
use super::time;
use crate::chart::{Chart, ChartLine, Scale, bars};

/// The figures of a table.
const STATS: [&str; 6] = ["min", "p50", "p90", "p99", "p99.9", "max"];
const STYLE: &str = include_str!("html/style.css");
/// Stands for a missing figure.
const ABSENT: &str = "–";

/// A report, as its template shows it.
#[derive(Template)]
#[template(path = "report.html")]
struct ReportPage<'a> {
    style: &'static str,
    facts: [(&'static str, String); 5],
    sections: Vec<Section>,
    /// The points that were not measured, and why.
    skipped: Vec<(String, &'a str)>,
}

/// A plot, and the table of its figures.
struct Section {
    heading: String,
    figure: Option<Figure>,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

struct Figure {
    /// Made by [`Chart`], which escapes what it is given.
    svg: String,
    caption: String,
}

/// The page.
#[must_use]
pub fn page(report: &BenchReport) -> String {
    let machine = &report.machine;
    let engine = machine.engine.as_deref().map(|e| format!(", engine {e}")).unwrap_or_default();
    let on = format!(
        "{} processors under a load of {}, Linux {}{engine}",
        machine.cpus, machine.load, machine.kernel
    );
    let facts = [
        ("Measured", report.subject.clone()),
        ("Began", report.began.clone()),
        ("Machine", on),
        ("Command", format!("ganger {}", report.command.join(" "))),
        ("Program", report.program.clone()),
    ];
    let mut sections: Vec<_> = report.points.iter().flat_map(of_point).collect();
    sections.extend(sweep(&report.points));
    sections.extend(refill(&report.refill));
    let skipped = report.skipped.iter().map(|it| (it.label(), it.reason.as_str())).collect();
    let page = ReportPage { style: STYLE, facts, sections, skipped };
    page.render().unwrap_or_else(|error| unreachable!("a string takes all: {error}"))
}

fn of_point(point: &Point) -> Vec<Section> {
    let at = if point.at.is_empty() { String::new() } else { format!(", {}", point.label()) };
    let served: Vec<_> = point.series.iter().filter(|series| series.count > 0).collect();
    let chart = Chart {
        x: Scale::linear(0.0, 100.0),
        y: Scale::logarithmic(served.iter().flat_map(|series| edges(series))),
        x_name: "percent of connections",
        y_name: "served within",
        x_tick: |percent| format!("{percent}"),
        y_tick: time::show,
    };
    let lines: Vec<_> = served
        .iter()
        .map(|series| ChartLine { name: &series.name, points: share(series) })
        .collect();
    let figure = (!lines.is_empty()).then(|| Figure {
        svg: chart.svg(&lines),
        caption: "How many connections of a kind were served within which time.".to_owned(),
    });
    let mut sections = vec![figures(format!("Latency{at}"), figure, "kind", &point.series)];
    let steps: Vec<_> = point
        .phases
        .iter()
        .filter_map(|p| Some((p.name.as_str(), *p.latency_us.get("p50")?)))
        .collect();
    if !steps.is_empty() {
        let caption = "The median of each step. A client waits for all but the removal.".to_owned();
        let figure = Figure { svg: bars(&steps, time::show), caption };
        let heading = format!("Steps of a cold start{at}");
        sections.push(figures(heading, Some(figure), "step", &point.phases));
    }
    sections
}

/// The same kinds at every point of a sweep.
fn sweep(points: &[Point]) -> Vec<Section> {
    let [first, _, ..] = points else { return Vec::new() };
    let what = first.at.keys().next().cloned().unwrap_or_default();
    let labels: Vec<_> =
        points.iter().map(|p| p.at.values().next().cloned().unwrap_or_default()).collect();
    let by_stat = |(stat, name)| {
        let mut lines: Vec<ChartLine<'_>> = Vec::new();
        for (x, point) in points.iter().enumerate() {
            for series in &point.series {
                let Some(us) = series.latency_us.get(stat) else { continue };
                #[expect(clippy::cast_precision_loss, reason = "few points")]
                let point = (x as f64, *us);
                match lines.iter_mut().find(|line| line.name == series.name) {
                    Some(line) => line.points.push(point),
                    None => lines.push(ChartLine { name: &series.name, points: vec![point] }),
                }
            }
        }
        let all = lines.iter().flat_map(|line| line.points.iter().map(|(_, y)| *y));
        let chart = Chart {
            x: Scale::named(labels.clone()),
            y: Scale::logarithmic(all),
            x_name: &what,
            y_name: name,
            x_tick: |x| format!("{x}"),
            y_tick: time::show,
        };
        let caption = format!("The {name} by {what}. Its figures are in the tables above.");
        let kinds: Vec<_> = first.series.iter().map(|series| series.name.clone()).collect();
        let rows = points.iter().zip(&labels).map(|(point, label)| {
            let cells = kinds.iter().map(|kind| {
                let series = point.series.iter().find(|series| series.name == *kind);
                series.map_or_else(|| ABSENT.to_owned(), |series| cell(series, stat))
            });
            [label.clone()].into_iter().chain(cells).collect()
        });
        Section {
            heading: format!("By {what}: {name}"),
            figure: Some(Figure { svg: chart.svg(&lines), caption }),
            head: [what.clone()].into_iter().chain(kinds.iter().cloned()).collect(),
            rows: rows.collect(),
        }
    };
    [("p50", "median"), ("p99", "99th percentile")].map(by_stat).into()
}

fn refill(points: &[Point]) -> Option<Section> {
    if points.is_empty() {
        return None;
    }
    let label = |point: &Point| point.at.values().next().cloned().unwrap_or_default();
    let rate = |point: &Point| point.series.first().map_or(0.0, |series| series.rate);
    let rates: Vec<_> = points.iter().map(rate).collect();
    #[expect(clippy::cast_precision_loss, reason = "few points")]
    let line = rates.iter().enumerate().map(|(x, rate)| (x as f64, *rate)).collect();
    let chart = Chart {
        x: Scale::named(points.iter().map(label).collect()),
        y: Scale::linear(0.0, rates.iter().copied().fold(0.0, f64::max)),
        x_name: "clients at a time",
        y_name: "containers a second",
        x_tick: |x| format!("{x}"),
        y_tick: time::digits,
    };
    let rows = points.iter().flat_map(|point| {
        point.series.iter().map(move |series| {
            vec![
                label(point),
                series.count.to_string(),
                series.failed().to_string(),
                time::digits(series.rate),
                cell(series, "p50"),
                cell(series, "p99"),
            ]
        })
    });
    Some(Section {
        heading: "Refill".to_owned(),
        figure: Some(Figure {
            svg: chart.svg(&[ChartLine { name: "containers a second", points: line }]),
            caption: "Fresh containers launched, used once and removed, by how many clients ask \
                      for one."
                .to_owned(),
        }),
        head: ["clients", "containers", "errors", "a second", "p50", "p99"]
            .map(str::to_owned)
            .into(),
        rows: rows.collect(),
    })
}

/// A section with all figures of these series.
fn figures(heading: String, figure: Option<Figure>, what: &str, series: &[Series]) -> Section {
    let head = [what, "n", "errors"].iter().chain(&STATS).map(ToString::to_string).collect();
    let rows = series.iter().map(|series| {
        let counts = [series.name.clone(), series.count.to_string(), series.failed().to_string()];
        counts.into_iter().chain(STATS.iter().map(|stat| cell(series, stat))).collect()
    });
    Section { heading, figure, head, rows: rows.collect() }
}

fn cell(series: &Series, stat: &str) -> String {
    series.latency_us.get(stat).map_or_else(|| ABSENT.to_owned(), |us| time::show(*us))
}

/// The least and the greatest latency.
fn edges(series: &Series) -> impl Iterator<Item = f64> {
    ["min", "max"].into_iter().filter_map(|stat| series.latency_us.get(stat).copied())
}

/// Which percentage was served within which time: a step for each bar of the histogram.
#[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 connections")]
fn share(series: &Series) -> Vec<(f64, f64)> {
    let mut before = 0;
    let (min, max) = (series.latency_us.get("min"), series.latency_us.get("max"));
    let mut points: Vec<_> = min.map(|min| (0.0, *min)).into_iter().collect();
    for (_, to, count) in &series.histogram_us {
        before += count;
        let within = max.map_or(*to, |max| to.min(*max));
        points.push((100.0 * before as f64 / series.count as f64, within));
    }
    points
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::report::{BenchReport, Machine, Point};
    use super::super::series::SeriesRecorder;
    use super::*;

    #[test]
    fn a_page_has_a_table_for_each_plot_and_loads_nothing() {
        let series = |name: &str| {
            let mut recorder = SeriesRecorder::new();
            (1..=100).for_each(|n| recorder.time(Duration::from_micros(10 * n)));
            recorder.series(name, Duration::from_secs(1))
        };
        let mut report = BenchReport::begin("<script>".into(), Machine::here(None));
        for clients in ["1", "2"] {
            let at = [("concurrency".to_owned(), clients.to_owned())].into();
            let (series, phases) = (vec![series("cold"), series("warm")], vec![series("create")]);
            report.points.push(Point { at, series, phases });
        }
        report.refill = vec![Point { phases: Vec::new(), ..report.points[0].clone() }];
        let page = page(&report);
        let count = |tag: &str| page.matches(tag).count();
        // Latency and steps of two points, two of the sweep, the refill.
        assert_eq!((count("<svg"), count("<table>")), (7, 7));
        for banned in ["<script", "http://", "https://", "<link", "<img", "NaN", "inf"] {
            assert!(!page.contains(banned), "{banned}");
        }
        for tag in ["svg", "table", "figure", "g", "tr", "text"] {
            let opened = count(&format!("<{tag}>")) + count(&format!("<{tag} "));
            assert_eq!(opened, count(&format!("</{tag}>")), "{tag}");
        }
    }

    #[test]
    fn of_nothing_there_is_a_page_all_the_same() {
        let mut report = BenchReport::begin(String::new(), Machine::here(None));
        let series = vec![SeriesRecorder::new().series("target", Duration::ZERO)];
        report.points.push(Point { at: Default::default(), series, phases: Vec::new() });
        let page = page(&report);
        assert!(page.contains("<td>target</td><td>0</td>") && !page.contains("<svg"), "{page}");
    }
}
