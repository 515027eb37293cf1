//! The one path from a request to what was done.
//!
//! ```text
//! Request ─► run       attempts within the job's time-out, a panic ends its job only
//!              ├► admission  nobody else runs the job, and its due time is not served
//!              └► attempt    Redis first (no query for a cache that is down), then a snapshot
//!                    ├► pace      waits while the database is busy, or behind
//!                    ├► plan      [for_each] × parameters → combinations, one query each
//!                    ├► gate      the guard sees how many rows there are before any goes on
//!                    └► worker    reads, and reads again to verify
//!                         ├► assemble  rows → keys and values
//!                         ├► outlet    batches ─► cache::Writer ─► pending ─► verified
//!                         └► manifest  keys, so that those can be removed whose rows are gone
//! ```
//!
//! Reading, encoding and writing overlap; what bounds memory is the writer's budget of bytes in flight.
//!
//! Beside that path there is the [`Invalidator`], which deletes what a change has made stale, the [`Predictor`], which takes it for single keys, and [`Runner::look`], which tells how warm the jobs are.

mod admission;
mod assemble;
mod attempt;
mod compare;
mod doubts;
mod explain;
mod gate;
mod groups;
mod invalidator;
mod keys;
mod ledger;
mod look;
mod manifest;
mod outlet;
mod pace;
mod pending;
mod plan;
mod predict;
mod prepare;
mod read;
mod rewrite;
mod run;
mod seen;
mod under_way;
mod upkeep;
mod worker;

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::watch;

use crate::cache::Redis;
use crate::ground::clock::Clock;
use crate::ground::error::Error;
use crate::ground::event::{Event, Observer};
use crate::ground::fingerprint::Fingerprint;
use crate::ground::job::Job;
use crate::ground::keyspace::KeySpace;
use crate::ground::passed::Passed;
use crate::ground::request::Request;
use crate::ground::run::Report;
use crate::ground::settings::Limits;
use crate::history::History;
use crate::source::{Leases, Postgres};

pub use crate::cache::Invalidated;
pub use invalidator::Invalidator;
pub use keys::Keys;
pub use look::{Looked, judge_without_redis, slowest};
pub use plan::{Combination, Plan};
pub use predict::{Muted, Predictor};
pub use prepare::{Prepared, prepare, same_columns};
pub use read::{Known, Level, NoAnswer, ReadThrough};
pub use rewrite::{Rewriter, Rewritten};

/// Everything that a run needs beside its job.
#[derive(Clone)]
pub struct Runner {
    /// Where rows come from.
    pub source: Postgres,
    /// Where entries go.
    pub redis: Redis,
    /// The keys of all jobs: a row must not render another job's key.
    pub key_space: KeySpace,
    /// Bounds.
    pub limits: Limits,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Who hears what happens.
    pub observer: Arc<dyn Observer>,
    /// Keeps other instances from running the same job; `None` where that is not wanted.
    pub leases: Option<Leases>,
    /// What earlier runs did; where finished runs are recorded, but for dry ones.
    pub history: Option<History>,
}

/// Hears nothing.
struct Nobody;

impl Observer for Nobody {
    fn on(&self, _: &Event<'_>) {}
}

impl Runner {
    /// The same runner for single keys, of which there may be many: what happens at them is told by their reports alone, and is no history.
    pub fn unheard(&self) -> Runner {
        Runner { observer: Arc::new(Nobody), history: None, ..self.clone() }
    }

    /// The same runner for one fill, which has its connection to PostgreSQL when this returns.
    ///
    /// # Errors
    /// If there are to be no more connections.
    async fn with_connection(&self) -> Result<Arc<Runner>, Error> {
        let source = self.source.for_fill().await?;
        Ok(Arc::new(Runner { source, ..self.clone() }))
    }

    /// How many runs there may be at a time: each needs a connection to PostgreSQL, and all leases together one more, and one may be kept for fills.
    pub fn slots(&self) -> usize {
        self.places().saturating_sub(self.source.kept_for_fills()).max(1)
    }

    /// How many fills there may be at a time.
    fn places(&self) -> usize {
        self.source.connections().saturating_sub(usize::from(self.leases.is_some())).max(1)
    }

    /// The name of a job's lease: the same on all machines that fill the same cache.
    pub fn lease_of(&self, job: &Job) -> Fingerprint {
        Fingerprint::of([&*self.redis.describe(), self.redis.key_prefix(), &*job.mark()])
    }

    /// Runs one job. When `stop` becomes true it ends as soon as it can; what it wrote until then stays, each key complete.
    pub async fn run_one(self: Arc<Self>, job: Arc<Job>, request: Request, stop: watch::Receiver<bool>) -> Report {
        run::run(self, job, request, stop).await
    }

    /// Tells everybody of starts without a run.
    pub fn pass(&self, passed: &Passed) {
        self.observer.on(&Event::Passed { passed });
        if let Some(history) = &self.history {
            history.pass(passed, self.clock.now());
        }
    }

    /// Closes what nobody uses any more, and waits until the history is written.
    pub async fn close(&self) {
        let flush = async {
            if let Some(history) = &self.history {
                history.flush().await;
            }
        };
        tokio::join!(self.source.close(), flush);
    }

    /// Runs the jobs, started in the given order, several at a time. One job's failure is its own.
    ///
    /// When `stop` becomes true, runs end as soon as they can; what they wrote until then stays, each key complete.
    /// The reports are in the order of the jobs.
    pub async fn run(
        self: &Arc<Self>,
        jobs: &[Arc<Job>],
        request: Request,
        stop: watch::Receiver<bool>,
    ) -> Vec<Report> {
        let runs = jobs.iter().enumerate().map(|(place, job)| {
            let run = Arc::clone(self).run_one(Arc::clone(job), request.clone(), stop.clone());
            async move { (place, run.await) }
        });
        // Unordered: a slow job must not keep those from starting that come after it.
        let mut reports: Vec<_> = stream::iter(runs).buffer_unordered(self.slots()).collect().await;
        reports.sort_unstable_by_key(|(place, _)| *place);
        reports.into_iter().map(|(_, report)| report).collect()
    }
}
