//! How fast the writers of this process may write to one Redis, all together, where the operator sets a limit: so many keys, and so many bytes a second.
//!
//! The generic cell rate algorithm (GCRA; ITU-T I.371, annex A, "virtual scheduling"): all that is remembered is the time at which everything that was let
//! through would have been sent at exactly this rate. Who comes takes the next part of that time, and waits until it has come, but for a burst. So nobody is passed
//! over, writers take turns, and what a pause has left unused is lost: no spike follows it.
//!
//! Batches wait before they are handed to the writer's thread, not in it: whoever waits can be stopped at any moment, what is in flight is not
//! kept waiting for its replies, and between a look at Redis' memory and the batch that it is for nothing waits.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ground::entry::{Batch, Mark};
use crate::ground::settings::Restraint;

/// What may come at once: a full batch.
const BURST: Cost = Cost { keys: 64, bytes: 64 << 10 };
/// Or as much as this time is worth at the rate, if that is more: no timer wakes a sleeper exactly.
const BURST_TIME: Duration = Duration::from_millis(5);

/// What commands cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Keys that are asked about or written; a key counts for each command that is about it.
    pub(super) keys: u64,
    /// Bytes of the keys, and of the values that go with them.
    pub(super) bytes: u64,
}

impl Cost {
    /// That of asking about these of a batch's entries. A run that `only_looks` sends no values.
    pub(super) fn of(batch: &Batch, indexes: impl Iterator<Item = usize>, only_looks: bool) -> Self {
        let mut cost = Cost::default();
        for entry in indexes.filter_map(|index| batch.get(index)).filter(|entry| entry.mark != Mark::Done) {
            let goes_with_it = matches!(entry.mark, Mark::New | Mark::Different(_) | Mark::Outdated(_)) && !only_looks;
            let value = if goes_with_it { entry.payload.len() } else { 0 };
            cost.keys += 1;
            cost.bytes += (entry.key.len() + value) as u64;
        }
        cost
    }
}

/// The limits of one Redis. Without any, nothing waits.
#[derive(Debug)]
pub(super) struct Rate {
    keys: Option<Mutex<Bucket>>,
    bytes: Option<Mutex<Bucket>>,
}

impl Rate {
    pub(super) fn new(restraint: &Restraint, now: Instant) -> Self {
        let bucket = |rate: Option<u64>, burst| rate.map(|rate| Mutex::new(Bucket::new(rate, burst, now)));
        Rate {
            keys: bucket(restraint.keys_per_second, BURST.keys),
            bytes: bucket(restraint.bytes_per_second, BURST.bytes),
        }
    }

    /// Takes a place for commands of this cost, and says how long they have to wait for it. It stays taken, whether they are sent or not.
    pub(super) fn claim(&self, cost: Cost, now: Instant) -> Duration {
        let claim = |bucket: &Option<Mutex<Bucket>>, count| match bucket {
            Some(bucket) => bucket.lock().unwrap_or_else(PoisonError::into_inner).claim(count, now),
            None => Duration::ZERO,
        };
        claim(&self.keys, cost.keys).max(claim(&self.bytes, cost.bytes))
    }
}

/// One limit.
#[derive(Debug)]
struct Bucket {
    /// Units a second.
    rate: u64,
    /// Units that need not wait.
    burst: u64,
    /// When everything that was let through would have been sent at this rate.
    due: Instant,
}

impl Bucket {
    fn new(rate: u64, burst: u64, now: Instant) -> Self {
        let rate = rate.max(1);
        let worth = u128::from(rate) * BURST_TIME.as_nanos() / 1_000_000_000;
        Bucket { rate, burst: burst.max(u64::try_from(worth).unwrap_or(u64::MAX)), due: now }
    }

    /// What is larger than a burst goes when nothing else is due, and all that comes after it waits for as long as it is worth.
    fn claim(&mut self, units: u64, now: Instant) -> Duration {
        let begin = self.due.max(now);
        self.due = begin + self.worth(units);
        let ahead = begin + self.worth(units.min(self.burst));
        ahead.saturating_duration_since(now).saturating_sub(self.worth(self.burst))
    }

    fn worth(&self, units: u64) -> Duration {
        let nanos = u128::from(units) * 1_000_000_000 / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX / 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn keys(rate: u64, now: Instant) -> Rate {
        Rate::new(&Restraint { keys_per_second: Some(rate), ..Restraint::default() }, now)
    }

    fn cost(keys: u64, bytes: u64) -> Cost {
        Cost { keys, bytes }
    }

    #[test]
    fn in_no_window_is_there_more_than_the_burst_and_what_the_rate_allows() {
        let (start, rate) = (Instant::now(), 100);
        let bucket = keys(rate, start);
        fastrand::seed(7);
        let (mut now, mut sent) = (start, Vec::new());
        for _ in 0..500 {
            let count = fastrand::u64(1..=64);
            let wait = bucket.claim(cost(count, 0), now);
            sent.push((now + wait, count));
            // Some wait until they are let through, some come with others, some come late.
            now += [wait, Duration::ZERO, wait + Duration::from_millis(fastrand::u64(0..2000))][fastrand::usize(0..3)];
        }
        sent.sort_unstable();
        for (first, (begin, _)) in sent.iter().enumerate() {
            let mut count = 0;
            for (end, more) in &sent[first..] {
                count += more;
                let allowed = BURST.keys as f64 + rate as f64 * end.duration_since(*begin).as_secs_f64();
                assert!(count as f64 <= allowed + 1e-3, "{count} keys, {allowed} allowed");
            }
        }
    }

    #[test]
    fn who_never_pauses_gets_the_rate_and_a_pause_gives_nothing_but_the_burst() {
        let start = Instant::now();
        let bucket = keys(128, start);
        assert_eq!(bucket.claim(cost(64, 0), start), Duration::ZERO);
        assert_eq!(bucket.claim(cost(64, 0), start), SECOND / 2);
        assert_eq!(bucket.claim(cost(64, 0), start), SECOND, "whoever comes next stands behind those who wait");
        let late = start + 100 * SECOND;
        assert_eq!(bucket.claim(cost(64, 0), late), Duration::ZERO);
        assert_eq!(bucket.claim(cost(1, 0), late), SECOND / 128);
    }

    #[test]
    fn what_is_larger_than_a_burst_passes_alone() {
        let (start, rate) = (Instant::now(), 1 << 20);
        let bucket = Rate::new(&Restraint { bytes_per_second: Some(rate), ..Restraint::default() }, start);
        assert_eq!(bucket.claim(cost(1, 64 << 10), start), Duration::ZERO);
        assert_eq!(bucket.claim(cost(1, 4 << 20), start), SECOND / 16, "when all before it is paid for");
        assert_eq!(bucket.claim(cost(1, 64 << 10), start), 4 * SECOND + SECOND / 16, "and it is paid for, too");
    }

    #[test]
    fn both_limits_hold_and_without_any_nothing_waits() {
        let start = Instant::now();
        let both = Restraint { keys_per_second: Some(128), bytes_per_second: Some(128 << 10), latency_limit: None };
        let both = Rate::new(&both, start);
        assert_eq!(both.claim(cost(64, 0), start), Duration::ZERO);
        assert_eq!(both.claim(cost(0, 128 << 10), start), Duration::ZERO, "alone");
        assert_eq!(both.claim(cost(64, 64 << 10), start), SECOND);
        let none = Rate::new(&Restraint::default(), start);
        assert!((0..9).all(|_| none.claim(cost(1 << 40, 1 << 50), start).is_zero()));
    }

    #[test]
    fn a_high_rate_allows_what_a_timer_may_be_late_by() {
        let start = Instant::now();
        let bucket = keys(1_000_000, start);
        assert_eq!(bucket.claim(cost(5000, 0), start), Duration::ZERO);
        assert!(bucket.claim(cost(64, 0), start) > Duration::ZERO);
    }

    #[test]
    fn values_count_where_they_are_sent() {
        let mut batch = Batch::default();
        for mark in [Mark::New, Mark::Provisional(1), Mark::Withdrawn(1), Mark::Outdated(1), Mark::Done] {
            batch.push(b"key", b"value", SECOND);
            batch.mark(batch.len() - 1, mark);
        }
        assert_eq!(Cost::of(&batch, 0..5, false), cost(4, 4 * 3 + 2 * 5));
        assert_eq!(Cost::of(&batch, 0..2, true), cost(2, 2 * 3));
    }
}
