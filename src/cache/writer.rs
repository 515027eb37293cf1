//! Batches of entries into Redis, by a thread of their own.
//!
//! The thread keeps a window of batches in flight: it sends the next batch before the replies to the last one are read, so that neither side
//! waits for the other. Replies come in the order of the commands and are counted; each is matched to its entry.
//!
//! When a connection breaks, everything without a reply is sent again on a new one. That is safe: each command either
//! writes the same bytes again or sees its own earlier effect, as a key that is present. A connection with an unread reply is never used
//! again. A server that came back as another process may have lost what was written before: then the run starts over.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::Value;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::connect::{Connected, Redis};
use super::error::{Trouble, judge, translate};
use super::retract::into_error;
use super::strategy::{Policy, REPLACE, Round, Verdict};
use crate::ground::entry::Batch;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::run::{Sample, Stats};

/// Batches in flight on the connection. With two, Redis always has the next one in its buffer.
const WINDOW: usize = 4;
/// How long a server that asks for patience is asked again, and how often.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often one batch is sent before a connection that keeps breaking is given up.
const TRIES: u32 = 4;
/// The unit in which bytes in flight are counted: the semaphore counts in 32 bits.
const UNIT: usize = 1024;
/// What an empty batch keeps of its memory.
const KEEP: usize = 256 << 10;
/// How many keys a run remembers to show.
const SAMPLES: usize = 5;

/// What has been written so far, kept over all attempts of a run.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<Mutex<Written>>);

#[derive(Debug, Default)]
struct Written {
    stats: Stats,
    sample: Vec<Sample>,
}

impl Tally {
    /// The counts so far.
    pub fn stats(&self) -> Stats {
        self.lock().stats.clone()
    }

    /// Forgets everything.
    pub fn reset(&self) {
        *self.lock() = Written::default();
    }

    /// A few of the keys written so far.
    pub fn sample(&self) -> Vec<Sample> {
        self.lock().sample.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running writer. Dropped without [`Writer::finish`], the thread writes what it has been given and ends.
#[derive(Debug)]
pub struct Writer {
    batches: mpsc::UnboundedSender<Loaded>,
    /// Bytes that may still be given to the thread, in units of [`UNIT`].
    budget: Arc<Semaphore>,
    budget_units: usize,
    spare: Arc<Mutex<Vec<Batch>>>,
    ended: oneshot::Receiver<Result<(), Error>>,
}

/// A batch with its share of the budget.
#[derive(Debug)]
struct Loaded {
    batch: Batch,
    _share: OwnedSemaphorePermit,
}

impl Writer {
    /// Connects and starts the thread. At most `in_flight` bytes of entries are held at a time; one larger batch may exceed it alone.
    ///
    /// # Errors
    /// What connecting gave; nothing has been written then.
    pub async fn open(redis: &Redis, policy: Policy, in_flight: usize, tally: Tally) -> Result<Self, Error> {
        let (batches, receiver) = mpsc::unbounded_channel();
        let (connected_tx, connected) = oneshot::channel();
        let (ended_tx, ended) = oneshot::channel();
        let spare = Arc::new(Mutex::new(Vec::new()));
        let (redis, pool) = (redis.clone(), Arc::clone(&spare));
        let work = move || match Thread::new(redis, policy, tally, pool) {
            Ok(thread) => {
                // Nobody listens any more if the run was cancelled meanwhile.
                let _ = connected_tx.send(Ok(()));
                let _ = ended_tx.send(thread.run(receiver));
            }
            Err(error) => {
                let _ = connected_tx.send(Err(error));
            }
        };
        std::thread::Builder::new()
            .name("warm-writer".to_owned())
            .spawn(work)
            .map_err(|error| Error::new(ErrorKind::RedisUnreachable, format!("no thread for writing: {error}")))?;
        connected.await.map_err(|_| gone())??;
        let budget_units = in_flight.div_ceil(UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Ok(Writer { batches, budget: Arc::new(Semaphore::new(budget_units)), budget_units, spare, ended })
    }

    /// An empty batch, one that has been used before if possible.
    pub fn batch(&self) -> Batch {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Hands a batch over; waits while too many bytes are in flight.
    ///
    /// # Errors
    /// When the thread has ended: [`Writer::finish`] says why.
    pub async fn send(&self, batch: Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let units = u32::try_from(batch.bytes().div_ceil(UNIT).clamp(1, self.budget_units)).unwrap_or(u32::MAX);
        let share = Arc::clone(&self.budget).acquire_many_owned(units).await.map_err(|_| gone())?;
        self.batches.send(Loaded { batch, _share: share }).map_err(|_| gone())
    }

    /// Waits until everything that was handed over is written.
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

fn gone() -> Error {
    Error::new(ErrorKind::Panic, "the writer has ended")
}

/// A batch on its way: which of its entries were asked about, and in which round.
struct InFlight {
    loaded: Loaded,
    asked: Vec<usize>,
    round: Round,
    tries: u32,
}

struct Thread {
    redis: Redis,
    policy: Policy,
    connected: Connected,
    replace: Vec<u8>,
    window: VecDeque<InFlight>,
    buffer: Vec<u8>,
    tally: Tally,
    spare: Arc<Mutex<Vec<Batch>>>,
    /// Since when the server has been asking for patience.
    waiting: Option<Instant>,
    /// Whether the run has failed: replies are still counted, but nothing is sent any more.
    failed: bool,
}

impl Thread {
    fn new(redis: Redis, policy: Policy, tally: Tally, spare: Arc<Mutex<Vec<Batch>>>) -> Result<Self, Error> {
        let mut connected = redis.connect()?;
        let replace = load_script(&mut connected, policy).map_err(into_error)?;
        Ok(Thread {
            redis,
            policy,
            connected,
            replace,
            window: VecDeque::new(),
            buffer: Vec::new(),
            tally,
            spare,
            waiting: None,
            failed: false,
        })
    }

    fn run(mut self, mut receiver: mpsc::UnboundedReceiver<Loaded>) -> Result<(), Error> {
        loop {
            let next = if self.window.is_empty() {
                receiver.blocking_recv()
            } else if self.window.len() >= WINDOW {
                self.settle_or_recover()?;
                continue;
            } else {
                match receiver.try_recv() {
                    Ok(loaded) => Some(loaded),
                    Err(TryRecvError::Disconnected) => None,
                    Err(TryRecvError::Empty) => {
                        self.settle_or_recover()?;
                        continue;
                    }
                }
            };
            match next {
                Some(loaded) => {
                    let asked = (0..loaded.batch.len()).collect();
                    self.send(InFlight { loaded, asked, round: Round::First, tries: 0 })?;
                }
                None if self.window.is_empty() => return Ok(()),
                None => self.settle_or_recover()?,
            }
        }
    }

    /// Puts a batch into the window and its commands on the wire.
    fn send(&mut self, batch: InFlight) -> Result<(), Error> {
        self.window.push_back(batch);
        match self.put_on_wire(self.window.len() - 1) {
            Ok(()) => Ok(()),
            Err(trouble) => self.recover(trouble),
        }
    }

    fn put_on_wire(&mut self, index: usize) -> Result<(), Trouble> {
        let Some(item) = self.window.get_mut(index) else { return Ok(()) };
        item.tries += 1;
        self.buffer.clear();
        self.buffer.shrink_to(KEEP);
        for &i in &item.asked {
            if let Some(entry) = item.loaded.batch.get(i) {
                self.policy.ask(
                    item.round,
                    self.redis.key_prefix().as_bytes(),
                    &entry,
                    &self.replace,
                    &mut self.buffer,
                );
            }
        }
        self.connected.connection.send_packed_command(&self.buffer).map_err(|error| translate(&error))
    }

    fn settle_or_recover(&mut self) -> Result<(), Error> {
        match self.settle_oldest() {
            Ok(()) => Ok(()),
            Err(trouble) => self.recover(trouble),
        }
    }

    /// Reads the replies to the oldest batch in flight and acts on them.
    fn settle_oldest(&mut self) -> Result<(), Trouble> {
        let Some(mut item) = self.window.pop_front() else { return Ok(()) };
        let (mut again, mut closer) = (Vec::new(), Vec::new());
        let mut stop = None;
        for (done, &index) in item.asked.iter().enumerate() {
            let answer = match self.connected.connection.recv_response() {
                Ok(Value::ServerError(error)) => Err(judge(error.code(), error.details().unwrap_or_default())),
                Ok(answer) => Ok(answer),
                Err(error) => match error.code() {
                    Some(code) => Err(judge(code, error.detail().unwrap_or_default())),
                    None => {
                        // The reply to this entry and to all after it is unknown: they are asked about again.
                        again.extend_from_slice(&item.asked[done..]);
                        item.asked = again;
                        self.follow_up(item, closer);
                        return Err(translate(&error));
                    }
                },
            };
            match answer {
                Ok(answer) => match self.policy.judge(item.round, &answer) {
                    Verdict::LookCloser => closer.push(index),
                    Verdict::Nonsense => {
                        again.push(index);
                        stop = stop.or(Some(nonsense()));
                    }
                    verdict => self.count(&item, index, verdict),
                },
                Err(Trouble::Wait(error)) => {
                    again.push(index);
                    stop = stop.or(Some(Trouble::Wait(error)));
                }
                Err(Trouble::Reconnect(error)) => {
                    again.push(index);
                    stop = Some(Trouble::Reconnect(error));
                }
                Err(Trouble::Stop(error)) => stop = Some(Trouble::Stop(error)),
            }
        }
        if stop.is_none() {
            self.waiting = None;
        }
        item.asked = again;
        self.follow_up(item, closer);
        stop.map_or(Ok(()), Err)
    }

    /// Keeps what of a batch is still to be asked; a batch of which nothing is left goes back to the pool.
    ///
    /// What had no answer, or none that counts, goes back to the window's front: [`Thread::recover`] sends it again, in the old order, so that the
    /// last of several values of one key stays the last.
    fn follow_up(&mut self, item: InFlight, closer: Vec<usize>) {
        let InFlight { loaded, asked, round, tries } = item;
        if self.failed {
            return;
        }
        if !asked.is_empty() {
            // Those that need a closer look are asked the first question again too.
            let mut asked: Vec<usize> = asked.into_iter().chain(closer).collect();
            asked.sort_unstable();
            self.window.push_front(InFlight { loaded, asked, round, tries });
        } else if !closer.is_empty() {
            self.window.push_back(InFlight { loaded, asked: closer, round: Round::Second, tries: 0 });
            // A failure shows again when the replies are read.
            let _ = self.put_on_wire(self.window.len() - 1);
        } else {
            let mut batch = loaded.batch;
            batch.clear(KEEP);
            self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
        }
    }

    fn count(&self, item: &InFlight, index: usize, verdict: Verdict) {
        let Some(entry) = item.loaded.batch.get(index) else { return };
        let mut written = self.tally.lock();
        match verdict {
            Verdict::Written => {
                written.stats.written += 1;
                written.stats.bytes += (entry.key.len() + entry.payload.len()) as u64;
                if written.sample.len() < SAMPLES {
                    let key = format!("{}{}", self.redis.key_prefix(), String::from_utf8_lossy(entry.key));
                    written.sample.push(Sample { key, bytes: entry.payload.len(), ttl: entry.ttl });
                }
            }
            Verdict::Left(why) => written.stats.leave(why),
            Verdict::LookCloser | Verdict::Nonsense => {}
        }
    }

    /// Does what the trouble asks for, then sends everything again that has no reply.
    fn recover(&mut self, trouble: Trouble) -> Result<(), Error> {
        let mut trouble = trouble;
        loop {
            let error = match trouble {
                Trouble::Stop(error) => {
                    self.count_what_is_left();
                    return Err(error);
                }
                Trouble::Wait(error) => {
                    let since = *self.waiting.get_or_insert_with(Instant::now);
                    if since.elapsed() > self.redis.connect_timeout() {
                        return Err(error);
                    }
                    std::thread::sleep(PATIENCE);
                    self.window.iter_mut().for_each(|item| item.tries = 0);
                    error
                }
                Trouble::Reconnect(error) => error,
            };
            if self.window.iter().any(|item| item.tries >= TRIES) {
                return Err(error);
            }
            match self.start_again() {
                Ok(()) => return Ok(()),
                Err(next) => trouble = next,
            }
        }
    }

    /// After a failure: reads the replies that are still coming, so that the counts say what was written.
    fn count_what_is_left(&mut self) {
        self.failed = true;
        while !self.window.is_empty() {
            // A failure of the connection repeats itself for each batch, which then counts as not written.
            let _ = self.settle_oldest();
        }
    }

    /// A new connection, and everything in the window on it.
    fn start_again(&mut self) -> Result<(), Trouble> {
        let connected = self.redis.connect().map_err(Trouble::Stop)?;
        if connected.run_id != self.connected.run_id {
            return Err(Trouble::Stop(Error::new(
                ErrorKind::RedisRestarted,
                "Redis was restarted in the middle of the run",
            )));
        }
        self.connected = connected;
        self.replace = load_script(&mut self.connected, self.policy)?;
        (0..self.window.len()).try_for_each(|index| self.put_on_wire(index))
    }
}

fn load_script(connected: &mut Connected, policy: Policy) -> Result<Vec<u8>, Trouble> {
    if policy != Policy::Refresh {
        return Ok(Vec::new());
    }
    let load = redis::cmd("SCRIPT").arg("LOAD").arg(REPLACE).query::<String>(&mut connected.connection);
    load.map(String::into_bytes).map_err(|error| translate(&error))
}

fn nonsense() -> Trouble {
    Trouble::Reconnect(Error::new(ErrorKind::RedisReply, "Redis gave an answer that its protocol does not allow here"))
}
