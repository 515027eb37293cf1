//! What reaches the loop from outside.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::ground::changes::Following;
use crate::ground::due::Known;
use crate::ground::history::Summary;
use crate::ground::invalidate;
use crate::ground::job::Job;
use crate::ground::pause::Pauses;
use crate::ground::targets::Targets;
use crate::ground::watch::Seen;
use crate::runner::Runner;

/// What the edges make from the configuration.
pub struct Setup {
    /// What runs jobs.
    pub runner: Arc<Runner>,
    /// The jobs.
    pub jobs: Vec<Arc<Job>>,
    /// What is remembered of each job's due times, by its name.
    pub known: HashMap<String, Known>,
    /// What the history knows of each job's runs, by its name.
    pub past: HashMap<String, Summary>,
    /// Which jobs are paused.
    pub pauses: Pauses,
    /// What is wanted of the cache.
    pub targets: Targets,
    /// How long runs may still take when the service is to end.
    pub grace: Duration,
    /// What will be noticed about Redis, if the servers are others than those of the setup before.
    pub cache: Option<mpsc::Receiver<Seen>>,
}

/// How urgently the service is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Not at all.
    No,
    /// What runs may finish: the signal of this name says so.
    Drain(&'static str),
    /// What runs is stopped.
    Cancel(&'static str),
}

impl Stop {
    /// The signal that says so.
    pub(super) fn signal(self) -> Option<&'static str> {
        match self {
            Stop::No => None,
            Stop::Drain(signal) | Stop::Cancel(signal) => Some(signal),
        }
    }
}

/// What reaches the loop from outside.
pub struct Inputs {
    /// How urgently it is to end.
    pub stop: watch::Receiver<Stop>,
    /// Other jobs or settings, which have been found to be right.
    pub setups: mpsc::Receiver<Setup>,
    /// Other pauses.
    pub pauses: mpsc::Receiver<Pauses>,
    /// What is noticed about Redis.
    pub cache: mpsc::Receiver<Seen>,
    /// What has been deleted since it may have changed, so that jobs have to write theirs again.
    pub deleted: mpsc::Receiver<Arc<invalidate::Targets>>,
    /// How changes of the database are followed.
    pub changes: watch::Receiver<Option<Following>>,
}
