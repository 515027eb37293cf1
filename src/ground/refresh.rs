//! Refresh-ahead: when keys are written again before they die, so that they are always there.
//!
//! What one query writes is refreshed by one query, and so the unit is a combination of `[for_each]`. It is due when a share of the shortest life among
//! its keys is left, and a little earlier by an amount that depends on the unit alone: units that were written together drift apart and stay so.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::entry::PROVISIONAL;
use super::fingerprint::Fingerprint;
use super::job::Job;

/// By how much of the share a unit may come earlier.
const SPREAD: f64 = 1.0 / 3.0;

/// After how long a unit is refreshed again at the earliest.
const LEAST: Duration = Duration::from_secs(1);
/// How often a refresh reads a row that is different each time.
const READINGS: u32 = 5;

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
        let texts = [job.definition().to_string(), job.key.to_string()];
        // Pages of another size are other values, and not as many.
        let size = job.value.page_size().map(|size| size.to_string());
        let definition = Fingerprint::of(texts.iter().chain(&size).map(String::as_str));
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
        Refreshed { unit, at, due: add(self.after(unit, life)), dies, is_doubtful: false, is_lacking: false }
    }
}

impl Refreshed {
    /// What is known of a unit some of whose values could not be verified, and will die soon. Reading it took so long, and its keys would live for so long.
    ///
    /// It is refreshed once in each such life, so that a row that changes all the time is always there; but of a query that takes long not so often that the
    /// database would do little else.
    pub fn provisional(unit: Unit, now: DateTime<Utc>, life: Duration, took: Duration) -> Self {
        let lives = PROVISIONAL.min(life / 2);
        // A refresh reads twice before it replaces anything, and the life is shortened by up to an eighth.
        let early = lives.mul_f64(0.75).saturating_sub(took * 3);
        let pause = early.max(LEAST).max(took * READINGS * 4);
        Refreshed { is_doubtful: true, ..Refreshed::until(unit, now, pause, lives.mul_f64(0.875)) }
    }

    /// What is known of a unit some of whose keys are absent, although there are rows for them.
    pub fn lacking(unit: Unit, now: DateTime<Utc>) -> Self {
        Refreshed { is_doubtful: true, is_lacking: true, ..Refreshed::until(unit, now, LEAST, Duration::ZERO) }
    }

    fn until(unit: Unit, at: DateTime<Utc>, due: Duration, dies: Duration) -> Self {
        let add = |length| at + TimeDelta::from_std(length).unwrap_or_default();
        Refreshed { unit, at, due: add(due), dies: add(dies), is_doubtful: false, is_lacking: false }
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
    /// Whether some of its values could not be verified.
    pub is_doubtful: bool,
    /// Whether some of its keys are absent, although there are rows for them: then it is due at once, but for how often that has been so before.
    pub is_lacking: bool,
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
