//! A batch on its way to Redis and back.

use std::time::Instant;

use super::error::Trouble;
use super::memory::KEY_OVERHEAD;
use super::scripts::Scripts;
use super::strategy::{Asking, Round};
use super::writer::Loaded;
use crate::ground::entry::{Entry, Mark};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::kind::Kind;

/// A batch on its way: which of its entries were asked about, and in which round.
pub(super) struct InFlight {
    pub(super) loaded: Loaded,
    pub(super) asked: Vec<usize>,
    pub(super) round: Round,
    /// Whether no round has been answered yet.
    pub(super) is_first: bool,
    pub(super) tries: u32,
    /// When it was sent, on Redis' clock.
    pub(super) sent: u64,
    /// The same on ours, and the bytes of its commands.
    pub(super) sent_at: Instant,
    pub(super) wire: usize,
    /// What made the lives of its values unlike those of any others.
    pub(super) spread: f64,
    /// Whether memory was tight then.
    pub(super) tight: bool,
    /// Whether the memory guard's question went out before it.
    pub(super) asked_for_memory: bool,
}

impl InFlight {
    /// A batch that nothing has been asked about yet; of its entries, those that are done with are not asked about.
    pub(super) fn new(loaded: Loaded, round: Round) -> Self {
        let asked = loaded.batch.iter().enumerate().filter(|(_, entry)| entry.mark != Mark::Done);
        let asked = asked.map(|(index, _)| index).collect();
        InFlight {
            loaded,
            asked,
            round,
            is_first: true,
            tries: 0,
            sent: 0,
            sent_at: Instant::now(),
            wire: 0,
            spread: 0.0,
            tight: false,
            asked_for_memory: false,
        }
    }

    /// Whether it gives values that were written before their full lifetime.
    pub(super) fn confirms(&self) -> bool {
        let first = self.asked.first().and_then(|index| self.loaded.batch.get(*index));
        matches!(first.map(|entry| entry.mark), Some(Mark::Provisional(_) | Mark::Equal(_)))
    }

    /// How it is asked, and at the time `now` judged.
    pub(super) fn asking<'a>(&self, prefix: &'a [u8], scripts: &'a Scripts, now: u64) -> Asking<'a> {
        Asking {
            round: self.round,
            prefix,
            scripts,
            now: self.sent,
            answered: now,
            provisional: self.loaded.batch.provisional,
            spread: self.spread,
            keys_only: self.loaded.batch.keys_only,
            again: self.tries > 1,
            tight: self.tight,
        }
    }

    /// What it may add to the memory in use, in bytes.
    pub(super) fn growth(&self, kind: Kind) -> usize {
        let entries = self.asked.iter().filter_map(|index| self.loaded.batch.get(*index));
        let written = entries.filter(|entry| matches!(entry.mark, Mark::New | Mark::Different(_) | Mark::Outdated(_)));
        let of = |entry: Entry<'_>| entry.key.len() + entry.payload.len() + KEY_OVERHEAD + kind.overhead(entry.payload);
        written.map(of).sum()
    }
}

/// What of a batch is still open after its replies.
#[derive(Default)]
pub(super) struct Open {
    /// To be asked about again.
    pub(super) again: Vec<usize>,
    /// To be looked at in the second round.
    pub(super) closer: Vec<usize>,
    /// Why the pipeline cannot simply go on.
    pub(super) stop: Option<Trouble>,
    /// New entries, and those of them whose keys were absent.
    pub(super) new: usize,
    pub(super) absent: usize,
}

impl Open {
    /// Notes an answer that makes no sense.
    pub(super) fn nonsense(&mut self, index: usize) {
        let message = "Redis gave an answer that its protocol does not allow here";
        let trouble = Trouble::Reconnect(Error::new(ErrorKind::RedisReply, message));
        self.stop.get_or_insert(trouble);
        self.again.push(index);
    }

    /// Notes a command that the server refused.
    pub(super) fn trouble(&mut self, command: &[usize], trouble: Trouble) {
        match trouble {
            Trouble::Stop(_) => {}
            Trouble::Wait(_) | Trouble::Reconnect(_) => self.again.extend_from_slice(command),
        }
        if !matches!(trouble, Trouble::Wait(_)) || self.stop.is_none() {
            self.stop = Some(trouble);
        }
    }
}
