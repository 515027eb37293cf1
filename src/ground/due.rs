//! Due times: what is remembered of them from one process to the next.

use chrono::{DateTime, Utc};

/// What is remembered of a job's due times, by this machine or by all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// The one that was served last.
    pub served: Option<DateTime<Utc>>,
    /// The last one that began no run and was counted.
    pub passed: Option<DateTime<Utc>>,
}

/// A due time that was served.
impl From<Option<DateTime<Utc>>> for Known {
    fn from(served: Option<DateTime<Utc>>) -> Self {
        Known { served, passed: None }
    }
}
