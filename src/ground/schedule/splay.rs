//! Jobs that are due together start one after the other: so many of them at the full hour would be a thundering herd.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Schedule;
use crate::ground::clock::to_millis;
use crate::ground::fingerprint::Fingerprint;

/// The share of the time to the following due time that a delay stays below: a tenth.
const SHARE: u32 = 10;

/// A job's delay, always the same: it follows from the job's name.
#[derive(Debug, Clone, Copy)]
pub struct Splay {
    most: Duration,
    place: Fingerprint,
}

impl Splay {
    /// A delay from nothing up to, but not including, `most`, for the job of this name.
    pub fn new(most: Duration, name: &str) -> Self {
        Splay { most, place: Fingerprint::of([name]) }
    }

    /// What the delay stays below.
    pub fn most(&self) -> Duration {
        self.most
    }

    /// When a run starts that is due then, to the millisecond. The due time itself stays what the schedule says.
    pub fn start(&self, schedule: &Schedule, due: DateTime<Utc>) -> DateTime<Utc> {
        let following = schedule.next(due).and_then(|next| (next - due).to_std().ok());
        // Jobs that have less room are spread over what they have: cut off, their delays would be equal.
        let room = following.map_or(self.most, |time| self.most.min(time / SHARE));
        let delay = TimeDelta::from_std(self.place.part_of(room)).unwrap_or_default();
        due.checked_add_signed(delay).map_or(due, to_millis)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono_tz::Tz;

    use super::*;

    const DUE: &str = "2026-11-25T12:00:00Z";

    /// The delay in milliseconds of a job that is due at `DUE`.
    fn delay(name: &str, schedule: &str, most: u64) -> i64 {
        let schedule = Schedule::parse(schedule, Tz::UTC).expect(schedule);
        let due = DUE.parse().expect("a time");
        assert_eq!(schedule.latest(due), Some(due));
        (Splay::new(Duration::from_secs(most), name).start(&schedule, due) - due).num_milliseconds()
    }

    /// How many of 200 jobs start in each of the given parts of the time, in milliseconds.
    fn spread(schedule: &str, most: u64, part: i64) -> BTreeMap<i64, usize> {
        let mut parts = BTreeMap::new();
        for number in 0..200 {
            *parts.entry(delay(&format!("job-{number}"), schedule, most) / part).or_default() += 1;
        }
        parts
    }

    #[test]
    fn two_hundred_hourly_jobs_do_not_start_at_once() {
        let seconds = spread("0 * * * *", 30, 1000);
        assert!(seconds.keys().all(|second| (0..30).contains(second)), "{seconds:?}");
        assert!(seconds.len() > 25 && seconds.values().all(|jobs| *jobs <= 16), "{seconds:?}");
    }

    #[test]
    fn jobs_that_are_due_often_are_spread_over_a_tenth_of_the_time() {
        let seconds = spread("every 4m", 3600, 1000);
        assert!(seconds.keys().all(|second| (0..24).contains(second)), "{seconds:?}");
        assert!(seconds.len() > 20 && seconds.values().all(|jobs| *jobs <= 20), "{seconds:?}");
        let tens = spread("* * * * * *", 30, 10);
        assert!(tens.keys().all(|tens| (0..10).contains(tens)) && tens.len() == 10, "{tens:?}");
    }

    #[test]
    fn the_delay_is_the_same_in_every_process() {
        assert_eq!(delay("event-lists", "0 * * * *", 30), 8349);
        assert_eq!(delay("popular-events", "0 * * * *", 30), 8951);
    }

    #[test]
    fn nothing_is_delayed_by_nothing() {
        assert_eq!(spread("0 * * * *", 0, 1), BTreeMap::from([(0, 200)]));
    }
}
