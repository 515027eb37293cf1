//! The thread that writes batches into Redis on one blocking connection.
//!
//! It keeps a window of batches in flight: it sends the next batch before the replies to the last one are read, so that neither side
//! waits for the other. Replies come in the order of the commands and are counted; each is matched to its entry.
//!
//! When a connection breaks, everything without a reply is sent again on a new one. That is safe: each command either
//! writes the same bytes again or sees its own earlier effect, as a key that is present. A connection with an unread reply is never used
//! again. A server that came back as another process may have lost what was written before: then the run starts over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::Value;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use super::connect::{Connected, Redis};
use super::error::{Trouble, judge, translate};
use super::retract::into_error;
use super::strategy::{Policy, REPLACE, Round, Verdict};
use super::tally::Tally;
use super::writer::{Loaded, Spare};
use crate::ground::error::{Error, ErrorKind};

/// Batches in flight on the connection. With two, Redis always has the next one in its buffer.
const WINDOW: usize = 4;
/// How often a server that asks for patience is asked again.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often one batch is sent before a connection that keeps breaking is given up.
const TRIES: u32 = 4;
/// What the buffer of requests keeps of its memory.
const KEEP: usize = 256 << 10;

/// A batch on its way: which of its entries were asked about, and in which round.
struct InFlight {
    loaded: Loaded,
    asked: Vec<usize>,
    round: Round,
    tries: u32,
}

/// The thread's state.
pub(super) struct Pipeline {
    redis: Redis,
    policy: Policy,
    connected: Connected,
    replace: Vec<u8>,
    window: VecDeque<InFlight>,
    buffer: Vec<u8>,
    tally: Tally,
    spare: Spare,
    /// Since when the server has been asking for patience.
    waiting: Option<Instant>,
    /// Set when nobody waits any longer: what was not sent by then is not written.
    halted: Arc<AtomicBool>,
    /// Whether the run has failed: replies are still counted, but nothing is sent any more.
    failed: bool,
}

impl Pipeline {
    /// Connects.
    pub(super) fn new(
        redis: Redis,
        policy: Policy,
        tally: Tally,
        spare: Spare,
        halted: Arc<AtomicBool>,
    ) -> Result<Self, Error> {
        let mut connected = redis.connect()?;
        let replace = load_script(&mut connected, policy).map_err(into_error)?;
        Ok(Pipeline {
            redis,
            policy,
            connected,
            replace,
            window: VecDeque::new(),
            buffer: Vec::new(),
            tally,
            spare,
            waiting: None,
            halted,
            failed: false,
        })
    }

    /// Writes what it is given until nobody gives any more.
    pub(super) fn run(mut self, mut receiver: mpsc::UnboundedReceiver<Loaded>) -> Result<(), Error> {
        loop {
            if self.halted.load(Ordering::Relaxed) {
                self.count_what_is_left();
                return Ok(());
            }
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
    /// What had no answer, or none that counts, goes back to the window's front: [`Pipeline::recover`] sends it again, in the old order, so that the
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
            self.spare.give(loaded.batch);
        }
    }

    fn count(&self, item: &InFlight, index: usize, verdict: Verdict) {
        let Some(entry) = item.loaded.batch.get(index) else { return };
        match verdict {
            Verdict::Written => self.tally.written(self.redis.key_prefix(), &entry),
            Verdict::Left(why) => self.tally.left(why),
            Verdict::LookCloser | Verdict::Nonsense => {}
        }
    }

    /// Does what the trouble asks for, then sends everything again that has no reply.
    fn recover(&mut self, trouble: Trouble) -> Result<(), Error> {
        if let Trouble::Stop(error) = trouble {
            // It came as a reply, so that the connection is good, and others follow.
            self.count_what_is_left();
            return Err(error);
        }
        let mut trouble = trouble;
        loop {
            let error = match trouble {
                Trouble::Stop(error) => return Err(error),
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

    /// After a failure of a command, or when nobody waits any longer: reads the replies that are still coming, so that the counts say what was written.
    fn count_what_is_left(&mut self) {
        self.failed = true;
        while !self.window.is_empty() {
            if let Err(Trouble::Reconnect(_)) = self.settle_oldest() {
                // A connection with an unread reply is never used again.
                return;
            }
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
