//! Counts, sizes and foreign texts as people read them.

use std::time::Duration;

/// A count with its word: `1 key`, `2 keys`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Bytes for people, in units of 1024.
pub fn human_bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, "B");
    for next in units {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// A length of time for people, in whole seconds.
pub fn human_seconds(seconds: f64) -> String {
    // Rounding down makes sense of negative and infinite numbers, too.
    humantime::format_duration(Duration::from_secs(seconds as u64)).to_string()
}

/// A short length of time for people: `0.12 ms`, `12 ms`, `1.2 s`.
pub fn human_millis(time: Duration) -> String {
    match time.as_secs_f64() * 1e3 {
        millis if millis < 1.0 => format!("{millis:.2} ms"),
        millis if millis < 10.0 => format!("{millis:.1} ms"),
        millis if millis < 1000.0 => format!("{millis:.0} ms"),
        millis => format!("{:.1} s", millis / 1e3),
    }
}

/// A text that may hold anything, with escapes for what would do something to a terminal.
pub fn visible(text: &str) -> String {
    let visible = |c: char| {
        let (clear, escaped) = if c.is_control() { (None, Some(c.escape_default())) } else { (Some(c), None) };
        clear.into_iter().chain(escaped.into_iter().flatten())
    };
    text.chars().flat_map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_whole_seconds() {
        assert_eq!(human_seconds(0.9), "0s");
        assert_eq!(human_seconds(-3.0), "0s");
        assert_eq!(human_seconds(7384.5), "2h 3m 4s");
    }

    #[test]
    fn short_lengths_of_time_have_two_or_three_digits() {
        let shown = |micros| human_millis(Duration::from_micros(micros));
        assert_eq!([40, 1240, 51_400, 1_260_000].map(shown), ["0.04 ms", "1.2 ms", "51 ms", "1.3 s"]);
    }

    #[test]
    fn what_would_move_the_cursor_is_escaped() {
        assert_eq!(visible("é\u{1b}[2J\n"), "é\\u{1b}[2J\\n");
    }

    #[test]
    fn bytes_are_shown_in_the_largest_fitting_unit() {
        assert_eq!(human_bytes(1023), "1023 B");
        assert_eq!(human_bytes(1536), "1.5 KiB");
        assert_eq!(human_bytes(3 << 30), "3.0 GiB");
    }
}
