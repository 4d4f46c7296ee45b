//! Costs measured by criterion, kept to be compared in the same run.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::collections::BTreeMap;
use std::time::Duration;

use criterion::Criterion;

/// How often two are compared that take turns.
const TURNS: usize = 101;

/// Seconds per iteration, one entry a sample, by what was measured.
#[derive(Debug, Default)]
pub(crate) struct Costs(BTreeMap<String, Vec<f64>>);

// === impl Costs ===

impl Costs {
    /// Notes a sample of `iterations`, and hands its time on to criterion.
    pub(crate) fn note(&mut self, what: &str, time: Duration, iterations: u64) -> Duration {
        let each = time.as_secs_f64() / iterations as f64;
        self.0.entry(what.to_owned()).or_default().push(each);
        time
    }

    /// Prints what `one` costs, in terms of `other`, if both were measured.
    pub(crate) fn compare(&self, one: &str, other: &str) {
        let (Some(cost), Some(base)) = (self.median(one), self.median(other)) else {
            return;
        };
        row(&format!("{one} / {other}"), &format!("{:.2}", cost / base), None);
    }

    /// As [`Self::compare`], but measured anew, in turns: the figure is the median of many ratios,
    /// each of two measurements of which one directly follows the other. So a machine that
    /// changes its pace changes no ratio, where it would if minutes were between the two.
    pub(crate) fn compare_in_turns(
        &self,
        both: [&str; 2],
        most: f64,
        mut measure: impl FnMut(usize) -> Duration,
    ) {
        if both.iter().any(|what| !self.0.contains_key(*what)) {
            return;
        }
        let mut ratios: Vec<_> = (0..TURNS)
            .map(|turn| {
                let mut times = [Duration::ZERO; 2];
                for who in [turn % 2, (turn + 1) % 2] {
                    times[who] = measure(who);
                }
                times[0].as_secs_f64() / times[1].as_secs_f64()
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        let [one, other] = both;
        let ratio = ratios[TURNS / 2];
        let target = (format!("<= {most}"), ratio <= most);
        row(&format!("{one} / {other}"), &format!("{ratio:.2}"), Some(target));
    }

    fn median(&self, what: &str) -> Option<f64> {
        let mut samples = self.0.get(what)?.clone();
        samples.sort_by(f64::total_cmp);
        samples.get(samples.len() / 2).copied()
    }
}

/// Prints a row of a table: a figure, its target, and whether that is met.
#[expect(clippy::print_stdout, reason = "it is read on a terminal")]
pub(crate) fn row(what: &str, figure: &str, target: Option<(String, bool)>) {
    let (target, met) = target.unzip();
    let verdict = met.map(|met| if met { "met" } else { "MISSED" });
    println!(
        "| {what} | {figure} | {} | {} |",
        target.unwrap_or_default(),
        verdict.unwrap_or_default()
    );
}

/// Criterion in a hurry: figures are compared within one run and not over months.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(25)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .without_plots()
        .configure_from_args()
}
