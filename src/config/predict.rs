//! `predict` and `predict_top`: that each run also fills what is missed most, and how many keys; `[learn]`: how much is remembered for that.

use std::time::Duration;

use super::diagnostic::Collector;
use super::fields::Reader;
use super::raw;
use super::settings::{bounded, duration};
use super::sources::Sources;
use crate::ground::demand::Memory;
use crate::ground::job::Job;

/// How many keys if nothing is said, and bounds.
const USUAL: usize = 50;
const BOUNDS: (usize, usize) = (1, 1000);

/// Bounds of `[learn]`: of less nothing is learned, and what is more than a month old tells nothing.
const KEYS: (usize, usize) = (10, 1_000_000);
const HALF_LIFE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30 * 86_400));

/// `[learn]`: how much is remembered of what is missed.
pub(super) fn memory(raw: &raw::Learn, sources: &Sources, collector: &mut Collector) -> Memory {
    let usual = Memory::default();
    let keys = raw.keys.as_ref().map(|keys| bounded("learn.keys", keys, KEYS.0..=KEYS.1, sources));
    let half_life = raw.half_life.as_ref().map(|length| duration("learn.half_life", length, HALF_LIFE, sources));
    Memory {
        keys: keys.and_then(|keys| collector.take(keys)).unwrap_or(usual.keys),
        half_life: half_life.and_then(|half_life| collector.take(half_life)).unwrap_or(usual.half_life),
    }
}

impl Reader<'_> {
    /// How many keys each run fills beside its own, if it does.
    pub(super) fn predict(&self, raw: &raw::Job, collector: &mut Collector) -> Option<usize> {
        let predict = raw.predict.as_ref().filter(|predict| *predict.get_ref());
        let top = raw.predict_top.as_ref().map(|top| bounded("predict_top", top, BOUNDS.0..=BOUNDS.1, self.sources));
        let top = top.map(|top| collector.take(top).unwrap_or(USUAL));
        if let Some(given) = raw.predict_top.as_ref().filter(|_| predict.is_none()) {
            let message = "`predict_top` says how many keys `predict` fills, and the job does not say predict = true";
            collector.push(self.sources.error(given.span(), message).help("say predict = true, or remove this line"));
        }
        predict.map(|_| top.unwrap_or(USUAL))
    }

    /// Refuses to predict keys that cannot be filled one by one.
    pub(super) fn predicts_what_can_be_filled(&self, raw: &raw::Job, job: &Job, collector: &mut Collector) {
        let Some(predict) = raw.predict.as_ref().filter(|_| job.predict.is_some()) else { return };
        if let Some(why) = job.lacks_fill_query() {
            let message = format!("`predict` fills single keys, and {why}");
            collector.push(self.sources.error(predict.span(), message));
        } else if job.key.names().is_empty() {
            let message = format!("`predict` chooses among keys, and the job has one: `{}`", job.key);
            collector.push(self.sources.error(predict.span(), message).help("remove this line"));
        }
    }
}
