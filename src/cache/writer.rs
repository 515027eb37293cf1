//! Where the runner hands batches over: to a thread of their own, within a budget of bytes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::connect::Redis;
use super::pipeline::Pipeline;
use super::rate::Cost;
use super::strategy::Policy;
use super::tally::Tally;
use crate::ground::entry::Batch;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::kind::Kind;

/// The unit in which bytes in flight are counted: the semaphore counts in 32 bits.
const UNIT: usize = 1024;
/// What an empty batch keeps of its memory.
const KEEP: usize = 256 << 10;

/// A running writer. Dropped without [`Writer::finish`], the thread writes what it has been given and ends.
#[derive(Debug)]
pub struct Writer {
    batches: mpsc::UnboundedSender<Loaded>,
    /// Bytes that may still be given to the thread, in units of [`UNIT`].
    budget: Arc<Semaphore>,
    budget_units: usize,
    spare: Spare,
    halted: Arc<AtomicBool>,
    guarded: bool,
    lack_of_room: Option<Error>,
    /// Where it waits for its turn, for what, and who counts that.
    redis: Redis,
    policy: Policy,
    tally: Tally,
    slow: Option<oneshot::Receiver<Duration>>,
    ended: oneshot::Receiver<Result<(), Error>>,
}

/// A batch with its share of the budget, which is free again when the thread is done with it.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) batch: Batch,
    /// Who wants it back.
    pub(super) back: Option<mpsc::UnboundedSender<Batch>>,
    /// Since when it has been on its way.
    pub(super) since: Instant,
    _share: OwnedSemaphorePermit,
}

impl Writer {
    /// Connects and starts the thread. At most `in_flight` bytes of entries are held at a time; one larger batch may exceed it alone.
    ///
    /// # Errors
    /// What connecting gave; nothing has been written then.
    pub async fn open(
        redis: &Redis,
        (policy, kind): (Policy, Kind),
        in_flight: usize,
        tally: Tally,
    ) -> Result<Self, Error> {
        let (batches, receiver) = mpsc::unbounded_channel();
        let (connected_tx, connected) = oneshot::channel();
        let (ended_tx, ended) = oneshot::channel();
        let (slow_tx, slow) = oneshot::channel();
        let spare = Spare::default();
        let (to, pool, counts) = (redis.clone(), spare.clone(), tally.clone());
        let halted = Arc::new(AtomicBool::new(false));
        let halt = Arc::clone(&halted);
        let work = move || match Pipeline::new(to, (policy, kind), counts, pool, halt, slow_tx) {
            Ok(mut pipeline) => {
                // Nobody listens any more if the run was cancelled meanwhile.
                let _ = connected_tx.send(Ok((pipeline.is_guarded(), pipeline.lack_of_room())));
                let _ = ended_tx.send(pipeline.run(receiver));
            }
            Err(error) => {
                let _ = connected_tx.send(Err(error));
            }
        };
        std::thread::Builder::new()
            .name("warm-writer".to_owned())
            .spawn(work)
            .map_err(|error| Error::new(ErrorKind::RedisUnreachable, format!("no thread for writing: {error}")))?;
        let (guarded, lack_of_room) = connected.await.map_err(|_| gone())??;
        let budget_units = in_flight.div_ceil(UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let budget = Arc::new(Semaphore::new(budget_units));
        let (redis, slow) = (redis.clone(), Some(slow));
        Ok(Writer {
            batches,
            budget,
            budget_units,
            spare,
            halted,
            guarded,
            lack_of_room,
            redis,
            policy,
            tally,
            slow,
            ended,
        })
    }

    /// Whether Redis' memory is watched; not, where the account may not ask for it.
    pub fn is_guarded(&self) -> bool {
        self.guarded
    }

    /// Why there was no room for even one new key when the connection was made, if there was none.
    pub fn lack_of_room(&self) -> Option<&Error> {
        self.lack_of_room.as_ref()
    }

    /// Returns when Redis has been slow for several batches, with the time that it took for the last one; else never. Can be asked for once.
    pub fn slowness(&mut self) -> impl Future<Output = Duration> + use<> {
        let slow = self.slow.take();
        async move {
            if let Some(slow) = slow
                && let Ok(took) = slow.await
            {
                return took;
            }
            std::future::pending().await
        }
    }

    /// An empty batch, one that has been used before if possible.
    pub fn batch(&self) -> Batch {
        self.spare.take()
    }

    /// Takes a batch that is done with, to use it again.
    pub fn recycle(&self, batch: Batch) {
        self.spare.give(batch);
    }

    /// Hands a batch over, whose entries then go one step further ([`Mark`](crate::ground::entry::Mark)); waits while too many bytes are in flight, and for its turn
    /// where there is a limit to how much is written in a second. With `back`,
    /// the batch comes back there when it has.
    ///
    /// # Errors
    /// When the thread has ended: [`Writer::finish`] says why.
    pub async fn send(&self, batch: Batch, back: Option<mpsc::UnboundedSender<Batch>>) -> Result<(), Error> {
        if batch.is_empty() {
            self.spare.give(batch);
            return Ok(());
        }
        let since = Instant::now();
        let units = u32::try_from(batch.footprint().div_ceil(UNIT).clamp(1, self.budget_units)).unwrap_or(u32::MAX);
        let share = Arc::clone(&self.budget).acquire_many_owned(units).await.map_err(|_| gone())?;
        self.wait_for_turn(&batch).await;
        self.batches.send(Loaded { batch, back, since, _share: share }).map_err(|_| gone())
    }

    async fn wait_for_turn(&self, batch: &Batch) {
        let cost = Cost::of(batch, 0..batch.len(), self.policy.only_looks());
        let wait = self.redis.rate().claim(cost, Instant::now());
        if wait.is_zero() {
            return;
        }
        self.tally.waits(Instant::now());
        let _counted = Waiting(&self.tally);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.batches.closed() => {}
        }
    }

    /// Returns when the thread has ended.
    pub async fn ended(&self) {
        self.batches.closed().await;
    }

    /// Lets the thread end without writing what it has not sent yet. [`Writer::finish`] then waits for the replies to what it has sent.
    pub fn halt(&self) {
        self.halted.store(true, Ordering::Relaxed);
    }

    /// Waits until everything that was handed over is written. Can be dropped and called again, until it has returned.
    ///
    /// # Errors
    /// What stopped the writing; the [`Tally`] says how far it came.
    pub async fn finish(&mut self) -> Result<(), Error> {
        // Replacing the sender drops the last one, which ends the thread's loop.
        let (closed, _) = mpsc::unbounded_channel();
        self.batches = closed;
        (&mut self.ended).await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Somebody who waits for his turn. Counted when he does so no longer, also when he has been stopped.
struct Waiting<'a>(&'a Tally);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waits_no_longer(Instant::now());
    }
}

/// The error for a thread that is no longer there; what ended it, [`Writer::finish`] says.
pub(super) fn gone() -> Error {
    Error::new(ErrorKind::Panic, "the writer has ended")
}

/// Batches that are empty again, to be used again.
#[derive(Debug, Clone, Default)]
pub(super) struct Spare(Arc<Mutex<Vec<Batch>>>);

impl Spare {
    fn take(&self) -> Batch {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Takes a batch back.
    pub(super) fn give(&self, mut batch: Batch) {
        batch.clear(KEEP);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
    }
}
