//! Which job is due, which missed time is made up, which run waits.
//!
//! ```text
//! due ─► late? (misfire_grace, catch_up) ─► still running? (overlap) ─► waiting ─► started ─► ended ─► again? (retry)
//! ```
//!
//! Time is only ever handed in, so that a year can be simulated in a second. However long nobody asked, what is done at a [`tick`](Agenda::tick) is
//! bounded: the latest due time is computed, not reached by walking. Each job has a mark, the due time up to which everything is done with; it is what
//! outlives the process. Every due time either begins a run or is [`Passed`] with a reason, so that nothing is lost unseen.
//!
//! A mark that lies further in the future than the next due time is not believed: somebody's clock was wrong, and a job must not be silent
//! until it is right again.

use std::cmp::Reverse;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::slot::{Coming, Slot};
use super::words::{Ended, RunId, Start, Tick};
use crate::ground::due::Known;
use crate::ground::invalidate::Targets;
use crate::ground::job::Job;
use crate::ground::passed::Passed;
use crate::ground::refresh::Kept;
use crate::ground::request::Trigger;

/// The jobs and what is to come of them.
#[derive(Debug, Default)]
pub struct Agenda {
    slots: Vec<Slot>,
    runs: u64,
}

impl Agenda {
    /// The agenda for these jobs, of whose due times this is known.
    pub fn new<K: Into<Known>>(jobs: &[Arc<Job>], known: impl Fn(&Job) -> K, now: DateTime<Utc>) -> Self {
        let mut agenda = Agenda::default();
        agenda.begin_anew(jobs, known, now);
        agenda
    }

    /// Forgets everything: these jobs fill another cache. Runs that are under way end on their own.
    pub fn begin_anew<K: Into<Known>>(&mut self, jobs: &[Arc<Job>], known: impl Fn(&Job) -> K, now: DateTime<Utc>) {
        self.slots = jobs.iter().map(|job| Slot::new(job, known(job).into(), now)).collect();
    }

    /// Takes other jobs instead. Those of the same name go on where they are; runs of jobs that are gone end on their own.
    pub fn replace_jobs<K: Into<Known>>(&mut self, jobs: &[Arc<Job>], known: impl Fn(&Job) -> K, now: DateTime<Utc>) {
        let mut old = std::mem::take(&mut self.slots);
        self.slots = jobs
            .iter()
            .map(|job| match old.iter().position(|slot| slot.job().name == job.name) {
                Some(at) => old.swap_remove(at).with(job, now),
                None => Slot::new(job, known(job).into(), now),
            })
            .collect();
    }

    /// Looks which jobs have come due since the last tick.
    pub fn tick(&mut self, now: DateTime<Utc>) -> Tick {
        let mut tick = Tick::default();
        for slot in &mut self.slots {
            slot.tick(now, &mut tick);
        }
        tick
    }

    /// The runs that are to begin now, at most `free`, the job with the highest priority first.
    pub fn take(&mut self, now: DateTime<Utc>, free: usize) -> Vec<Start> {
        if free == 0 {
            return Vec::new();
        }
        let mut ready: Vec<(&mut Slot, Coming)> =
            self.slots.iter_mut().filter_map(|slot| slot.ready(now).map(|coming| (slot, coming))).collect();
        ready.sort_by_key(|(slot, _)| (Reverse(slot.job().priority), slot.waits_for()));
        let mut starts = Vec::new();
        for (slot, coming) in ready.into_iter().take(free) {
            self.runs += 1;
            starts.extend(slot.begin(RunId(self.runs), coming));
        }
        starts
    }

    /// Learns what a run of the job has left in place, and until when; nothing of a job that has become another one meanwhile.
    pub fn learn(&mut self, job: &Job, kept: &Kept) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.job().name == job.name) {
            slot.learn(job, kept);
        }
    }

    /// From now on these jobs are not refreshed ahead.
    pub fn refresh_nothing(&mut self) {
        self.slots.iter_mut().for_each(Slot::refresh_nothing);
    }

    /// When the next keys are to be refreshed: between two beats, maybe.
    pub fn next_refresh(&self) -> Option<DateTime<Utc>> {
        self.slots.iter().filter_map(Slot::next_refresh).min()
    }

    /// Says how a run ended.
    pub fn ended(&mut self, run: RunId, how: Ended, now: DateTime<Utc>) -> Option<Passed> {
        self.slots.iter_mut().find_map(|slot| slot.ended(run, how, now)).flatten()
    }

    /// Every job runs as soon as there is room: the cache has lost what was in it. A run that is under way is followed by another one.
    pub fn refill(&mut self, now: DateTime<Utc>) {
        self.slots.iter_mut().for_each(|slot| slot.refill(Trigger::Refill, now));
    }

    /// The same for the jobs that may have some of these keys, whatever other instances have done: rows have changed.
    pub fn refill_of(&mut self, gone: &Targets, now: DateTime<Utc>) {
        let is_hit = |slot: &&mut Slot| gone.may_begin_with(slot.job().key.prefix().as_bytes());
        self.slots.iter_mut().filter(is_hit).for_each(|slot| slot.refill(Trigger::Changes, now));
    }

    /// Every job runs that does not run, and is not about to.
    pub fn refill_idle(&mut self, now: DateTime<Utc>) {
        self.slots.iter_mut().filter(|slot| slot.is_idle()).for_each(|slot| slot.refill(Trigger::Refill, now));
    }

    /// Pauses jobs, or lets them go on. Runs that are under way go on in any case. What came due in a pause has been counted, and is made up for at its end as
    /// after any other outage.
    pub fn pause(&mut self, paused: impl Fn(&str) -> bool, now: DateTime<Utc>) {
        for slot in &mut self.slots {
            slot.pause(paused(&slot.job().name), now);
        }
    }

    /// Each job, and when it begins next; `None` if it never does.
    pub fn coming(&self, now: DateTime<Utc>) -> impl Iterator<Item = (&Arc<Job>, Option<DateTime<Utc>>)> {
        self.slots.iter().map(move |slot| (slot.job(), slot.next(now)))
    }

    /// The job that begins next, and when.
    pub fn next(&self, now: DateTime<Utc>) -> Option<(&Arc<Job>, DateTime<Utc>)> {
        self.coming(now).filter_map(|(job, start)| Some((job, start?))).min_by_key(|(_, start)| *start)
    }
}
