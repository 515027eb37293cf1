//! Schedules: when a job is due, as pure functions of time.
//!
//! ```text
//! pattern  cron's text, and which local times match it
//! local    what a local time is on the time line: once, twice, never
//! cron     both together: when a pattern is due in a zone whose clocks are put forward and back
//! shift    what such a change does to a run, for people who wonder
//! share    how warm a schedule keeps its keys
//! splay    when what is due starts
//! ```
//!
//! Each question is answered by one or two searches, however long ago the last run was and however often the schedule strikes.

mod cron;
mod local;
mod pattern;
mod share;
mod shift;
mod splay;

use std::fmt;
use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use chrono_tz::Tz;

use self::cron::Zoned;
use self::pattern::Pattern;
pub use self::pattern::{KINDS, NICKNAMES};
pub use self::shift::Shift;
pub use self::splay::Splay;
use super::clock::parse_length;

/// The years in which cron is looked for: what the calendar repeats, it repeats within four centuries.
const YEARS: RangeInclusive<i32> = 1..=4500;

/// A parsed `schedule`, in the job's time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    zone: Tz,
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    Cron(Zoned),
    /// Whole multiples of the interval since the Unix epoch.
    Every(TimeDelta),
}

impl Schedule {
    /// Parses cron with five fields (six with seconds), `@hourly` and friends, or `every 4m`.
    ///
    /// The error says what is wrong with the text, in one sentence.
    pub fn parse(text: &str, zone: Tz) -> Result<Self, String> {
        let text = text.trim();
        let rule = match text.strip_prefix("every ") {
            Some(interval) => Rule::Every(parse_interval(interval)?),
            None => Rule::Cron(Zoned { pattern: Pattern::parse(text)?, zone }),
        };
        let schedule = Schedule { text: text.to_owned(), zone, rule };
        match schedule.next(DateTime::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err("this time never comes".to_owned()),
        }
    }

    /// The first time after `after` at which the job is due; always a later one.
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.rule {
            Rule::Cron(zoned) => YEARS.contains(&after.year()).then(|| zoned.next(after))?,
            Rule::Every(interval) => multiple(*interval, count(*interval, after).checked_add(1)?),
        }
    }

    /// The last time at which the job was due that is not after `at`.
    pub fn latest(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.rule {
            Rule::Cron(zoned) => YEARS.contains(&at.year()).then(|| zoned.latest(at))?,
            Rule::Every(interval) => multiple(*interval, count(*interval, at)),
        }
    }

    /// How many times the job is due after `after` and not after `until`. Counting stops at `cap`.
    pub fn count_between(&self, after: DateTime<Utc>, until: DateTime<Utc>, cap: usize) -> usize {
        match &self.rule {
            Rule::Cron(_) => self.all_after(after).take_while(|due| *due <= until).take(cap).count(),
            Rule::Every(interval) => {
                let times = count(*interval, until) - count(*interval, after);
                usize::try_from(times.max(0)).map_or(cap, |times| times.min(cap))
            }
        }
    }

    /// All times after `after` at which the job is due, one after the other.
    pub fn all_after(&self, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        std::iter::successors(self.next(after), |due| self.next(*due))
    }

    /// What a change of the clocks does to the due time `due`.
    pub fn shift(&self, due: DateTime<Utc>) -> Option<Shift> {
        match &self.rule {
            Rule::Cron(zoned) => YEARS.contains(&due.year()).then(|| zoned.shift(due))?,
            Rule::Every(_) => None,
        }
    }

    /// The time zone in which the schedule is read.
    pub fn zone(&self) -> Tz {
        self.zone
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How many whole intervals have passed since the epoch.
fn count(interval: TimeDelta, at: DateTime<Utc>) -> i64 {
    at.timestamp_millis().div_euclid(interval.num_milliseconds())
}

fn multiple(interval: TimeDelta, count: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(count.checked_mul(interval.num_milliseconds())?)
}

fn parse_interval(text: &str) -> Result<TimeDelta, String> {
    let interval = parse_length(text)
        .ok_or_else(|| format!("`{}` is no length of time; an interval is written `every 4m`", text.trim()))?;
    match TimeDelta::from_std(interval) {
        Ok(delta) if (TimeDelta::seconds(1)..=TimeDelta::days(366)).contains(&delta) => Ok(delta),
        _ => Err("an interval lies between 1s and 366 days".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    pub(super) fn utc(text: &str) -> Schedule {
        Schedule::parse(text, Tz::UTC).expect(text)
    }

    #[test]
    fn next_follows_cron_intervals_and_zones() {
        let noon = at("2026-11-24T12:00:00Z");
        assert_eq!(utc("0 * * * *").next(noon), Some(at("2026-11-24T13:00:00Z")));
        assert_eq!(utc("30 0 * * * *").next(noon), Some(at("2026-11-24T12:00:30Z")));
        assert_eq!(utc("@hourly").next(noon), Some(at("2026-11-24T13:00:00Z")));
        assert_eq!(utc("every 4m").next(noon), Some(at("2026-11-24T12:04:00Z")));
        let lagos = Schedule::parse("0 6 * * *", Tz::Africa__Lagos).expect("good");
        assert_eq!(lagos.next(noon), Some(at("2026-11-25T05:00:00Z")));
        // The 13th or a Friday, as cron has it.
        assert_eq!(utc("0 0 13 * 5").next(noon), Some(at("2026-11-27T00:00:00Z")));
    }

    #[test]
    fn what_was_due_last_and_how_often_is_known_after_years() {
        let (long_ago, noon) = (at("1996-02-29T00:00:00Z"), at("2026-11-24T12:00:00Z"));
        for (text, latest, count) in [
            ("0 * * * *", "2026-11-24T12:00:00Z", 269_436),
            ("0 0 29 2 *", "2024-02-29T00:00:00Z", 7),
            ("59 59 23 * * *", "2026-11-23T23:59:59Z", 11_226),
            ("every 4m", "2026-11-24T12:00:00Z", 4041540),
            ("every 7d", "2026-11-19T00:00:00Z", 1603),
        ] {
            let schedule = utc(text);
            assert_eq!(schedule.latest(noon), Some(at(latest)), "{text}");
            assert_eq!(schedule.count_between(long_ago, noon, usize::MAX), count, "{text}");
            assert_eq!(schedule.count_between(long_ago, noon, 3), 3, "{text}");
            assert_eq!(schedule.count_between(noon, long_ago, 3), 0, "{text}");
        }
    }

    #[test]
    fn the_ends_of_time_are_no_trouble() {
        for time in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            for text in ["0 * * * *", "30 2 * * *", "every 4m"] {
                let schedule = Schedule::parse(text, Tz::Europe__Berlin).expect(text);
                assert!(schedule.next(time).is_none_or(|next| next > time), "{text}");
                assert!(schedule.latest(time).is_none_or(|latest| latest <= time), "{text}");
                assert_eq!(schedule.shift(time), None, "{text}");
            }
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_way_out() {
        for (text, part) in [
            ("0 * * *", "a schedule is cron"),
            ("hourly", "a schedule is cron"),
            ("99 * * * *", "a schedule is cron"),
            ("0 0 30 2 *", "never comes"),
            ("every 10ms", "between 1s"),
            ("every soon", "every 4m"),
        ] {
            let message = Schedule::parse(text, Tz::UTC).expect_err(text);
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
