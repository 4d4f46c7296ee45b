//! Numbers and times as people write them.

/// Units in microseconds; `s` last, because the others end with it.
const UNITS: [(&str, f64); 4] = [("ms", 1e3), ("us", 1.0), ("ns", 1e-3), ("s", 1e6)];

/// A number without a sign, as people write it.
pub(super) fn number(text: &str) -> Option<f64> {
    let plain = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    plain.then(|| text.parse().ok())?
}

/// Microseconds of a text such as `5ms`, `1.5s`.
pub(super) fn parse(text: &str) -> Option<f64> {
    let (number, unit) =
        UNITS.iter().find_map(|(name, us)| Some((text.strip_suffix(name)?, us)))?;
    Some(self::number(number)? * unit)
}

/// Microseconds, with three digits and a unit.
pub(super) fn show(us: f64) -> String {
    let (value, unit) = match us {
        us if us < 1.0 => (us * 1e3, "ns"),
        us if us < 1e3 => (us, "us"),
        us if us < 1e6 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    format!("{} {unit}", digits(value))
}

/// Three digits of a number.
pub(super) fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown() {
        assert_eq!(parse("5ms"), Some(5e3));
        assert_eq!(parse("1.5s"), Some(1.5e6));
        assert_eq!(parse("20us"), Some(20.0));
        for wrong in ["5", "ms", "-1ms", "5 min", "nans", "infs", "1e3s"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        let shown = [0.25, 9.0, 12.34, 999.4, 5123.0, 2e6].map(show);
        assert_eq!(shown, ["250 ns", "9.00 us", "12.3 us", "999 us", "5.12 ms", "2.00 s"]);
    }
}
