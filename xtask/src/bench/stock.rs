//! A stock that sizes itself beside the best one of a fixed size, in simulated time.

use std::fmt::Write;
use std::fs;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::targets::Targets;
use crate::command;

/// Launches a second: four at a time of a quarter of a second each.
const REFILL: f64 = 16.0;
/// The highest rate of arrivals, in terms of that.
const LOAD: f64 = 0.7;
const SECONDS: f64 = 7200.0;
/// How long a client stays, on average.
const STAY: f64 = 1.0;
const HOUR: f64 = 3600.0;
/// The share of clients that is to find a container, in percent.
const HITS: f64 = 99.9;

/// The result of one stock.
struct Tally {
    hits: f64,
    /// Container-seconds.
    ready: f64,
}

/// The rate at a time, in seconds, in terms of the most.
type Share = fn(f64) -> f64;

/// Measures; returns what was printed.
pub(super) fn measure(targets: &mut Targets) -> Result<String> {
    let mut text = String::new();
    let loads: [(_, _, Share); 2] = [
        ("steady", "at a rate that never changes", |_| 1.0),
        ("wave", "at a rate that goes from a tenth to all and back in an hour", |at| {
            0.55 - 0.45 * (at / HOUR * std::f64::consts::TAU).cos()
        }),
    ];
    for (name, what, share) in loads {
        let path = std::env::temp_dir().join(format!("ganger-{name}-{}.csv", std::process::id()));
        fs::write(&path, trace(share)).with_context(|| path.display().to_string())?;
        let warm: Vec<_> = (6..=20).map(|n: u32| n.to_string()).collect();
        let mut command = command::ganger();
        command.arg("simulate").arg(&path).args(["--warm", &warm.join(",")]);
        let output = command.stderr(Stdio::inherit()).output();
        fs::remove_file(&path)?;
        let output = output?;
        command::check(&command, output.status)?;
        let table = String::from_utf8(output.stdout)?;
        let (fixed, auto) = tallies(&table)?;
        let best = fixed.iter().find(|tally| tally.hits >= HITS).context("no stock is enough")?;
        targets.note(
            &format!("`warm: Auto`, random arrivals {what}: clients who find a container"),
            &format!("{:.2} %", auto.hits),
            &format!(">= {HITS} %"),
            auto.hits >= HITS,
        );
        let ratio = auto.ready / best.ready;
        targets.note(
            &format!(
                "the same: container-seconds in stock / of the least fixed `warm` with {HITS} %"
            ),
            &format!("{ratio:.2}"),
            "< 1",
            ratio < 1.0,
        );
        write!(text, "Random arrivals {what}:\n\n```text\n{table}```\n\n")?;
    }
    Ok(text)
}

/// All fixed stocks, the least first, and the one that sizes itself.
fn tallies(table: &str) -> Result<(Vec<Tally>, Tally)> {
    let mut tallies = Vec::new();
    for line in table.lines().skip(2) {
        let words: Vec<_> = line.split_whitespace().collect();
        ensure!(words.len() == 7, "unexpected: {line}");
        let number = |at: usize| -> Result<f64> { Ok(words[at].trim_end_matches('%').parse()?) };
        tallies.push(Tally { hits: number(1)?, ready: number(3)? });
    }
    let auto = tallies.pop().context("an empty table")?;
    Ok((tallies, auto))
}

/// Arrivals as a Poisson process whose rate is a share of the most, by thinning (Lewis and
/// Shedler, 1979). The same at each call.
fn trace(share: Share) -> String {
    let (mut text, mut state, mut at) = (String::new(), 7_u64, 0.0);
    // SplitMix64 (Steele, Lea and Flood, 2014): the upper 53 bits, and never 0.
    let mut random = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    };
    loop {
        at -= random().ln() / (REFILL * LOAD);
        if at > SECONDS {
            return text;
        }
        if random() < share(at) {
            let stay = -random().ln() * STAY;
            // A write to a string does not fail.
            let _ = writeln!(text, "echo,{at:.6},{stay:.6}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_arrive_as_the_rate_says() {
        let steady = trace(|_| 1.0).lines().count() as f64;
        let expected = REFILL * LOAD * SECONDS;
        // Four standard deviations.
        assert!((steady - expected).abs() < 4.0 * expected.sqrt(), "{steady}");
        assert_eq!(trace(|_| 0.0), "");
    }
}
