//! What makes a run begin. Every trigger becomes one `Request`, and the runner serves nothing else: so there is one path, and
//! each run knows why it began. A request may narrow a run; it never carries data.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::job::Mode;
use super::refresh::Unit;

/// A run that somebody asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Why.
    pub trigger: Trigger,
    /// The due time that it serves, if it serves one.
    pub due: Option<DateTime<Utc>>,
    /// What it is about.
    pub scope: Scope,
    /// Overrides the job's `mode`.
    pub mode: Option<Mode>,
    /// What it does with what it reads.
    pub purpose: Purpose,
    /// Whether somebody has looked at the data and vouches for it: the job's guard does not stop the run.
    pub accept: bool,
}

impl Request {
    /// To do something about one key, which is given without the installation's prefix: somebody wants it.
    pub fn about_key(key: Arc<[u8]>, mode: Option<Mode>, purpose: Purpose) -> Self {
        Request { trigger: Trigger::Fill, due: None, scope: Scope::Key(key), mode, purpose, accept: false }
    }
}

/// What a run does with what it reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Purpose {
    /// It writes it into the cache.
    Write,
    /// It looks only: what would be written is counted.
    DryRun,
    /// It looks whether the cache holds the same.
    Compare(Sample),
}

/// Which keys are compared, by their names: the same ones for all jobs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Their share, above 0 and up to 1.
    share: f64,
    /// What makes another choice of the same size.
    seed: u64,
}

impl Sample {
    /// All keys.
    pub const ALL: Sample = Sample { share: 1.0, seed: 0 };

    /// About this share of all keys, above 0 and up to 1.
    pub fn new(share: f64, seed: u64) -> Self {
        Sample { share, seed }
    }

    /// Whether the key is one of them.
    pub fn takes(self, key: &[u8]) -> bool {
        self.share >= 1.0 || xxh3_64_with_seed(key, self.seed) as f64 <= self.share * u64::MAX as f64
    }
}

/// What a run is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The whole job.
    All,
    /// The combinations that make up these units.
    Units(Arc<[Unit]>),
    /// One key, without the installation's prefix.
    Key(Arc<[u8]>),
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
    /// Rows have changed, and nobody knows which: keys were deleted therefore.
    Changes,
    /// Keys are about to die. Such a run leaves out what another instance has refreshed meanwhile.
    RefreshAhead,
    /// Somebody wants one key.
    Fill,
}

impl Trigger {
    /// Why one run begins that serves both: what makes others' runs count for less stays.
    #[must_use]
    pub fn with(self, other: Trigger) -> Trigger {
        [Trigger::Changes, Trigger::Refill].into_iter().find(|strong| [self, other].contains(strong)).unwrap_or(self)
    }

    /// Its name, as it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Trigger::Manual => "manual",
            Trigger::Schedule => "schedule",
            Trigger::CatchUp => "catch-up",
            Trigger::Retry => "retry",
            Trigger::Refill => "refill",
            Trigger::Changes => "changes",
            Trigger::RefreshAhead => "refresh-ahead",
            Trigger::Fill => "fill",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_about_its_share_of_the_keys_and_always_the_same() {
        let taken = |sample: Sample| (0..10_000).filter(|i| sample.takes(format!("t:{i}").as_bytes())).count();
        assert_eq!(taken(Sample::ALL), 10_000);
        let tenth = Sample::new(0.1, 7);
        assert!((800..1200).contains(&taken(tenth)), "{}", taken(tenth));
        assert_eq!(taken(tenth), taken(tenth));
    }
}
