//! Refresh-ahead, as a run sees it: which combinations it leaves to others, and what it has kept alive.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Runner;
use super::plan::Plan;
use crate::ground::error::Error;
use crate::ground::job::{Job, Verify};
use crate::ground::refresh::{Kept, Refreshed, Unit, Units};
use crate::ground::request::{Request, Scope, Trigger};

/// When something was written, and for how long it lives.
type Life = (DateTime<Utc>, Duration);

/// What one run has found out about its units; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Upkeep {
    /// When the keys of a unit were written, and the life of the first one to die.
    written: Arc<Mutex<HashMap<Unit, Life>>>,
    /// Units some of whose keys are absent, or die soon, since their values could not be verified.
    doubtful: Arc<Mutex<HashMap<Unit, Refreshed>>>,
    /// Units that need no refresh for a while.
    fresh: Arc<Mutex<HashMap<Unit, Duration>>>,
    narrowed: Arc<AtomicBool>,
}

impl Upkeep {
    /// Notes what was written, and verified where that is asked for. Of several parts of a unit the first one to die counts.
    pub(super) fn keeps(&self, unit: Unit, at: DateTime<Utc>, life: Duration) {
        let mut all = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(unit).or_insert((at, life));
        *known = (known.0.min(at), known.1.min(life));
    }

    /// Notes what was written and could not be verified. Of several parts of a unit the first one to come due counts.
    pub(super) fn doubts(&self, doubtful: Refreshed) {
        let mut all = self.doubtful.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(doubtful.unit).or_insert(doubtful);
        if doubtful.due < known.due {
            *known = doubtful;
        }
    }

    /// Whether the run has left combinations out.
    pub(super) fn is_narrowed(&self) -> bool {
        self.narrowed.load(Ordering::Relaxed)
    }

    /// Those of the units that are due; of the others it is noted for how long they are not.
    async fn ask(&self, runner: &Runner, job: &Job, units: &HashSet<Unit>) -> Result<HashSet<Unit>, Error> {
        let asked: Vec<Unit> = units.iter().copied().collect();
        let answers = runner.redis.fresh(&job.name, asked.clone()).await?;
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        fresh.extend(asked.into_iter().zip(answers).filter_map(|(unit, life)| Some((unit, life?))));
        Ok(units.iter().copied().filter(|unit| !fresh.contains_key(unit)).collect())
    }

    /// Whether another instance has refreshed all that is asked for, as far as can be told before anything is read.
    pub(super) async fn is_done(&self, runner: &Runner, job: &Job, scope: &Scope) -> Result<bool, Error> {
        let Scope::Units(units) = scope else { return Ok(false) };
        Ok(self.ask(runner, job, &units.iter().copied().collect()).await?.is_empty())
    }

    /// Those of the combinations that the request is about.
    pub(super) async fn narrow(
        &self,
        (runner, job, request): (&Runner, &Job, &Request),
        units: &Units,
        plan: &Plan,
        due: Vec<usize>,
    ) -> Result<Vec<usize>, Error> {
        let all = due.len();
        let named: Vec<(usize, Unit)> =
            due.into_iter().map(|index| (index, plan.combination(index).unit(units))).collect();
        let mut wanted: HashSet<Unit> = named.iter().map(|(_, unit)| *unit).collect();
        if let Scope::Units(scope) = &request.scope {
            wanted = scope.iter().copied().filter(|unit| wanted.contains(unit)).collect();
        }
        if request.trigger == Trigger::RefreshAhead {
            wanted = self.ask(runner, job, &wanted).await?;
        }
        let left: Vec<usize> =
            named.into_iter().filter(|(_, unit)| wanted.contains(unit)).map(|(index, _)| index).collect();
        if left.len() < all {
            self.narrowed.store(true, Ordering::Relaxed);
        }
        Ok(left)
    }

    /// The units that the run has written. After a failure only what was verified counts, and of a unit that is the whole job nothing.
    pub(super) fn written(&self, job: &Job, failed: bool) -> Vec<Refreshed> {
        let Some(ahead) = job.refresh_ahead else { return Vec::new() };
        if failed && (job.verify == Verify::None || job.is_refreshed_whole()) {
            return Vec::new();
        }
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let doubtful = self.doubtful.lock().unwrap_or_else(PoisonError::into_inner);
        let sure = written.iter().filter(|(unit, _)| !doubtful.contains_key(unit));
        let sure = sure.map(|(unit, (at, life))| ahead.written(*unit, *at, *life));
        sure.chain(doubtful.values().copied()).collect()
    }

    /// What is to be refreshed when.
    pub(super) fn kept(&self, job: &Job, request: &Request, failed: bool, now: DateTime<Utc>) -> Kept {
        let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = fresh.iter().map(|(unit, life)| {
            let due = now + TimeDelta::from_std(*life).unwrap_or(TimeDelta::zero());
            Refreshed { unit: *unit, at: now, due, dies: due, is_doubtful: false, is_lacking: false }
        });
        let written = self.written(job, failed);
        let late = written.iter().any(|known| known.due <= now && !known.is_doubtful);
        let units = written.into_iter().chain(fresh).collect();
        Kept { units, complete: !failed && request.scope == Scope::All, late }
    }
}
