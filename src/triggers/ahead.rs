//! When the keys of one job are to be refreshed before they die.
//!
//! What is there and until when is learnt from the reports of all runs of the job, so that a run on schedule, too, puts the next refresh off. In the beginning nothing is
//! known: then a run is asked for that looks at all units and does what no other host has done.
//!
//! Each refresh finds the values of `[for_each]` anew, and so a unit that is due waits a little for others, a small part of what its keys have left. Later rather than
//! earlier: that costs no query.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::words::Ended;
use crate::ground::backoff::pause_before_another_run;
use crate::ground::job::Job;
use crate::ground::refresh::{Kept, RefreshAhead, Refreshed, Unit};
use crate::ground::request::Scope;

/// After how long a unit is looked at again that another instance, or nobody, has refreshed.
const AGAIN: TimeDelta = TimeDelta::seconds(5);
/// The least pause before another try.
const LEAST: TimeDelta = TimeDelta::seconds(1);
/// A pause of seconds is doubled so many times at the most: to nine hours.
const LONGEST_DOUBLING: u32 = 15;
/// By how much a clock may be set back unnoticed.
const STEP: TimeDelta = TimeDelta::seconds(2);

/// What is known of a unit.
#[derive(Debug, Clone, Copy)]
struct Known {
    refreshed: Refreshed,
    /// Until when it waits for others when it is due.
    waits: DateTime<Utc>,
    /// Whether a refresh of it has begun, and nobody has told of it since.
    awaited: bool,
    /// How many times in a row some of its keys were absent after a refresh.
    lacked: u32,
}

/// The units of one job.
#[derive(Debug)]
pub(super) struct Ahead {
    units: HashMap<Unit, Known>,
    /// When to ask for all units, since it is not known which there are.
    ask: Option<DateTime<Utc>>,
    /// Failures in a row.
    failures: u32,
    ahead: RefreshAhead,
    /// The shortest life of a usual key.
    life: Duration,
}

impl Ahead {
    /// What is to be done about a job of which nothing is known; `None` where nothing is.
    pub(super) fn of(job: &Job, now: DateTime<Utc>) -> Option<Self> {
        let ahead = job.refresh_ahead?;
        Some(Ahead { units: HashMap::new(), ask: Some(now), failures: 0, ahead, life: job.ttl.shortest() })
    }

    /// What is to be refreshed now.
    pub(super) fn wanted(&self, now: DateTime<Utc>) -> Option<Scope> {
        if self.ask.is_some_and(|ask| ask <= now) {
            return Some(Scope::All);
        }
        if !self.units.values().any(|known| known.waits <= now || known.is_from_the_future(now)) {
            return None;
        }
        let due: Vec<Unit> = self.units.iter().filter(|(_, known)| known.is_due(now)).map(|(unit, _)| *unit).collect();
        (!due.is_empty()).then(|| Scope::Units(due.into()))
    }

    /// When something is to be refreshed.
    pub(super) fn next(&self) -> Option<DateTime<Utc>> {
        self.units.values().map(|known| known.waits).chain(self.ask).min()
    }

    /// Learns what a run of the job has left in place.
    pub(super) fn learn(&mut self, kept: &Kept) {
        let mut before = HashMap::new();
        if kept.complete {
            before = std::mem::take(&mut self.units);
            self.ask = None;
        }
        for refreshed in &kept.units {
            let lacked =
                before.get(&refreshed.unit).or_else(|| self.units.get(&refreshed.unit)).map_or(0, |known| known.lacked);
            let known = self.heard(*refreshed, lacked);
            self.units.insert(refreshed.unit, known);
        }
    }

    /// What is known of a unit that lacked keys so many times in a row before.
    fn heard(&self, refreshed: Refreshed, lacked: u32) -> Known {
        if !refreshed.is_lacking {
            let waits = refreshed.due + gathering(&refreshed);
            return Known { refreshed, waits, awaited: false, lacked: 0 };
        }
        // Else a job whose rows are never at rest would be run all the time for a few keys.
        let pause =
            TimeDelta::seconds(1 << lacked.min(LONGEST_DOUBLING)).min(self.ahead.after(refreshed.unit, self.life));
        let due = refreshed.due.max(refreshed.at + pause);
        Known {
            refreshed: Refreshed { due, ..refreshed },
            waits: due,
            awaited: false,
            lacked: lacked.saturating_add(1),
        }
    }

    /// A refresh begins.
    pub(super) fn begin(&mut self, scope: &Scope) {
        let Scope::Units(units) = scope else { return };
        for unit in units.iter() {
            if let Some(known) = self.units.get_mut(unit) {
                known.awaited = true;
            }
        }
    }

    /// A refresh has ended; what it has done was learnt before.
    pub(super) fn ended(&mut self, scope: &Scope, how: Ended, now: DateTime<Utc>) {
        self.failures = if how == Ended::FailedForNow { self.failures.saturating_add(1) } else { 0 };
        match scope {
            Scope::All => {
                let pause = self.pause(how, self.life);
                self.ask = self.ask.map(|_| now + pause);
            }
            Scope::Units(units) => units.iter().for_each(|unit| self.put_off(*unit, how, now)),
            // Nobody refreshes a single key ahead.
            Scope::Key(_) => {}
        }
    }

    /// What is due still has not been done, or the refresh took so long that it is due again.
    fn put_off(&mut self, unit: Unit, how: Ended, now: DateTime<Utc>) {
        let Some(Known { refreshed, awaited, lacked, .. }) =
            self.units.get(&unit).copied().filter(|known| known.is_due(now))
        else {
            return;
        };
        if awaited && how == Ended::Served {
            // Its combination is gone.
            self.units.remove(&unit);
            return;
        }
        let pause = self.pause(how, (refreshed.dies - now).to_std().unwrap_or_default());
        let due = now + pause;
        let refreshed = Refreshed { at: now, due, ..refreshed };
        self.units.insert(unit, Known { refreshed, waits: due, awaited: false, lacked });
    }

    /// How long to wait for another try, while keys live for so long.
    fn pause(&self, how: Ended, left: Duration) -> TimeDelta {
        let whole = TimeDelta::from_std(self.life.mul_f64(1.0 - self.ahead.share())).unwrap_or(AGAIN);
        let third = TimeDelta::from_std(left / 3).unwrap_or(AGAIN);
        match how {
            // Others get their turn, even where refreshing never ends.
            Ended::Served => {
                if third.is_zero() {
                    LEAST
                } else {
                    LEAST.min(third)
                }
            }
            // Trying again would change nothing, until somebody has changed something.
            Ended::Failed => whole.max(LEAST),
            // Dead keys are missed as much in a minute as now: then the server's peace comes first.
            Ended::FailedForNow => {
                let pause = TimeDelta::from_std(pause_before_another_run(self.failures)).unwrap_or(AGAIN);
                if third.is_zero() { pause } else { pause.min(third.max(LEAST)) }
            }
            Ended::HeldElsewhere | Ended::ServedElsewhere | Ended::Stopped => AGAIN.min(third.max(LEAST)),
        }
    }
}

/// How long a unit that is due waits for others: a tenth of what its keys have left then; or up to a second, if that is no more than a fifth.
fn gathering(known: &Refreshed) -> TimeDelta {
    let left = known.dies - known.due;
    if known.is_doubtful { TimeDelta::zero() } else { (left / 10).max(LEAST.min(left / 5)) }
}

impl Known {
    /// A clock that was set back makes all due: nobody knows how old they are.
    fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.refreshed.due <= now || self.is_from_the_future(now)
    }

    fn is_from_the_future(&self, now: DateTime<Utc>) -> bool {
        now < self.refreshed.at - STEP
    }
}
