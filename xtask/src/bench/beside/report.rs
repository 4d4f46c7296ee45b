//! The tables: medians, ratios within a round, targets, system calls.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::costs::Calls;

/// The clients at a time, and the row that was measured of them.
type Measurement = (usize, &'static str);

/// Figures by way and by what was measured, one a round; system calls by way and clients.
#[derive(Debug, Default)]
pub(super) struct Report {
    figures: BTreeMap<(&'static str, Measurement), Vec<f64>>,
    calls: Vec<(&'static str, usize, Calls)>,
}

const WAYS: [&str; 7] = [
    "direct",
    "HAProxy",
    "HAProxy splice",
    "HAProxy, bridge",
    "ganger",
    "ganger, hot",
    "ganger, strict",
];

/// Rows with their unit, and the factor of their figures.
const ROWS: [(&str, &str, f64); 6] = [
    ("set-up p50", "us", 1e6),
    ("set-up p99", "us", 1e6),
    ("set-ups", "1/s", 1.0),
    ("cpu", "us", 1e6),
    ("switches", "", 1.0),
    ("ping-pong p50", "us", 1e6),
];

/// Our figure, at most (or, of set-ups, at least) so many times that of HAProxy.
const TARGETS: [(&str, Measurement, f64); 9] = [
    ("ganger", (1, "set-up p50"), 0.85),
    ("ganger, hot", (1, "set-up p50"), 0.75),
    ("ganger", (1, "set-up p99"), 1.0),
    ("ganger, hot", (1, "set-up p99"), 1.0),
    ("ganger", (64, "set-ups"), 1.0),
    ("ganger, hot", (64, "set-ups"), 1.0),
    ("ganger", (1, "cpu"), 1.0),
    ("ganger", (64, "cpu"), 1.0),
    ("ganger", (1, "ping-pong p50"), 0.9),
];
const PEER: &str = "HAProxy";
/// System calls for a connection, of 64 clients at a time.
const MOST_CALLS: (usize, f64) = (64, 24.0);
/// System calls that are named in the table.
const NAMED: usize = 12;

// === impl Report ===

impl Report {
    pub(super) fn note(&mut self, way: &'static str, what: Measurement, value: f64) {
        self.figures.entry((way, what)).or_default().push(value);
    }

    pub(super) fn note_calls(&mut self, way: &'static str, clients: usize, calls: Calls) {
        self.calls.push((way, clients, calls));
    }

    /// Tables in Markdown, of what was measured under a congestion control.
    pub(super) fn text(&self, control: &str) -> String {
        let mut text = format!("## Under {control}\n\n");
        // A write to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn of(&self, way: &'static str, what: Measurement) -> &[f64] {
        self.figures.get(&(way, what)).map_or(&[], Vec::as_slice)
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let mut clients: Vec<_> = self.figures.keys().map(|(_, (clients, _))| *clients).collect();
        clients.sort_unstable();
        clients.dedup();
        writeln!(out, "| medians | | {} |", WAYS.join(" | "))?;
        writeln!(out, "| --- | --- |{}", " ---: |".repeat(WAYS.len()))?;
        for clients in clients {
            for (row, unit, factor) in ROWS {
                let cells = WAYS.map(|way| {
                    let value = median(self.of(way, (clients, row)));
                    value.map_or(String::new(), |value| show(value * factor))
                });
                if cells.iter().any(|cell| !cell.is_empty()) {
                    writeln!(out, "| {clients}: {row} | {unit} | {} |", cells.join(" | "))?;
                }
            }
        }
        writeln!(out, "\n| ratio, median of those of each round | | target | |")?;
        writeln!(out, "| --- | ---: | ---: | --- |")?;
        for (way, what, bound) in TARGETS {
            let rounds = self.of(way, what).iter().zip(self.of(PEER, what));
            let Some(ratio) = median(&rounds.map(|(own, its)| own / its).collect::<Vec<_>>())
            else {
                continue;
            };
            let (clients, row) = what;
            let (sign, met) = match row {
                "set-ups" => (">=", ratio >= bound),
                _ => ("<=", ratio <= bound),
            };
            let verdict = verdict(met);
            writeln!(
                out,
                "| {clients}: {row}, {way} / {PEER} | {ratio:.2} | {sign} {bound} | {verdict} |"
            )?;
        }
        for (way, clients, calls) in &self.calls {
            let sum: f64 = calls.iter().map(|(_, count)| count).sum();
            if (*clients, *way) == (MOST_CALLS.0, "ganger") {
                let (bound, verdict) = (MOST_CALLS.1, verdict(sum <= MOST_CALLS.1));
                writeln!(
                    out,
                    "| {clients}: system calls a connection, {way} | {sum:.1} | <= {bound} | {verdict} |"
                )?;
            }
        }
        writeln!(out, "\n| system calls a connection | at a time | all | the most frequent |")?;
        writeln!(out, "| --- | ---: | ---: | --- |")?;
        for (way, clients, calls) in &self.calls {
            let sum: f64 = calls.iter().map(|(_, count)| count).sum();
            let named = calls.iter().take(NAMED).map(|(name, count)| format!("{name} {count:.1}"));
            let named = named.collect::<Vec<_>>().join(", ");
            writeln!(out, "| {way} | {clients} | {sum:.1} | {named} |")?;
        }
        writeln!(out)
    }
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

fn show(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
