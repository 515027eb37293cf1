//! What the agenda says and hears.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::ground::job::Job;
use crate::ground::passed::Passed;
use crate::ground::request::{Scope, Trigger};

/// A run, by its number in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub(super) u64);

/// A run that is to begin now.
#[derive(Debug, Clone)]
pub struct Start {
    /// Its number.
    pub run: RunId,
    /// The job.
    pub job: Arc<Job>,
    /// The due time that it serves; `None` if the job was never due.
    pub due: Option<DateTime<Utc>>,
    /// What it is about.
    pub scope: Scope,
    /// Why it begins.
    pub trigger: Trigger,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Well.
    Served,
    /// It failed, and another run will not change that.
    Failed,
    /// It failed for a reason that may pass.
    FailedForNow,
    /// It did not begin: another instance runs the job.
    HeldElsewhere,
    /// It did not begin: another instance has served its due time.
    ServedElsewhere,
    /// It was stopped.
    Stopped,
}

/// What a tick has brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tick {
    /// Runs to stop, because a new one takes their place.
    pub stop: Vec<RunId>,
    /// Due times that began no run.
    pub passed: Vec<Passed>,
}
