//! The thread that writes batches into Redis on one blocking connection.
//!
//! It keeps a window of batches in flight: it sends the next batch before the replies to the last one are read, so that neither side
//! waits for the other. Replies come in the order of the commands and are counted; each is matched to its entry.
//!
//! When a connection breaks, everything without a reply is sent again on a new one. That is safe: each command either
//! writes the same bytes again or sees its own earlier effect, as a key that is present. A connection with an unread reply is never used
//! again. A server that came back as another process may have lost what was written before: then the run starts over.
//!
//! When Redis is slow ([`Pace`]), one batch is sent at a time, with pauses between them.

mod recovery;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::Value;
use tokio::sync::{mpsc, oneshot};

use super::compare;
use super::connect::{Connected, Redis};
use super::error::{Trouble, judge, translate};
use super::flight::{InFlight, Open};
use super::memory::{KEY_OVERHEAD, MemoryGuard};
use super::pace::Pace;
use super::queue::Queue;
use super::rate::Cost;
use super::scripts::Scripts;
use super::strategy::{Policy, Round, Verdict, together, was_absent};
use super::tally::Tally;
use super::writer::{Loaded, Spare};
use crate::ground::entry::Mark;
use crate::ground::error::Error;
use crate::ground::kind::Kind;

/// Batches in flight on the connection. With two, Redis always has the next one in its buffer.
const WINDOW: usize = 4;
/// Of them, those that confirm. They are small, so that Redis reads many at once, and it answers nobody else before it has done what it has read:
/// with four, the application's slowest reads take twice as long. With two, it still has the next one in its buffer.
const CONFIRMATIONS: usize = 2;
/// How often somebody who pauses looks whether anybody still waits for what he does.
const GLANCE: Duration = Duration::from_millis(50);
/// What had to wait until it was written will have to wait until it is verified, and must live so many times longer.
const DELAY: u32 = 3;
/// What the buffer of requests keeps of its memory.
const KEEP: usize = 256 << 10;

/// The thread's state.
pub(super) struct Pipeline {
    redis: Redis,
    policy: Policy,
    connected: Connected,
    scripts: Scripts,
    window: VecDeque<InFlight>,
    buffer: Vec<u8>,
    guard: MemoryGuard,
    pace: Pace,
    /// Who wants to know that Redis is slow, until it has been told.
    slow: Option<oneshot::Sender<Duration>>,
    tally: Tally,
    spare: Spare,
    /// Whether most keys of the batch that was answered last were there.
    mostly_there: bool,
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
        (policy, kind): (Policy, Kind),
        tally: Tally,
        spare: Spare,
        halted: Arc<AtomicBool>,
        slow: oneshot::Sender<Duration>,
    ) -> Result<Self, Error> {
        let (connected, scripts) = recovery::connect(&redis, policy, kind)?;
        let pace = Pace::new(redis.latency_limit(), connected.round_trip);
        let guard = if policy.writes() { redis.guard(&connected) } else { MemoryGuard::off() };
        Ok(Pipeline {
            redis,
            policy,
            connected,
            scripts,
            window: VecDeque::new(),
            buffer: Vec::new(),
            guard,
            pace,
            slow: Some(slow),
            tally,
            spare,
            mostly_there: false,
            waiting: None,
            halted,
            failed: false,
        })
    }

    /// Whether the server says how full it is, as far as that matters to this run.
    pub(super) fn is_guarded(&self) -> bool {
        !self.policy.writes() || self.connected.info.is_some()
    }

    /// Why there is no room for even one key that is not there yet, if there is none.
    pub(super) fn lack_of_room(&mut self) -> Option<Error> {
        self.guard.is_tight_for(KEY_OVERHEAD).then(|| self.guard.refusal(1))
    }

    /// Writes what it is given until nobody gives any more.
    pub(super) fn run(mut self, receiver: mpsc::UnboundedReceiver<Loaded>) -> Result<(), Error> {
        let mut queue = Queue::new(receiver);
        loop {
            if self.halted.load(Ordering::Relaxed) {
                self.count_what_is_left();
                return Ok(());
            }
            let slow = self.pace.is_slow();
            if self.window.is_empty() {
                if !queue.wait() {
                    return self.refusals();
                }
                if slow && !self.hold_back() {
                    continue;
                }
            } else if slow || self.window.len() >= WINDOW {
                self.settle_or_recover()?;
                continue;
            }
            match queue.next(slow) {
                Some(loaded) => {
                    self.end_first_rounds()?;
                    let batch = InFlight::new(loaded, self.policy.first_round(self.mostly_there));
                    self.end_confirmations(&batch)?;
                    self.make_sure_of_room(batch.growth(self.scripts.kind))?;
                    self.send(batch)?;
                }
                None => self.settle_or_recover()?,
            }
        }
    }

    /// What is written in one round must not come between the two rounds of an earlier batch, in which the same key may be: the last value wins.
    fn end_first_rounds(&mut self) -> Result<(), Error> {
        let is_first = |item: &InFlight| item.round == Round::First;
        while self.policy.first_round(self.mostly_there) == Round::Second && self.window.iter().any(is_first) {
            self.settle_or_recover()?;
        }
        Ok(())
    }

    /// Before another batch of confirmations: waits until there is only one.
    fn end_confirmations(&mut self, next: &InFlight) -> Result<(), Error> {
        let in_flight = |window: &VecDeque<InFlight>| window.iter().filter(|item| item.confirms()).count();
        while next.confirms() && in_flight(&self.window) >= CONFIRMATIONS {
            self.settle_or_recover()?;
        }
        Ok(())
    }

    /// Lets others have Redis for a while. Whether anybody still waits for what is to be written.
    fn hold_back(&self) -> bool {
        let start = Instant::now();
        loop {
            let left = self.pace.pause(Instant::now());
            if left.is_zero() || self.halted.load(Ordering::Relaxed) {
                self.tally.gave_way(start.elapsed());
                return left.is_zero();
            }
            std::thread::sleep(left.min(GLANCE));
        }
    }

    /// Where only what is in flight may leave no room for so many bytes more: waits until nothing is, and asks. The same after a pause.
    fn make_sure_of_room(&mut self, growth: usize) -> Result<(), Error> {
        if growth == 0 {
            return Ok(());
        }
        std::thread::sleep(self.guard.patience());
        while self.guard.doubts(growth) && !self.window.is_empty() {
            self.settle_or_recover()?;
        }
        let is_out_of_date = self.window.is_empty() && self.guard.is_out_of_date();
        if !is_out_of_date && !self.guard.doubts(growth) {
            return Ok(());
        }
        self.buffer.clear();
        self.guard.ask_now(&mut self.buffer);
        let sent = self.connected.connection.send_packed_command(&self.buffer);
        let seen = sent.map_err(|error| translate(&error)).and_then(|()| self.read_memory());
        seen.or_else(|trouble| self.recover(trouble))
    }

    /// Reads the answer to the memory guard's question. An error in its place is said again, to the commands that follow, but for a right that was
    /// taken away: then there is nothing to guard by.
    fn read_memory(&mut self) -> Result<(), Trouble> {
        let info = match self.connected.connection.recv_response() {
            Err(error) if error.code().is_none() => return Err(translate(&error)),
            answer => answer.ok().and_then(|answer| redis::from_redis_value::<String>(answer).ok()),
        };
        self.guard.observe(&info.unwrap_or_default()).map_err(Trouble::Stop)
    }

    /// A run that had no room for some of its keys has failed, though it did everything else.
    fn refusals(&self) -> Result<(), Error> {
        match self.tally.stats().no_room {
            0 => Ok(()),
            keys => Err(self.guard.refusal(keys)),
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
        let now = self.connected.now();
        let Some(item) = self.window.get_mut(index) else { return Ok(()) };
        if item.tries > 0 || !item.is_first {
            // The first time was waited for before it was handed over; this is paid for by whoever comes next.
            let cost = Cost::of(&item.loaded.batch, item.asked.iter().copied(), self.policy.only_looks());
            self.redis.rate().claim(cost, Instant::now());
        } else {
            let batch = &mut item.loaded.batch;
            batch.provisional = batch.provisional.max(DELAY * item.loaded.since.elapsed());
        }
        item.tries += 1;
        (item.sent, item.spread) = (now, fastrand::f64());
        self.buffer.clear();
        self.buffer.shrink_to(KEEP);
        item.asked_for_memory = self.guard.ask(&mut self.buffer);
        let growth = item.growth(self.scripts.kind);
        item.tight = growth > 0 && self.guard.is_tight_for(growth);
        self.guard.sending(growth);
        let asking = item.asking(self.redis.key_prefix().as_bytes(), &self.scripts, now);
        let mut rest = item.asked.as_slice();
        while !rest.is_empty() {
            let (command, others) = rest.split_at(together(&item.loaded.batch, rest));
            self.policy.ask(&asking, &item.loaded.batch, command, &mut self.buffer);
            rest = others;
        }
        (item.sent_at, item.wire) = (Instant::now(), self.buffer.len());
        self.tally.sends(item.sent_at + item.loaded.batch.provisional);
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
        let mut open = Open::default();
        if item.asked_for_memory {
            match self.read_memory() {
                Ok(()) => {}
                Err(Trouble::Stop(error)) => open.stop = Some(Trouble::Stop(error)),
                Err(lost) => {
                    self.window.push_front(item);
                    return Err(lost);
                }
            }
        }
        let asked = std::mem::take(&mut item.asked);
        let mut rest = asked.as_slice();
        while !rest.is_empty() {
            let (command, others) = rest.split_at(together(&item.loaded.batch, rest));
            match self.connected.connection.recv_response() {
                Ok(Value::ServerError(error)) => {
                    open.trouble(command, judge(error.code(), error.details().unwrap_or_default()));
                }
                Ok(answer) => {
                    for (position, &index) in command.iter().enumerate() {
                        self.settle(&mut item, index, position, &answer, &mut open);
                    }
                }
                Err(error) => match error.code() {
                    Some(code) => open.trouble(command, judge(code, error.detail().unwrap_or_default())),
                    None => {
                        // The replies to this command and to all after it are unknown: they are asked about again.
                        open.again.extend_from_slice(rest);
                        open.stop = Some(translate(&error));
                        break;
                    }
                },
            }
            rest = others;
        }
        if open.stop.is_none() {
            self.waiting = None;
            let took = self.pace.answered(item.sent_at, Instant::now(), item.wire);
            if let Some((took, slow)) = took.and_then(|took| Some((took, self.slow.take()?))) {
                // Nobody listens any more if the run was cancelled meanwhile.
                let _ = slow.send(took);
            }
        }
        if item.is_first && open.new > 0 {
            self.mostly_there = open.absent * 2 < open.new;
        }
        item.is_first = false;
        item.asked = open.again;
        self.follow_up(item, open.closer);
        open.stop.map_or(Ok(()), Err)
    }

    /// Acts on the answer to one entry: counts it and takes it one step further, or notes that it has to be asked about again.
    fn settle(&self, item: &mut InFlight, index: usize, position: usize, answer: &Value, open: &mut Open) {
        let Some(entry) = item.loaded.batch.get(index) else { return };
        // Only what was written before may have died.
        let now = if entry.mark == Mark::New { item.sent } else { self.connected.now() };
        if entry.mark == Mark::New {
            open.new += 1;
            open.absent += usize::from(was_absent(answer));
        }
        let asking = item.asking(&[], &self.scripts, now);
        let prefix = self.redis.key_prefix();
        if self.policy.compares() {
            match compare::settle(&self.tally, prefix, self.scripts.kind, &entry, answer) {
                Some(mark) => return item.loaded.batch.mark(index, mark),
                None => return open.nonsense(index),
            }
        }
        let verdict = self.policy.judge(&asking, &entry, position, answer);
        let lost = matches!(verdict, Verdict::Missed | Verdict::Withdrawn);
        let mark = match verdict {
            Verdict::LookCloser => return open.closer.push(index),
            Verdict::Nonsense => return open.nonsense(index),
            Verdict::Written(mark) => {
                self.tally.written(prefix, &entry, mark);
                mark
            }
            Verdict::Seen(mark) => mark,
            Verdict::Expired => {
                self.tally.expired(&entry);
                Mark::New
            }
            Verdict::Confirmed => done(|| self.tally.confirmed(&entry)),
            Verdict::Renewed => done(|| self.tally.renewed(prefix, &entry)),
            Verdict::Withdrawn => done(|| self.tally.withdrawn(&entry)),
            Verdict::Missed => done(|| self.tally.missed(&entry)),
            Verdict::Overtaken => done(|| self.tally.overtaken(&entry)),
            Verdict::Left(why) => done(|| self.tally.left(&entry, why)),
        };
        item.loaded.batch.lost |= lost;
        item.loaded.batch.mark(index, mark);
    }

    /// Keeps what of a batch is still to be asked; a batch of which nothing is left goes back to the pool.
    ///
    /// What had no answer, or none that counts, goes back to the window's front: [`Pipeline::recover`] sends it again, in the old order, so that the
    /// last of several values of one key stays the last.
    fn follow_up(&mut self, mut item: InFlight, closer: Vec<usize>) {
        if self.failed {
            return;
        }
        if !item.asked.is_empty() {
            // Those that need a closer look are asked the first question again too.
            item.asked.extend(closer);
            item.asked.sort_unstable();
            self.window.push_front(item);
        } else if !closer.is_empty() {
            self.window.push_back(InFlight { asked: closer, round: Round::Second, tries: 0, ..item });
            // A failure shows again when the replies are read.
            let _ = self.put_on_wire(self.window.len() - 1);
        } else {
            let Loaded { batch, back, .. } = item.loaded;
            match back {
                // Nobody waits for it any more if the run was cancelled meanwhile.
                Some(back) => drop(back.send(batch)),
                None => self.spare.give(batch),
            }
        }
    }
}

/// Counts; nothing is left to do then.
fn done(count: impl FnOnce()) -> Mark {
    count();
    Mark::Done
}
