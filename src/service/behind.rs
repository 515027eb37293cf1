//! Which jobs' keys live for a shorter time than refreshing them takes, so that they die however early that begins. Said once, and once more with each new configuration.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::ground::event::{Event, Observer};
use crate::ground::job::Job;
use crate::ground::run::Report;

/// After how long without a late run it is said anew: the longer one of this time, and of so many lives of the keys.
const QUIET: TimeDelta = TimeDelta::hours(1);
const LIVES: u32 = 10;

/// When each of these jobs was late last, by its name.
#[derive(Debug, Default)]
pub(super) struct Behind {
    late: HashMap<String, DateTime<Utc>>,
}

impl Behind {
    /// Looks at a run that has ended.
    pub(super) fn say(&mut self, job: &Job, report: &Report, now: DateTime<Utc>, observer: &dyn Observer) {
        if report.kept.late && self.is_news(&job.name, job.ttl.base(), now) {
            observer.on(&Event::Behind { job, took: report.took });
        }
    }

    /// A job whose keys live for so long is late now.
    fn is_news(&mut self, job: &str, life: Duration, now: DateTime<Utc>) -> bool {
        let lives = TimeDelta::from_std(life.saturating_mul(LIVES)).unwrap_or(TimeDelta::MAX);
        let before = self.late.insert(job.to_owned(), now);
        before.is_none_or(|before| now - before > QUIET.max(lives))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_goes_on_being_late_is_told_of_once() {
        let (mut behind, noon) = (Behind::default(), DateTime::<Utc>::UNIX_EPOCH + TimeDelta::hours(12));
        let mut news =
            |job, life, minutes| behind.is_news(job, Duration::from_secs(life), noon + TimeDelta::minutes(minutes));
        assert!(news("quick", 4, 0) && news("slow", 3600, 0));
        assert!(!news("quick", 4, 1) && !news("quick", 4, 60) && !news("slow", 3600, 90));
        assert!(news("quick", 4, 121), "it had been in time for an hour");
        assert!(!news("slow", 3600, 600) && news("slow", 3600, 1201));
    }
}
