//! What has to be deleted, and is not yet: keys that can be named, and patterns, each at its own pace.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::Follow;
use crate::ground::changes::Followed;
use crate::ground::event::{Event, Observer};
use crate::ground::invalidate::Targets;
use crate::runner::Invalidator;
use crate::service::keys::Source;

/// More keys and patterns than this that wait become all keys of the sets.
const MOST: usize = 100_000;
/// How long it takes until Redis is asked again: the first time, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What waits. Clones share it.
#[derive(Clone)]
pub(super) struct Backlog(Arc<Shared>);

struct Shared {
    keys: Lane,
    patterns: Lane,
    /// What stands for all that is too much.
    everything: Targets,
    invalidator: Invalidator,
    reads: Option<Source>,
    observer: Arc<dyn Observer>,
}

#[derive(Default)]
struct Lane {
    open: Mutex<Open>,
    more: Notify,
}

/// What is not deleted yet.
#[derive(Default)]
struct Open {
    waiting: Targets,
    /// How much is being deleted, and since when it had to be.
    begun: Option<(usize, Instant)>,
    /// When the first of what waits came.
    since: Option<Instant>,
}

impl Backlog {
    pub(super) fn new(follow: &Follow) -> Self {
        Backlog(Arc::new(Shared {
            keys: Lane::default(),
            patterns: Lane::default(),
            everything: follow.everything(),
            invalidator: follow.invalidator.clone(),
            reads: follow.reads.clone(),
            observer: Arc::clone(&follow.observer),
        }))
    }

    /// Adds what is stale.
    pub(super) fn add(&self, targets: Targets) {
        let (keys, patterns) = targets.split();
        for (lane, more) in [(&self.0.keys, keys), (&self.0.patterns, patterns)] {
            if more.is_empty() {
                continue;
            }
            let mut open = lane.open();
            open.since.get_or_insert_with(Instant::now);
            self.0.join(&mut open.waiting, more);
            drop(open);
            lane.more.notify_one();
        }
    }

    /// How much there is to delete, and for how long at most.
    pub(super) fn state(&self) -> (usize, Duration) {
        let lanes = [&self.0.keys, &self.0.patterns].map(|lane| {
            let open = lane.open();
            let (count, since) = open.begun.map_or((0, None), |(count, since)| (count, Some(since)));
            (open.waiting.len() + count, since.or(open.since).map_or(Duration::ZERO, |since| since.elapsed()))
        });
        (lanes.iter().map(|(count, _)| count).sum(), lanes.into_iter().map(|(_, age)| age).max().unwrap_or_default())
    }

    /// The work on both lanes, which never ends.
    pub(super) fn lanes(&self) -> [impl Future<Output = ()> + Send + 'static; 2] {
        [false, true].map(|patterns| {
            let shared = Arc::clone(&self.0);
            async move { shared.work(if patterns { &shared.patterns } else { &shared.keys }).await }
        })
    }

    /// Deletes everything, at once and however often it has to be tried.
    pub(super) async fn delete_everything(&self) {
        self.0.delete(self.0.everything.clone(), Targets::default).await;
    }
}

impl Lane {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what waits.
    fn take(&self) -> Targets {
        let mut open = self.open();
        let targets = std::mem::take(&mut open.waiting);
        let since = open.since.take();
        open.begun = match open.begun {
            Some((count, begun)) => Some((count + targets.len(), begun)),
            None => since.map(|since| (targets.len(), since)),
        };
        targets
    }
}

impl Shared {
    async fn work(&self, lane: &Lane) {
        loop {
            lane.more.notified().await;
            let targets = lane.take();
            if !targets.is_empty() {
                self.delete(targets, || lane.take()).await;
                lane.open().begun = None;
            }
        }
    }

    /// Deletes these, and what comes until that is possible.
    async fn delete(&self, mut targets: Targets, more: impl Fn() -> Targets) {
        let (mut pause, begin) = (PAUSES.0, Instant::now());
        loop {
            let result = self.invalidator.invalidate(targets.clone()).await;
            if let Some(source) = &self.reads {
                // Also if not all could be deleted: some may have been.
                let reads = Arc::clone(&source.borrow().reads);
                reads.forget(&targets).await;
            }
            let followed = match &result {
                Ok(done) => Followed::Deleted { keys: done.keys, took: begin.elapsed() },
                Err(error) => Followed::HeldUp { error },
            };
            self.observer.on(&Event::Followed(followed));
            if result.is_ok() {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
            self.join(&mut targets, more());
        }
    }

    fn join(&self, targets: &mut Targets, more: Targets) {
        targets.extend(more);
        if targets.len() > MOST {
            *targets = self.everything.clone();
        }
    }
}
