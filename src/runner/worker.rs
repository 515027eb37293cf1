//! One connection that works off combinations: it reads, hands over to be written, and verifies what was written.
//!
//! The race that this closes: a row is read, the application changes it and deletes the key, and the old row is written. So what is
//! written gets a short life, and then the database is asked again, in a snapshot that begins after the write. If the change was committed by then, it
//! is seen; if not, the application's deletion comes after our write, and wins. Only a value that has been seen twice gets its full lifetime.
//!
//! A database to which nothing was committed since the first snapshot need not be asked for rows again: `pg_current_snapshot()` says so.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::time::timeout;

use super::Runner;
use super::assemble::{Assembler, Shared};
use super::gate::{Gate, Held};
use super::plan::Plan;
use super::prepare::{Prepared, Reading, prepare};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::event::Event;
use crate::ground::job::Invalidates;
use crate::ground::refresh::{Refreshed, Unit};
use crate::ground::row::Column;
use crate::source::{Barrier, Snapshot};

/// How often rows are read again that change at every reading.
const READINGS: u32 = 4;
/// How long a failed job may take to find out that what it had written is right.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// One connection that works off combinations.
pub(super) struct Worker<'a> {
    runner: &'a Runner,
    shared: &'a Shared<'a>,
    snapshot: Snapshot,
    prepared: Prepared,
    /// The columns of the job's statement, which must stay the same for the whole run.
    columns: Vec<Column>,
    assembler: Assembler<'a>,
    /// Rows of this snapshot that were held back; they go on before the snapshot is renewed.
    held: Held,
    /// Combinations whose entries are not verified.
    unverified: Vec<usize>,
    /// The same, as they are to be refreshed.
    written: Vec<Noted>,
}

/// A combination that was written.
struct Noted {
    index: usize,
    unit: Unit,
    /// When its query began, and how long that took.
    begun: DateTime<Utc>,
    took: Duration,
    /// The shortest life of its keys.
    life: Duration,
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        runner: &'a Runner,
        shared: &'a Shared<'a>,
        mut prepared: Prepared,
        snapshot: Snapshot,
    ) -> Result<Self, Error> {
        let assembler = Assembler::new(shared, reading(runner, shared, &mut prepared)?, snapshot.state().clone());
        let columns = prepared.statement.columns().to_vec();
        Ok(Worker {
            runner,
            shared,
            snapshot,
            prepared,
            columns,
            assembler,
            held: Held::new(),
            unverified: Vec::new(),
            written: Vec::new(),
        })
    }

    /// The combinations whose queries have to be run: of those whose keys are known beforehand, a run that only fills what is missing
    /// leaves out the ones whose keys are all there. Of pages only the first one is known: whether there are others, and how many, the query says.
    pub(super) async fn due(&mut self, plan: &Plan, only_missing: bool) -> Result<Vec<usize>, Error> {
        let all = 0..plan.len();
        if !only_missing || self.shared.job.value.page_size().is_some() {
            return Ok(all.collect());
        }
        let mut known = Vec::new();
        for index in all.clone() {
            match self.assembler.reading.keys.known_beforehand(plan, plan.combination(index)) {
                Ok(Some(keys)) => known.push((index, keys)),
                // Reading finds out what is wrong with them.
                Ok(None) | Err(_) => return Ok(all.collect()),
            }
        }
        let present = self.runner.redis.present(known.iter().flat_map(|(_, keys)| keys.clone()).collect()).await?;
        let mut present = present.into_iter();
        let mut due = Vec::new();
        for (index, keys) in known {
            let there = present.by_ref().take(keys.len()).filter(|there| *there).count();
            if there < keys.len() {
                due.push(index);
            } else {
                self.assembler.count_present(&keys);
            }
        }
        Ok(due)
    }

    /// Lets the gate look at the rows of these combinations, all that there are.
    ///
    /// # Errors
    /// What the gate says, before anything is written.
    pub(super) async fn pass(&mut self, gate: &Gate<'_>, plan: &Plan, due: &[usize]) -> Result<(), Error> {
        // Reading them again will take as long.
        self.assembler.outlet.pending.begin();
        let Worker { snapshot, prepared, shared, .. } = self;
        self.held = gate.check_rows(snapshot, &prepared.statement, (plan, due), shared.progress).await?;
        Ok(())
    }

    /// Whether rows are at hand that were held back.
    pub(super) fn holds_rows(&self) -> bool {
        !self.held.is_empty()
    }

    /// Works off at most `limit` of the `due` combinations, those that nobody has begun.
    pub(super) async fn work(
        mut self,
        plan: &Plan,
        due: &[usize],
        next: &AtomicUsize,
        limit: usize,
    ) -> Result<Self, Error> {
        for _ in 0..limit {
            if next.load(Ordering::Relaxed) >= due.len() {
                break;
            }
            if !self.holds_rows() && self.shared.pace.is_held_up(&mut self.snapshot).await? {
                // In a box: its depth would be added to that of every query.
                self = Box::pin(self.step_aside(plan)).await?;
            }
            let Some(&index) = due.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            self.unverified.push(index);
            let (begun, start, _) = (self.runner.clock.now(), Instant::now(), self.assembler.outlet.shortest.take());
            if let Err(error) = self.read(plan, index).await {
                if error.kind == ErrorKind::Row && !self.assembler.may_leave_half() {
                    // The rows before it are right if nothing was committed; if that cannot be told, they die soon.
                    let _ = timeout(LAST_LOOK, self.confirm_if_quiet()).await;
                }
                return Err(error);
            }
            self.note(plan, index, begun, start.elapsed());
            if !self.holds_rows() && self.assembler.outlet.pending.is_due() {
                self = self.verify(plan).await?.prepare(false).await?;
            }
        }
        Ok(self)
    }

    /// Notes what has been written of a combination, for its refresh.
    fn note(&mut self, plan: &Plan, index: usize, begun: DateTime<Utc>, took: Duration) {
        if let Some(units) = self.shared.units {
            let life = self.assembler.outlet.shortest.unwrap_or_else(|| self.shared.job.ttl.shortest());
            let unit = plan.combination(index).unit(units);
            self.written.push(Noted { index, unit, begun, took, life });
        }
    }

    /// Reports what has been written: verified, as far as could be.
    fn keep(&mut self) {
        let unsure = std::mem::take(&mut self.assembler.outlet.pending.unsure);
        let (upkeep, now) = (&self.shared.progress.upkeep, self.runner.clock.now());
        for Noted { index, unit, begun, took, life } in self.written.drain(..) {
            if unsure.has_lost(index) {
                upkeep.doubts(Refreshed::lacking(unit, now));
            } else if unsure.has_given_up(index) {
                upkeep.doubts(Refreshed::provisional(unit, now, life, took));
            } else {
                upkeep.keeps(unit, begun, life);
            }
        }
    }

    /// Verifies what is left and gives the connection back.
    pub(super) async fn end(mut self, plan: &Plan) -> Result<(), Error> {
        self = self.verify(plan).await?;
        let keeps = self.keeps_connection();
        give_back(self.snapshot, keeps).await
    }

    /// Whether its connection is of use to others.
    fn keeps_connection(&self) -> bool {
        !self.assembler.swollen && !self.remembers_types()
    }

    /// Lets go of the database until it is no longer busy. What was written is verified first: that must not wait.
    async fn step_aside(mut self, plan: &Plan) -> Result<Self, Error> {
        self = self.verify(plan).await?;
        let keeps = self.keeps_connection();
        give_back(self.snapshot, keeps).await?;
        self.shared.pace.wait().await?;
        self.snapshot = self.runner.source.snapshot().await?;
        self.assembler.outlet.state = self.snapshot.state().clone();
        self.prepare(false).await
    }

    async fn read(&mut self, plan: &Plan, index: usize) -> Result<(), Error> {
        let combination = plan.combination(index);
        self.assembler.outlet.combination = Some(index);
        let known = self.assembler.begin(combination, plan)?;
        if let Some(held) = self.held.remove(&index) {
            for row in held {
                self.assembler.row(&row, combination, known.as_ref()).await?;
            }
            return self.assembler.end(known).await;
        }
        let begun = Instant::now();
        let mut rows =
            self.snapshot.rows(&self.prepared.statement, self.shared.job.reads(), |name| combination.argument(name))?;
        let failure = loop {
            match rows.next().await {
                Ok(Some(row)) => {
                    if let Err(error) = self.assembler.row(row, combination, known.as_ref()).await {
                        // What was written before it can be looked at over this connection, if the rest of the rows does not take too long.
                        let _ = timeout(LAST_LOOK, rows.pass_over()).await;
                        return Err(error);
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        drop(rows);
        match failure {
            None => {
                self.shared.progress.queried(begun.elapsed());
                self.assembler.end(known).await
            }
            Some(error) => {
                let Worker { snapshot, prepared, .. } = self;
                Err(snapshot.blame(error, &prepared.statement, |name| combination.argument(name)).await)
            }
        }
    }

    /// Makes sure of everything that was written, and then of the values that had to wait for it.
    async fn verify(mut self, plan: &Plan) -> Result<Self, Error> {
        loop {
            let read = self.assembler.outlet.state.clone();
            self = self.verify_once(plan).await?;
            if !self.assembler.outlet.send_later(&read).await? {
                self.unverified.clear();
                self.keep();
                return Ok(self);
            }
        }
    }

    /// By a look at the database's state if nothing was committed, else by reading the rows again. What changes at every reading is left to die.
    async fn verify_once(mut self, plan: &Plan) -> Result<Self, Error> {
        for _ in 0..READINGS {
            if self.confirm_if_quiet().await? {
                return Ok(self);
            }
            let narrow = !self.assembler.outlet.pending.needs_values();
            self = self.prepare(narrow).await?;
            self.assembler.begin_rereading();
            for position in 0..self.unverified.len() {
                self.read(plan, self.unverified[position]).await?;
            }
            self.assembler.end_rereading();
        }
        if !self.confirm_if_quiet().await? {
            let reason = self.assembler.outlet.pending.doubts.reason(READINGS + 1);
            self.shared.observer.on(&Event::Doubt { job: &self.shared.job.name, reason: &reason });
            self.assembler.give_up();
            if self.shared.progress.tally.has_traces() {
                // A fill of one key: that its row is changing must not look as if there were none.
                let message = format!(
                    "the key could not be verified: its row was different at each of {} readings, or its value died too early",
                    READINGS + 1
                );
                return Err(Error::new(ErrorKind::Unverified, message));
            }
        }
        Ok(self)
    }

    /// Lets go on what was written, as long as nothing is committed to the database. Whether nothing is left to verify then.
    async fn confirm_if_quiet(&mut self) -> Result<bool, Error> {
        let Shared { writer, job, .. } = *self.shared;
        self.assembler.outlet.notes.end().await;
        let barrier = Barrier { open_transactions: job.invalidates == Invalidates::BeforeCommit };
        loop {
            let outlet = &mut self.assembler.outlet;
            outlet.pending.all_back(writer).await?;
            if outlet.pending.is_empty() {
                return Ok(true);
            }
            let doubt = self.snapshot.renew(barrier).await?;
            let quiet = self.snapshot.state().is_the_same_as(&outlet.state);
            outlet.state = self.snapshot.state().clone();
            if let Some(reason) = doubt {
                self.assembler.give_up();
                return Err(Error::new(ErrorKind::Unverified, reason));
            }
            if !quiet || !outlet.pending.is_whole() {
                return Ok(false);
            }
            outlet.pending.advance(writer).await?;
        }
    }

    /// Prepares the statement in the present snapshot, if need be on another connection.
    async fn prepare(mut self, narrow: bool) -> Result<Self, Error> {
        if self.remembers_types() {
            self.snapshot = self.snapshot.renew_elsewhere().await?;
            self.assembler.outlet.state = self.snapshot.state().clone();
        }
        let narrowed = if narrow { self.prepared.narrowed(&mut self.snapshot).await? } else { None };
        self.prepared = match narrowed {
            Some(narrowed) => narrowed,
            None => {
                let prepared = prepare(self.shared.job, &mut self.snapshot).await?;
                if prepared.statement.columns() != self.columns {
                    let message = "the columns of the query changed during the run; run it again";
                    return Err(Error::new(ErrorKind::SnapshotLost, message));
                }
                prepared
            }
        };
        self.assembler.reading = reading(self.runner, self.shared, &mut self.prepared)?;
        Ok(self)
    }

    /// Whether the driver now remembers the fields of a row type for this connection: they may be renamed before it is used again.
    fn remembers_types(&self) -> bool {
        self.columns.iter().any(|column| column.ty.has_composite())
    }
}

async fn give_back(snapshot: Snapshot, keep: bool) -> Result<(), Error> {
    if keep {
        return snapshot.finish().await;
    }
    snapshot.close().await;
    Ok(())
}

fn reading<'a>(runner: &Runner, shared: &'a Shared<'a>, prepared: &mut Prepared) -> Result<Reading<'a>, Error> {
    let rivals = runner.key_space.rivals(&shared.job.name);
    prepared.reading(shared.job, rivals, runner.limits.key_length, runner.redis.key_prefix())
}
