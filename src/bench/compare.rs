//! Two reports side by side.

use super::report::{BenchReport, Series};
use super::text::table;
use super::time;

/// The figures that are compared.
const STATS: [&str; 3] = ["p50", "p90", "p99"];

/// The change of the figures since an earlier report, kind by kind. Kinds that only one of the two
/// has are named below the table.
#[must_use]
pub fn compare(now: &BenchReport, before: &BenchReport) -> String {
    let mut head = vec![String::new(), "n before".to_owned(), "now".to_owned()];
    for stat in STATS {
        head.extend([format!("{stat} before"), "now".to_owned(), "change".to_owned()]);
    }
    let mut rows = vec![head];
    let mut notes = Vec::new();
    let name = |label: &str, series: &Series| [label, &series.name].join(" ").trim().to_owned();
    let known: Vec<_> =
        before.all().map(|(label, series)| (name(&label, series), series)).collect();
    let mut seen = Vec::new();
    for (label, series) in now.all() {
        let name = name(&label, series);
        match known.iter().find(|(known, _)| *known == name) {
            Some((_, before)) => rows.push(row(&name, before, series)),
            None => notes.push(format!("{name}: was not measured before")),
        }
        seen.push(name);
    }
    let gone = known.iter().filter(|(name, _)| !seen.contains(name));
    notes.extend(gone.map(|(name, _)| format!("{name}: was measured before, and not now")));
    if before.subject != now.subject {
        notes.push(format!("before, it was {}", before.subject));
    }
    if (before.machine.cpus, &before.machine.kernel) != (now.machine.cpus, &now.machine.kernel) {
        notes.push("before, it was another machine".to_owned());
    }
    let mut text = format!("Before ({}) and now\n\n{}", before.began, table(&rows));
    if !notes.is_empty() {
        text += &format!("\n{}\n", notes.join("\n"));
    }
    text
}

fn row(name: &str, before: &Series, now: &Series) -> Vec<String> {
    let mut row = vec![name.to_owned(), before.count.to_string(), now.count.to_string()];
    for stat in STATS {
        let figures = (before.latency_us.get(stat), now.latency_us.get(stat));
        let (Some(before), Some(now)) = figures else {
            let show = |figure: Option<&f64>| figure.map_or("-".to_owned(), |us| time::show(*us));
            row.extend([show(figures.0), show(figures.1), String::new()]);
            continue;
        };
        row.extend([time::show(*before), time::show(*now)]);
        row.push(if *before > 0.0 {
            format!("{:+.1}%", 100.0 * (now / before - 1.0))
        } else {
            String::new()
        });
    }
    row
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::report::{Machine, Point};
    use super::super::series::SeriesRecorder;
    use super::*;

    #[test]
    fn what_changed_is_shown_and_what_only_one_has_is_named() {
        let report = |kinds: &[(&str, u64)]| {
            let mut report = BenchReport::begin("x".into(), Machine::here(None));
            let series = kinds.iter().map(|(name, ms)| {
                let mut recorder = SeriesRecorder::new();
                recorder.time(Duration::from_millis(*ms));
                recorder.series(name, Duration::ZERO)
            });
            let series = series.collect();
            report.points.push(Point { at: Default::default(), series, phases: Vec::new() });
            report
        };
        let (now, before) =
            (report(&[("warm", 3), ("hot", 1)]), report(&[("warm", 2), ("cold", 9)]));
        let text = compare(&now, &before);
        for part in [
            "p50 before      now  change",
            // To three digits.
            "2.00 ms  3.00 ms  +49.9%",
            "hot: was not measured before",
            "cold: was measured before, and not now",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let same = compare(&now, &now);
        assert!(same.contains("+0.0%") && !same.contains("before,"), "{same}");
    }
}
