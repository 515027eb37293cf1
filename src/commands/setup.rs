//! What a scheduler begins with: jobs, what runs them, and which due times have been served.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Failure, history, runner};
use crate::config::Loaded;
use crate::ground::event::Observer;
use crate::runner::Runner;
use crate::service::Setup;

/// Makes it from a configuration, within a runtime.
pub(super) async fn setup(loaded: &Loaded, observer: Arc<dyn Observer>) -> Result<Setup, Failure> {
    let settings = &loaded.settings;
    let mut runner = runner(settings, observer)?;
    runner.history = Some(history(settings, &runner, false));
    runner.leases = Some(runner.source.leases());
    let jobs: Vec<_> = settings.jobs.iter().cloned().map(Arc::new).collect();
    let marks = marks(&runner, &jobs.iter().map(|job| job.name.clone()).collect::<Vec<_>>()).await;
    let succeeded = succeeded(&runner).await;
    Ok(Setup { runner: Arc::new(runner), jobs, marks, succeeded, grace: settings.serve.grace_period })
}

/// When a run of each job ended well last, as far as the history knows; what is wrong with it has been said.
async fn succeeded(runner: &Runner) -> HashMap<String, DateTime<Utc>> {
    let Some(history) = &runner.history else { return HashMap::new() };
    let summaries = history.summaries().await.unwrap_or_default();
    summaries.into_iter().filter_map(|(job, summary)| Some((job, summary.last_success?))).collect()
}

/// What this host and all hosts remember; of two the later one, but none from the future if the other is from the past.
async fn marks(runner: &Runner, jobs: &[String]) -> HashMap<String, DateTime<Utc>> {
    let own = match &runner.history {
        // What is wrong with it has been said; then all jobs run.
        Some(history) => history.served().await.unwrap_or_default(),
        None => HashMap::new(),
    };
    let now = runner.clock.now();
    // A Redis that is away now says so when a run begins.
    let shared = runner.redis.served(jobs.to_vec()).await.unwrap_or_else(|_| vec![None; jobs.len()]);
    let latest = |job: &String, shared: Option<DateTime<Utc>>| {
        let known = own.get(job).copied().into_iter().chain(shared);
        known.max_by_key(|due| (*due <= now, *due))
    };
    jobs.iter().zip(shared).filter_map(|(job, shared)| Some((job.clone(), latest(job, shared)?))).collect()
}
