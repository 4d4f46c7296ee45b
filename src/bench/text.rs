//! A report for the terminal: tables, and histograms of bars.

use comfy_table::{Cell, CellAlignment, ContentArrangement, presets};

use super::report::{BenchReport, Point, Series};
use super::round_kind::RoundKind;
use super::time;

/// The longest bar, in characters.
const WIDTH: usize = 48;
/// The most bars of a histogram; neighbours are put together until there are no more.
const BARS: usize = 16;
/// With fewer connections, a histogram says no more than the table.
const ENOUGH: u64 = 20;
/// Parts of a character's width, from one eighth on.
const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];
const STATS: [&str; 5] = ["p50", "p90", "p99", "p99.9", "max"];

/// All of a report, for people.
#[must_use]
pub fn show(report: &BenchReport) -> String {
    let machine = &report.machine;
    let engine = machine.engine.as_deref().map(|e| format!(", engine {e}")).unwrap_or_default();
    let mut text = format!(
        "{}\n{}, {} processors under a load of {}, Linux {}{engine}\n",
        report.subject, report.began, machine.cpus, machine.load, machine.kernel,
    );
    for point in &report.points {
        text += &format!("\n{}", of_point(point));
    }
    if let [only] = report.points.as_slice() {
        for series in only.series.iter().filter(|series| series.count >= ENOUGH) {
            text += &format!("\n{}\n{}", series.name, histogram(&series.histogram_us));
        }
    }
    if !report.refill.is_empty() {
        text += &format!("\n{}", refill(&report.refill));
    }
    for skipped in &report.skipped {
        text += &format!("\nnot measured: {}: {}\n", skipped.label(), skipped.reason);
    }
    text
}

/// Why connections were not served: a line for each kind and reason.
#[must_use]
pub fn failures(report: &BenchReport) -> Vec<String> {
    let line = |(label, series): (String, &Series)| {
        let name = [label.as_str(), &series.name].join(" ").trim().to_owned();
        let reasons =
            series.errors.iter().map(move |(why, count)| format!("{name}: {count} {why}"));
        reasons.collect::<Vec<_>>()
    };
    report.all().flat_map(line).collect()
}

fn of_point(point: &Point) -> String {
    let mut rows = vec![head(&point.label(), &["n", "errors", "per second"])];
    rows.extend(point.series.iter().map(|series| {
        let counts =
            [series.count.to_string(), series.failed().to_string(), time::digits(series.rate)];
        row(&series.name, series, counts)
    }));
    let mut text = table(&rows);
    for series in &point.series {
        let others: Vec<_> =
            series.started.iter().filter(|(start, _)| !is(&series.name, start)).collect();
        for (start, count) in others {
            text += &format!("{}: {count} were {start}\n", series.name);
        }
    }
    if !point.phases.is_empty() {
        let mut rows = vec![head("steps of a cold start", &["n"])];
        let phases = point.phases.iter();
        rows.extend(phases.map(|phase| row(&phase.name, phase, [phase.count.to_string()])));
        text += &format!("\n{}", table(&rows));
    }
    text
}

fn is(kind: &str, start: &str) -> bool {
    kind.parse::<RoundKind>().is_ok_and(|kind| kind.is(start))
}

fn refill(points: &[Point]) -> String {
    let mut rows = vec![
        ["refill: clients at a time", "containers", "errors", "per second", "p50"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for point in points {
        let clients = point.at.values().next().cloned().unwrap_or_default();
        for series in &point.series {
            let half = series.latency_us.get("p50").map_or("-".to_owned(), |us| time::show(*us));
            let (count, failed) = (series.count.to_string(), series.failed().to_string());
            rows.push(vec![clients.clone(), count, failed, time::digits(series.rate), half]);
        }
    }
    table(&rows)
}

fn head(name: &str, counts: &[&str]) -> Vec<String> {
    [name].iter().chain(counts).chain(&STATS).map(ToString::to_string).collect()
}

fn row<const N: usize>(name: &str, series: &Series, counts: [String; N]) -> Vec<String> {
    let figure = |stat: &str| series.latency_us.get(stat).map(|us| time::show(*us));
    let figures = STATS.iter().map(|stat| figure(stat).unwrap_or_else(|| "-".to_owned()));
    [name.to_owned()].into_iter().chain(counts).chain(figures).collect()
}

/// Columns as wide as they need to be: the first to the left, others to the right.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    for row in rows {
        table.add_row(row.iter().enumerate().map(|(at, cell)| {
            let side = if at == 0 { CellAlignment::Left } else { CellAlignment::Right };
            Cell::new(cell).set_alignment(side)
        }));
    }
    let lines = table.lines().map(|line| {
        // A cell has a space on each side of it.
        let line = line.trim_end();
        format!("{}\n", line.strip_prefix(' ').unwrap_or(line))
    });
    lines.collect()
}

/// A bar for each step of latency; steps grow with the latency.
fn histogram(bars: &[(f64, f64, u64)]) -> String {
    let together = bars.len().div_ceil(BARS).max(1);
    let merged: Vec<_> = bars
        .chunks(together)
        .filter_map(|chunk| {
            let (from, to) = (chunk.first()?.0, chunk.last()?.1);
            Some((from, to, chunk.iter().map(|bar| bar.2).sum::<u64>()))
        })
        .collect();
    let most = merged.iter().map(|bar| bar.2).max().unwrap_or(1).max(1);
    let rows: Vec<_> = merged
        .iter()
        .map(|(from, to, count)| {
            vec![String::new(), time::show(*from), time::show(*to), bar(*count, most)]
        })
        .collect();
    // The bars go to the left.
    let text = table(&rows.iter().map(|row| row[..3].to_vec()).collect::<Vec<_>>());
    let lines = text.lines().zip(&merged).zip(rows);
    lines.map(|((line, (_, _, count)), row)| format!("{line}  {} {count}\n", row[3])).collect()
}

fn bar(count: u64, most: u64) -> String {
    // Any count above 0 is shown.
    let eighths = (u128::from(count) * WIDTH as u128 * 8).div_ceil(most.into()) as usize;
    let mut bar = "█".repeat(eighths / 8);
    bar.extend((eighths % 8).checked_sub(1).map(|at| EIGHTHS[at]));
    bar
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use ganger_pool::core::StartKind;

    use super::super::report::Machine;
    use super::super::series::SeriesRecorder;
    use super::*;

    #[test]
    fn tables_are_aligned_and_histograms_bounded() {
        let mut recorder = SeriesRecorder::new();
        (1..=1000).for_each(|n| recorder.time(Duration::from_micros(n * n)));
        recorder.started(StartKind::Warm);
        recorder.started(StartKind::Cold);
        let series = recorder.series("warm", Duration::from_secs(1));
        let mut report = BenchReport::begin("subject".into(), Machine::here(None));
        report.points.push(Point { at: Default::default(), series: vec![series], phases: vec![] });
        report.points[0].series[0].errors = BTreeMap::from([("reset".to_owned(), 3)]);
        let text = show(&report);
        let header = text.lines().find(|line| line.contains("p99.9")).unwrap();
        let row = text.lines().find(|line| line.starts_with("warm  ")).unwrap();
        assert_eq!(header.chars().count(), row.chars().count(), "{text}");
        assert!(text.contains("warm: 1 were cold") && !text.contains("were warm"), "{text}");
        let bars: Vec<_> = text.lines().filter(|line| line.contains('█')).collect();
        assert!((3..=BARS).contains(&bars.len()), "{text}");
        assert_eq!(failures(&report), ["warm: 3 reset"]);
    }

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        assert_eq!(bar(100, 100).chars().count(), WIDTH);
        assert_eq!(bar(50, 100).chars().count(), WIDTH / 2);
        assert_eq!(bar(1, 1_000_000), "▏");
        assert_eq!(bar(0, 100), "");
    }
}
