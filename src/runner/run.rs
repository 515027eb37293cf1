//! One run of one job: its attempts, and what ends it from outside.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use xxhash_rust::xxh3::xxh3_64;

use super::Runner;
use super::admission::Admission;
use super::attempt::Attempt;
use super::gate::Gate;
use super::upkeep::Upkeep;
use crate::cache::{Ours, Policy, Redis, Tally};
use crate::ground::backoff::pause_before_attempt;
use crate::ground::error::{Error, ErrorKind, Retry};
use crate::ground::event::Event;
use crate::ground::history::{Measure, NamedType, Record};
use crate::ground::job::{Job, Mode};
use crate::ground::one_key::Unfillable;
use crate::ground::request::{Purpose, Request, Scope, Trigger};
use crate::ground::run::{Report, Stats};
use crate::seal::Opener;

/// What one run has done so far; it outlives attempts, so that the report is true after the last one.
#[derive(Debug, Default, Clone)]
pub(super) struct Progress {
    reading: Arc<Mutex<Stats>>,
    pub(super) tally: Tally,
    doubtful: Arc<Mutex<Vec<Ours>>>,
    /// The most that an earlier attempt wrote.
    before: Arc<Mutex<Stats>>,
    /// The columns of the job's query.
    columns: Arc<Mutex<Vec<NamedType>>>,
    /// Some of the keys that would be removed.
    swept_sample: Arc<Mutex<Vec<String>>>,
    /// What is refreshed when.
    pub(super) upkeep: Upkeep,
    /// Whether it has been told that Redis is slow.
    slow: Arc<AtomicBool>,
}

impl Progress {
    /// Prepares for what the request asks.
    fn begin(&self, runner: &Runner, job: &Job, request: &Request) {
        let opener = Opener::new(&job.sealing, runner.redis.key_prefix(), job.max_value);
        opener.into_iter().for_each(|opener| self.tally.open_with(Arc::new(opener)));
        if matches!(request.scope, Scope::Key(_)) {
            self.tally.trace();
        }
    }

    /// Counts from zero: an attempt does all the work again. What the last one wrote is remembered.
    fn begin_attempt(&self) {
        let last = self.stats();
        let attempts = last.attempts + 1;
        let waited_for_database = last.waited_for_database;
        *lock(&self.before) = last;
        *lock(&self.reading) = Stats { attempts, waited_for_database, ..Stats::default() };
        lock(&self.swept_sample).clear();
        self.tally.reset();
    }

    /// Notes values that were written and may be incomplete.
    pub(super) fn doubt(&self, values: impl Iterator<Item = Ours>) {
        lock(&self.doubtful).extend(values);
    }

    /// Takes doubtful values back: a miss is cheaper than a lie.
    pub(super) async fn retract(&self, redis: &Redis, policy: Policy) -> Result<(), Error> {
        let mut values = std::mem::take(&mut *lock(&self.doubtful));
        // What was there before, or was left alone, is not ours to take.
        values.retain(|ours| self.tally.unwatch(xxh3_64(&ours.key)));
        if values.is_empty() || !policy.writes() {
            return Ok(());
        }
        redis.retract(values).await.map(|_| ())
    }

    /// Takes back what a fill has written and not made sure of: whoever waits for the fill has to find nothing old when it has ended, and another attempt would take it for somebody else's.
    pub(super) async fn take_back(&self, redis: &Redis) -> Result<(), Error> {
        let there = self.tally.take_traces();
        if there.is_empty() {
            return Ok(());
        }
        redis.withdraw(there).await.inspect_err(|_| self.tally.loses_sight())
    }

    /// Notes that writing gives way to others. Whether that is news.
    pub(super) fn gives_way(&self) -> bool {
        !self.slow.swap(true, Ordering::Relaxed)
    }

    /// Notes the columns of the job's query.
    pub(super) fn columns(&self, columns: Vec<NamedType>) {
        *lock(&self.columns) = columns;
    }

    /// Counts keys that a run which does more than look would remove, and notes some of them.
    pub(super) fn would_sweep(&self, count: u64, sample: Vec<String>) {
        self.add(&Stats { swept: count, ..Stats::default() });
        *lock(&self.swept_sample) = sample;
    }

    /// What this attempt has read.
    fn measure(&self) -> Measure {
        Measure { rows: lock(&self.reading).rows, columns: lock(&self.columns).clone() }
    }

    /// Adds counts of the reading side.
    pub(super) fn add(&self, stats: &Stats) {
        *lock(&self.reading) += stats;
    }

    /// A query has given its last row after so long.
    pub(super) fn queried(&self, took: Duration) {
        self.add(&Stats { slowest_query: took, ..Stats::default() });
    }

    /// The counts of this attempt. Keys are those of the attempt that wrote most: an attempt that failed has written all the same.
    pub(super) fn stats(&self) -> Stats {
        let mut stats = lock(&self.reading).clone();
        stats += &self.tally.stats();
        let before = lock(&self.before);
        if before.written > stats.written {
            (stats.written, stats.bytes, stats.rows) = (before.written, before.bytes, before.rows);
        }
        stats
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What ends a run from outside: its time-out, or somebody who wants it to stop.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    timeout: Duration,
    deadline: Instant,
    stop: watch::Receiver<bool>,
}

impl Limit {
    fn new(job: &Job, stop: watch::Receiver<bool>) -> Self {
        Limit { timeout: job.timeout, deadline: Instant::now() + job.timeout, stop }
    }

    /// Does the work until the limit is reached; then the work is dropped.
    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let mut stop = self.stop.clone();
        tokio::select! {
            // A job that is done is done, however late.
            biased;
            result = work => result,
            () = sleep_until(self.deadline) => {
                let timeout = humantime::format_duration(self.timeout);
                Err(Error::new(ErrorKind::JobTimeout, format!("the job did not end within its timeout of {timeout}")))
            }
            // An end of the channel is no request to stop.
            Ok(_) = stop.wait_for(|stop| *stop) => Err(Error::new(ErrorKind::Cancelled, "stopped by a signal")),
        }
    }
}

/// Runs the job and reports; never panics, whatever the job does.
pub(super) async fn run(runner: Arc<Runner>, job: Arc<Job>, request: Request, stop: watch::Receiver<bool>) -> Report {
    let (start, started) = (Instant::now(), runner.clock.now());
    runner.observer.on(&Event::Started { job: &job.name, trigger: request.trigger });
    let progress = Progress::default();
    let work = {
        let (runner, job, request, progress) =
            (Arc::clone(&runner), Arc::clone(&job), request.clone(), progress.clone());
        async move {
            let job = narrowed(job, &request.scope)?;
            // As a whole it has nothing to read.
            if job.on_demand {
                return Ok(());
            }
            progress.begin(&runner, &job, &request);
            let limit = Limit::new(&job, stop);
            let admission = limit.within(Admission::ask(&runner, &job, &request, &progress.upkeep)).await?;
            let gate = Gate::of(&runner, &job, &request).await;
            let attempt = Attempt { runner: &runner, job: &job, request: &request, limit, progress: &progress, gate };
            let result = AssertUnwindSafe(attempts(&attempt)).catch_unwind().await;
            let result = result.unwrap_or_else(|payload| Err(panicked(payload.as_ref())));
            let kept = progress.upkeep.written(&job, result.is_err());
            admission.end(request.due.filter(|_| is_served(result.as_ref().err())), &kept).await;
            result
        }
    };
    // A task of its own: several jobs encode at the same time.
    let result = tokio::spawn(work).await.unwrap_or_else(|error| Err(Error::new(ErrorKind::Panic, error.to_string())));
    let failed = result.is_err();
    let report = Report {
        job: job.name.clone(),
        file: job.file.clone(),
        priority: job.priority,
        trigger: request.trigger,
        stats: progress.stats(),
        took: start.elapsed(),
        failure: result.err().map(|failure| explained(failure, &progress.stats(), start.elapsed())),
        whole: is_whole(&job, &request) && !progress.upkeep.is_narrowed(),
        sample: progress.tally.sample(),
        swept_sample: lock(&progress.swept_sample).clone(),
        drift: progress.tally.drift(),
        kept: progress.upkeep.kept(&job, &request, failed, runner.clock.now()),
        lost_until: progress.tally.lost_until(),
    };
    runner.observer.on(&Event::Finished { report: &report });
    if let Some(history) = runner.history.as_ref().filter(|_| request.purpose == Purpose::Write && is_news(&report)) {
        // Absent keys only, or some of the combinations: what was read then is no measure for a run that reads everything.
        let measures = report.failure.is_none() && report.whole && request.mode.unwrap_or(job.mode) == Mode::Refresh;
        history.record(Record {
            job: job.name.clone(),
            definition: job.definition(),
            trigger: request.trigger,
            started,
            ended: runner.clock.now(),
            stats: report.stats.clone(),
            failure: report.failure.clone(),
            served: request.due.filter(|_| is_served(report.failure.as_ref())),
            success: report.is_success(),
            measure: measures.then(|| progress.measure()),
            sample: (report.failure.is_none() && report.whole).then(|| progress.tally.sampled()),
        });
    }
    report
}

/// The job, or what of it fills the one key that is asked for.
fn narrowed(job: Arc<Job>, scope: &Scope) -> Result<Arc<Job>, Error> {
    match scope {
        Scope::Key(key) => match job.for_key(key) {
            Ok(narrowed) => Ok(Arc::new(narrowed)),
            Err(Unfillable::NotItsKey(why)) => Err(Error::new(ErrorKind::NoValue, why)),
            Err(Unfillable::NoFillQuery(why)) => Err(Error::new(ErrorKind::Definition, why)),
        },
        Scope::All | Scope::Units(_) => Ok(job),
    }
}

/// A run that was held back for a good part of its time says so, if time is what it lacked: its own, or that of a statement, whose rows wait until they can be written.
fn explained(failure: Error, stats: &Stats, took: Duration) -> Error {
    let (least, way_out) = match failure.kind {
        ErrorKind::JobTimeout => (Duration::ZERO, ""),
        ErrorKind::StatementTimeout => (
            took / 10,
            ", while its statement was open: raise statement_timeout in [postgres], or read in parts (partition_by)",
        ),
        _ => return failure,
    };
    let reasons = [
        (stats.waited, "to keep to keys_per_second or bytes_per_second in [redis]"),
        (stats.gave_way, "since Redis was slower than latency_limit in [redis]"),
    ];
    let worth_saying = |(time, _): &&(Duration, &str)| *time >= least.max(Duration::from_millis(100));
    let held: Vec<_> = reasons
        .iter()
        .filter(worth_saying)
        .map(|(time, why)| format!("held back for {:.1} s {why}", time.as_secs_f64()))
        .collect();
    match held.is_empty() {
        true => failure,
        false => Error { message: format!("{failure}; it was {}{way_out}", held.join(" and ")), ..failure },
    }
}

/// Whether nothing that the job asks for is left out from the beginning: a job for absent keys does its work when it looks for those.
fn is_whole(job: &Job, request: &Request) -> bool {
    request.mode.is_none_or(|mode| mode == job.mode || mode == Mode::Refresh)
}

/// Whether the history has to know of it. What another instance has served is done with for this one, too; what it has refreshed concerns nobody.
fn is_news(report: &Report) -> bool {
    let kind = report.failure.as_ref().map(|failure| failure.kind);
    let did_nothing = report.stats.queries == 0 && kind.is_none_or(ErrorKind::leaves_it_to_others);
    report.trigger != Trigger::Fill
        && kind != Some(ErrorKind::HeldElsewhere)
        && !(report.trigger == Trigger::RefreshAhead && did_nothing)
}

/// Whether the due time that the run was for is done with: it went well, or trying again would change nothing.
fn is_served(failure: Option<&Error>) -> bool {
    failure
        .is_none_or(|failure| failure.kind != ErrorKind::Cancelled && failure.kind.consequence().retry == Retry::Never)
}

async fn attempts(attempt: &Attempt<'_>) -> Result<(), Error> {
    let Attempt { runner, job, progress, .. } = *attempt;
    for number in 1.. {
        progress.begin_attempt();
        let error = match attempt.run().await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // A fill would take what it may have left for somebody else's.
        let is_lost = progress.tally.lost_until().is_some();
        if number > job.retries || is_lost || error.kind.consequence().retry != Retry::Attempt {
            return Err(error);
        }
        runner.observer.on(&Event::Retry { job: &job.name, error: &error, attempt: number + 1 });
        let pause = async {
            sleep(pause_before_attempt(number + 1)).await;
            Ok(())
        };
        attempt.limit.within(pause).await?;
    }
    Ok(())
}

/// The error for a panic: a defect of this program, which must not take other jobs with it.
pub(super) fn panicked(payload: &(dyn std::any::Any + Send)) -> Error {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    Error::new(ErrorKind::Panic, format!("the job panicked: {}", text.unwrap_or("no message")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_was_held_back_says_so_and_one_that_was_slow_by_itself_does_not() {
        let stats = Stats { waited: Duration::from_secs(2), ..Stats::default() };
        let of = |kind, took| explained(Error::new(kind, "ended"), &stats, Duration::from_secs(took)).message;
        assert_eq!(
            of(ErrorKind::StatementTimeout, 10),
            "ended; it was held back for 2.0 s to keep to keys_per_second or bytes_per_second in [redis], while its statement was open: \
             raise statement_timeout in [postgres], or read in parts (partition_by)"
        );
        assert_eq!(of(ErrorKind::StatementTimeout, 30), "ended");
        assert!(of(ErrorKind::JobTimeout, 30).starts_with("ended; it was held back for 2.0 s"));
        assert_eq!(of(ErrorKind::Query, 10), "ended");
    }
}
