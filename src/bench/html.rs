//! A report as a page of its own: plots, each with the table of its figures. It loads
//! nothing from anywhere.

use super::report::{Point, Report, Series};
use super::time;
use crate::chart::{Chart, Line, Scale, bars, escape};

/// The figures of a table.
const STATS: [&str; 6] = ["min", "p50", "p90", "p99", "p99.9", "max"];
const STYLE: &str = include_str!("html/style.css");

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    let machine = &report.machine;
    let engine = machine.engine.as_deref().map(|e| format!(", engine {e}")).unwrap_or_default();
    let facts = [
        ("Measured", report.subject.clone()),
        ("Began", report.began.clone()),
        (
            "Machine",
            format!(
                "{} processors under a load of {}, Linux {}{engine}",
                machine.cpus, machine.load, machine.kernel
            ),
        ),
        ("Command", format!("ganger {}", report.command.join(" "))),
        ("Program", report.program.clone()),
    ];
    let facts: String = facts
        .iter()
        .map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>", escape(value)))
        .collect();
    let mut body = format!("<h1>Ganger bench</h1><dl>{facts}</dl>");
    for point in &report.points {
        body += &of_point(point);
    }
    body += &sweep(&report.points);
    body += &refill(&report.refill);
    for skipped in &report.skipped {
        body += &format!(
            "<p>Not measured: {}: {}</p>",
            escape(&skipped.label()),
            escape(&skipped.reason)
        );
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>Ganger bench</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )
}

fn of_point(point: &Point) -> String {
    let at =
        if point.at.is_empty() { String::new() } else { format!(", {}", escape(&point.label())) };
    let served: Vec<_> = point.series.iter().filter(|series| series.count > 0).collect();
    let chart = Chart {
        x: Scale::linear(0.0, 100.0),
        y: Scale::logarithmic(served.iter().flat_map(|series| edges(series))),
        x_name: "percent of connections",
        y_name: "served within",
        x_tick: |percent| format!("{percent}"),
        y_tick: time::show,
    };
    let lines: Vec<_> =
        served.iter().map(|series| Line { name: &series.name, points: share(series) }).collect();
    let mut text = format!("<h2>Latency{at}</h2>");
    if !lines.is_empty() {
        text += &figure(
            &chart.svg(&lines),
            "How many connections of a kind were served within which time.",
        );
    }
    text += &table("kind", &point.series);
    let steps: Vec<_> = point
        .phases
        .iter()
        .filter_map(|p| Some((p.name.as_str(), *p.latency_us.get("p50")?)))
        .collect();
    if !steps.is_empty() {
        text += &format!("<h2>Steps of a cold start{at}</h2>");
        text += &figure(
            &bars(&steps, time::show),
            "The median of each step. A client waits for all but the removal.",
        );
        text += &table("step", &point.phases);
    }
    text
}

/// The same kinds at every point of a sweep.
fn sweep(points: &[Point]) -> String {
    let [first, _, ..] = points else { return String::new() };
    let what = first.at.keys().next().cloned().unwrap_or_default();
    let labels: Vec<_> =
        points.iter().map(|p| p.at.values().next().cloned().unwrap_or_default()).collect();
    let mut text = String::new();
    for (stat, name) in [("p50", "median"), ("p99", "99th percentile")] {
        let mut lines: Vec<Line<'_>> = Vec::new();
        for (x, point) in points.iter().enumerate() {
            for series in &point.series {
                let Some(us) = series.latency_us.get(stat) else { continue };
                #[expect(clippy::cast_precision_loss, reason = "few points")]
                let point = (x as f64, *us);
                match lines.iter_mut().find(|line| line.name == series.name) {
                    Some(line) => line.points.push(point),
                    None => lines.push(Line { name: &series.name, points: vec![point] }),
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
        let caption =
            format!("The {name} by {}. Its figures are in the tables above.", escape(&what));
        text += &format!(
            "<h2>By {}: {name}</h2>{}",
            escape(&what),
            figure(&chart.svg(&lines), &caption)
        );
        text += &sweep_table(&what, &labels, points, stat);
    }
    text
}

fn sweep_table(what: &str, labels: &[String], points: &[Point], stat: &str) -> String {
    let kinds =
        points.first().map(|point| point.series.iter().map(|s| s.name.clone()).collect::<Vec<_>>());
    let kinds = kinds.unwrap_or_default();
    let head: Vec<_> = [what.to_owned()].into_iter().chain(kinds.iter().cloned()).collect();
    let rows = points.iter().zip(labels).map(|(point, label)| {
        let of = |kind: &String| {
            let series = point.series.iter().find(|series| series.name == *kind)?;
            Some(time::show(*series.latency_us.get(stat)?))
        };
        let cells = kinds.iter().map(|kind| of(kind).unwrap_or_else(|| "–".to_owned()));
        [label.clone()].into_iter().chain(cells).collect()
    });
    rows_of(&head, &rows.collect::<Vec<_>>())
}

fn refill(points: &[Point]) -> String {
    if points.is_empty() {
        return String::new();
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
    let caption =
        "Fresh containers launched, used once and removed, by how many clients ask for one.";
    let svg = chart.svg(&[Line { name: "containers a second", points: line }]);
    let head = ["clients", "containers", "errors", "a second", "p50", "p99"].map(str::to_owned);
    let rows = points.iter().flat_map(|point| {
        point.series.iter().map(move |series| {
            let stat = |stat: &str| {
                series.latency_us.get(stat).map_or("–".to_owned(), |us| time::show(*us))
            };
            vec![
                label(point),
                series.count.to_string(),
                series.failed().to_string(),
                time::digits(series.rate),
                stat("p50"),
                stat("p99"),
            ]
        })
    });
    format!("<h2>Refill</h2>{}{}", figure(&svg, caption), rows_of(&head, &rows.collect::<Vec<_>>()))
}

fn table(what: &str, series: &[Series]) -> String {
    let head: Vec<_> =
        [what, "n", "errors"].iter().chain(&STATS).map(ToString::to_string).collect();
    let rows = series.iter().map(|series| {
        let stats = STATS.iter().map(|stat| series.latency_us.get(*stat));
        let stats = stats.map(|us| us.map_or("–".to_owned(), |us| time::show(*us)));
        let counts = [series.name.clone(), series.count.to_string(), series.failed().to_string()];
        counts.into_iter().chain(stats).collect()
    });
    rows_of(&head, &rows.collect::<Vec<_>>())
}

fn rows_of(head: &[String], rows: &[Vec<String>]) -> String {
    let cells = |tag: &str, row: &[String]| {
        row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect::<String>()
    };
    let body: String = rows.iter().map(|row| format!("<tr>{}</tr>", cells("td", row))).collect();
    format!("<table><thead><tr>{}</tr></thead><tbody>{body}</tbody></table>", cells("th", head))
}

fn figure(svg: &str, caption: &str) -> String {
    format!("<figure>{svg}<figcaption>{caption}</figcaption></figure>")
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

    use super::super::report::{Machine, Point, Report};
    use super::super::series::SeriesRecorder;
    use super::*;

    #[test]
    fn a_page_has_a_table_for_each_plot_and_loads_nothing() {
        let series = |name: &str| {
            let mut recorder = SeriesRecorder::new();
            (1..=100).for_each(|n| recorder.time(Duration::from_micros(10 * n)));
            recorder.series(name, Duration::from_secs(1))
        };
        let mut report = Report::begin("<script>".into(), Machine::here(None));
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
        let mut report = Report::begin(String::new(), Machine::here(None));
        let series = vec![SeriesRecorder::new().series("target", Duration::ZERO)];
        report.points.push(Point { at: Default::default(), series, phases: Vec::new() });
        let page = page(&report);
        assert!(page.contains("<td>target</td><td>0</td>") && !page.contains("<svg"), "{page}");
    }
}
