//! Times and sizes: numbers with a unit.

use std::time::Duration;

use bytesize::ByteSize;

use super::decode::{Cx, Decode, Flaw};
use super::keys::Tell;
use super::tree::Node;

/// The longest time that can be set. Sums of times are never near an overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
const TIMES: &str = "a number and a unit: ms, s, m, h or days, as in \"1m 30s\"";
const SIZES: &str = "a number and a unit: B, KB, MB, GB are 1000 apart, KiB, MiB, GiB 1024";

/// A time longer than nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Positive(pub(super) Duration);

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

// === impl Decode ===

impl Decode for Duration {
    const WHAT: &'static str = "a time such as \"30s\"";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, duration)
    }
}

impl Decode for Positive {
    const WHAT: &'static str = Duration::WHAT;
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| match duration(text)? {
            Duration::ZERO => Err(Flaw::new("this time has to be longer than nothing")),
            time => Ok(Self(time)),
        })
    }
}

impl Decode for Size {
    const WHAT: &'static str = "a size such as \"16MiB\"";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| {
            if let Some(flaw) = ambiguous(&text) {
                return Err(flaw);
            }
            match text.trim().parse::<ByteSize>() {
                // `bytesize` stops at the largest number silently.
                Ok(ByteSize(size)) if size <= i64::MAX.unsigned_abs() => Ok(Self(size)),
                Ok(_) => Err(Flaw::new(format!("{text:?} is more than any machine has"))),
                Err(_) => Err(Flaw::new(format!("{text:?} is not a size")).help(SIZES)),
            }
        })
    }
}

/// The flaw in a size that others read in another way: Docker counts `512m` in powers of two, the
/// rest of the world in powers of ten. A size without a unit may be either, or bytes.
fn ambiguous(text: &str) -> Option<Flaw> {
    let text = text.trim();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim_start();
    let number = text[..text.len() - unit.len()].trim_end();
    if !number.parse::<f64>().is_ok_and(|number| number > 0.0) {
        return None;
    }
    match unit.to_ascii_uppercase().as_str() {
        "" => Some(
            Flaw::new(format!("{text:?} has no unit"))
                .help(format!("if it is bytes, write \"{number}B\"; {SIZES}")),
        ),
        letter @ ("K" | "M" | "G" | "T" | "P" | "E") => {
            let help = format!(
                "write \"{number}{letter}iB\" for what Docker means by it, or \"{number}{letter}B\""
            );
            Some(Flaw::new(format!("{text:?} can be read in two ways")).help(help))
        }
        _ => None,
    }
}

fn duration(text: String) -> Result<Duration, Flaw> {
    let unknown =
        |unit: &str| Flaw::new(format!("{text:?} is not a time: there is no unit {unit:?}"));
    // Of 30.44 days, and of 365.25.
    let long = |unit: &&str| {
        matches!(*unit, "M" | "month" | "months" | "y" | "yr" | "yrs" | "year" | "years")
    };
    match text.split(|c: char| !c.is_ascii_alphabetic()).find(long) {
        Some("M") => return Err(unknown("M").help(format!("minutes are `m`; {TIMES}"))),
        Some(unit) => return Err(unknown(unit).help(TIMES)),
        None => {}
    }
    match humantime::parse_duration(&text) {
        Ok(time) if time <= LONGEST => Ok(time),
        Ok(_) => Err(Flaw::new(format!("{text:?} is too long: at most 366 days"))),
        Err(humantime::DurationError::UnknownUnit { unit, .. }) if !unit.is_empty() => {
            Err(unknown(&unit).help(TIMES))
        }
        Err(_) => Err(Flaw::new(format!("{text:?} is not a time")).help(TIMES)),
    }
}

/// Reads a time as the configuration has it, from the command line.
///
/// # Errors
/// The mistake, and what to write instead.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    duration(text.to_owned()).map_err(|flaw| flaw.to_string())
}
