//! `warm status`: how jobs, service and servers are. It asks, and changes nothing; what is down is something to say, never a reason to say nothing.
//!
//! ```text
//! history, pauses   what this machine knows without asking anybody   ─┐
//! probe             warm serve, Redis, PostgreSQL, all at once        ├─► Status ─► show ─► table, lines or JSON; exit code
//!                   and who runs a job now, on whichever machine     ─┘
//! ```

mod feed;
mod probe;
mod show;

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use self::probe::{PATIENCE, Server, Service, State};
use super::now::observer;
use super::setup::pauses;
use super::{Failure, history, load_partly, presence, runner, runtime};
use crate::cli::Common;
use crate::ground::clock::{Clock, SystemClock};
use crate::ground::exit;
use crate::ground::health::{Stale, age};
use crate::ground::history::Summary;
use crate::ground::job::Job;
use crate::ground::settings::Settings;
use crate::ground::targets::Judged;
use crate::ground::warmth::Warmth;
use crate::runner::judge_without_redis;
use crate::source::Holder;

/// All that is found out.
struct Status {
    now: DateTime<Utc>,
    jobs: Vec<JobStatus>,
    /// Whether job files are wrong, so that jobs are missing.
    incomplete: bool,
    service: Service,
    redis: Server,
    postgres: Server,
    targets: Vec<Judged>,
}

/// One job: what it is to do, and what its runs have done.
struct JobStatus {
    job: Arc<Job>,
    runs: Summary,
    /// Why it is stale, in words: the history's, or else the service's.
    stale: Option<String>,
    paused_until: Option<DateTime<Utc>>,
    /// Who runs it now, on whichever machine.
    holder: Option<Holder>,
    /// Which share of its keys is there, if that can be told.
    warmth: Option<Warmth>,
}

impl JobStatus {
    fn age(&self, now: DateTime<Utc>) -> Option<Duration> {
        age(self.runs.last_success?, now)
    }

    /// When it runs next by its schedule, if it is not disabled: after its pause, if it is paused, or at its very end.
    fn next(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let runs = self.job.disabled().is_none();
        self.job.next_due(self.paused_until.unwrap_or(now)).filter(|_| runs).map(|due| self.job.start_of(due))
    }

    fn last_failed(&self) -> bool {
        self.runs.last_run.as_ref().is_some_and(|run| run.failure.is_some())
    }

    fn is_well(&self) -> bool {
        // How it was when it still ran is over.
        self.job.disabled().is_some()
            || self.stale.is_none() && !self.last_failed() && self.runs.failed_refresh.is_none()
    }
}

impl Status {
    /// A server that is away counts more than a job that failed: it is where to look first.
    fn exit_code(&self) -> u8 {
        if self.redis.error.is_some() {
            exit::REDIS
        } else if self.postgres.error.is_some() {
            exit::POSTGRES
        } else if self.incomplete {
            exit::CONFIG
        } else if self.service.state == State::Stuck || !self.jobs.iter().all(JobStatus::is_well) {
            exit::JOB_FAILED
        } else {
            exit::OK
        }
    }
}

/// Says how everything is, of all jobs if none is named.
pub fn run(common: &Common, names: &[String]) -> Result<u8, Failure> {
    let known = load_partly(common)?;
    let (names, incomplete) = (known.names(names)?, known.mistakes.is_some());
    let mut settings = known.loaded.settings;
    // Of one that fills single keys there are no runs to tell of.
    let jobs = settings.jobs.iter().filter(|job| names.contains(&job.name) && !job.on_demand);
    let jobs = jobs.cloned().map(Arc::new).collect();
    let redis = &mut settings.redis;
    let postgres = &mut settings.postgres;
    for limit in
        [&mut redis.connect_timeout, &mut redis.timeout, &mut postgres.connect_timeout, &mut postgres.statement_timeout]
    {
        *limit = PATIENCE.min(*limit);
    }
    let status = runtime()?.block_on(look(&settings, jobs, incomplete))?;
    let code = status.exit_code();
    let text = show::text(&status, common.json, code);
    // A closed standard output is the reader's decision.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(code)
}

async fn look(settings: &Settings, jobs: Vec<Arc<Job>>, incomplete: bool) -> Result<Status, Failure> {
    let mut runner = runner(settings, observer())?;
    let history = history(settings, &runner, true);
    runner.history = Some(history.clone());
    let leases: Vec<_> = jobs.iter().map(|job| runner.lease_of(job)).collect();
    let feed = settings.changes.as_ref().map(|changes| &changes.feed);
    let (past, service, redis, (postgres, holders)) = tokio::join!(
        history.summaries(),
        probe::service(settings.serve.listen, presence::look(settings), feed),
        probe::redis(runner.redis.clone()),
        probe::postgres(&runner.source, &leases),
    );
    // Why nothing is known of runs, or of pauses, has been said.
    let mut past = past.unwrap_or_default();
    // A server that is away is not waited for a second time.
    let look = if redis.error.is_none() { probe::look(&runner, &jobs, &settings.targets).await } else { None };
    let (warmth, targets) =
        look.unwrap_or_else(|| (HashMap::new(), judge_without_redis(&past, &jobs, &settings.targets)));
    let (_, pauses) = pauses(settings, runner.observer.as_ref());
    let now = SystemClock.now();
    let of = |(job, holder): (Arc<Job>, Option<Holder>)| {
        let runs = past.remove(&job.name).unwrap_or_default();
        let stale = Stale::of(job.max_age, runs.last_success, runs.known_since, now).map(|stale| stale.to_string());
        // Where the history knows of a success, it knows all; elsewhere it may be another one than the service's.
        let known = stale.is_some() || runs.last_success.is_some();
        let stale = if known { stale } else { service.says_stale(&job.name) };
        let stale = stale.filter(|_| job.disabled().is_none());
        let warmth = warmth.get(&job.name).cloned();
        JobStatus { stale, paused_until: pauses.until(&job.name, now), runs, job, holder, warmth }
    };
    let holders = holders.into_iter().chain(std::iter::repeat(None));
    let jobs = jobs.into_iter().zip(holders).map(of).collect();
    Ok(Status { now, jobs, incomplete, service, redis, postgres, targets })
}
