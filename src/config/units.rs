//! Lengths of time, sizes and shares, as people write them.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::ground::clock::parse_length;

/// An example of a short length of time.
const FEW: Duration = Duration::from_millis(25);

/// `"5m"`, `"1h 30m"`, within the given bounds; else what it must be.
pub(super) fn duration(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    match parse_length(text) {
        None if most < Duration::from_secs(30) => {
            Err(format!("a length of time such as `{}`", show_duration(FEW.max(least).min(most))))
        }
        None => Err("a length of time such as `30s`, `5m` or `1h 30m`".to_owned()),
        Some(value) if (least..=most).contains(&value) => Ok(value),
        Some(_) => Err(format!("between {} and {}", show_duration(least), show_duration(most))),
    }
}

/// A length of time as it would be written: `366d`, `1h 30m`, `1500ms`.
pub fn show_duration(duration: Duration) -> String {
    if duration.subsec_nanos() != 0 {
        return format!("{}ms", duration.as_millis());
    }
    let (seconds, mut parts) = (duration.as_secs(), Vec::new());
    for (unit, size, more) in [("d", 86_400, u64::MAX), ("h", 3600, 24), ("m", 60, 60), ("s", 1, 60)] {
        let count = seconds / size % more;
        if count > 0 {
            parts.push(format!("{count}{unit}"));
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// `"1MiB"`, `"64KiB"`, `"500kB"`, `"4096"`; else what it must be.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text.trim()[digits.len()..];
    let factor = match unit {
        "" | "B" => Some(1),
        "kB" | "KB" => Some(1000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1_usize << 30),
        _ => None,
    };
    let value = digits.trim().parse::<usize>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    value.ok_or_else(|| "a size such as `64KiB` or `1MiB`".to_owned())
}

/// `"5%"` as a share of 1, within the given bounds in percent; else what it must be.
pub(super) fn percent(text: &str, bounds: RangeInclusive<f64>) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match number {
        Some(number) if bounds.contains(&number) => Ok(number / 100.0),
        _ => Err(format!("between `{}%` and `{}%`", bounds.start(), bounds.end())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(bytes("1MiB"), Ok(1 << 20));
        assert_eq!(bytes("64 KiB"), Ok(64 << 10));
        assert_eq!(bytes("4096"), Ok(4096));
        for text in ["", "MiB", "1.5MiB", "-1", "1XB", "99999999999GiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_example_of_a_length_of_time_is_one_that_may_be_given() {
        let example = |most| duration("25", Duration::from_millis(1), Duration::from_secs(most));
        assert_eq!(example(10), Err("a length of time such as `25ms`".to_owned()));
        assert_eq!(example(86_400), Err("a length of time such as `30s`, `5m` or `1h 30m`".to_owned()));
    }

    #[test]
    fn lengths_of_time_are_shown_as_they_are_written() {
        for text in ["0s", "1ms", "1500ms", "59s", "1m", "1h 30m", "1d", "40d", "366d 23h 59m 59s"] {
            let duration = humantime::parse_duration(text).expect(text);
            assert_eq!(show_duration(duration), text);
        }
    }

    #[test]
    fn shares() {
        assert_eq!(percent("10%", 0.0..=10.0), Ok(0.1));
        assert_eq!(percent("2.5 %", 0.0..=10.0), Ok(0.025));
        for text in ["11%", "-1%", "5", "%", "NaN%"] {
            assert!(percent(text, 0.0..=10.0).is_err(), "{text}");
        }
    }
}
