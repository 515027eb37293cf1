//! What is asked of Redis for one entry, and what its answer means.
//!
//! A strategy needs at most two rounds. The first is the cheap one that settles a cold cache: `SET … NX`. Only a key that is there already gets a second
//! round, which looks at it before touching it. A dry run is a strategy of its own that asks but never writes.

use std::time::Duration;

use redis::Value;

use super::resp;
use crate::ground::entry::Entry;
use crate::ground::run::Left;

/// What a run may do to the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Write every key that is absent, or holds a string with a TTL.
    Refresh,
    /// Write absent keys only.
    Missing,
    /// Write nothing; say what [`Policy::Refresh`] would do.
    LookAtAll,
    /// Write nothing; say what [`Policy::Missing`] would do.
    LookAtMissing,
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
    Written,
    Left(Left),
    /// The second round decides.
    LookCloser,
    /// The answer makes no sense.
    Nonsense,
}

/// Replaces a string with a TTL, or writes an absent key, in one step: between a look and a write of our own, the application
/// could give the key another type or a life without end.
///
/// Touches one key, so that it may run on a Cluster. 1: written, 2: another type, 3: no TTL.
pub(super) const REPLACE: &str = "local t = redis.call('TYPE', KEYS[1])['ok'] \
    if t ~= 'none' and t ~= 'string' then return 2 end \
    if t == 'string' and redis.call('PTTL', KEYS[1]) == -1 then return 3 end \
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) \
    return 1";

impl Policy {
    /// Whether nothing is written.
    pub fn only_looks(self) -> bool {
        matches!(self, Policy::LookAtAll | Policy::LookAtMissing)
    }

    /// Appends the command that `round` needs for `entry`. `replace` is the hash of [`REPLACE`] on this server.
    pub(super) fn ask(self, round: Round, prefix: &[u8], entry: &Entry<'_>, replace: &[u8], out: &mut Vec<u8>) {
        match (self, round) {
            (Policy::Refresh | Policy::Missing, Round::First) => {
                resp::command(out, 6);
                resp::part(out, b"SET");
                resp::part_of_two(out, prefix, entry.key);
                resp::part(out, entry.payload);
                resp::part(out, b"NX");
                resp::part(out, b"PX");
                resp::number(out, millis(entry.ttl));
            }
            (Policy::Refresh | Policy::Missing, Round::Second) => {
                resp::command(out, 6);
                resp::part(out, b"EVALSHA");
                resp::part(out, replace);
                resp::part(out, b"1");
                resp::part_of_two(out, prefix, entry.key);
                resp::part(out, entry.payload);
                resp::number(out, millis(entry.ttl));
            }
            (Policy::LookAtAll | Policy::LookAtMissing, round) => {
                resp::command(out, 2);
                resp::part(out, if round == Round::First { b"TYPE" } else { b"PTTL" });
                resp::part_of_two(out, prefix, entry.key);
            }
        }
    }

    /// What the answer to [`Policy::ask`] means.
    pub(super) fn judge(self, round: Round, answer: &Value) -> Verdict {
        match (self, round, answer) {
            (Policy::Refresh | Policy::Missing, Round::First, Value::Okay) => Verdict::Written,
            (Policy::Refresh, Round::First, Value::Nil) => Verdict::LookCloser,
            (Policy::Missing, Round::First, Value::Nil) => Verdict::Left(Left::Present),
            (Policy::Refresh, Round::Second, Value::Int(1)) => Verdict::Written,
            (Policy::Refresh, Round::Second, Value::Int(2)) => Verdict::Left(Left::OtherType),
            (Policy::Refresh, Round::Second, Value::Int(3)) => Verdict::Left(Left::NoTtl),
            (Policy::LookAtAll | Policy::LookAtMissing, Round::First, Value::SimpleString(ty)) => {
                match (ty.as_str(), self) {
                    ("none", _) => Verdict::Written,
                    (_, Policy::LookAtMissing) => Verdict::Left(Left::Present),
                    ("string", _) => Verdict::LookCloser,
                    _ => Verdict::Left(Left::OtherType),
                }
            }
            (Policy::LookAtAll, Round::Second, Value::Int(-1)) => Verdict::Left(Left::NoTtl),
            (Policy::LookAtAll, Round::Second, Value::Int(_)) => Verdict::Written,
            _ => Verdict::Nonsense,
        }
    }
}

fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}
