//! Refresh-ahead: when keys are written again before they die, so that they are always there.
//!
//! What one query writes is refreshed by one query, and so the unit is a combination of `[for_each]`. It is due when a share of the shortest life among
//! its keys is left, and a little earlier by an amount that depends on the unit alone: units that were written together drift apart and stay so.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::fingerprint::Fingerprint;
use super::job::Job;

/// By how much of the share a unit may come earlier.
const SPREAD: f64 = 1.0 / 3.0;

/// What is refreshed at a time: the keys of one combination, or of the whole job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Unit(Fingerprint);

/// The units of one job. Another query or key makes other units: what was written for the old ones says nothing about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Units {
    job: String,
    definition: String,
    whole: bool,
}

impl Units {
    /// Those of this job.
    pub fn of(job: &Job) -> Self {
        let definition = Fingerprint::of([&*job.definition().to_string(), &*job.key.to_string()]);
        Units { job: job.name.clone(), definition: definition.to_string(), whole: job.is_refreshed_whole() }
    }

    /// The unit of a combination: of its parameters, names and values in the order of `[for_each]`.
    pub fn unit(&self, combination: &[&str]) -> Unit {
        let combination = if self.whole { &[] } else { combination };
        Unit(Fingerprint::of([&*self.job, &*self.definition].into_iter().chain(combination.iter().copied())))
    }
}

impl Unit {
    /// A number from 0 to 1 that looks random, and is always the same.
    fn spread(self) -> f64 {
        self.0.number() as f64 / u64::MAX as f64
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How early keys are refreshed (`refresh_ahead`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RefreshAhead {
    share: f64,
}

impl RefreshAhead {
    /// What `refresh_ahead = true` means: 15 % to 20 % of the life are left, so that a fifth more queries are run than there must be.
    pub const USUAL: RefreshAhead = RefreshAhead { share: 0.15 };

    /// Keys are refreshed when this share (0.05 … 0.5) of their life is left.
    pub fn when_left(share: f64) -> Self {
        RefreshAhead { share }
    }

    /// The share of its life that a key has left at least when it is refreshed.
    pub fn share(self) -> f64 {
        self.share
    }

    /// How long after its keys were written a unit is refreshed; `life` is that of the first one to die.
    pub fn after(self, unit: Unit, life: Duration) -> TimeDelta {
        let left = self.share * (1.0 + SPREAD * unit.spread());
        TimeDelta::from_std(life.mul_f64(1.0 - left)).unwrap_or(TimeDelta::MAX)
    }

    /// What is known of a unit whose keys were written at this time.
    pub fn written(self, unit: Unit, at: DateTime<Utc>, life: Duration) -> Refreshed {
        let add = |length| at.checked_add_signed(length).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let dies = add(TimeDelta::from_std(life).unwrap_or(TimeDelta::MAX));
        Refreshed { unit, at, due: add(self.after(unit, life)), dies }
    }
}

/// A unit whose keys are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refreshed {
    /// Which one.
    pub unit: Unit,
    /// When this became known.
    pub at: DateTime<Utc>,
    /// When it is to be refreshed.
    pub due: DateTime<Utc>,
    /// When the first of its keys dies.
    pub dies: DateTime<Utc>,
}

/// The units whose keys a run has left in place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// The units, of a job that is refreshed ahead.
    pub units: Vec<Refreshed>,
    /// Whether there are no others.
    pub complete: bool,
    /// Whether the run took so long that some of what it wrote was due again before it ended.
    pub late: bool,
}
