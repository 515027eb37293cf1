//! What is asked of Redis for entries, and what its answers mean.
//!
//! How far an entry has come decides ([`Mark`]). A new one needs at most two rounds: the first is the cheap one that settles a cold cache,
//! `SET … NX`. Only a key that is there already gets a second round, which looks at it before touching it; where most keys are there, it is the only one
//! ([`Policy::first_round`]). A dry run is a strategy of its own that asks but never writes.

use std::time::Duration;

use redis::Value;

use super::resp;
use super::scripts::Scripts;
use crate::ground::entry::{Batch, Entry, Mark};
use crate::ground::kind::Kind;
use crate::ground::run::Left;

/// What a run may do to the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Write every key that is absent, or holds a value of the job's type with a TTL.
    Refresh {
        /// Whether values are provisional until they have been verified.
        verified: bool,
    },
    /// Write absent keys only.
    Missing {
        /// Whether values are provisional until they have been verified.
        verified: bool,
    },
    /// Write nothing; say what [`Policy::Refresh`] would do.
    LookAtAll,
    /// Write nothing; say what [`Policy::Missing`] would do.
    LookAtMissing,
    /// Write nothing; find out whether the same is there. What is not is looked at again when it has been read again.
    Compare,
}

/// The first or the second command about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    First,
    Second,
}

/// What an answer means for its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Written; what is left to do is in the mark.
    Written(Mark),
    /// Nothing was written yet; the mark says what was seen.
    Seen(Mark),
    /// A value that was written before has its full lifetime now.
    Confirmed,
    /// The same value lives on.
    Renewed,
    /// A value that was written before is removed.
    Withdrawn,
    /// A value that was there before died too early; it can be written again.
    Expired,
    /// Too late: the value that was written before has died, or the one to be written would be dead by now. It cannot be written again.
    Missed,
    /// The key is no longer as it was seen: somebody else wrote or deleted it, or it was evicted.
    Overtaken,
    Left(Left),
    /// The second round decides.
    LookCloser,
    /// The answer makes no sense.
    Nonsense,
}

/// What a command is made of beside its entries.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) round: Round,
    /// The installation's prefix.
    pub(super) prefix: &'a [u8],
    pub(super) scripts: &'a Scripts,
    /// When the command is sent: milliseconds since 1970 on Redis' clock.
    pub(super) now: u64,
    /// When its answer is judged.
    pub(super) answered: u64,
    /// The longest life of values until they are verified.
    pub(super) provisional: Duration,
    /// By which part of an eighth that life is shorter. The moment of death tells our value from all others, so that no two writers should choose the same, nor the
    /// same one twice.
    pub(super) spread: f64,
    /// Whether there is nothing to write: what is gone cannot be written again.
    pub(super) keys_only: bool,
    /// Whether the same was asked before and the answer was lost, so that what is seen may be our own work.
    pub(super) again: bool,
    /// Whether memory is tight: no key is added, and a value takes the place of another only if it is of about the same size.
    pub(super) tight: bool,
}

/// Whether the answer about a new entry says that nothing was there.
pub(super) fn was_absent(answer: &Value) -> bool {
    matches!(answer, Value::Okay | Value::Int(6))
}

/// How many of the entries at the head of `asked` one command is about: those that get their full lifetime on the same condition go together.
pub(super) fn together(batch: &Batch, asked: &[usize]) -> usize {
    let terms = |index: &usize| match batch.get(*index) {
        Some(Entry { mark: Mark::Provisional(dies) | Mark::Equal(dies), ttl, .. }) => Some((dies, ttl)),
        _ => None,
    };
    match asked.first().and_then(terms) {
        Some(first) => asked.iter().take_while(|index| terms(index) == Some(first)).count(),
        None => asked.len().min(1),
    }
}

impl Policy {
    /// Whether nothing is written.
    pub fn only_looks(self) -> bool {
        matches!(self, Policy::LookAtAll | Policy::LookAtMissing)
    }

    /// Whether nothing is written, and values are looked at all the same.
    pub fn compares(self) -> bool {
        self == Policy::Compare
    }

    /// Whether anything is written.
    pub fn writes(self) -> bool {
        !self.only_looks() && !self.compares()
    }

    /// Whether only absent keys are written.
    pub fn only_missing(self) -> bool {
        matches!(self, Policy::Missing { .. } | Policy::LookAtMissing)
    }

    /// Whether what was found or written has to be verified.
    pub fn verified(self) -> bool {
        matches!(self, Policy::Refresh { verified: true } | Policy::Missing { verified: true } | Policy::Compare)
    }

    /// The round to begin with, where most keys are absent or not.
    pub(super) fn first_round(self, mostly_there: bool) -> Round {
        match self {
            Policy::Refresh { .. } if mostly_there => Round::Second,
            _ => Round::First,
        }
    }

    /// Appends the command that is about these entries, which go [`together`].
    pub(super) fn ask(self, asking: &Asking<'_>, batch: &Batch, indexes: &[usize], out: &mut Vec<u8>) {
        let Asking { round, prefix, scripts, tight, .. } = *asking;
        let Some(entry) = indexes.first().and_then(|index| batch.get(*index)) else { return };
        let script = |out: &mut Vec<u8>, hash: &[u8], arguments: usize| {
            resp::command(out, 3 + indexes.len() + arguments);
            resp::part(out, b"EVALSHA");
            resp::part(out, hash);
            resp::number(out, indexes.len() as u64);
            for entry in indexes.iter().filter_map(|index| batch.get(*index)) {
                resp::part_of_two(out, prefix, entry.key);
            }
        };
        // The payload, when it dies, and that there is no room to spare.
        let value = |out: &mut Vec<u8>| {
            resp::part(out, entry.payload);
            resp::number(out, self.dies(asking, entry.ttl));
            if tight {
                resp::part(out, b"tight");
            }
        };
        let swap = |out: &mut Vec<u8>, what: &[u8], meant: &[u8]| {
            script(out, &scripts.swap, 4 + usize::from(tight));
            resp::part(out, what);
            resp::part(out, meant);
            value(out);
        };
        match (entry.mark, round) {
            _ if self.compares() => {
                script(out, &scripts.compare, 1);
                resp::part(out, entry.payload);
            }
            _ if self.only_looks() || (tight && entry.mark == Mark::New && self.only_missing()) => {
                resp::command(out, 2);
                resp::part(out, if round == Round::Second && self.only_looks() { b"PTTL" } else { b"TYPE" });
                resp::part_of_two(out, prefix, entry.key);
            }
            (Mark::Provisional(dies) | Mark::Equal(dies), _) => {
                let compared: &[usize] = if scripts.kind == Kind::String { &[] } else { indexes };
                script(out, &scripts.confirm, 2 + compared.len());
                resp::number(out, dies);
                // What lives longer already keeps its life.
                resp::number(out, dies.max(asking.now + millis(entry.ttl)));
                compared.iter().filter_map(|index| batch.get(*index)).for_each(|entry| resp::part(out, entry.payload));
            }
            (Mark::Different(digest), _) => swap(out, b"digest", format!("{digest:015x}").as_bytes()),
            (Mark::Outdated(dies), _) => swap(out, b"dies", dies.to_string().as_bytes()),
            (Mark::Withdrawn(dies), _) => {
                script(out, &scripts.withdraw, 1);
                resp::number(out, dies);
            }
            (Mark::New | Mark::Done, Round::First) if !tight && scripts.kind != Kind::String => {
                script(out, &scripts.add, 2);
                value(out);
            }
            (Mark::New | Mark::Done, Round::First) if !tight => {
                let moment = (self.verified(), self.dies(asking, entry.ttl));
                resp::set_if_absent(out, (prefix, entry.key), entry.payload, moment);
            }
            (Mark::New | Mark::Done, _) => {
                script(out, if self.verified() { &scripts.look } else { &scripts.replace }, 2 + usize::from(tight));
                value(out);
            }
        }
    }

    /// When a value that is written now shall die; of one that needs no verification, how long it shall live.
    fn dies(self, asking: &Asking<'_>, ttl: Duration) -> u64 {
        if !self.verified() {
            return millis(ttl);
        }
        let longest = asking.provisional.min(ttl / 2);
        asking.now + millis(longest - (longest / 8).mul_f64(asking.spread))
    }

    /// What the answer to [`Policy::ask`] means for the entry, the one at `position` of those that went together.
    pub(super) fn judge(self, asking: &Asking<'_>, entry: &Entry<'_>, position: usize, answer: &Value) -> Verdict {
        match (entry.mark, answer) {
            _ if self.only_looks() => self.judge_look(asking, answer),
            (Mark::Provisional(_) | Mark::Equal(_), Value::Array(others)) => {
                let number = i64::try_from(position + 1).unwrap_or(i64::MAX);
                let refused = others.contains(&Value::Int(number));
                match entry.mark {
                    Mark::Provisional(dies) | Mark::Equal(dies)
                        if refused && dies <= asking.answered && !asking.keys_only =>
                    {
                        Verdict::Expired
                    }
                    // Asked twice, it may be the first answer's work.
                    Mark::Provisional(dies) if refused && !asking.again && dies <= asking.answered => Verdict::Missed,
                    _ if refused && !asking.again => Verdict::Overtaken,
                    Mark::Equal(_) => Verdict::Renewed,
                    _ => Verdict::Confirmed,
                }
            }
            (Mark::Withdrawn(_), Value::Int(1)) => Verdict::Withdrawn,
            (Mark::Different(_) | Mark::Outdated(_), Value::Int(1)) => self.written(asking, entry),
            // What is there now may be ours: it is looked at again.
            (Mark::Different(_) | Mark::Outdated(_), Value::Int(0)) if asking.again => Verdict::Seen(Mark::New),
            (Mark::Outdated(dies), Value::Int(0)) if dies <= asking.answered => Verdict::Expired,
            (Mark::Withdrawn(dies), Value::Int(0)) if dies <= asking.answered => Verdict::Missed,
            (Mark::Different(_) | Mark::Outdated(_) | Mark::Withdrawn(_), Value::Int(0)) => Verdict::Overtaken,
            (Mark::Different(_) | Mark::Outdated(_), Value::Int(5)) => Verdict::Missed,
            (Mark::Different(_) | Mark::Outdated(_), Value::Int(4)) => Verdict::Left(Left::NoRoom),
            (Mark::New, answer) => self.judge_new(asking, entry, answer),
            _ => Verdict::Nonsense,
        }
    }

    fn judge_look(self, asking: &Asking<'_>, answer: &Value) -> Verdict {
        match (asking.round, answer, self) {
            (Round::First, Value::SimpleString(ty), _) if ty == "none" => Verdict::Written(Mark::Done),
            (Round::First, Value::SimpleString(_), Policy::LookAtMissing) => Verdict::Left(Left::Present),
            (Round::First, Value::SimpleString(ty), _) if ty == asking.scripts.kind.name() => Verdict::LookCloser,
            (Round::First, Value::SimpleString(_), _) => Verdict::Left(Left::OtherType),
            (Round::Second, Value::Int(-1), Policy::LookAtAll) => Verdict::Left(Left::NoTtl),
            (Round::Second, Value::Int(_), Policy::LookAtAll) => Verdict::Written(Mark::Done),
            _ => Verdict::Nonsense,
        }
    }

    fn judge_new(self, asking: &Asking<'_>, entry: &Entry<'_>, answer: &Value) -> Verdict {
        let missing = self.only_missing();
        match (asking.round, answer) {
            (_, Value::SimpleString(ty)) if asking.tight && missing => {
                Verdict::Left(if ty == "none" { Left::NoRoom } else { Left::Present })
            }
            (Round::First, Value::Okay) => self.written(asking, entry),
            (Round::First, Value::Nil) if missing && !(self.verified() && asking.again) => Verdict::Left(Left::Present),
            (Round::First, Value::Nil) => Verdict::LookCloser,
            (_, Value::Int(1 | 6)) => self.written(asking, entry),
            (_, Value::Int(2)) => Verdict::Left(Left::OtherType),
            (_, Value::Int(3)) => Verdict::Left(Left::NoTtl),
            (_, Value::Int(4)) => Verdict::Left(Left::NoRoom),
            (_, Value::Int(dies)) => match u64::try_from(*dies) {
                Ok(dies) if self.verified() => Verdict::Seen(Mark::Equal(dies)),
                _ => Verdict::Nonsense,
            },
            (_, Value::BulkString(_)) if missing => Verdict::Left(Left::Present),
            (_, Value::BulkString(digest)) => {
                let digest = std::str::from_utf8(digest).ok().and_then(|digest| u64::from_str_radix(digest, 16).ok());
                digest.map_or(Verdict::Nonsense, |digest| Verdict::Seen(Mark::Different(digest)))
            }
            _ => Verdict::Nonsense,
        }
    }

    fn written(self, asking: &Asking<'_>, entry: &Entry<'_>) -> Verdict {
        match self.verified() {
            true => Verdict::Written(Mark::Provisional(self.dies(asking, entry.ttl))),
            false => Verdict::Written(Mark::Done),
        }
    }
}

fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}
