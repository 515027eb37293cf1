//! Schedules: when a job is due, as a pure function of time.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use super::clock::parse_length;

/// A parsed `schedule`, in the job's time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    zone: Tz,
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    Cron(Box<Cron>),
    /// Whole multiples of the interval since the Unix epoch.
    Every(TimeDelta),
}

impl Schedule {
    /// Parses cron with five fields (six with seconds), `@hourly` and friends, or `every 4m`.
    ///
    /// The error says what is wrong with the text, in one sentence.
    pub fn parse(text: &str, zone: Tz) -> Result<Self, String> {
        let rule = match text.trim().strip_prefix("every ") {
            Some(interval) => Rule::Every(parse_interval(interval)?),
            None => {
                let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
                let cron = parser.parse(text).map_err(|error| {
                    format!(
                        "{error}; a schedule is cron (`0 * * * *`), a nickname (`@hourly`) or an interval (`every 4m`)"
                    )
                })?;
                Rule::Cron(Box::new(cron))
            }
        };
        let schedule = Schedule { text: text.to_owned(), zone, rule };
        match schedule.next(DateTime::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err("this time never comes".to_owned()),
        }
    }

    /// The first time after `after` at which the job is due.
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.rule {
            Rule::Cron(cron) => {
                let local = after.with_timezone(&self.zone);
                cron.find_next_occurrence(&local, false).ok().map(|due| due.with_timezone(&Utc))
            }
            Rule::Every(interval) => {
                let millis = interval.num_milliseconds();
                let next = after.timestamp_millis().div_euclid(millis).checked_add(1)?.checked_mul(millis)?;
                DateTime::from_timestamp_millis(next)
            }
        }
    }

    /// STUB
    pub fn latest(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut step = TimeDelta::seconds(2);
        loop {
            let mut due = self.next(at - step)?;
            if due <= at {
                while let Some(next) = self.next(due).filter(|next| *next <= at) {
                    due = next;
                }
                return Some(due);
            }
            step = step * 2;
            if step > TimeDelta::days(4000) {
                return None;
            }
        }
    }
    /// STUB
    pub fn count_between(&self, after: DateTime<Utc>, until: DateTime<Utc>, cap: usize) -> usize {
        let mut n = 0;
        let mut at = after;
        while n < cap {
            match self.next(at) {
                Some(d) if d <= until => {
                    n += 1;
                    at = d;
                }
                _ => break,
            }
        }
        n
    }

    /// The time zone in which the schedule is read.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The share of time (0 … 1) in which a key with lifetime `ttl` exists if it is written only when the schedule strikes; looked at from the first
    /// time after `from` on.
    pub fn warm_share(&self, ttl: Duration, from: DateTime<Utc>) -> f64 {
        let ttl = ttl.as_secs_f64();
        let Some(first) = self.next(from) else { return 0.0 };
        let (mut due, mut warm) = (first, 0.0);
        for times in 1..MOST_TIMES {
            let Some(next) = self.next(due) else { break };
            warm += (next - due).as_seconds_f64().min(ttl);
            due = next;
            // By the clock on the wall: a change of summer time does not count.
            let [begin, end] = [first, due].map(|time| time.with_timezone(&self.zone).naive_local());
            if times >= ENOUGH_TIMES && (end - begin).num_milliseconds() % TimeDelta::weeks(1).num_milliseconds() == 0 {
                break;
            }
        }
        let total = (due - first).as_seconds_f64();
        if total == 0.0 { 0.0 } else { warm / total }
    }
}

/// So many times say enough about a schedule, if they span whole weeks: then it does not matter at which hour one asks.
const ENOUGH_TIMES: usize = 50;
/// A schedule that strikes every second is not followed for a week.
const MOST_TIMES: usize = 2_000;

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
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

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    fn utc(text: &str) -> Schedule {
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

    #[test]
    fn the_share_is_the_same_at_every_hour_of_the_week() {
        for (schedule, ttl, share) in
            [("0 8-18 * * *", 7200, 0.5), ("0 9 * * 1-5", 86_400, 5.0 / 7.0), ("@daily", 3600, 1.0 / 24.0)]
        {
            for hour in 0..168 {
                let from = at("2026-11-23T00:30:00Z") + TimeDelta::hours(hour);
                let found = utc(schedule).warm_share(Duration::from_secs(ttl), from);
                assert!((found - share).abs() < 1e-9, "{schedule} at {from}: {found}");
            }
        }
    }

    #[test]
    fn a_five_minute_key_on_an_hourly_schedule_is_warm_a_twelfth_of_the_time() {
        let share = utc("0 * * * *").warm_share(Duration::from_secs(300), at("2026-11-24T12:00:00Z"));
        assert!((share - 1.0 / 12.0).abs() < 1e-9, "{share}");
        assert_eq!(utc("every 4m").warm_share(Duration::from_secs(300), at("2026-11-24T12:00:00Z")), 1.0);
    }
}
