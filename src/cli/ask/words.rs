//! Times, sizes and numbers, as people read them in a table.

use std::time::Duration;

use crate::admin::Percentiles;

/// `1 container`, `2 containers`.
pub(in crate::cli) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// How long something took: `0.3ms`, `45ms`, `1.2s`, `3m 10s`.
pub(in crate::cli) fn took(seconds: f64) -> String {
    match seconds {
        ..0.01 => format!("{:.1}ms", seconds * 1e3),
        ..1.0 => format!("{:.0}ms", seconds * 1e3),
        ..60.0 => format!("{seconds:.1}s"),
        _ => age(seconds),
    }
}

/// How long ago something was, in its two largest units: `4s`, `3m 10s`, `2days 4h`.
pub(in crate::cli) fn age(seconds: f64) -> String {
    let seconds = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    let text = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// A number of bytes: `512`, `3.4K`, `1.2M`.
#[expect(clippy::cast_precision_loss, reason = "it is rounded")]
pub(in crate::cli) fn size(bytes: u64) -> String {
    let mut rest = bytes as f64;
    for unit in ["", "K", "M", "G"] {
        if rest < 1024.0 {
            let digits = usize::from(!unit.is_empty() && rest < 100.0);
            return format!("{rest:.digits$}{unit}");
        }
        rest /= 1024.0;
    }
    format!("{rest:.1}T")
}

/// Half took no longer than the first, 99 of 100 no longer than the second.
pub(in crate::cli) fn percentiles(told: Option<Percentiles>) -> String {
    told.map_or_else(none, |told| format!("{}/{}", took(told.p50_seconds), took(told.p99_seconds)))
}

/// The sign for an unknown value.
pub(in crate::cli) fn none() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_short() {
        assert_eq!([0.0003, 0.045, 1.23, 190.4].map(took), ["0.3ms", "45ms", "1.2s", "3m 10s"]);
        assert_eq!([0.9, 3725.0, 200_000.0].map(age), ["0s", "1h 2m", "2days 7h"]);
        assert_eq!([0, 1023, 3500, 512 << 20].map(size), ["0", "1023", "3.4K", "512M"]);
        assert_eq!([1, 2].map(|count| counted(count, "session")), ["1 session", "2 sessions"]);
    }
}
