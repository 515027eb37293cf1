//! What of `[redis]` says how much of its time is left to others: a rate that the operator chooses, and when Redis counts as busy.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::diagnostic::Collector;
use super::raw;
use super::settings::{bounded, duration, size};
use super::sources::Sources;
use crate::ground::settings::Restraint;

/// Less than a batch or so in a second, and what is written dies before it is verified.
const KEYS: RangeInclusive<u64> = 100..=10_000_000;
/// The same in bytes.
const BYTES: RangeInclusive<usize> = 64 << 10..=16 << 30;
/// From a round trip to what nobody would call an answer.
const LATENCY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(10));
/// What a healthy Redis never takes for a batch: that is a third of a millisecond, and on a busy machine a process may wait for 5 to 10 ms until it is its turn. An
/// application that has to wait so long notices it.
const LATENCY_LIMIT: Duration = Duration::from_millis(25);

/// The settings. One that is wrong is reported and stands at its default.
pub(super) fn resolve(raw: &raw::Redis, sources: &Sources, collector: &mut Collector) -> Restraint {
    let no_limit = "without this setting there is no limit";
    let keys = raw.keys_per_second.as_ref().and_then(|keys| {
        let keys = bounded("redis.keys_per_second", keys, KEYS, sources);
        collector.take(keys.map_err(|error| error.help(no_limit)))
    });
    let bytes = raw.bytes_per_second.as_ref().and_then(|bytes| {
        let bytes = size("redis.bytes_per_second", bytes, BYTES, "between 64KiB and 16GiB", sources);
        collector.take(bytes.map_err(|error| error.help(no_limit)))
    });
    let latency_limit = match &raw.latency_limit {
        None => Some(LATENCY_LIMIT),
        Some(given) if given.get_ref().0 == "none" => None,
        Some(given) => {
            let limit = duration("redis.latency_limit", given, LATENCY, sources);
            collector.take(limit.map_err(|error| error.help("\"none\" lets writing go on however slow Redis is")))
        }
    };
    Restraint { keys_per_second: keys, bytes_per_second: bytes.map(|bytes| bytes as u64), latency_limit }
}
