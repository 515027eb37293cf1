//! Comparing: what is at a key, beside what should be.
//!
//! What differs is no drift yet: the row may have changed since it was read, and the key with it. So the rows are read again, as they are to verify what was
//! written, and what still differs in the same way then, though the row is the same, is reported.
//!
//! A value that is compressed or encrypted may differ in its bytes and hold the same, since it was sealed with an older key or by another version: it is opened before it is judged.

use redis::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::tally::Tally;
use crate::ground::drift::{Found, holds_the_same};
use crate::ground::entry::{Entry, Mark};

/// Looks at a key. ARGV: the value that should be there. -2: it is absent; another number: it is there, and dies in so many milliseconds, or never (-1);
/// an array of the type, if that is another one; or of how long it lives, and of the other value.
pub(super) const COMPARE: &str = "local t = redis.call('TYPE', KEYS[1])['ok'] \
    if t == 'none' then return -2 end \
    if t ~= 'string' then return {t} end \
    local left, v = redis.call('PTTL', KEYS[1]), redis.call('GET', KEYS[1]) \
    if v == ARGV[1] then return left end \
    return {left, v}";

/// Acts on the answer about one entry: counts it, or notes how it differs, so that the next look can tell whether it still does. `None` for an answer that makes no
/// sense.
pub(super) fn settle(tally: &Tally, prefix: &str, entry: &Entry<'_>, answer: &Value) -> Option<Mark> {
    let found = found(answer)?;
    let digest = match &found {
        Found::Same(left) => {
            tally.same(prefix, entry, *left);
            return Some(Mark::Done);
        }
        Found::Other(left, value) if tally.opens().is_some_and(|opens| holds_the_same(&*opens, entry, value)) => {
            tally.same_when_opened(prefix, entry, *left);
            return Some(Mark::Done);
        }
        Found::Absent => 0,
        // A mark has 60 bits.
        Found::OtherType(name) => xxh3_64(name.as_bytes()) >> 4,
        Found::Other(_, value) => xxh3_64(value) >> 4,
    };
    match entry.mark {
        Mark::Different(before) if before == digest => tally.differs(prefix, entry, &found),
        Mark::Different(_) => tally.overtaken(entry),
        _ => return Some(Mark::Different(digest)),
    }
    Some(Mark::Done)
}

fn found(answer: &Value) -> Option<Found> {
    let left = |value: &Value| match value {
        Value::Int(left) => Some(u64::try_from(*left).ok()),
        _ => None,
    };
    match answer {
        Value::Int(-2) => Some(Found::Absent),
        Value::Int(_) => Some(Found::Same(left(answer)?)),
        Value::Array(parts) => match &parts[..] {
            [Value::BulkString(name)] => Some(Found::OtherType(String::from_utf8_lossy(name).into_owned())),
            [time, Value::BulkString(value)] => Some(Found::Other(left(time)?, value.clone())),
            _ => None,
        },
        _ => None,
    }
}
