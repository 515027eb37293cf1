//! What happens during a run, said once: one event feeds the log, the progress display and the metrics.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::changes::Followed;
use super::error::Error;
use super::health::Stale;
use super::hold::Hold;
use super::job::Job;
use super::passed::Passed;
use super::request::Trigger;
use super::run::{Report, Stats};
use super::warmth::Look;
use super::watch::Seen;

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A run began.
    Started {
        /// The job's name.
        job: &'a str,
        /// Why it began.
        trigger: Trigger,
    },
    /// A run got further.
    Progress {
        /// The job's name.
        job: &'a str,
        /// The counts so far.
        stats: &'a Stats,
    },
    /// An attempt failed and another follows.
    Retry {
        /// The job's name.
        job: &'a str,
        /// Why the attempt failed.
        error: &'a Error,
        /// The number of the next attempt, from 2.
        attempt: u32,
    },
    /// A run waits before it reads, for the database's sake or for its rows'.
    Waiting {
        /// The job's name.
        job: &'a str,
        /// What for.
        hold: &'a Hold,
    },
    /// Nobody knows how busy the database is: runs do not wait for it.
    LoadUnknown {
        /// Why.
        error: &'a Error,
    },
    /// A run could not open a further connection to the database, and goes on with those that it has.
    MakesDo {
        /// The job's name.
        job: &'a str,
        /// Why.
        error: &'a Error,
    },
    /// A run skipped a row, for the first time or again.
    BadRow {
        /// The job's name.
        job: &'a str,
        /// What is wrong with the row.
        reason: &'a str,
    },
    /// A run cannot make sure of values that it wrote: they die soon.
    Doubt {
        /// The job's name.
        job: &'a str,
        /// Why, and the way out.
        reason: &'a str,
    },
    /// A key whose row has changed could not be written again, so that it is deleted.
    NotWrittenAgain {
        /// The key, without the installation's prefix.
        key: &'a [u8],
        /// Why.
        reason: &'a str,
    },
    /// The run history cannot be used as it should; runs go on without it. Told once in a process.
    History {
        /// What is wrong, and what was done about it.
        problem: &'a str,
    },
    /// A run does without something that it needs the history for.
    WithoutHistory {
        /// The job's name.
        job: &'a str,
        /// What is not done.
        what: &'a str,
    },
    /// A run writes without the memory guard: the server does not say how full it is.
    Unguarded {
        /// The job's name.
        job: &'a str,
    },
    /// A run gives way: Redis has been slow for several batches in a row. Told once in a run.
    GivesWay {
        /// The job's name.
        job: &'a str,
        /// How long Redis took for the last batch.
        took: Duration,
    },
    /// A run cannot keep other instances from running the same job.
    WithoutLease {
        /// Why, and the way out.
        reason: &'a str,
    },
    /// Other instances do not know that a run has served its due time, and may serve it again.
    NotShared {
        /// The job's name.
        job: &'a str,
        /// Why.
        error: &'a Error,
    },
    /// Something was noticed about Redis.
    Cache {
        /// What.
        seen: &'a Seen,
    },
    /// Due times began no run.
    Passed {
        /// Which, and why.
        passed: &'a Passed,
    },
    /// Other jobs or settings are in use from now on.
    Reloaded {
        /// The jobs that there are now.
        jobs: &'a [Arc<Job>],
    },
    /// Other jobs or settings were found, but something is wrong with them; those before stay in use.
    NotReloaded {
        /// What is wrong.
        reason: &'a str,
    },
    /// The last success of a job is longer ago than it may be, from now on or since this process began.
    Stale {
        /// The job's name.
        job: &'a str,
        /// How long.
        stale: &'a Stale,
    },
    /// The job is so no more.
    NotStale {
        /// The job's name.
        job: &'a str,
    },
    /// Refreshing a job's keys ahead takes longer than they live.
    Behind {
        /// The job.
        job: &'a Job,
        /// How long it took.
        took: Duration,
    },
    /// A job is paused from now on, or its pause has got another end.
    Paused {
        /// The job's name.
        job: &'a str,
        /// When it ends.
        until: DateTime<Utc>,
    },
    /// A job goes on after a pause.
    Resumed {
        /// The job's name.
        job: &'a str,
    },
    /// Nobody knows which jobs are paused: none is.
    Unpaused {
        /// Why.
        problem: &'a str,
    },
    /// A job does not run as long as the configuration is as it is.
    Disabled {
        /// The job's name.
        job: &'a str,
        /// Why, and the way out.
        reason: &'a str,
    },
    /// Something in the configuration or in a job is unwise.
    Unwise {
        /// What, where, and the way out.
        warning: &'a str,
    },
    /// The service begins.
    Serving {
        /// The configuration file.
        file: &'a Path,
        /// How many jobs there are.
        jobs: usize,
    },
    /// The service tells over HTTP how it is.
    Listening {
        /// Where.
        address: SocketAddr,
    },
    /// The service is to listen elsewhere, which it does from its next start on.
    ListenLater {
        /// Where, if anywhere.
        listen: Option<SocketAddr>,
    },
    /// The service is about to end: nothing begins any more, and what runs may finish.
    Stopping {
        /// The signal that says so.
        signal: Option<&'a str>,
        /// The jobs that run.
        running: &'a [&'a str],
        /// How long they may take.
        grace: Duration,
    },
    /// What still runs is stopped.
    Cancelling {
        /// The signal that says so; `None` if its time is over.
        signal: Option<&'a str>,
        /// The jobs that run.
        running: &'a [&'a str],
    },
    /// The service has ended.
    Ended,
    /// Somebody has asked for a key: from which level he was told, or why not, in one word.
    Read {
        /// The word.
        told: &'static str,
    },
    /// Somebody has asked for a key in vain.
    ReadFailed {
        /// Whose key it is.
        job: Option<&'a str>,
        /// The key, as it was asked for.
        key: &'a [u8],
        /// Why.
        error: &'a Error,
    },
    /// Somebody had keys of a set deleted.
    Invalidated {
        /// The set's name.
        set: &'a str,
        /// How many there were, or why not all are gone.
        keys: Result<u64, &'a Error>,
        /// How long it took.
        took: Duration,
    },
    /// Somebody has asked for a deletion that cannot be meant, or is not allowed.
    InvalidationRefused,
    /// Whoever may ask for values may have these sets deleted from now on.
    Invalidates {
        /// The names of the sets.
        sets: &'a [&'a str],
    },
    /// Something about changes of the database.
    Followed(Followed<'a>),
    /// Keys were filled after a run because they are missed most.
    Predicted {
        /// The job's name.
        job: &'a str,
        /// How many.
        filled: u64,
        /// How many turned out to have no row.
        none: u64,
        /// What ended it early.
        failed: Option<&'a Error>,
    },
    /// Misses are not heard of: nothing is learned from them. Told once for each reason.
    Deaf {
        /// Why, and the way out.
        error: &'a Error,
    },
    /// Nobody can tell whether warmed keys are still read. Told once for each reason.
    NoIdleTimes {
        /// Why.
        error: &'a Error,
    },
    /// The service gives the values of keys to whoever asks.
    GivesKeys {
        /// Where.
        place: &'a str,
    },
    /// Somebody has looked how warm the jobs are.
    Looked {
        /// What was found.
        look: &'a Look,
    },
    /// A run ended, well or not.
    Finished {
        /// What it did.
        report: &'a Report,
    },
}

/// Somebody who wants to know.
pub trait Observer: Send + Sync {
    /// Called in the order of events within one job.
    fn on(&self, event: &Event<'_>);
}
