//! Invalidations of many callers at once, in a process that lives for long.
//!
//! ```text
//! callers ─┬─► keys      deleted by name at once: all that wait go together
//!          └─► patterns  all that came while a pass was under way share the next one
//! ```
//!
//! A pass looks at every key of a Redis, so what a hundred callers want costs one pass, or two. A caller is answered when a pass that began after he asked has ended: the one that was under
//! way may have been past his keys already. Nothing is begun for nobody: when the last handle is gone, what was asked for is done, and then both tasks end.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::cache::{Act, Halt, Invalidated, Redis};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::invalidate::Targets;

/// Takes invalidations from many callers. Its clones share their passes.
#[derive(Debug, Clone)]
pub struct Invalidator {
    keys: Lane,
    patterns: Lane,
    halt: Halt,
}

/// Where requests wait for their turn.
type Lane = mpsc::UnboundedSender<Asked>;

/// A request, and who waits for its answer.
#[derive(Debug)]
struct Asked {
    targets: Arc<Targets>,
    answer: oneshot::Sender<Result<Invalidated, Error>>,
}

impl Invalidator {
    /// Begins, within a runtime; nothing is connected until somebody asks.
    pub fn new(redis: &Redis) -> Self {
        let halt = Halt::default();
        let (named, found) = ((redis.clone(), halt.clone()), (redis.clone(), halt.clone()));
        let keys = lane(move |wanted| {
            let (redis, halt) = named.clone();
            async move { redis.invalidate_keys(wanted, Act::Delete, halt).await }
        });
        let patterns = lane(move |wanted| {
            let (redis, halt) = found.clone();
            async move { redis.invalidate_patterns(wanted, Act::Delete, halt).await }
        });
        Invalidator { keys, patterns, halt }
    }

    /// Ends what is under way at its next step: whoever waits is told that keys may be left.
    pub fn halt(&self) {
        self.halt.now();
    }

    /// Deletes these keys, and what matches these patterns. Who stops waiting stops nothing.
    ///
    /// # Errors
    /// What Redis says; then keys may be left.
    pub async fn invalidate(&self, targets: Targets) -> Result<Invalidated, Error> {
        let targets = Arc::new(targets);
        let keys = targets.keys().next().map(|_| ask(&self.keys, &targets));
        let patterns = targets.patterns().next().map(|_| ask(&self.patterns, &targets));
        // Both have been asked before either is waited for. A key that is gone was deleted by one of them only.
        let (keys, patterns) = (answered(keys).await, answered(patterns).await);
        Ok(keys?.and(patterns?))
    }
}

fn ask(lane: &Lane, targets: &Arc<Targets>) -> oneshot::Receiver<Result<Invalidated, Error>> {
    let (answer, receiver) = oneshot::channel();
    // A lane that has ended drops the answer, which is noticed there.
    let _ = lane.send(Asked { targets: Arc::clone(targets), answer });
    receiver
}

async fn answered(receiver: Option<oneshot::Receiver<Result<Invalidated, Error>>>) -> Result<Invalidated, Error> {
    let Some(receiver) = receiver else { return Ok(Invalidated::default()) };
    let ended = |_| Err(Error::new(ErrorKind::Cancelled, "the process ended before the keys were deleted"));
    receiver.await.unwrap_or_else(ended)
}

/// Does the work for all who wait, again and again.
fn lane<W, F>(work: W) -> Lane
where
    W: Fn(Vec<Arc<Targets>>) -> F + Send + 'static,
    F: Future<Output = Vec<Result<Invalidated, Error>>> + Send,
{
    let (sender, mut receiver) = mpsc::unbounded_channel::<Asked>();
    tokio::spawn(async move {
        while let Some(first) = receiver.recv().await {
            let mut all = vec![first];
            while let Ok(another) = receiver.try_recv() {
                all.push(another);
            }
            let results = work(all.iter().map(|asked| Arc::clone(&asked.targets)).collect()).await;
            for (asked, result) in all.into_iter().zip(results) {
                // Nobody may wait any more.
                let _ = asked.answer.send(result);
            }
        }
    });
    sender
}
