//! When a pattern of local times is due, where the clocks are put forward and back as if Debian's cron looked at them.
//!
//! A job for a time of the day runs exactly once on each day. Debian's cron has a virtual clock for that, which follows the one on the wall but
//! is never put back: what the gap leaves out is made up at the moment of the change, what comes twice is done at the first of the two. So an
//! instant is due if the virtual clock passes a matching time at it, and since the virtual clock never goes back, earlier local times are due at
//! earlier instants: one search among local times is enough in either direction.
//!
//! (From three hours on, Debian's cron takes a change for a new time and makes up nothing. No such change is summer time; here it is met as any
//! other.)
//!
//! A job for times that pass (`*/15 * * * *`) follows the clock on the wall: it is due whenever that shows a matching time.

use chrono::{DateTime, NaiveDateTime, Utc};
use chrono_tz::Tz;

use super::local::{Fold, Local, SECOND, fold, resolve, shown};
use super::pattern::Pattern;
use super::shift::Shift;

/// A pattern in a time zone.
#[derive(Debug, Clone)]
pub(super) struct Zoned {
    pub(super) pattern: Pattern,
    pub(super) zone: Tz,
}

impl Zoned {
    /// The first due time after `after`.
    pub(super) fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (now, fold) = (shown(self.zone, after), fold(self.zone, after));
        if self.pattern.fixed() {
            return self.pattern.after(virtually(now, fold)).map(|due| self.once(due));
        }
        let mut due = self.pattern.after(now);
        // Before the clock is put back, what it has shown since the beginning of the fold still is to come again.
        if let Some(fold) = fold.filter(|fold| fold.first_half && due.is_none_or(|due| due >= fold.end))
            && let Some(again) = self.pattern.from(fold.begin).filter(|again| *again <= now)
            && let Local::Twice(_, second) = resolve(self.zone, again)
        {
            return Some(second);
        }
        loop {
            match resolve(self.zone, due?) {
                Local::Once(at) => return Some(at),
                Local::Twice(first, second) => return Some(if first > after { first } else { second }),
                Local::Never(gap) => due = self.pattern.from(gap.end),
            }
        }
    }

    /// The last due time that is not after `at`.
    pub(super) fn latest(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (now, fold) = (shown(self.zone, at), fold(self.zone, at));
        if self.pattern.fixed() {
            return self.pattern.until(virtually(now, fold)).map(|due| self.once(due));
        }
        let mut due = self.pattern.until(now);
        // After the clock was put back, what it is still to show until the end of the fold has been there already.
        if let Some(fold) = fold.filter(|fold| !fold.first_half && due.is_none_or(|due| due < fold.begin))
            && let Some(before) = self.pattern.until(fold.end - SECOND).filter(|before| *before > now)
            && let Local::Twice(first, _) = resolve(self.zone, before)
        {
            return Some(first);
        }
        loop {
            match resolve(self.zone, due?) {
                Local::Once(at) => return Some(at),
                Local::Twice(first, second) => return Some(if second <= at { second } else { first }),
                Local::Never(gap) => due = self.pattern.until(gap.begin - SECOND),
            }
        }
    }

    /// What a change of the clocks does to the due time `due`.
    pub(super) fn shift(&self, due: DateTime<Utc>) -> Option<Shift> {
        let local = shown(self.zone, due);
        match resolve(self.zone, local) {
            Local::Twice(..) if self.pattern.fixed() => Some(Shift::FirstOfTwo),
            Local::Twice(first, _) => Some(Shift::BothOfTwo { first: due == first }),
            _ if !self.pattern.fixed() => None,
            _ => {
                let Local::Never(gap) = resolve(self.zone, local - SECOND) else { return None };
                let left_out = |time: Option<NaiveDateTime>| time.filter(|time| *time < gap.end);
                let first = left_out(self.pattern.from(gap.begin))?;
                Some(Shift::LeftOut { first, more: left_out(self.pattern.after(first)).is_some() })
            }
        }
    }

    /// When the virtual clock shows a local time for the first time, or goes past it.
    fn once(&self, local: NaiveDateTime) -> DateTime<Utc> {
        match resolve(self.zone, local) {
            Local::Once(at) | Local::Twice(at, _) => at,
            Local::Never(gap) => gap.at,
        }
    }
}

/// What the virtual clock shows: while the clock on the wall repeats itself, the last it had shown before.
fn virtually(now: NaiveDateTime, fold: Option<Fold>) -> NaiveDateTime {
    fold.filter(|fold| !fold.first_half).map_or(now, |fold| fold.end - SECOND)
}
