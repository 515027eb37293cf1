//! Writes keys again whose rows have changed (`on_change = "rewrite"`): through the path of every fill, so that nothing newer is overwritten, and what is written is looked at again.
//!
//! Only what is there is written: a key that nobody has cached is none that anybody misses. What cannot be written, since its row is gone or a server does not let it be, is
//! given back, to be deleted: it is stale.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::Runner;
use crate::ground::error::Error;
use crate::ground::job::{Job, Mode, OnChange};
use crate::ground::request::{Purpose, Request};

/// How many keys are written side by side.
const TOGETHER: usize = 4;
/// How long a connection is waited for: the key is stale meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes the keys of some jobs again.
pub struct Rewriter {
    runner: Arc<Runner>,
    jobs: HashMap<String, Arc<Job>>,
    stop: watch::Sender<bool>,
}

/// What became of keys that were to be written again.
#[derive(Debug, Default)]
pub struct Rewritten {
    /// How many were.
    pub written: u64,
    /// Those that were there and could not be, without the installation's prefix.
    pub stale: Vec<Vec<u8>>,
}

impl Rewriter {
    /// For those of the jobs that want it.
    pub fn new<'j>(runner: &Arc<Runner>, jobs: impl Iterator<Item = &'j Job>) -> Self {
        let wants = |job: &&Job| job.on_change == OnChange::Rewrite && job.disabled().is_none();
        Rewriter {
            jobs: jobs.filter(wants).map(|job| (job.name.clone(), Arc::new(job.clone()))).collect(),
            // What happens at single keys is told by what is counted of them.
            runner: Arc::new(runner.unheard()),
            stop: watch::channel(false).0,
        }
    }

    /// Whether there are such jobs.
    pub fn is_needed(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Whether this key is to be written again rather than deleted.
    pub fn takes(&self, key: &[u8]) -> bool {
        self.job_of(key).is_some()
    }

    /// Writes those of the keys again that are there. Whatever was committed when this is called is in what they hold then.
    ///
    /// # Errors
    /// When Redis cannot be asked which are there.
    pub async fn rewrite(&self, keys: Vec<Vec<u8>>) -> Result<Rewritten, Error> {
        let there = self.runner.redis.present(keys.clone()).await?;
        let keys = keys.into_iter().zip(there).filter_map(|(key, is_there)| is_there.then_some(key));
        let mut written = stream::iter(keys.map(|key| self.write(key))).buffer_unordered(TOGETHER);
        let mut all = Rewritten::default();
        while let Some(one) = written.next().await {
            match one {
                Ok(()) => all.written += 1,
                Err(key) => all.stale.push(key),
            }
        }
        Ok(all)
    }

    fn job_of(&self, key: &[u8]) -> Option<&Arc<Job>> {
        self.jobs.get(self.runner.key_space.owner(key).ok()?)
    }

    /// Gives the key back if it could not be written.
    async fn write(&self, key: Vec<u8>) -> Result<(), Vec<u8>> {
        let connection = timeout(PATIENCE, self.runner.with_connection());
        let (Some(job), Ok(Ok(runner))) = (self.job_of(&key), connection.await) else { return Err(key) };
        let request = Request::about_key(Arc::from(key.as_slice()), Some(Mode::Refresh), Purpose::Write);
        let report = runner.run_one(Arc::clone(job), request, self.stop.subscribe()).await;
        // One that somebody else has written meanwhile may be of what was before.
        let is_written = report.failure.is_none() && report.stats.written > 0 && report.stats.overtaken == 0;
        if is_written { Ok(()) } else { Err(key) }
    }
}
