//! One attempt at a job: from an open connection to Redis to the last confirmed write.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::SecondsFormat;
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Runner;
use super::assemble::Shared;
use super::gate::Gate;
use super::manifest::Manifest;
use super::pace::Pace;
use super::plan::Plan;
use super::prepare::prepare;
use super::run::{Limit, Progress, panicked};
use super::seen::Seen;
use super::worker::Worker;
use crate::cache::{Policy, Writer};
use crate::ground::clock::to_millis;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::event::Event;
use crate::ground::job::{Job, Mode, Verify};
use crate::ground::refresh::Units;
use crate::ground::request::{Purpose, Request, Sample, Scope};
use crate::source::Snapshot;

/// What a further connection costs to open, roughly; one that saves less is not opened.
const CONNECTION_COST: Duration = Duration::from_millis(20);

/// How long what was read is still written when a run's time is over.
const GRACE: Duration = Duration::from_secs(2);

/// What one attempt after the other works with.
pub(super) struct Attempt<'a> {
    pub(super) runner: &'a Runner,
    pub(super) job: &'a Job,
    pub(super) request: &'a Request,
    pub(super) limit: Limit,
    pub(super) progress: &'a Progress,
    /// What the rows have to pass before the first write, if anything.
    pub(super) gate: Option<Gate<'a>>,
}

impl Attempt<'_> {
    /// Runs all queries of the job once and waits until everything is written. When the limit is reached, reading ends, and what was read
    /// is still written.
    ///
    /// # Errors
    /// What ended the attempt. What was written until then stays: each key is right by itself.
    pub(super) async fn run(&self) -> Result<(), Error> {
        let Attempt { runner, progress, .. } = *self;
        let policy = self.policy();
        // Redis first: for a cache that is down, the database is not asked.
        let kind = self.job.key_type.kind();
        let open = Writer::open(&runner.redis, (policy, kind), runner.limits.in_flight, progress.tally.clone());
        let mut writer = self.limit.within(open).await?;
        if !writer.is_guarded() {
            runner.observer.on(&Event::Unguarded { job: &self.job.name });
        }
        self.limit.within(self.make_sure_of_room(&writer)).await?;
        let mut slow = Box::pin(self.tell(writer.slowness()));
        let manifest = Manifest::begin(runner, self.job, policy).await;
        let pace = Pace::new(&runner.source, self.job, progress, runner.observer.as_ref());
        // It is large, and would be moved from frame to frame.
        let reading = AssertUnwindSafe(Box::pin(self.read(&writer, manifest.as_ref(), &pace))).catch_unwind();
        let reading = async { reading.await.unwrap_or_else(|payload| Err(panicked(payload.as_ref()))) };
        let read = meanwhile(&mut slow, self.limit.within(reading)).await.map_err(|error| pace.explain(error));
        // What was handed over is written even if reading failed; a writer that failed knows better why nothing could be handed over.
        let written = meanwhile(&mut slow, self.finish(&mut writer)).await;
        if matches!(&written, Err(error) if matches!(error.kind, ErrorKind::JobTimeout | ErrorKind::Cancelled)) {
            // It may still be at it.
            progress.tally.loses_sight();
        }
        let result = match (written, read) {
            // That some keys had no room is the least that can be said of a run that was not read to its end.
            (Err(tight), Err(read)) if tight.kind == ErrorKind::RedisTight => Err(read),
            (written, read) => written.and(read),
        };
        // A run that left combinations out knows nothing of their keys.
        let result = match manifest.filter(|_| !policy.only_missing() && !progress.upkeep.is_narrowed()) {
            Some(manifest) if result.is_ok() => self.limit.within(manifest.sweep(progress)).await,
            _ => result,
        };
        let taken_back = progress.take_back(&runner.redis).await;
        match (result, progress.retract(&runner.redis, policy).await.and(taken_back)) {
            (Err(error), Err(also)) => Err(Error {
                message: format!("{error}; the part that was written could not be taken back: {also}"),
                ..error
            }),
            (Ok(()), Err(error)) if progress.tally.lost_until().is_some() => Err(error),
            (result, _) => result,
        }
    }

    /// A single key for which there is no room is not asked for: whoever reads through would make one query after the other, all in vain.
    async fn make_sure_of_room(&self, writer: &Writer) -> Result<(), Error> {
        let (Some(lack), Scope::Key(key)) = (writer.lack_of_room(), &self.request.scope) else { return Ok(()) };
        let adds =
            self.policy().only_missing() && !self.runner.redis.present(vec![key.to_vec()]).await?.contains(&true);
        if adds { Err(lack.clone()) } else { Ok(()) }
    }

    /// Tells, once in a run, when Redis is slow, and never ends.
    async fn tell(&self, slowness: impl Future<Output = Duration>) -> Infallible {
        let took = slowness.await;
        if self.progress.gives_way() {
            self.runner.observer.on(&Event::GivesWay { job: &self.job.name, took });
        }
        std::future::pending().await
    }

    /// Waits until everything is written; from the limit on only a moment longer, however slow Redis is.
    async fn finish(&self, writer: &mut Writer) -> Result<(), Error> {
        match self.limit.within(writer.finish()).await {
            Err(error) if matches!(error.kind, ErrorKind::JobTimeout | ErrorKind::Cancelled) => {
                match timeout(GRACE, writer.finish()).await {
                    // Written after all; whether it was read to the end, the reading says.
                    Ok(Ok(())) => return Ok(()),
                    // It would have been tried again, but for the limit.
                    Ok(Err(_)) => {}
                    Err(_) => {
                        writer.halt();
                        // What it says now is a consequence. One that hangs in a read, or in connecting, is left to itself.
                        let _ = timeout(GRACE, writer.finish()).await;
                    }
                }
                Err(error)
            }
            written => written,
        }
    }

    fn policy(&self) -> Policy {
        let verified = self.job.verify != Verify::None;
        match (self.request.mode.unwrap_or(self.job.mode), self.request.purpose) {
            (Mode::Refresh, Purpose::Write) => Policy::Refresh { verified },
            (Mode::Missing, Purpose::Write) => Policy::Missing { verified },
            (Mode::Refresh, Purpose::DryRun) => Policy::LookAtAll,
            (Mode::Missing, Purpose::DryRun) => Policy::LookAtMissing,
            (_, Purpose::Compare(_)) => Policy::Compare,
        }
    }

    async fn read(&self, writer: &Writer, manifest: Option<&Manifest<'_>>, pace: &Pace<'_>) -> Result<(), Error> {
        let Attempt { runner, job, progress, .. } = *self;
        // First of all, so that `:now` is the time at which the database is asked.
        if job.only.is_none() {
            Box::pin(pace.wait()).await?;
        }
        let seen = Seen::new();
        let units = job.refresh_ahead.map(|_| Units::of(job));
        let observer = runner.observer.as_ref();
        let shared = Shared {
            job,
            limits: &runner.limits,
            source: &runner.source,
            writer,
            verified: self.policy().verified(),
            progress,
            units: units.as_ref(),
            manifest,
            observer,
            seen: &seen,
            pace,
            sample: match self.request.purpose {
                Purpose::Compare(sample) => sample,
                Purpose::Write | Purpose::DryRun => Sample::ALL,
            },
        };
        let now = to_millis(runner.clock.now()).to_rfc3339_opts(SecondsFormat::Millis, true);

        let mut snapshot = runner.source.snapshot().await?;
        let mut prepared = prepare(job, &mut snapshot).await?;
        let columns = std::mem::take(&mut prepared.columns);
        self.gate.as_ref().map_or(Ok(()), |gate| gate.check_columns(&columns))?;
        progress.columns(columns);
        let plan = Plan::new(job, &prepared.statement, &mut snapshot, &now, runner.limits.combinations).await?;
        let mut first = Worker::new(runner, &shared, prepared, snapshot)?;
        let mut due = first.due(&plan, self.policy().only_missing()).await?;
        if let Some(units) = &units {
            due = progress.upkeep.narrow((runner, job, self.request), units, &plan, due).await?;
        }

        // Some of the rows alone are no measure.
        let gate = self.gate.as_ref().filter(|gate| gate.counts_rows() && due.len() == plan.len());
        if let Some(gate) = gate {
            first.pass(gate, &plan, &due).await?;
        }

        let next = AtomicUsize::new(0);
        let start = Instant::now();
        // What was held back is at hand. What is cut into parts is known to be worth several connections.
        let limit = match plan.parts() {
            _ if first.holds_rows() => usize::MAX,
            1 => 1,
            _ => 0,
        };
        let first = first.work(&plan, &due, &next, limit).await?;
        let left = due.len().saturating_sub(next.load(Ordering::Relaxed));
        let more = match limit {
            // One more is for looks whether anything was committed: without them all would be read twice.
            0 => runner.source.free().saturating_sub(usize::from(shared.verified)).min(left.saturating_sub(1)),
            _ => further_workers(start.elapsed(), left, runner.source.free()),
        };
        let (is_done, done) = watch::channel(false);
        let others = (0..more).map(|_| async {
            let Some(mut snapshot) = self.further(done.clone()).await else { return Ok(()) };
            if !Box::pin(pace.allows(&mut snapshot)).await? {
                return snapshot.finish().await;
            }
            let prepared = prepare(job, &mut snapshot).await?;
            let worker = Worker::new(runner, &shared, prepared, snapshot)?;
            worker.work(&plan, &due, &next, usize::MAX).await?.end(&plan).await
        });
        let rest = async {
            let first = first.work(&plan, &due, &next, usize::MAX).await?;
            is_done.send_replace(true);
            first.end(&plan).await
        };
        tokio::try_join!(rest, try_join_all(others))?;
        Ok(())
    }
}

impl Attempt<'_> {
    /// One more connection, if there may be one now. A run that has some makes do with those: a server that is full, or does not answer, is no reason to
    /// fail, and none to wait once nothing is left to be begun.
    async fn further(&self, mut done: watch::Receiver<bool>) -> Option<Snapshot> {
        tokio::select! {
            biased;
            _ = done.wait_for(|done| *done) => None,
            opened = self.runner.source.snapshot_if_free() => match opened {
                // Another job may have been quicker; what it does not need is enough.
                Ok(snapshot) => snapshot,
                Err(error) => {
                    self.runner.observer.on(&Event::MakesDo { job: &self.job.name, error: &error });
                    None
                }
            },
        }
    }
}

/// Does the work; what has no end goes on meanwhile.
async fn meanwhile<T>(endless: impl Future<Output = Infallible>, work: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        done = work => done,
        never = endless => match never {},
    }
}

/// How many further connections are worth opening when one query took `took` and `left` more are to come.
fn further_workers(took: Duration, left: usize, free: usize) -> usize {
    let all = took.saturating_mul(u32::try_from(left).unwrap_or(u32::MAX));
    let worth = all.as_micros() / CONNECTION_COST.as_micros();
    usize::try_from(worth).unwrap_or(usize::MAX).min(free).min(left.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_opened_only_when_it_saves_more_than_it_costs() {
        let ms = Duration::from_millis;
        assert_eq!(further_workers(ms(1), 9, 3), 0, "ten quick queries are done before a connection is open");
        assert_eq!(further_workers(ms(10), 9, 3), 3);
        assert_eq!(further_workers(ms(100), 1, 3), 0, "one query left needs one connection");
        assert_eq!(further_workers(ms(100), 0, 3), 0);
    }
}
