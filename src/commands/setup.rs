//! What a scheduler begins with: jobs, what runs them, and which due times have been served.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Failure, history, pause_file, runner};
use crate::cache::Served;
use crate::config::{Loaded, Stamp};
use crate::ground::due::Known;
use crate::ground::event::{Event, Observer};
use crate::ground::history::Summary;
use crate::ground::job::Job;
use crate::ground::pause::Pauses;
use crate::ground::settings::Settings;
use crate::runner::Runner;
use crate::service::Setup;

/// What is in use: what was read, and what was made of it.
pub(super) struct InUse {
    pub(super) loaded: Loaded,
    pub(super) runner: Arc<Runner>,
    /// How the file that says which jobs are paused was when it was read last.
    pub(super) paused: Stamp,
}

impl InUse {
    /// What a reader of other files may go on with: connections, if they would be the same ones.
    fn servers_for(&self, loaded: &Loaded) -> Option<&Runner> {
        self.loaded.settings.has_same_servers(&loaded.settings).then_some(&*self.runner)
    }
}

/// Makes it from a configuration, within a runtime. What is in use already is kept as far as it is the same.
pub(super) async fn setup(
    loaded: Loaded,
    in_use: Option<&InUse>,
    observer: Arc<dyn Observer>,
) -> Result<(InUse, Setup), Failure> {
    let settings = &loaded.settings;
    let mut runner = runner(settings, observer)?;
    if let Some(Runner { source, redis, leases, .. }) = in_use.and_then(|in_use| in_use.servers_for(&loaded)) {
        (runner.source, runner.redis, runner.leases) = (source.clone(), redis.clone(), leases.clone());
    } else {
        runner.leases = Some(runner.source.leases());
    }
    runner.history = Some(history(settings, &runner, false));
    let jobs: Vec<_> = settings.enabled().cloned().map(Arc::new).collect();
    let known = known(&runner, &jobs).await;
    let (past, grace, targets) = (past(&runner).await, settings.serve.grace_period, settings.targets);
    let (paused, pauses) = pauses(settings, runner.observer.as_ref());
    let runner = Arc::new(runner);
    let in_use = InUse { loaded, runner: Arc::clone(&runner), paused };
    Ok((in_use, Setup { runner, jobs, known, past, pauses, targets, grace, cache: None }))
}

/// How the file that says which jobs are paused is now.
pub(super) fn pause_stamp(settings: &Settings) -> Stamp {
    Stamp::of(&pause_file(settings).map(|file| file.path()).into_iter().collect::<Vec<_>>())
}

/// Which jobs are paused. Where that cannot be told none is, and it is said: nothing is ever silent for nobody knows how long.
pub(super) fn pauses(settings: &Settings, observer: &dyn Observer) -> (Stamp, Pauses) {
    // Looked at first: what changes meanwhile is read again.
    let stamp = pause_stamp(settings);
    let read = pause_file(settings).map(|file| file.read()).transpose();
    let pauses = read.map(Option::unwrap_or_default).unwrap_or_else(|problem| {
        observer.on(&Event::Unpaused { problem: &problem.in_a_line() });
        Pauses::default()
    });
    (stamp, pauses)
}

/// What the history knows of each job's runs; what is wrong with it has been said.
async fn past(runner: &Runner) -> HashMap<String, Summary> {
    match &runner.history {
        Some(history) => history.summaries().await.unwrap_or_default(),
        None => HashMap::new(),
    }
}

/// What this host and all hosts remember; of two served times the later one, but none from the future if the other is from the past.
async fn known(runner: &Runner, jobs: &[Arc<Job>]) -> HashMap<String, Known> {
    let (own, passed) = match &runner.history {
        // What is wrong with it has been said; then all jobs run.
        Some(history) => (history.served().await.unwrap_or_default(), history.last_passed().await.unwrap_or_default()),
        None => Default::default(),
    };
    let now = runner.clock.now();
    // A Redis that is away now says so when a run begins.
    let shared = runner.redis.served(jobs.iter().map(|job| job.mark()).collect()).await;
    let shared = shared.unwrap_or_else(|_| vec![None; jobs.len()]);
    let of = |(job, shared): (&Arc<Job>, Option<Served>)| {
        let times = own.get(&job.name).copied().into_iter().chain(shared.map(|served| served.due));
        let served = times.max_by_key(|due| (*due <= now, *due));
        (job.name.clone(), Known { served, passed: passed.get(&job.name).copied() })
    };
    jobs.iter().zip(shared).map(of).collect()
}
