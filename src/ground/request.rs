//! What makes a run begin. Every trigger becomes one `Request`, and the runner serves nothing else: so there is one path, and
//! each run knows why it began. A request may narrow a run; it never carries data.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::job::Mode;
use super::refresh::Unit;

/// A run that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Why.
    pub trigger: Trigger,
    /// The due time that it serves, if it serves one.
    pub due: Option<DateTime<Utc>>,
    /// What it is about.
    pub scope: Scope,
    /// Overrides the job's `mode`.
    pub mode: Option<Mode>,
    /// Whether to look only: nothing is written, what would be written is counted.
    pub dry_run: bool,
    /// Whether somebody has looked at the data and vouches for it: the job's guard does not stop the run.
    pub accept: bool,
}

/// What a run is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The whole job.
    All,
    /// The combinations that make up these units.
    Units(Arc<[Unit]>),
}

/// Why a run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// A person, or a script, ran `warm --now`.
    Manual,
    /// The job's schedule.
    Schedule,
    /// A start was missed, or nobody knows when the job last ran.
    CatchUp,
    /// The last run failed for a reason that may pass.
    Retry,
    /// Redis has lost what was in it.
    Refill,
    /// Keys are about to die. Such a run leaves out what another instance has refreshed meanwhile.
    RefreshAhead,
}

impl Trigger {
    /// Its name, as it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Trigger::Manual => "manual",
            Trigger::Schedule => "schedule",
            Trigger::CatchUp => "catch-up",
            Trigger::Retry => "retry",
            Trigger::Refill => "refill",
            Trigger::RefreshAhead => "refresh-ahead",
        }
    }
}
