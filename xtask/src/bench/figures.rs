//! The figures, and how they compare.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result};

/// How a connection came to its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FigureKind {
    /// Through ganger, which launched it for this connection.
    Cold,
    /// Through ganger, fresh from stock.
    Warm,
    /// Through ganger, from stock and used before.
    Reused,
    /// Directly, from inside its network namespace.
    Inside,
    /// Directly, at its address on the bridge.
    Bridge,
}

/// The measurements, in the order they were made.
#[derive(Debug, Default)]
pub(super) struct Figures {
    samples: BTreeMap<FigureKind, Vec<Duration>>,
    /// Connections that were not served in the way that was to be measured.
    others: BTreeMap<FigureKind, u32>,
    /// Direct connections over the bridge whose answer never came.
    unanswered: u32,
}

/// The comparisons that are made, and what they tell.
const RATIOS: [(FigureKind, FigureKind, &str); 5] = [
    (FigureKind::Cold, FigureKind::Warm, "what a stock saves"),
    (FigureKind::Warm, FigureKind::Reused, "what a container's first connection costs more"),
    (FigureKind::Reused, FigureKind::Inside, "what ganger costs, same container"),
    (FigureKind::Reused, FigureKind::Bridge, "what ganger costs, same container"),
    (FigureKind::Warm, FigureKind::Inside, "a fresh container, against the best there can be"),
];

// === impl FigureKind ===

impl FigureKind {
    /// The start kind, in ganger's log and as the name of the service here.
    pub(super) const fn start(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Reused => "reused",
            Self::Inside => "direct, in its namespace",
            Self::Bridge => "direct, over the bridge",
        }
    }
}

// === impl Figures ===

impl Figures {
    /// Notes a connection that was to be of a kind; says whether it was.
    pub(super) fn note(&mut self, kind: FigureKind, start: &str, time: Duration) -> bool {
        let is = start == kind.start();
        if is {
            self.samples.entry(kind).or_default().push(time);
        } else {
            *self.others.entry(kind).or_default() += 1;
        }
        is
    }

    pub(super) fn note_unanswered(&mut self) {
        self.unanswered += 1;
    }

    /// All figures, for people.
    pub(super) fn report(&self) -> Result<String> {
        let mut text = String::new();
        writeln!(text, "| connection | n | p50 | p99 |\n| --- | ---: | ---: | ---: |")?;
        for kind in self.samples.keys() {
            let (count, half, most) = self.of(*kind)?;
            writeln!(text, "| {} | {count} | {} | {} |", kind.start(), show(half), show(most))?;
        }
        writeln!(text, "\n| ratio | p50 | p99 | |\n| --- | ---: | ---: | --- |")?;
        for (one, other, meaning) in RATIOS {
            let ((_, half, most), (_, half_base, most_base)) = (self.of(one)?, self.of(other)?);
            let (half, most) = (ratio(half, half_base), ratio(most, most_base));
            writeln!(
                text,
                "| {} / {} | {half:.2} | {most:.2} | {meaning} |",
                one.start(),
                other.start()
            )?;
        }
        let paired = |kind| -> Result<f64> {
            let samples = |kind| self.samples.get(&kind).context("no connection");
            let pairs = samples(FigureKind::Reused)?.iter().zip(samples(kind)?);
            let mut ratios: Vec<_> = pairs.map(|(one, other)| ratio(*one, *other)).collect();
            ratios.sort_by(f64::total_cmp);
            ratios.get(ratios.len() / 2).copied().context("no pair")
        };
        writeln!(
            text,
            "\nMedian of the ratios of neighbours, reused / direct: {:.2} in its namespace, {:.2} \
             over the bridge.",
            paired(FigureKind::Inside)?,
            paired(FigureKind::Bridge)?
        )?;
        for (kind, count) in &self.others {
            writeln!(text, "\nLeft out: {count} that were to be {} and were not.", kind.start())?;
        }
        if self.unanswered > 0 {
            let count = self.unanswered;
            writeln!(
                text,
                "\nLeft out: {count} directly over the bridge that were never answered."
            )?;
        }
        Ok(text)
    }

    /// The number of samples, their median and their 99th percentile.
    fn of(&self, kind: FigureKind) -> Result<(usize, Duration, Duration)> {
        let mut samples = self.samples.get(&kind).context("no connection of a kind")?.clone();
        samples.sort_unstable();
        let at = |percent: usize| {
            samples.get((samples.len() * percent / 100).min(samples.len() - 1)).copied()
        };
        Ok((samples.len(), at(50).context("median")?, at(99).context("percentile")?))
    }
}

/// As it was typed.
fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}

fn show(time: Duration) -> String {
    if time < Duration::from_millis(10) {
        format!("{} us", time.as_micros())
    } else {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_samples_of_the_right_kind() {
        let mut figures = Figures::default();
        for millis in (1..=200).rev() {
            figures.note(FigureKind::Warm, "warm", Duration::from_millis(millis));
        }
        figures.note(FigureKind::Warm, "cold", Duration::from_secs(9));
        let of = figures.of(FigureKind::Warm).unwrap();
        assert_eq!(of, (200, Duration::from_millis(101), Duration::from_millis(199)));
        assert_eq!(figures.others[&FigureKind::Warm], 1);
        assert!(figures.of(FigureKind::Cold).is_err());
    }
}
