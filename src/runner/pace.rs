//! When a run may read: not while others have much to do in the database, nor from a standby that is too far behind.
//!
//! ```text
//! before an attempt's snapshot  a look in a transaction of its own; while something holds the run up, it sleeps and looks again, and has neither
//!                               a transaction open, which would hold back vacuum, nor a connection
//! between two combinations      once a second at most, a look on the connection at hand; if the database is busy, what was written is verified, the
//!                               snapshot is given up, and the run waits as before its first one
//! before a further connection   the same, and also how far a standby is behind; while something holds the run up, there is none
//! reading again to verify       no look: it closes a race with the application, and until then values live for some seconds only
//! ```
//!
//! What ends the wait is the database, the job's timeout, or who stops the run. What cannot be asked holds nobody up: doubt about a figure must not let the cache go cold.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::prepare::can_be_verified;
use super::run::Progress;
use crate::ground::backoff::pause_before_look;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::event::{Event, Observer};
use crate::ground::hold::Hold;
use crate::ground::job::Job;
use crate::ground::run::Stats;
use crate::ground::waits::Waits;
use crate::source::{Look, Marks, Postgres, Snapshot};

/// How long a look holds between two combinations, from its end.
const FRESH: Duration = Duration::from_secs(1);

/// How long the others go by the look before while somebody looks: longer than the database may be asked how busy it is.
const LOOKING: Duration = Duration::from_secs(6);

/// A look that takes so long has held the run up.
const SLOW: Duration = Duration::from_millis(250);

/// The pace of one attempt, for all of its connections.
pub(super) struct Pace<'a> {
    source: &'a Postgres,
    job: &'a Job,
    progress: &'a Progress,
    observer: &'a dyn Observer,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Until when nobody needs to look, and what held the run up at the last look.
    until: Option<Instant>,
    held: Option<Hold>,
    /// Those who wait.
    waits: Waits,
    /// How long there was somebody who waited.
    waited: Duration,
    /// What was waited for in vain.
    cut_short: Option<Hold>,
}

impl<'a> Pace<'a> {
    pub(super) fn new(source: &'a Postgres, job: &'a Job, progress: &'a Progress, observer: &'a dyn Observer) -> Self {
        Pace { source, job, progress, observer, state: Mutex::default() }
    }

    /// Waits until a snapshot may be taken. To be dropped when the run's time is over.
    ///
    /// # Errors
    /// As [`can_be_verified`], and what looking gives, but for a figure that cannot be asked.
    pub(super) async fn wait(&self) -> Result<(), Error> {
        if !self.source.has_signals() {
            return Ok(());
        }
        let (mut marks, mut waiting) = (Marks::default(), None::<Waiting<'_, '_>>);
        for looks in 1.. {
            self.state().until = Some(Instant::now() + LOOKING);
            let look = self.look(&mut marks).await?;
            self.note(&look);
            let Some(hold) = look.hold else {
                waiting.take().into_iter().for_each(Waiting::end);
                return Ok(());
            };
            match &mut waiting {
                Some(waiting) => waiting.hold = hold,
                None => waiting = Some(Waiting::begin(self, hold)),
            }
            sleep(pause_before_look(looks)).await;
        }
        Ok(())
    }

    /// Looks in a transaction of its own, which ends with it.
    async fn look(&self, marks: &mut Marks) -> Result<Look, Error> {
        let mut snapshot = self.source.snapshot().await?;
        // What no wait can mend is said before it.
        can_be_verified(self.job, &snapshot)?;
        let look = self.source.look_through(&mut snapshot, marks).await?;
        snapshot.finish().await?;
        Ok(look)
    }

    /// Whether whoever has this snapshot is to give it up and wait before the next query.
    ///
    /// # Errors
    /// When the snapshot is of no use any more.
    pub(super) async fn is_held_up(&self, snapshot: &mut Snapshot) -> Result<bool, Error> {
        let Some(busy) = self.source.busy() else { return Ok(false) };
        if let Some(held) = self.held() {
            return Ok(matches!(held, Some(Hold::Busy { .. })));
        }
        let look = Box::pin(snapshot.look_at_load(busy)).await?;
        self.note(&look);
        Ok(look.hold.is_some())
    }

    /// Whether one more connection, whose snapshot this is, may be used. None is worth waiting for.
    ///
    /// # Errors
    /// When the snapshot is of no use any more, and as [`Pace::wait`].
    pub(super) async fn allows(&self, snapshot: &mut Snapshot) -> Result<bool, Error> {
        if !self.source.has_signals() {
            return Ok(true);
        }
        if let Some(held) = self.held() {
            return Ok(held.is_none());
        }
        let look = self.source.look_through(snapshot, &mut Marks::default()).await?;
        self.note(&look);
        Ok(look.hold.is_none())
    }

    /// What the last look saw, if that still holds; else the caller is to look, and the other connections need not.
    fn held(&self) -> Option<Option<Hold>> {
        let mut state = self.state();
        let now = Instant::now();
        if state.until.is_some_and(|until| now < until) {
            return Some(state.held);
        }
        state.until = Some(now + LOOKING);
        None
    }

    /// Says of a run whose time is over what it had waited for.
    pub(super) fn explain(&self, error: Error) -> Error {
        let state = self.state();
        match state.cut_short.filter(|_| error.kind == ErrorKind::JobTimeout) {
            None => error,
            Some(hold) => {
                let (waited, timeout) = (humantime(state.waited), humantime(self.job.timeout));
                let message = format!("{hold}; the job waited for {waited} of its timeout of {timeout} in vain");
                Error::new(hold.kind(), message)
            }
        }
    }

    fn note(&self, look: &Look) {
        let mut state = self.state();
        // From now, not from when it began: a look that takes long would not hold at all.
        (state.held, state.until) = (look.hold, Some(Instant::now() + FRESH));
        // While somebody waits, the time is counted already.
        let slow = !state.waits.is_any() && look.took >= SLOW;
        drop(state);
        if slow {
            self.progress.add(&Stats { waited_for_database: look.took, ..Stats::default() });
        }
        if let Some(error) = &look.unknown {
            self.observer.on(&Event::LoadUnknown { error });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits. If this is dropped without [`Waiting::end`], the wait was cut short.
struct Waiting<'p, 'a> {
    pace: &'p Pace<'a>,
    hold: Hold,
    ended: bool,
}

impl<'p, 'a> Waiting<'p, 'a> {
    fn begin(pace: &'p Pace<'a>, hold: Hold) -> Self {
        let first = pace.state().waits.begin(Instant::now());
        // Several connections of a run wait for the same.
        if first {
            pace.observer.on(&Event::Waiting { job: &pace.job.name, hold: &hold });
        }
        Waiting { pace, hold, ended: false }
    }

    fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Waiting<'_, '_> {
    fn drop(&mut self) {
        let mut state = self.pace.state();
        if !self.ended {
            state.cut_short = Some(self.hold);
        }
        if let Some(waited) = state.waits.end(Instant::now()) {
            state.waited += waited;
            self.pace.progress.add(&Stats { waited_for_database: waited, ..Stats::default() });
        }
    }
}

/// A length of time to the tenth of a second.
fn humantime(time: Duration) -> humantime::FormattedDuration {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    humantime::format_duration(Duration::from_millis(milliseconds / 100 * 100))
}
