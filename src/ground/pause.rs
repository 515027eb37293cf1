//! Pauses: jobs that begin no run by themselves until a moment. Every pause ends.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// The shortest pause that is given.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// The longest one: nobody remembers for longer.
pub const LONGEST: Duration = Duration::from_secs(30 * 86_400);
/// By how much two clocks, or one before and after it is set right, may differ.
const STEP: TimeDelta = TimeDelta::minutes(1);

/// Which jobs are paused, and until when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pauses {
    until: BTreeMap<String, DateTime<Utc>>,
}

impl Pauses {
    /// Until when a job is paused, if it is now. What would last longer than any pause that is given was written by a clock that was wrong.
    pub fn until(&self, job: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let until = *self.until.get(job)?;
        (now < until && until <= latest(now) + STEP).then_some(until)
    }

    /// Pauses a job, or gives its pause another end.
    pub fn pause(&mut self, job: String, until: DateTime<Utc>) {
        self.until.insert(job, until);
    }

    /// Ends a job's pause.
    pub fn resume(&mut self, job: &str) {
        self.until.remove(job);
    }

    /// Forgets pauses that are over.
    pub fn forget(&mut self, now: DateTime<Utc>) {
        let over: Vec<_> = self.until.keys().filter(|job| self.until(job, now).is_none()).cloned().collect();
        over.iter().for_each(|job| self.resume(job));
    }

    /// All pauses, those that are over included.
    pub fn iter(&self) -> impl Iterator<Item = (&str, DateTime<Utc>)> {
        self.until.iter().map(|(job, until)| (job.as_str(), *until))
    }
}

/// The latest end of a pause that is given now.
pub fn latest(now: DateTime<Utc>) -> DateTime<Utc> {
    now + LONGEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_whatever_the_clock_says() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(100);
        let mut pauses = Pauses::default();
        pauses.pause("a".to_owned(), now + TimeDelta::seconds(5));
        let asked = [now, now + TimeDelta::seconds(4), now + TimeDelta::seconds(5), now - TimeDelta::days(31)];
        let paused = asked.map(|now| pauses.until("a", now).is_some());
        assert_eq!(paused, [true, true, false, false], "the last one: a clock that was set back");
        assert_eq!(pauses.until("b", now), None);
        pauses.forget(now);
        assert_eq!(pauses.iter().count(), 1);
        pauses.forget(now + TimeDelta::seconds(5));
        assert_eq!(pauses, Pauses::default());
    }
}
