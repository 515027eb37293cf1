//! How the service is, at a moment: what its loop knows of itself, of Redis and of the jobs. It is a copy, made anew at each beat, so that nobody who
//! looks at it can hold the loop up.

use std::fmt;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::changes::Following;
use super::show::human_seconds;
use super::watch::Link;

/// How the service is.
#[derive(Debug, Clone)]
pub struct Health {
    /// When the loop moved last.
    pub beat: Instant,
    /// Whether it is about to end, and begins nothing any more.
    pub stopping: bool,
    /// Whether Redis answers.
    pub cache: Link,
    /// How changes of the database are followed, if they are.
    pub changes: Option<Following>,
    /// The jobs, highest priority first.
    pub jobs: Vec<JobHealth>,
}

impl Health {
    /// Before the loop has looked for the first time.
    pub fn unknown() -> Self {
        Health { beat: Instant::now(), stopping: false, cache: Link::Unknown, changes: None, jobs: Vec::new() }
    }
}

/// How one job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobHealth {
    /// Its name.
    pub name: String,
    /// When it runs next; `None` if it never comes due.
    pub next: Option<DateTime<Utc>>,
    /// When it was up to date last, as far as anybody knows.
    pub last_success: Option<DateTime<Utc>>,
    /// How long ago that may be.
    pub max_age: Option<Duration>,
    /// Whether it is longer ago.
    pub stale: Option<Stale>,
    /// Until when it is paused, if it is.
    pub paused_until: Option<DateTime<Utc>>,
}

/// The last success of a job is longer ago than the job's `max_age`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    /// How long; `None` if there was none, as far as anybody knows.
    pub age: Option<Duration>,
    /// How long it may be.
    pub max_age: Duration,
}

impl Stale {
    /// Looks whether a job is stale that succeeded last then. One that never did gets as much time from when it became known.
    ///
    /// What is said to have happened in the future is not believed: somebody's clock was wrong.
    pub fn of(
        max_age: Option<Duration>,
        last_success: Option<DateTime<Utc>>,
        known_since: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Option<Stale> {
        let max_age = max_age?;
        let success = last_success.and_then(|last| age(last, now));
        let known = known_since.and_then(|since| age(since, now));
        let is_stale = success.or(known).is_some_and(|age| age > max_age);
        is_stale.then_some(Stale { age: success, max_age })
    }
}

/// How long ago that was; `None` if it lies in the future, but for the little by which clocks are set right.
pub fn age(then: DateTime<Utc>, now: DateTime<Utc>) -> Option<Duration> {
    let age = now - then;
    (age > TimeDelta::minutes(-1)).then(|| age.to_std().unwrap_or_default())
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = human_seconds(self.max_age.as_secs_f64());
        match self.age {
            Some(age) => write!(f, "its last success was {} ago, max_age is {most}", human_seconds(age.as_secs_f64())),
            None => write!(f, "no success is known for longer than its max_age of {most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_stale_when_its_success_is_too_long_ago_or_does_not_come() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        let ago = |seconds: i64| Some(now - TimeDelta::seconds(seconds));
        let max_age = Duration::from_secs(60);
        let stale = |last, known| Stale::of(Some(max_age), last, known, now).map(|stale| stale.age);
        assert_eq!((stale(ago(60), ago(999)), stale(ago(61), ago(1))), (None, Some(Some(Duration::from_secs(61)))));
        assert_eq!((stale(None, ago(60)), stale(None, ago(61)), stale(None, None)), (None, Some(None), None));
        assert_eq!((stale(ago(-59), ago(99)), stale(ago(-61), ago(99))), (None, Some(None)), "a success in the future");
        assert_eq!(Stale::of(None, ago(999), ago(999), now), None);
    }
}
