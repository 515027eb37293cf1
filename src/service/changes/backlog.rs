//! What has to be deleted or written again, and is not yet: keys that can be named, those of jobs that want them written, and patterns, each at its own pace.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use super::Follow;
use crate::ground::changes::Followed;
use crate::ground::error::ErrorKind;
use crate::ground::event::{Event, Observer};
use crate::ground::invalidate::Targets;
use crate::runner::{Invalidator, Rewriter};
use crate::service::keys::Source;

/// More keys and patterns than this that wait become all keys of all sets.
const MOST: usize = 100_000;
/// More keys than this that wait to be written again are deleted instead.
const MOST_REWRITES: usize = 1000;
/// A key that is not begun with by then is deleted instead, too: it is stale all the while.
const LATEST: Duration = Duration::from_secs(1);
/// How long it takes until Redis is asked again: the first time, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// When it is asked again for what it refuses.
const REFUSED: Duration = Duration::from_secs(10);

/// What waits. Clones share it.
#[derive(Clone)]
pub(super) struct Backlog(Arc<Shared>);

struct Shared {
    keys: Lane,
    rewrites: Lane,
    patterns: Lane,
    /// What Redis refuses to delete: nothing else waits for it.
    refused: Mutex<Targets>,
    /// What may have changed while nobody heard.
    everything: Targets,
    /// What stands for all that is too much, of whichever set.
    all: Targets,
    invalidator: Invalidator,
    rewriter: watch::Receiver<Arc<Rewriter>>,
    reads: Option<Source>,
    observer: Arc<dyn Observer>,
    /// How often everything had to be deleted, and up to which time that is done.
    anew: Mutex<(u64, u64)>,
    /// Something is done.
    moved: watch::Sender<()>,
}

#[derive(Default)]
struct Lane {
    open: Mutex<Open>,
    more: Notify,
}

/// What each lane had to do at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark([u64; 4]);

/// What is not deleted yet.
#[derive(Default)]
struct Open {
    waiting: Targets,
    /// How much is being deleted, and since when it had to be.
    begun: Option<(usize, Instant)>,
    /// When the first of what waits came.
    since: Option<Instant>,
    /// How often something was put here, how much of that has been taken, and how much is done.
    put: u64,
    taken: u64,
    done: u64,
    /// What was here waits in the other lane since it was put there so often.
    elsewhere: u64,
}

impl Backlog {
    pub(super) fn new(follow: &Follow) -> Self {
        Backlog(Arc::new(Shared {
            keys: Lane::default(),
            rewrites: Lane::default(),
            patterns: Lane::default(),
            refused: Mutex::default(),
            everything: follow.everything(),
            all: follow.all(),
            invalidator: follow.invalidator.clone(),
            rewriter: follow.rewriter.clone(),
            reads: follow.reads.clone(),
            observer: Arc::clone(&follow.observer),
            anew: Mutex::default(),
            moved: watch::channel(()).0,
        }))
    }

    /// Adds what is stale.
    pub(super) fn add(&self, mut targets: Targets) {
        let rewriter = Arc::clone(&self.0.rewriter.borrow());
        let rewrites = targets.take_keys(|key| rewriter.takes(key));
        let (keys, patterns) = targets.split();
        self.0.put(&self.0.keys, keys);
        self.0.put(&self.0.patterns, patterns);
        let too_many = {
            let mut open = self.0.rewrites.open();
            let is_too_much = open.waiting.len() + rewrites.len() > MOST_REWRITES;
            is_too_much.then(|| (std::mem::take(&mut open.waiting), open.since.take()).0)
        };
        match too_many {
            None => self.0.put(&self.0.rewrites, rewrites),
            // A miss is sooner there than so many values.
            Some(waiting) => {
                [waiting, rewrites].into_iter().for_each(|keys| self.0.put(&self.0.keys, keys));
                let elsewhere = self.0.keys.open().put;
                self.0.rewrites.open().elsewhere = elsewhere;
            }
        }
    }

    /// What there is to do now.
    pub(super) fn mark(&self) -> Mark {
        let [keys, rewrites, patterns] = self.0.lanes().map(|lane| lane.open().put);
        Mark([keys, rewrites, patterns, locked(&self.0.anew).0])
    }

    /// Waits until all of that is done. What Redis refuses to delete is, too: it stays so.
    pub(super) async fn has_done(&self, Mark(wanted): Mark) {
        let is_done = || {
            let elsewhere = self.0.rewrites.open().elsewhere;
            let [keys, rewrites, patterns] = self.0.lanes().map(|lane| lane.open().done);
            if keys < elsewhere {
                return false;
            }
            let done = [keys, rewrites, patterns, locked(&self.0.anew).1];
            done.iter().zip(wanted).all(|(done, wanted)| *done >= wanted)
        };
        let mut moved = self.0.moved.subscribe();
        // The sender lives as long as this.
        while !is_done() && moved.changed().await.is_ok() {}
    }

    /// Everything has to be deleted: the number of times that this was so.
    pub(super) fn begin_anew(&self) -> u64 {
        let mut anew = locked(&self.0.anew);
        anew.0 += 1;
        anew.0
    }

    /// How much there is to delete, and for how long at most.
    pub(super) fn state(&self) -> (usize, Duration) {
        let lanes = self.0.lanes().map(|lane| {
            let open = lane.open();
            let (count, since) = open.begun.map_or((0, None), |(count, since)| (count, Some(since)));
            (open.waiting.len() + count, since.or(open.since).map_or(Duration::ZERO, |since| since.elapsed()))
        });
        (lanes.iter().map(|(count, _)| count).sum(), lanes.into_iter().map(|(_, age)| age).max().unwrap_or_default())
    }

    /// The work on all lanes, which never ends.
    pub(super) fn lanes(&self) -> [impl Future<Output = ()> + Send + 'static; 3] {
        [Which::Keys, Which::Rewrites, Which::Patterns].map(|which| {
            let shared = Arc::clone(&self.0);
            async move { shared.work(which).await }
        })
    }

    /// Tries what was refused again, now and then, which never ends.
    pub(super) async fn try_refused(self) {
        loop {
            sleep(REFUSED).await;
            let refused = std::mem::take(&mut *locked(&self.0.refused));
            let (keys, patterns) = refused.split();
            self.0.put(&self.0.keys, keys);
            self.0.put(&self.0.patterns, patterns);
        }
    }

    /// Deletes everything, at once and however often it has to be tried.
    pub(super) async fn delete_everything(&self, number: u64) {
        self.0.delete(self.0.everything.clone(), Targets::default).await;
        locked(&self.0.anew).1 = number;
        self.0.moved.send_replace(());
    }
}

/// The lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Keys,
    Rewrites,
    Patterns,
}

impl Lane {
    fn open(&self) -> MutexGuard<'_, Open> {
        locked(&self.open)
    }

    /// Takes what waits.
    fn take(&self) -> Targets {
        let mut open = self.open();
        open.taken = open.put;
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
    fn lanes(&self) -> [&Lane; 3] {
        [&self.keys, &self.rewrites, &self.patterns]
    }

    fn put(&self, lane: &Lane, more: Targets) {
        if more.is_empty() {
            return;
        }
        let mut open = lane.open();
        open.since.get_or_insert_with(Instant::now);
        open.put += 1;
        self.join(&mut open.waiting, more);
        drop(open);
        lane.more.notify_one();
    }

    async fn work(&self, which: Which) {
        let lane = match which {
            Which::Keys => &self.keys,
            Which::Rewrites => &self.rewrites,
            Which::Patterns => &self.patterns,
        };
        loop {
            lane.more.notified().await;
            let targets = lane.take();
            match which {
                _ if targets.is_empty() => {}
                Which::Rewrites => {
                    let since = lane.open().begun.map_or_else(Instant::now, |(_, since)| since);
                    self.rewrite(targets, since + LATEST).await;
                }
                Which::Keys | Which::Patterns => self.delete(targets, || lane.take()).await,
            }
            let mut open = lane.open();
            (open.begun, open.done) = (None, open.taken);
            drop(open);
            self.moved.send_replace(());
        }
    }

    /// Writes these again, and deletes what cannot be written.
    async fn rewrite(&self, targets: Targets, latest: Instant) {
        let begin = Instant::now();
        let keys: Vec<_> = targets.keys().map(<[u8]>::to_vec).collect();
        let rewriter = Arc::clone(&self.rewriter.borrow());
        let stale = match rewriter.rewrite(keys.clone(), latest).await {
            Ok(done) => {
                self.observer.on(&Event::Followed(Followed::Rewritten { keys: done.written, took: begin.elapsed() }));
                done.stale
            }
            // Nobody knows which are there.
            Err(_) => keys,
        };
        self.forget(&targets);
        if !stale.is_empty() {
            self.delete(Targets::named(stale), Targets::default).await;
        }
    }

    /// Has whoever reads through forget these.
    fn forget(&self, targets: &Targets) {
        if let Some(source) = &self.reads {
            // That it waits for fills that have begun is for those who want an answer.
            let (reads, forgotten) = (Arc::clone(&source.borrow().reads), targets.clone());
            tokio::spawn(async move { reads.forget(&forgotten).await });
        }
    }

    /// Deletes these, and what comes until that is possible.
    async fn delete(&self, mut targets: Targets, more: impl Fn() -> Targets) {
        let (mut pause, begin) = (PAUSES.0, Instant::now());
        loop {
            let result = self.invalidator.invalidate(targets.clone()).await;
            // Also if not all could be deleted: some may have been.
            self.forget(&targets);
            let followed = match &result {
                Ok(done) => Followed::Deleted { keys: done.keys, took: begin.elapsed() },
                Err(error) => Followed::HeldUp { error },
            };
            self.observer.on(&Event::Followed(followed));
            match result {
                Ok(_) => return,
                Err(error) if error.kind == ErrorKind::RedisRefused => {
                    let mut refused = locked(&self.refused);
                    return self.join(&mut refused, targets);
                }
                Err(_) => {}
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
            self.join(&mut targets, more());
        }
    }

    fn join(&self, targets: &mut Targets, more: Targets) {
        targets.extend(more);
        if targets.len() > MOST {
            *targets = self.all.clone();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
