//! Between the database and everything else: no row goes on before the job's guard has seen how many there are.
//!
//! A small result is held back as it came, and then goes on from here. One that is too large for that is counted, in the same snapshot, and then read from
//! its beginning: counting costs the database less than sending everything twice. Either way the decision is made before the first write, so that
//! all old keys stay.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Runner;
use super::plan::{Combination, Plan};
use super::prepare::text_of;
use super::run::Progress;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::event::Event;
use crate::ground::history::{LastGood, NamedType, Unknown};
use crate::ground::job::{Job, Reads, RowTimeouts};
use crate::ground::request::Request;
use crate::ground::row::Row;
use crate::ground::run::Stats;
use crate::ground::sql::Sql;
use crate::source::{Snapshot, SourceRow, Statement};

/// A row of usual size: how many were there last time tells whether they can be held back.
const USUAL_ROW: usize = 256;

/// The guard of a job, and what it compares with.
pub(super) struct Gate<'a> {
    job: &'a Job,
    last: Option<LastGood>,
    /// The most bytes of rows that are held back.
    room: usize,
}

/// Rows that were held back, of each combination.
pub(super) type Held = HashMap<usize, Vec<SourceRow>>;

impl<'a> Gate<'a> {
    /// `None` when the job demands nothing, or somebody vouches for the data.
    pub(super) async fn of(runner: &Runner, job: &'a Job, request: &Request) -> Option<Self> {
        if !job.guard.is_set() || request.accept {
            return None;
        }
        let last = match &runner.history {
            Some(history) => history.last_good(&job.name, job.definition()).await,
            None => Err(Unknown),
        };
        let looking_back = job.guard.looking_back().join(" and ");
        if last.is_err() && !looking_back.is_empty() {
            let what = format!("{looking_back} of [guard] cannot be judged");
            runner.observer.on(&Event::WithoutHistory { job: &job.name, what: &what });
        }
        Some(Gate { job, last: last.unwrap_or_default(), room: runner.limits.in_flight / 2 })
    }

    /// Whether rows have to be counted.
    pub(super) fn counts_rows(&self) -> bool {
        self.job.guard.counts_rows()
    }

    /// Looks at the columns of the job's query.
    pub(super) fn check_columns(&self, columns: &[NamedType]) -> Result<(), Error> {
        self.job.guard.allows_columns(columns, self.last.as_ref()).map_err(stop)
    }

    /// Looks at the rows of these combinations, and gives back those that were held; none if they were too many for that.
    ///
    /// # Errors
    /// [`ErrorKind::Guard`] for what must not be published, or what the server says.
    pub(super) async fn check_rows(
        &self,
        snapshot: &mut Snapshot,
        statement: &Statement,
        (plan, due): (&Plan, &[usize]),
        progress: &Progress,
    ) -> Result<Held, Error> {
        let mut holding = Holding {
            held: Held::new(),
            room: self.room,
            is_full: self.was_large(),
            rows: 0,
            queries: 0,
            slowest: Duration::ZERO,
        };
        let result = self.count_rows(&mut holding, snapshot, statement, (plan, due)).await;
        let result = result.and_then(|()| self.job.guard.allows_rows(holding.rows, self.last.as_ref()).map_err(stop));
        progress.queried(holding.slowest);
        // What is let through is counted on its way.
        if result.is_err() {
            progress.add(&Stats { rows: holding.rows, queries: holding.queries, ..Stats::default() });
        }
        result.map(|()| holding.held)
    }

    async fn count_rows(
        &self,
        holding: &mut Holding,
        snapshot: &mut Snapshot,
        statement: &Statement,
        (plan, due): (&Plan, &[usize]),
    ) -> Result<(), Error> {
        let mut left = due.iter().copied();
        while !holding.is_full {
            let Some(index) = left.next() else { return Ok(()) };
            let combination = plan.combination(index);
            // One without rows has been read, too.
            holding.held.insert(index, Vec::new());
            holding.queries += 1;
            let begun = Instant::now();
            let mut rows = snapshot.rows(statement, self.job.reads(), |name| combination.argument(name))?;
            loop {
                match rows.next().await {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => {
                        drop(rows);
                        return Err(snapshot.blame(error, statement, |name| combination.argument(name)).await);
                    }
                }
                holding.take(index, rows.take_last());
                // What is on its way already comes to its end sooner than a count, but not if there is no end.
                if holding.is_full {
                    self.job.guard.allows_more_than(holding.rows).map_err(stop)?;
                }
            }
            holding.slowest = holding.slowest.max(begun.elapsed());
        }
        if left.len() == 0 {
            return Ok(());
        }
        let statement = snapshot.prepare(&counting(self.job)?).await?;
        for index in left {
            holding.queries += 1;
            holding.rows += count(snapshot, &statement, plan.combination(index), self.job).await?;
        }
        Ok(())
    }

    /// Whether there were so many rows last time that holding them back is not worth a try.
    fn was_large(&self) -> bool {
        let rows = self.last.as_ref().map_or(0, |last| last.measure.rows);
        usize::try_from(rows).is_ok_and(|rows| rows > self.room / USUAL_ROW)
    }
}

/// Rows that are held back while they are counted.
struct Holding {
    held: Held,
    /// Bytes that are still free.
    room: usize,
    is_full: bool,
    rows: u64,
    /// Queries run for them.
    queries: u64,
    /// How long the slowest of them took.
    slowest: Duration,
}

impl Holding {
    fn take(&mut self, index: usize, row: Option<SourceRow>) {
        let Some(row) = row else { return };
        self.rows += 1;
        match self.room.checked_sub(row.bytes()).filter(|_| !self.is_full) {
            Some(room) => {
                self.room = room;
                self.held.entry(index).or_default().push(row);
            }
            None => (self.held, self.is_full) = (Held::new(), true),
        }
    }
}

/// The statement that counts the rows of the job's query, with the same parameters.
fn counting(job: &Job) -> Result<Sql, Error> {
    // The line break ends a comment that the query may end in.
    let text = format!("SELECT count(*) FROM (\n{}\n) AS q", text_of(job));
    Sql::parse(&text).map_err(|error| Error::new(ErrorKind::Definition, error.message))
}

async fn count(
    snapshot: &mut Snapshot,
    statement: &Statement,
    combination: Combination<'_>,
    job: &Job,
) -> Result<u64, Error> {
    // Its only row comes when all have been counted.
    let reads = Reads { timeouts: RowTimeouts::default(), ..job.reads() };
    let mut rows = snapshot.rows(statement, reads, |name| combination.argument(name))?;
    let mut count = None;
    while let Some(row) = rows.next().await? {
        count = row.value(0).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    }
    count.ok_or_else(|| Error::new(ErrorKind::Query, "PostgreSQL did not count the rows"))
}

fn stop(why: String) -> Error {
    Error::new(ErrorKind::Guard, why)
}
