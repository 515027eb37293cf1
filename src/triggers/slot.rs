//! One job of the agenda: its mark, what waits, what runs.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::ahead::Ahead;
use super::words::{Ended, RunId, Start, Tick};
use crate::ground::backoff::pause_before_another_run;
use crate::ground::due::Known;
use crate::ground::job::{CatchUp, Job, Overlap};
use crate::ground::passed::{Passed, Reason};
use crate::ground::refresh::{Kept, Units};
use crate::ground::request::{Scope, Trigger};

/// The most missed times that are counted one by one, and the most that `catch_up = "all"` makes up.
const MOST: usize = 1000;
/// After how long a job is looked at again that another instance is running.
const ELSEWHERE: TimeDelta = TimeDelta::seconds(5);
/// No pause before another run is as long.
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(10);

/// One job, and what is to come of it.
#[derive(Debug)]
pub(super) struct Slot {
    job: Arc<Job>,
    /// Due times up to this one are done with, waiting or running.
    mark: DateTime<Utc>,
    /// Up to this one, those that began no run have been counted: by a process before this one, too, in a pause that goes on.
    counted: Option<DateTime<Utc>>,
    /// When the run for the due time after the mark is to begin.
    coming: Option<DateTime<Utc>>,
    /// Oldest first. More than one only where each due time gets its own run.
    waiting: VecDeque<Wanted>,
    running: Vec<(RunId, Wanted)>,
    /// Failures in a row.
    failures: u32,
    paused: bool,
    /// The mark before the first due time that was passed over in this pause.
    passed_over: Option<DateTime<Utc>>,
    /// Of a job that is refreshed ahead.
    ahead: Option<Ahead>,
    /// Its refresh that is under way. A start that comes due meanwhile waits: what is refreshed is a part of what it would do.
    refreshing: Option<(RunId, Scope)>,
}

/// What a job is ready for.
pub(super) enum Coming {
    /// The run that waits.
    Run,
    Refresh(Scope),
}

#[derive(Debug, Clone, Copy)]
struct Wanted {
    due: Option<DateTime<Utc>>,
    trigger: Trigger,
    not_before: DateTime<Utc>,
    tried: Tried,
}

/// What has been tried for a due time before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tried {
    Nothing,
    /// Another instance had the job.
    Held,
    /// A run has begun.
    Begun,
}

impl Slot {
    pub(super) fn new(job: &Arc<Job>, known: Known, now: DateTime<Utc>) -> Self {
        let mut slot = Slot {
            job: Arc::clone(job),
            mark: now,
            counted: None,
            coming: None,
            waiting: VecDeque::new(),
            running: Vec::new(),
            failures: 0,
            paused: false,
            passed_over: None,
            ahead: Ahead::of(job, now),
            refreshing: None,
        };
        slot.counted = known.passed.filter(|due| slot.is_believable(*due, now));
        // Where nothing is made up for, what was counted is done with.
        let passed = slot.counted.filter(|_| job.catch_up == CatchUp::None);
        match known.served.filter(|mark| slot.is_believable(*mark, now)).max(passed) {
            Some(mark) => slot.set_mark(mark),
            None => slot.begin_without_mark(now),
        }
        slot
    }

    /// Nobody knows when the job ran last.
    fn begin_without_mark(&mut self, now: DateTime<Utc>) {
        let due = self.last_begun(now);
        match due.filter(|_| self.job.catch_up == CatchUp::None) {
            // The first tick looks whether it is missed.
            Some(due) => self.set_mark(due - TimeDelta::milliseconds(1)),
            None => self.set_mark(due.unwrap_or(now)),
        }
        if self.job.catch_up != CatchUp::None {
            let (trigger, tried) = (Trigger::CatchUp, Tried::Nothing);
            self.waiting.push_back(Wanted { due, trigger, not_before: now, tried });
        }
    }

    /// The same with another definition of the job.
    pub(super) fn with(mut self, job: &Arc<Job>, now: DateTime<Utc>) -> Self {
        let mark = self.mark;
        if !same_keys(&self.job, job) {
            // What is refreshed now are keys of the old definition.
            self.refreshing = self.refreshing.map(|(run, _)| (run, Scope::Units(Arc::new([]))));
            self.ahead = Ahead::of(job, now);
        }
        let mut slot = Slot { job: Arc::clone(job), ..self };
        slot.set_mark(mark);
        slot
    }

    fn set_mark(&mut self, mark: DateTime<Utc>) {
        self.mark = mark;
        self.coming = self.job.schedule.next(mark).map(|due| self.job.start_of(due));
    }

    /// A mark may lie before now, or be the next due time, which a clock that was set back brings a second time.
    fn is_believable(&self, mark: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        mark <= now || self.job.schedule.next(now).is_some_and(|next| mark <= next)
    }

    /// The last due time whose run was to begin by now.
    fn last_begun(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let due = self.job.schedule.latest(now)?;
        if self.job.start_of(due) <= now { Some(due) } else { self.before(due) }
    }

    /// The due time before this one.
    fn before(&self, due: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.job.schedule.latest(due - TimeDelta::milliseconds(1))
    }

    /// When its next run begins, if nothing else comes first.
    pub(super) fn next(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let waiting = self.waiting.front().map(|wanted| wanted.not_before.max(now));
        waiting.into_iter().chain(self.coming).min().filter(|_| !self.paused)
    }

    /// When its next keys are to be refreshed.
    pub(super) fn next_refresh(&self) -> Option<DateTime<Utc>> {
        self.ahead.as_ref().filter(|_| !self.paused && self.refreshing.is_none())?.next()
    }

    pub(super) fn job(&self) -> &Arc<Job> {
        &self.job
    }

    /// The due time of the run that waits.
    pub(super) fn waits_for(&self) -> Option<DateTime<Utc>> {
        self.waiting.front().and_then(|wanted| wanted.due)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    pub(super) fn refresh_nothing(&mut self) {
        self.ahead = None;
    }

    pub(super) fn learn(&mut self, job: &Job, kept: &Kept) {
        if let Some(ahead) = self.ahead.as_mut().filter(|_| same_keys(&self.job, job)) {
            ahead.learn(kept);
        }
    }

    pub(super) fn pause(&mut self, paused: bool, now: DateTime<Utc>) {
        self.paused = paused;
        if !paused {
            self.make_up(now);
        }
    }

    pub(super) fn tick(&mut self, now: DateTime<Utc>, tick: &mut Tick) {
        if !self.is_believable(self.mark, now) {
            self.set_mark(self.last_begun(now).unwrap_or(now));
        }
        if self.coming.is_none_or(|coming| now < coming) {
            return;
        }
        let since = self.mark;
        let Some(due) = self.last_begun(now).filter(|due| *due > since) else { return };
        self.set_mark(due);
        let on_time = now - self.job.start_of(due) <= self.job.misfire_grace;
        if self.paused {
            self.passed_over.get_or_insert(since);
            tick.passed.extend(self.passed(since, due, Reason::Paused));
            return;
        }
        match self.job.catch_up {
            CatchUp::None if !on_time => tick.passed.extend(self.passed(since, due, Reason::Missed)),
            CatchUp::All => self.queue(since, due, on_time, now, tick),
            policy => {
                let reason = if policy == CatchUp::None { Reason::Missed } else { Reason::Superseded };
                let before = self.before(due).filter(|before| *before > since);
                tick.passed.extend(before.and_then(|before| self.passed(since, before, reason)));
                let trigger = if on_time && before.is_none() { Trigger::Schedule } else { Trigger::CatchUp };
                self.arrive(Wanted { due: Some(due), trigger, not_before: now, tried: Tried::Nothing }, tick);
            }
        }
    }

    /// After a pause: runs for what was passed over, as `catch_up` wants it.
    fn make_up(&mut self, now: DateTime<Utc>) {
        let Some(since) = self.passed_over.take() else { return };
        let most = match self.job.catch_up {
            CatchUp::None => 0,
            // A run that waits serves them, too.
            CatchUp::Latest => usize::from(self.waiting.is_empty()),
            CatchUp::All => MOST.saturating_sub(self.waiting.len()),
        };
        let back = std::iter::successors(Some(self.mark), |due| self.before(*due)).take_while(|due| *due > since);
        let dues: Vec<DateTime<Utc>> = back.take(most).collect();
        // They have been counted.
        let wanted = |due| Wanted { due: Some(due), trigger: Trigger::CatchUp, not_before: now, tried: Tried::Begun };
        self.waiting.extend(dues.into_iter().rev().map(wanted));
    }

    /// The due times after `since`, the last of which is `until`, as passed over; none that has been counted before.
    fn passed(&self, since: DateTime<Utc>, until: DateTime<Utc>, reason: Reason) -> Option<Passed> {
        let since = self.counted.map_or(since, |counted| counted.max(since));
        let count = self.job.schedule.count_between(since, until, MOST);
        (count > 0).then(|| Passed { job: self.job.name.clone(), due: until, count, reason })
    }

    /// Each due time after `since` is to have a run of its own.
    fn queue(
        &mut self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        on_time: bool,
        now: DateTime<Utc>,
        tick: &mut Tick,
    ) {
        let back = std::iter::successors(Some(until), |due| self.before(*due).filter(|before| *before > since));
        let dues: Vec<DateTime<Utc>> = back.take(MOST).collect();
        let oldest = dues.last().copied().unwrap_or(until);
        tick.passed.extend(self.before(oldest).and_then(|before| self.passed(since, before, Reason::Superseded)));
        if let ([due], true, true) = (&dues[..], on_time, self.waiting.is_empty()) {
            return self.arrive(
                Wanted { due: Some(*due), trigger: Trigger::Schedule, not_before: now, tried: Tried::Nothing },
                tick,
            );
        }
        for due in dues.into_iter().rev() {
            self.waiting.push_back(Wanted {
                due: Some(due),
                trigger: Trigger::CatchUp,
                not_before: now,
                tried: Tried::Nothing,
            });
        }
        while self.waiting.len() > MOST {
            let dropped = self.waiting.pop_front();
            tick.passed.extend(dropped.and_then(|wanted| self.superseded(&wanted)));
        }
    }

    /// A run follows, whatever was served: the cache has lost its content, or rows have changed.
    pub(super) fn refill(&mut self, trigger: Trigger, now: DateTime<Utc>) {
        // What others have served says something about a lost cache, and nothing about rows.
        let due = Some(self.mark).filter(|_| trigger == Trigger::Refill);
        match self.waiting.front_mut() {
            Some(wanted) => (wanted.trigger, wanted.not_before) = (wanted.trigger.with(trigger), now),
            None => self.waiting.push_back(Wanted { due, trigger, not_before: now, tried: Tried::Begun }),
        }
    }

    /// A run is wanted; `overlap` says what that means for one that is under way.
    fn arrive(&mut self, wanted: Wanted, tick: &mut Tick) {
        match self.job.overlap {
            Overlap::Skip if !self.running.is_empty() => {
                let due = wanted.due.unwrap_or(self.mark);
                tick.passed.push(Passed { job: self.job.name.clone(), due, count: 1, reason: Reason::Overlap });
                return;
            }
            Overlap::Replace => tick.stop.extend(self.running.iter().map(|(run, _)| *run)),
            Overlap::Skip | Overlap::Allow => {}
        }
        // One run serves all that have been waiting.
        let waiting = std::mem::take(&mut self.waiting);
        let trigger = waiting.iter().fold(wanted.trigger, |trigger, before| trigger.with(before.trigger));
        tick.passed.extend(waiting.iter().filter_map(|wanted| self.superseded(wanted)));
        self.waiting.push_back(Wanted { trigger, ..wanted });
    }

    /// A due time that has had no run, and gets none of its own.
    fn superseded(&self, wanted: &Wanted) -> Option<Passed> {
        let reason = match wanted.tried {
            Tried::Nothing => Reason::Superseded,
            Tried::Held => Reason::Held,
            Tried::Begun => return None,
        };
        Some(Passed { job: self.job.name.clone(), due: wanted.due?, count: 1, reason })
    }

    /// What may begin now. A run of the whole job refreshes all that is due, and so it comes first, and no refresh begins beside it.
    pub(super) fn ready(&self, now: DateTime<Utc>) -> Option<Coming> {
        if self.is_ready(now) {
            return Some(Coming::Run);
        }
        let free = self.running.is_empty() && self.refreshing.is_none() && !self.paused;
        let ahead = self.ahead.as_ref().filter(|_| free)?;
        ahead.wanted(now).map(Coming::Refresh)
    }

    pub(super) fn begin(&mut self, run: RunId, coming: Coming) -> Option<Start> {
        let job = Arc::clone(&self.job);
        match coming {
            Coming::Run => {
                let wanted = self.waiting.pop_front()?;
                self.running.push((run, wanted));
                Some(Start { run, job, due: wanted.due, scope: Scope::All, trigger: wanted.trigger })
            }
            Coming::Refresh(scope) => {
                if let Some(ahead) = &mut self.ahead {
                    ahead.begin(&scope);
                }
                self.refreshing = Some((run, scope.clone()));
                Some(Start { run, job, due: None, scope, trigger: Trigger::RefreshAhead })
            }
        }
    }

    fn is_ready(&self, now: DateTime<Utc>) -> bool {
        let room = (self.running.is_empty() && self.refreshing.is_none()) || self.job.overlap == Overlap::Allow;
        // A pause that is longer than any that is given is one before a clock that has been set back since.
        let over = |wanted: &Wanted| wanted.not_before <= now || wanted.not_before - now > LONGEST_PAUSE;
        room && !self.paused && self.waiting.front().is_some_and(over)
    }

    /// The outer `None` if this is no run of the job.
    pub(super) fn ended(&mut self, run: RunId, how: Ended, now: DateTime<Utc>) -> Option<Option<Passed>> {
        if let Some((_, scope)) = self.refreshing.take_if(|(other, _)| *other == run) {
            if let Some(ahead) = &mut self.ahead {
                ahead.ended(&scope, how, now);
            }
            return Some(None);
        }
        let at = self.running.iter().position(|(other, _)| *other == run)?;
        let (_, wanted) = self.running.swap_remove(at);
        let again = match how {
            Ended::Served | Ended::Failed | Ended::Stopped => None,
            Ended::ServedElsewhere => {
                self.failures = 0;
                if wanted.tried == Tried::Begun {
                    return Some(None);
                }
                let due = wanted.due.unwrap_or(self.mark);
                return Some(Some(Passed { job: self.job.name.clone(), due, count: 1, reason: Reason::Elsewhere }));
            }
            Ended::HeldElsewhere => {
                Some(Wanted { not_before: now + ELSEWHERE, tried: wanted.tried.max(Tried::Held), ..wanted })
            }
            Ended::FailedForNow => {
                self.failures = self.failures.saturating_add(1);
                let pause = TimeDelta::from_std(pause_before_another_run(self.failures)).unwrap_or(LONGEST_PAUSE);
                Some(Wanted { trigger: Trigger::Retry, not_before: now + pause, tried: Tried::Begun, ..wanted })
            }
        };
        if matches!(how, Ended::Served | Ended::Failed) {
            self.failures = 0;
        }
        match again {
            Some(again) if self.waiting.is_empty() => self.waiting.push_back(again),
            _ => {}
        }
        Some(None)
    }
}

/// Whether what is known of one job's keys holds for the other's: they are the same, live as long, and are refreshed as early.
fn same_keys(one: &Job, other: &Job) -> bool {
    Units::of(one) == Units::of(other) && one.ttl == other.ttl && one.refresh_ahead == other.refresh_ahead
}
