//! The results: medians, ratios within a round, and targets.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Figures by way and by what was measured, one a round.
#[derive(Debug, Default)]
pub(crate) struct Report(BTreeMap<(&'static str, &'static str), Vec<f64>>);

/// Our figure, in terms of a peer's.
struct Target {
    what: &'static str,
    ours: &'static str,
    peer: &'static str,
    bound: Bound,
}

enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

use Bound::{AtLeast, AtMost};

const fn target(
    what: &'static str,
    ours: &'static str,
    peer: &'static str,
    bound: Bound,
) -> Target {
    Target { what, ours, peer, bound }
}

const TARGETS: [Target; 15] = [
    target("set-up p50", "ganger", "HAProxy", AtMost(0.9)),
    target("set-up p99", "ganger", "HAProxy", AtMost(0.9)),
    target("set-up p50", "ganger, hot", "HAProxy", AtMost(0.8)),
    target("set-up p99", "ganger, hot", "HAProxy", AtMost(0.8)),
    target("set-up p50, one cpu", "ganger", "HAProxy", AtMost(0.9)),
    target("set-up p99, one cpu", "ganger", "HAProxy", AtMost(0.9)),
    target("set-up p50, one cpu", "ganger, hot", "HAProxy", AtMost(0.8)),
    target("set-up p99, one cpu", "ganger, hot", "HAProxy", AtMost(0.8)),
    target("set-ups at 64", "ganger", "HAProxy", AtLeast(1.0)),
    target("ping-pong p50", "ganger", "HAProxy", AtMost(0.9)),
    target("ping-pong p50, one cpu", "ganger", "HAProxy", AtMost(0.9)),
    target("one stream", "ganger", "HAProxy splice", AtLeast(1.4)),
    target("8 both ways", "ganger", "HAProxy splice", AtLeast(1.8)),
    target("one stream, cpu", "ganger", "HAProxy splice", AtMost(0.55)),
    target("8 both ways, cpu", "ganger", "HAProxy splice", AtMost(0.4)),
];

/// Each column with its unit, and the factor of its figures.
const COLUMNS: [(&str, &str, f64); 14] = [
    ("set-up p50", "us", 1e6),
    ("set-up p99", "us", 1e6),
    ("set-up p50, one cpu", "us", 1e6),
    ("set-up p99, one cpu", "us", 1e6),
    ("set-ups at 64", "1/s", 1.0),
    ("ping-pong p50", "us", 1e6),
    ("ping-pong p50, one cpu", "us", 1e6),
    ("one stream", "GB/s", 1e-9),
    ("one stream, cpu", "s/GB", 1e9),
    ("8 both ways", "GB/s", 1e-9),
    ("8 both ways, cpu", "s/GB", 1e9),
    ("idle, bytes", "B", 1.0),
    ("idle after use, bytes", "B", 1.0),
    ("idle, descriptors", "", 1.0),
];

/// Whether all came back that was sent: 1 or 0.
pub(crate) const EVERY_BYTE: &str = "every byte";

const WAYS: [&str; 7] =
    ["direct", "ganger", "ganger, hot", "HAProxy", "HAProxy splice", "nginx", "docker-proxy"];

// === impl Report ===

impl Report {
    pub(crate) fn note(&mut self, way: &'static str, what: &'static str, value: f64) {
        self.0.entry((way, what)).or_default().push(value);
    }

    fn of(&self, way: &'static str, what: &'static str) -> &[f64] {
        self.0.get(&(way, what)).map_or(&[], Vec::as_slice)
    }

    /// Tables in Markdown.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // A write to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let there: Vec<_> =
            WAYS.into_iter().filter(|way| !self.of(way, "set-up p50").is_empty()).collect();
        writeln!(out, "| medians | | {} |", there.join(" | "))?;
        writeln!(out, "| --- | --- |{}", " ---: |".repeat(there.len()))?;
        for (what, unit, factor) in COLUMNS {
            write!(out, "| {what} | {unit} |")?;
            for way in &there {
                match median(self.of(way, what)) {
                    Some(value) if (value * factor) >= 100.0 => {
                        write!(out, " {:.0} |", value * factor)?
                    }
                    Some(value) => write!(out, " {:.3} |", value * factor)?,
                    None => write!(out, " |")?,
                }
            }
            writeln!(out)?;
        }
        writeln!(out, "\n| ratio, median of those of each round | | target | |")?;
        writeln!(out, "| --- | ---: | ---: | --- |")?;
        for Target { what, ours, peer, bound } in TARGETS {
            let rounds = self.of(ours, what).iter().zip(self.of(peer, what));
            let ratios: Vec<_> = rounds.map(|(ours, peer)| ours / peer).collect();
            let Some(ratio) = median(&ratios) else {
                writeln!(out, "| {what}, {ours} / {peer} | | | no figure: {peer} did not start |")?;
                continue;
            };
            let (bound, met) = match bound {
                AtMost(most) => (format!("<= {most}"), ratio <= most),
                AtLeast(least) => (format!(">= {least}"), ratio >= least),
            };
            let verdict = if met { "met" } else { "MISSED" };
            writeln!(out, "| {what}, {ours} / {peer} | {ratio:.2} | {bound} | {verdict} |")?;
        }
        let fixed = [
            ("idle, bytes", 2560.0),
            ("idle after use, bytes", 2560.0),
            ("idle, descriptors", 2.0),
        ];
        for (what, most) in fixed {
            let Some(value) = median(self.of("ganger", what)) else { continue };
            let verdict = if value <= most { "met" } else { "MISSED" };
            writeln!(out, "| {what}, ganger | {value:.0} | <= {most} | {verdict} |")?;
        }
        if let Some(all) = self.of("ganger", EVERY_BYTE).first() {
            let (got, verdict) = if *all > 0.0 { ("all", "met") } else { ("not all", "MISSED") };
            writeln!(
                out,
                "| bytes that come through odd writes, urgent data, half-close | {got} | all | {verdict} |"
            )?;
        }
        Ok(())
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
