//! Lengths of time, sizes and shares, as people write them.

use std::time::Duration;

/// `"5m"`, `"1h 30m"`, within the given bounds.
pub(super) fn duration(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let value = humantime::parse_duration(text)
        .map_err(|_| format!("`{text}` is no length of time; write it as `30s`, `5m` or `1h 30m`"))?;
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(format!(
        "`{text}` is out of bounds; it lies between {} and {}",
        humantime::format_duration(least),
        humantime::format_duration(most)
    ))
}

/// `"1MiB"`, `"64KiB"`, `"500kB"`, `"4096"`.
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
    value.ok_or_else(|| format!("`{text}` is no size; write it as `64KiB`, `1MiB` or a whole number of bytes"))
}

/// `"0%"` … `"10%"` as a share of 1.
pub(super) fn percent(text: &str, most: f64) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match number {
        Some(number) if (0.0..=most).contains(&number) => Ok(number / 100.0),
        _ => Err(format!("`{text}` is no share between 0% and {most}%")),
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
    fn shares() {
        assert_eq!(percent("10%", 10.0), Ok(0.1));
        assert_eq!(percent("2.5 %", 10.0), Ok(0.025));
        for text in ["11%", "-1%", "5", "%", "NaN%"] {
            assert!(percent(text, 10.0).is_err(), "{text}");
        }
    }
}
