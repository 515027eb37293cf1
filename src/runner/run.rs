//! One run of one job: attempts, the job's time-out, and the fence around a panic.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::Runner;
use super::attempt::attempt;
use crate::cache::{Ours, Policy, Redis, Tally};
use crate::ground::backoff::pause_before_attempt;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::event::Event;
use crate::ground::job::Job;
use crate::ground::request::Request;
use crate::ground::run::{Report, Stats};

/// What one run has done so far; it outlives attempts, the time-out and a panic, so that the report is true after each of them.
#[derive(Debug, Default, Clone)]
pub(super) struct Progress {
    reading: Arc<Mutex<Stats>>,
    pub(super) tally: Tally,
    doubtful: Arc<Mutex<Vec<Ours>>>,
}

impl Progress {
    /// Notes a value that was written and then found to be incomplete.
    pub(super) fn doubt(&self, value: Ours) {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner).push(value);
    }

    /// Takes doubtful values back: a miss is cheaper than a lie.
    pub(super) async fn retract(&self, redis: &Redis, policy: Policy) -> Result<(), Error> {
        let values = std::mem::take(&mut *self.doubtful.lock().unwrap_or_else(PoisonError::into_inner));
        if values.is_empty() || policy.only_looks() {
            return Ok(());
        }
        let redis = redis.clone();
        let work = tokio::task::spawn_blocking(move || redis.retract(&values)).await;
        work.unwrap_or_else(|error| Err(Error::new(ErrorKind::Panic, error.to_string()))).map(|_| ())
    }

    /// Adds counts of the reading side.
    pub(super) fn add(&self, stats: &Stats) {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner) += stats;
    }

    /// The counts of both sides.
    pub(super) fn stats(&self) -> Stats {
        let mut stats = self.reading.lock().unwrap_or_else(PoisonError::into_inner).clone();
        stats += &self.tally.stats();
        stats
    }
}

/// Runs the job and reports; never panics, whatever the job does.
pub(super) async fn run(
    runner: Arc<Runner>,
    job: Arc<Job>,
    request: Request,
    mut stop: watch::Receiver<bool>,
) -> Report {
    let start = Instant::now();
    runner.observer.on(&Event::Started { job: &job.name, trigger: request.trigger });
    let progress = Progress::default();
    let work = {
        let (runner, job, progress) = (Arc::clone(&runner), Arc::clone(&job), progress.clone());
        // A task of its own: several jobs encode at the same time, and a panic stays inside.
        async move {
            let attempts =
                AssertUnwindSafe(timeout(job.timeout, attempts(&runner, &job, request, &progress))).catch_unwind();
            tokio::select! {
                result = attempts => match result {
                    Ok(Ok(result)) => result,
                    Ok(Err(_)) => Err(timed_out(&job)),
                    Err(payload) => Err(panicked(payload.as_ref())),
                },
                _ = stop.wait_for(|stop| *stop) => Err(Error::new(ErrorKind::Cancelled, "stopped by a signal")),
            }
        }
    };
    let result = tokio::spawn(work).await.unwrap_or_else(|error| Err(Error::new(ErrorKind::Panic, error.to_string())));
    let report = Report {
        job: job.name.clone(),
        priority: job.priority,
        stats: progress.stats(),
        took: start.elapsed(),
        failure: result.err(),
        sample: progress.tally.sample(),
    };
    runner.observer.on(&Event::Finished { report: &report });
    report
}

async fn attempts(runner: &Runner, job: &Job, request: Request, progress: &Progress) -> Result<(), Error> {
    for number in 1.. {
        progress.add(&Stats { attempts: 1, ..Stats::default() });
        let error = match attempt(runner, job, request, progress).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if number > job.retries || !error.kind.consequence().retry {
            return Err(error);
        }
        runner.observer.on(&Event::Retry { job: &job.name, error: &error, attempt: number + 1 });
        sleep(pause_before_attempt(number + 1)).await;
    }
    Ok(())
}

fn timed_out(job: &Job) -> Error {
    let limit = humantime::format_duration(job.timeout);
    Error::new(ErrorKind::JobTimeout, format!("the job did not end within its timeout of {limit}"))
}

fn panicked(payload: &(dyn std::any::Any + Send)) -> Error {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    Error::new(ErrorKind::Panic, format!("the job panicked: {}", text.unwrap_or("no message")))
}
