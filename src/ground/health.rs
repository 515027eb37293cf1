//! How the service is, at a moment: what its loop knows of itself, of Redis and of the jobs. It is a copy, made anew at each beat, so that nobody who
//! looks at it can hold the loop up.

use std::time::Instant;

use chrono::{DateTime, Utc};

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
    /// The jobs, highest priority first.
    pub jobs: Vec<JobHealth>,
}

impl Health {
    /// Before the loop has looked for the first time.
    pub fn unknown() -> Self {
        Health { beat: Instant::now(), stopping: false, cache: Link::Unknown, jobs: Vec::new() }
    }
}

/// How one job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobHealth {
    /// Its name.
    pub name: String,
    /// When it runs next; `None` if it never comes due.
    pub next: Option<DateTime<Utc>>,
    /// When a run of it ended well last, as far as anybody knows.
    pub last_success: Option<DateTime<Utc>>,
}
