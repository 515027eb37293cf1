//! Time is an argument: whoever needs the time of day is handed a clock, so that tests can set it.

use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

/// A source of the current time.
pub trait Clock: Send + Sync {
    /// The current time in UTC.
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A length of time as people write it: `30s`, `5m`, `1h 30m`. Units are `ms`, `s`, `m`, `h` and `d`: what else `humantime` knows is more likely a slip,
/// such as `5M` for five months.
pub fn parse_length(text: &str) -> Option<Duration> {
    let mut units = text.split(|c: char| !c.is_alphabetic()).filter(|unit| !unit.is_empty());
    let plain = units.all(|unit| ["ms", "s", "m", "h", "d"].contains(&unit));
    humantime::parse_duration(text.trim()).ok().filter(|_| plain)
}

/// The time cut to whole milliseconds: what a JavaScript `Date` holds, and so what `:now` is bound to.
pub fn to_millis(time: DateTime<Utc>) -> DateTime<Utc> {
    time.duration_trunc(TimeDelta::milliseconds(1)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_units_are_read() {
        assert_eq!(parse_length("1h 30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_length("1500ms"), Some(Duration::from_millis(1500)));
        for text in ["5M", "30 minutes", "1y", "5", "", "m", "-5m"] {
            assert_eq!(parse_length(text), None, "{text}");
        }
    }
}
