//! `[targets]`: what the operator wants of the cache.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;

use super::diagnostic::Collector;
use super::settings::{duration, must_be};
use super::sources::Sources;
use super::{raw, units};
use crate::ground::targets::Targets;

/// Of all, in percent.
const SHARES: RangeInclusive<f64> = 1.0..=100.0;
/// From what a server on the same machine takes to what nobody would wait for.
const TIMES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(3600));

/// The targets. One that is wrong is reported and counts as none.
pub(super) fn resolve(raw: &raw::Targets, sources: &Sources, collector: &mut Collector) -> Targets {
    let mut share = |name: &str, given: Option<&Spanned<raw::Share>>| {
        let given = given?;
        let share = units::percent(&given.get_ref().0, SHARES);
        collector.take(share.map_err(|expected| must_be(&format!("targets.{name}"), &expected, given.span(), sources)))
    };
    let (hit_ratio, memory) = (share("hit_ratio", raw.hit_ratio.as_ref()), share("memory", raw.memory.as_ref()));
    let mut time = |name: &str, given: Option<&Spanned<raw::Length>>| {
        collector.take(duration(&format!("targets.{name}"), given?, TIMES, sources))
    };
    let (cache_answer, query) = (time("cache_answer", raw.cache_answer.as_ref()), time("query", raw.query.as_ref()));
    Targets { hit_ratio, cache_answer, query, memory }
}
