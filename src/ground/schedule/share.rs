//! How warm a schedule keeps its keys.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Schedule;

/// So many times say enough about a schedule, if they span whole weeks: then it does not matter at which hour one asks.
const ENOUGH_TIMES: usize = 50;
/// A schedule that strikes every second is not followed for a week.
const MOST_TIMES: usize = 2_000;

impl Schedule {
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

#[cfg(test)]
mod tests {
    use super::super::tests::{at, utc};
    use super::*;

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
