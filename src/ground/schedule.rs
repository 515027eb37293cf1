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

    /// The time zone in which the schedule is read.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The share of time (0 … 1) in which a key with lifetime `ttl` exists if it is written only when the schedule strikes; looked at over
    /// the next 200 times after `from`.
    pub fn warm_share(&self, ttl: Duration, from: DateTime<Utc>) -> f64 {
        let ttl = ttl.as_secs_f64();
        let (mut warm, mut total) = (0.0, 0.0);
        let Some(mut due) = self.next(from) else { return 0.0 };
        for _ in 0..200 {
            let Some(next) = self.next(due) else { break };
            let gap = (next - due).as_seconds_f64();
            warm += gap.min(ttl);
            total += gap;
            due = next;
        }
        if total == 0.0 { 0.0 } else { warm / total }
    }
}

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
    fn a_five_minute_key_on_an_hourly_schedule_is_warm_a_twelfth_of_the_time() {
        let share = utc("0 * * * *").warm_share(Duration::from_secs(300), at("2026-11-24T12:00:00Z"));
        assert!((share - 1.0 / 12.0).abs() < 1e-9, "{share}");
        assert_eq!(utc("every 4m").warm_share(Duration::from_secs(300), at("2026-11-24T12:00:00Z")), 1.0);
    }
}
