//! Requirements on a result: `warm.p99<5ms`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::report::{BenchReport, Series};
use super::series::PERCENTILES;
use super::time;

/// A requirement on every series, or on those of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Assertion {
    series: Option<String>,
    stat: Stat,
    order: Order,
    value: f64,
    text: String,
}

/// Which figure.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stat {
    /// A latency, in microseconds.
    Latency(String),
    /// How many were served.
    Count,
    /// How many were served, per second.
    Rate,
    /// How many were not served.
    Errors,
    /// The percentage that was not served.
    ErrorShare,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Less,
    AtMost,
    More,
    AtLeast,
}

/// Why a text is no assertion.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not an assertion: {why}; write for example 'warm.p99<5ms' or 'errors<1%'")]
pub struct AssertionError {
    text: String,
    why: String,
}

/// The signs that compare a figure; the longer ones first.
const ORDERS: [(&str, Order); 4] =
    [("<=", Order::AtMost), (">=", Order::AtLeast), ("<", Order::Less), (">", Order::More)];

// === impl Assertion ===

impl FromStr for Assertion {
    type Err = AssertionError;

    fn from_str(text: &str) -> Result<Self, AssertionError> {
        let wrong = |why: String| AssertionError { text: text.to_owned(), why };
        let found = ORDERS.iter().find_map(|(sign, order)| {
            let (left, right) = text.split_once(sign)?;
            Some((left.trim(), *order, right.trim()))
        });
        let (left, order, right) =
            found.ok_or_else(|| wrong("there is no <, <=, > or >= in it".to_owned()))?;
        let share = right.strip_suffix('%');
        let is_stat = |name: &str| stat(name, share.is_some()).is_some();
        // A percentile has a dot of its own.
        let (series, name) = match left.split_once('.') {
            Some((series, name)) if !is_stat(left) => (Some(series.trim()), name.trim()),
            _ => (None, left),
        };
        if series.is_some_and(str::is_empty) {
            return Err(wrong("no kind is named before the dot".to_owned()));
        }
        let stat = stat(name, share.is_some()).ok_or_else(|| {
            let percentiles: Vec<_> = PERCENTILES.iter().map(|(name, _)| *name).collect();
            let known = percentiles.join(", ");
            let share = if share.is_some() { "; only errors have a share" } else { "" };
            wrong(format!(
                "{name:?} is none of {known}, min, mean, max, count, rate, errors{share}"
            ))
        })?;
        let value = match (&stat, share) {
            (Stat::Latency(_), _) => time::parse(right)
                .ok_or_else(|| wrong(format!("{right:?} is not a time with ns, us, ms or s")))?,
            (_, share) => {
                let share = share.map_or(right, str::trim_end);
                time::number(share).ok_or_else(|| wrong(format!("{right:?} is not a number")))?
            }
        };
        let series = series.map(str::to_owned);
        Ok(Self { series, stat, order, value, text: text.to_owned() })
    }
}

impl Assertion {
    /// The kind that it names, if it names one.
    #[must_use]
    pub fn series(&self) -> Option<&str> {
        self.series.as_deref()
    }

    /// The series of a report that do not meet it, one line for each. A kind that was not measured,
    /// or of which none was served, does not meet it.
    #[must_use]
    pub fn unmet(&self, report: &BenchReport) -> Vec<String> {
        let named = |series: &Series| match &self.series {
            Some(name) => series.name == *name,
            // Steps are judged only when they are named.
            None => !report.points.iter().any(|p| p.phases.iter().any(|s| s.name == series.name)),
        };
        let mut judged = report.all().filter(|(_, series)| named(series)).peekable();
        if judged.peek().is_none() {
            let name = self.series.as_deref().unwrap_or("anything");
            return vec![format!("{self}: {name} was not measured")];
        }
        let judged = judged.filter_map(|(label, series)| self.judge(&label, series));
        let skipped = report.skipped.iter();
        let skipped = skipped.map(|left| format!("{self}: at {}: was not measured", left.label()));
        judged.chain(skipped).collect()
    }

    fn judge(&self, label: &str, series: &Series) -> Option<String> {
        let found = self.stat.of(series);
        let met = found.is_some_and(|found| match self.order {
            Order::Less => found < self.value,
            Order::AtMost => found <= self.value,
            Order::More => found > self.value,
            Order::AtLeast => found >= self.value,
        });
        if met {
            return None;
        }
        let at = if label.is_empty() { String::new() } else { format!(" at {label}") };
        let found = match (found, &self.stat) {
            (None, _) => "there is none: no connection was served".to_owned(),
            (Some(us), Stat::Latency(_)) => format!("it is {}", time::show(us)),
            (Some(share), Stat::ErrorShare) => format!("it is {}%", time::digits(share)),
            (Some(number), _) => format!("it is {number}"),
        };
        Some(format!("{self}: {}{at}: {found}", series.name))
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// === impl Stat ===

impl Stat {
    fn of(&self, series: &Series) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 connections")]
        let (count, failed) = (series.count as f64, series.failed() as f64);
        match self {
            Self::Latency(name) => series.latency_us.get(name).copied(),
            Self::Count => Some(count),
            Self::Rate => Some(series.rate),
            Self::Errors => Some(failed),
            Self::ErrorShare => (count + failed > 0.0).then(|| 100.0 * failed / (count + failed)),
        }
    }
}

fn stat(name: &str, share: bool) -> Option<Stat> {
    let latency = ["min", "mean", "max"].contains(&name)
        || PERCENTILES.iter().any(|(percentile, _)| *percentile == name);
    match name {
        "errors" if share => Some(Stat::ErrorShare),
        _ if share => None,
        "errors" => Some(Stat::Errors),
        "count" => Some(Stat::Count),
        "rate" => Some(Stat::Rate),
        name => latency.then(|| Stat::Latency(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::report::{Machine, Point, Skipped};
    use super::super::series::SeriesRecorder;
    use super::*;

    fn report() -> BenchReport {
        let series = |name, ms: u64| {
            let mut recorder = SeriesRecorder::new();
            (1..=100).for_each(|n| recorder.time(Duration::from_micros(ms * 10 * n)));
            recorder.series(name, Duration::from_secs(10))
        };
        let mut report = BenchReport::begin(String::new(), Machine::here(None));
        let (series, phases) =
            (vec![series("cold", 200), series("warm", 4)], vec![series("create", 9)]);
        report.points.push(Point { at: Default::default(), series, phases });
        report
    }

    #[test]
    fn what_is_not_understood_is_said_to_be() {
        for (text, why) in [
            ("warm.p99", "there is no <"),
            ("warm.p98<5ms", "\"p98\" is none of p50, p75"),
            ("warm.p99<5", "\"5\" is not a time"),
            ("warm.p99<-5ms", "is not a time"),
            (".p99<5ms", "no kind is named"),
            ("errors<many", "\"many\" is not a number"),
            ("p99<5%", "only errors have a share"),
            ("<5ms", "\"\" is none of"),
        ] {
            let error = text.parse::<Assertion>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(error.contains("write for example"), "{error}");
        }
    }

    #[test]
    fn what_was_left_out_of_a_sweep_meets_nothing() {
        let mut report = report();
        let at = [("runtime".to_owned(), "crun".to_owned())].into_iter().collect();
        report.skipped.push(Skipped { at, reason: "it is not there".to_owned() });
        let unmet = "warm.p50<1s".parse::<Assertion>().unwrap().unmet(&report);
        assert_eq!(unmet, ["warm.p50<1s: at runtime=crun: was not measured"]);
    }

    #[test]
    fn what_is_not_met_is_said_with_the_figure() {
        let unmet = |text: &str| text.parse::<Assertion>().unwrap().unmet(&report());
        for met in [
            "warm.p99<5ms",
            "warm.p99.9 <= 4.01ms",
            "cold.p50>99ms",
            "p99<1s",
            "count>=100",
            "rate>9",
            "errors<1",
            "errors<1%",
            "create.p50<10ms",
            // Nothing is required of the step.
            "max>3.99ms",
        ] {
            assert_eq!(unmet(met), Vec::<String>::new(), "{met}");
        }
        assert_eq!(unmet("warm.p50<1us"), ["warm.p50<1us: warm: it is 2.00 ms"]);
        assert_eq!(unmet("p50<10ms"), ["p50<10ms: cold: it is 100 ms"]);
        assert_eq!(unmet("warm.count<100"), ["warm.count<100: warm: it is 100"]);
        assert_eq!(unmet("hot.p50<1s"), ["hot.p50<1s: hot was not measured"]);
    }

    #[test]
    fn a_kind_of_which_none_was_served_meets_nothing() {
        let mut report = report();
        report.points[0].series = vec![SeriesRecorder::new().series("warm", Duration::ZERO)];
        for text in ["warm.p50<1s", "warm.errors<1%"] {
            let assertion: Assertion = text.parse().unwrap();
            assert_eq!(assertion.unmet(&report).len(), 1, "{text}");
        }
    }
}
