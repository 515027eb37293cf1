//! Writes keys again whose rows have changed (`on_change = "rewrite"`): through the path of every fill, so that nothing newer is overwritten, and what is written is looked at again.
//!
//! Only what is there is written: a key that nobody has cached is none that anybody misses. A key that changes while it is written is a hot one, and is tried again some times:
//! its row is read anew. What cannot be written, since its row is gone or a server does not let it be, or since it is never calm, is given back, to be deleted: it is stale.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::Runner;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::event::{Event, Observer};
use crate::ground::job::{Job, Mode, OnChange};
use crate::ground::request::{Purpose, Request};
use crate::ground::run::Report;

/// How many keys are written side by side.
const TOGETHER: usize = 4;
/// How long a connection is waited for: the key is stale meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a key is tried that changes meanwhile, for how long after the first try, and how long the first pause is; each further one is twice as long.
const TRIES: u32 = 5;
const LONGEST: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Writes the keys of some jobs again.
pub struct Rewriter {
    runner: Arc<Runner>,
    jobs: HashMap<String, Arc<Job>>,
    /// Hears why keys are given back.
    observer: Arc<dyn Observer>,
    stop: watch::Sender<bool>,
}

/// Why a key was not written.
#[derive(Debug, PartialEq, Eq)]
enum Hindrance {
    /// Its row, or the key itself, changed meanwhile: another try may find it calm.
    Moving(String),
    /// Another try would find the same.
    Lasting(String),
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
            observer: Arc::clone(&runner.observer),
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

    /// Writes those of the keys again that are there, as far as it can begin with them until `latest`. Whatever was committed when this is called is in what they hold then.
    ///
    /// # Errors
    /// When Redis cannot be asked which are there.
    pub async fn rewrite(&self, keys: Vec<Vec<u8>>, latest: Instant) -> Result<Rewritten, Error> {
        let there = self.runner.redis.present(keys.clone()).await?;
        let keys = keys.into_iter().zip(there);
        let mut open: Vec<_> = keys.filter_map(|(key, is_there)| is_there.then_some(key)).collect();
        let (mut all, mut end, mut pause) = (Rewritten::default(), None, PAUSE);
        for number in 1.. {
            let mut written =
                stream::iter(open.into_iter().map(|key| self.write(key, (number == 1).then_some(latest))))
                    .buffer_unordered(TOGETHER);
            let mut again = Vec::new();
            while let Some((key, result)) = written.next().await {
                match result {
                    Ok(()) => all.written += 1,
                    Err(Hindrance::Moving(_)) if number < TRIES && end.is_none_or(|end| Instant::now() < end) => {
                        again.push(key);
                    }
                    Err(Hindrance::Moving(reason) | Hindrance::Lasting(reason)) => {
                        self.observer.on(&Event::NotWrittenAgain { key: &key, reason: &reason });
                        all.stale.push(key);
                    }
                }
            }
            if again.is_empty() {
                break;
            }
            end.get_or_insert_with(|| Instant::now() + LONGEST);
            sleep(pause).await;
            (open, pause) = (again, pause * 2);
        }
        Ok(all)
    }

    fn job_of(&self, key: &[u8]) -> Option<&Arc<Job>> {
        self.jobs.get(self.runner.key_space.owner(key).ok()?)
    }

    async fn write(&self, key: Vec<u8>, latest: Option<Instant>) -> (Vec<u8>, Result<(), Hindrance>) {
        let lasting = |reason: String| Err(Hindrance::Lasting(reason));
        // A miss is better than a value that is old for so long.
        if latest.is_some_and(|latest| Instant::now() > latest) {
            return (key, lasting("too many wait before it".to_owned()));
        }
        let Some(job) = self.job_of(&key) else { return (key, lasting("it is a key of no such job".to_owned())) };
        let runner = match timeout(PATIENCE, self.runner.with_connection()).await {
            Ok(Ok(runner)) => runner,
            Ok(Err(error)) => return (key, lasting(error.message)),
            Err(_) => return (key, lasting("no connection to PostgreSQL was free in time".to_owned())),
        };
        let request = Request::about_key(Arc::from(key.as_slice()), Some(Mode::Refresh), Purpose::Write);
        let result = judged(&runner.run_one(Arc::clone(job), request, self.stop.subscribe()).await);
        (key, result)
    }
}

/// Whether the key holds now what was committed before, for certain and for its full life.
fn judged(report: &Report) -> Result<(), Hindrance> {
    let stats = &report.stats;
    // One that somebody else has written meanwhile may be of what was before.
    let moving = stats.overtaken + stats.withdrawn + stats.unconfirmed + stats.unverified > 0;
    let reason = match &report.failure {
        Some(failure) => failure.message.clone(),
        None if moving => "its row, or the key itself, changed while it was written".to_owned(),
        None if stats.written > 0 => return Ok(()),
        None if stats.rows == 0 => "no row makes it".to_owned(),
        None => "its row makes no value that may be written there".to_owned(),
    };
    let is_moving = match &report.failure {
        Some(failure) => failure.kind == ErrorKind::Unverified,
        None => moving,
    };
    // What was sent and never answered may still arrive. What takes so long is stale for long enough.
    match is_moving && report.lost_until.is_none() && report.took < LONGEST {
        true => Err(Hindrance::Moving(reason)),
        false => Err(Hindrance::Lasting(reason)),
    }
}
