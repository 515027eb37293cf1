//! When each job was up to date last: what earlier processes have left in the history, and what this one has seen; and which jobs have been so too long ago.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::ground::event::{Event, Observer};
use crate::ground::health::{JobHealth, Stale};
use crate::ground::history::Summary;
use crate::ground::job::Job;

/// What is known of each job, by its name.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    jobs: HashMap<String, Known>,
    /// Jobs of which it was said that they are stale.
    said: HashSet<String>,
}

#[derive(Debug)]
struct Known {
    last_success: Option<DateTime<Utc>>,
    /// A job that never succeeded is not stale before it had the time to.
    since: DateTime<Utc>,
}

impl Freshness {
    /// What is known at the beginning.
    pub(super) fn new(jobs: &[Arc<Job>], past: &HashMap<String, Summary>, now: DateTime<Utc>) -> Self {
        let mut freshness = Freshness::default();
        freshness.replace_jobs(jobs, past, now);
        freshness
    }

    /// Takes over what is known of jobs that take the place of those before.
    pub(super) fn replace_jobs(&mut self, jobs: &[Arc<Job>], past: &HashMap<String, Summary>, now: DateTime<Utc>) {
        let mut before = std::mem::take(&mut self.jobs);
        let known = |job: &Arc<Job>| {
            let past = past.get(&job.name);
            let new = || Known {
                last_success: past.and_then(|past| past.last_success),
                since: past.and_then(|past| past.known_since).map_or(now, |since| since.min(now)),
            };
            let mut known = before.remove(&job.name).unwrap_or_else(new);
            // Another process may have run it meanwhile.
            let later = past.and_then(|past| past.last_success).filter(|last| *last <= now);
            known.last_success = known.last_success.max(later);
            (job.name.clone(), known)
        };
        self.jobs = jobs.iter().map(known).collect();
        self.said.retain(|name| self.jobs.contains_key(name));
    }

    /// The job is up to date.
    pub(super) fn succeeded(&mut self, job: &str, now: DateTime<Utc>) {
        if let Some(known) = self.jobs.get_mut(job) {
            known.last_success = Some(now);
        }
    }

    /// How a job is.
    pub(super) fn of(
        &self,
        job: &Job,
        next: Option<DateTime<Utc>>,
        paused_until: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> JobHealth {
        let known = self.jobs.get(&job.name);
        let last_success = known.and_then(|known| known.last_success);
        // A clock that was set back does not give it more time than it had.
        let since = known.map(|known| known.since.min(now));
        let stale = Stale::of(job.max_age, last_success, since, now);
        JobHealth { name: job.name.clone(), next, last_success, max_age: job.max_age, stale, paused_until }
    }

    /// Says of each job once that it has become stale, and once that it is so no more.
    pub(super) fn say(&mut self, jobs: &[JobHealth], observer: &dyn Observer) {
        for JobHealth { name, stale, .. } in jobs {
            match stale {
                Some(stale) if self.said.insert(name.clone()) => observer.on(&Event::Stale { job: name, stale }),
                None if self.said.remove(name) => observer.on(&Event::NotStale { job: name }),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Observer for Heard {
        fn on(&self, event: &Event<'_>) {
            let heard = match event {
                Event::Stale { job, .. } => format!("{job} is stale"),
                Event::NotStale { job } => format!("{job} is not"),
                _ => return,
            };
            self.0.lock().unwrap().push(heard);
        }
    }

    #[test]
    fn what_becomes_stale_or_fresh_is_said_once() {
        let (mut freshness, heard) = (Freshness::default(), Heard::default());
        let max_age = Duration::from_secs(60);
        let job = |stale: bool| {
            let stale = stale.then_some(Stale { age: None, max_age });
            JobHealth {
                name: "a".to_owned(),
                next: None,
                last_success: None,
                max_age: Some(max_age),
                stale,
                paused_until: None,
            }
        };
        for stale in [false, true, true, false, false, true] {
            freshness.say(&[job(stale)], &heard);
        }
        assert_eq!(*heard.0.lock().unwrap(), ["a is stale", "a is not", "a is stale"]);
    }
}
