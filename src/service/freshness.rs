//! When a run of each job ended well last: what earlier processes have left in the history, and what this one has seen.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::ground::job::Job;

/// The last success of each job, by its name.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    last: HashMap<String, DateTime<Utc>>,
}

impl Freshness {
    /// What is known at the beginning.
    pub(super) fn new(known: HashMap<String, DateTime<Utc>>) -> Self {
        Freshness { last: known }
    }

    /// Takes over what is known of jobs that take the place of those before.
    pub(super) fn replace_jobs(&mut self, jobs: &[Arc<Job>], mut known: HashMap<String, DateTime<Utc>>) {
        // What this process has seen, it knows better than the file.
        known.extend(std::mem::take(&mut self.last));
        known.retain(|name, _| jobs.iter().any(|job| job.name == *name));
        self.last = known;
    }

    /// A run has ended well.
    pub(super) fn succeeded(&mut self, job: &str, now: DateTime<Utc>) {
        self.last.insert(job.to_owned(), now);
    }

    /// When a run of the job ended well last.
    pub(super) fn last(&self, job: &str) -> Option<DateTime<Utc>> {
        self.last.get(job).copied()
    }
}
