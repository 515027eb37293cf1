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
use crate::ground::kind::{Kind, put_part};

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
pub(super) fn settle(tally: &Tally, prefix: &str, kind: Kind, entry: &Entry<'_>, answer: &Value) -> Option<Mark> {
    let found = found(kind, answer)?;
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
        Mark::Different(before) if before == digest => tally.differs(prefix, kind, entry, &found),
        Mark::Different(_) => tally.overtaken(entry),
        _ => {
            tally.looked_at(entry);
            return Some(Mark::Different(digest));
        }
    }
    Some(Mark::Done)
}

fn found(kind: Kind, answer: &Value) -> Option<Found> {
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
            [time, Value::Array(parts)] => Some(Found::Other(left(time)?, put_together(kind, parts)?)),
            _ => None,
        },
        _ => None,
    }
}

/// What is at a key that is no string, as one value. What has no order of its own gets one, so that it is the same at each look.
fn put_together(kind: Kind, parts: &[Value]) -> Option<Vec<u8>> {
    let bytes = |part: &Value| match part {
        Value::BulkString(bytes) => Some(bytes.clone()),
        _ => None,
    };
    let parts: Vec<Vec<u8>> = parts.iter().map(bytes).collect::<Option<_>>()?;
    if kind == Kind::Json {
        return parts.into_iter().next();
    }
    let mut all: Vec<Vec<Vec<u8>>> = parts.chunks(kind.parts_of_one()).map(<[_]>::to_vec).collect();
    if matches!(kind, Kind::Hash | Kind::Set) {
        all.sort_unstable();
    }
    let reversed = kind == Kind::SortedSet;
    let mut value = Vec::new();
    for mut one in all {
        // Redis gives an element before its score, and takes it behind.
        if reversed {
            one.reverse();
        }
        one.iter().for_each(|part| put_part(&mut value, part));
    }
    Some(value)
}
