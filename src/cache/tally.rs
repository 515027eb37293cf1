//! What a run has written so far.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_64;

use super::traces::Traces;
use crate::ground::drift::{Drift, Found};
use crate::ground::entry::{Entry, Mark};
use crate::ground::kind::Kind;
use crate::ground::run::{Left, SAMPLES, Sample, Stats};
use crate::ground::sample::{Reservoir, Sampled};
use crate::ground::sealing::Opens;
use crate::ground::waits::Waits;

/// What has been written so far, shared between the run and its writer.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<Mutex<Written>>);

#[derive(Debug, Default)]
struct Written {
    stats: Stats,
    sample: Vec<Sample>,
    /// Keys that there are now, for whoever asks later whether they still are.
    keys: Reservoir,
    /// Fingerprints of keys that may have to be taken back → whether this run wrote them.
    watched: HashMap<u64, bool>,
    /// Those who wait for their turn.
    waits: Waits,
    drift: Drift,
    /// How values that are compared are opened, where they are sealed.
    opens: Option<Arc<dyn Opens>>,
    /// What is to be taken back unless it is made sure of, where that is wanted.
    traces: Option<Traces>,
}

impl Written {
    fn add(&mut self, prefix: &str, entry: &Entry<'_>) {
        if !self.watched.is_empty()
            && let Some(watched) = self.watched.get_mut(&xxh3_64(entry.key))
        {
            *watched = true;
        }
        self.keys.offer(entry.key);
        self.stats.written += 1;
        self.stats.bytes += (entry.key.len() + entry.payload.len()) as u64;
        if self.sample.len() < SAMPLES {
            let key = format!("{prefix}{}", String::from_utf8_lossy(entry.key));
            self.sample.push(Sample { key, bytes: entry.payload.len(), ttl: entry.ttl });
        }
    }

    /// One of those that were written provisionally is no longer in doubt.
    fn settle(&mut self) {
        self.stats.unconfirmed = self.stats.unconfirmed.saturating_sub(1);
    }

    /// The entry's value is sure, or is there no more.
    fn leaves_no_trace(&mut self, entry: &Entry<'_>) {
        self.traces.iter_mut().for_each(|traces| traces.settled(entry));
    }
}

impl Tally {
    /// The counts so far.
    pub fn stats(&self) -> Stats {
        self.lock().stats.clone()
    }

    /// A few of the keys written so far.
    pub fn sample(&self) -> Vec<Sample> {
        self.lock().sample.clone()
    }

    /// A few of the keys that were written or found in place.
    pub fn sampled(&self) -> Sampled {
        self.lock().keys.sample()
    }

    /// Notes a key that is in place, and that nothing is written to.
    pub fn in_place(&self, key: &[u8]) {
        self.lock().keys.offer(key);
    }

    /// Forgets everything but how long the run was held back: that is of all attempts together.
    pub fn reset(&self) {
        let mut written = self.lock();
        let Stats { waited, gave_way, .. } = written.stats;
        let stats = Stats { waited, gave_way, ..Stats::default() };
        let (opens, traces) = (written.opens.take(), written.traces.take());
        *written = Written { stats, waits: written.waits, opens, traces, ..Written::default() };
    }

    /// Remembers from now on whether the key with this fingerprint is written.
    pub fn watch(&self, key: u64) {
        self.lock().watched.insert(key, false);
    }

    /// Forgets the key, and says whether it was written since it is watched.
    pub fn unwatch(&self, key: u64) -> bool {
        self.lock().watched.remove(&key).unwrap_or(false)
    }

    /// Notes from now on what is there provisionally: [`Tally::take_traces`] gives it.
    pub fn trace(&self) {
        self.lock().traces = Some(Traces::default());
    }

    /// Whether something is there provisionally that is to be taken back.
    pub fn has_traces(&self) -> bool {
        self.lock().traces.as_ref().is_some_and(|traces| !traces.is_empty())
    }

    /// Takes what is there provisionally, each key with the moment at which its value dies. It counts as not written.
    pub fn take_traces(&self) -> Vec<(Vec<u8>, u64)> {
        let mut written = self.lock();
        let (there, bytes) = written.traces.as_mut().map(Traces::take).unwrap_or_default();
        let (stats, count) = (&mut written.stats, there.len() as u64);
        stats.unconfirmed = stats.unconfirmed.saturating_sub(count);
        stats.written = stats.written.saturating_sub(count);
        stats.bytes = stats.bytes.saturating_sub(bytes);
        if stats.written == 0 {
            written.sample.clear();
        }
        there
    }

    /// Notes that values are sent that live until then at the longest.
    pub(super) fn sends(&self, end: Instant) {
        self.lock().traces.iter_mut().for_each(|traces| traces.sent(end));
    }

    /// Notes that an answer never came, so that nobody knows what is there.
    pub fn loses_sight(&self) {
        self.lock().traces.iter_mut().for_each(Traces::lose);
    }

    /// Until when something may be there that nobody knows of, if it may.
    pub fn lost_until(&self) -> Option<Instant> {
        self.lock().traces.as_ref().and_then(Traces::lost_until)
    }

    /// Counts an entry that was written, provisionally or for good, as the mark says. `prefix` is the installation's.
    pub(super) fn written(&self, prefix: &str, entry: &Entry<'_>, mark: Mark) {
        let mut written = self.lock();
        written.traces.iter_mut().for_each(|traces| traces.written(entry, mark));
        if matches!(entry.mark, Mark::Outdated(_)) {
            written.stats.repaired += 1;
            return;
        }
        written.stats.unconfirmed += u64::from(mark != Mark::Done);
        written.add(prefix, entry);
    }

    /// Counts an entry whose value was found to be right and has its full lifetime now.
    pub(super) fn confirmed(&self, entry: &Entry<'_>) {
        let mut written = self.lock();
        written.settle();
        written.leaves_no_trace(entry);
    }

    /// Counts an entry that held the same value already and lives on.
    pub(super) fn renewed(&self, prefix: &str, entry: &Entry<'_>) {
        let mut written = self.lock();
        written.stats.renewed += 1;
        written.add(prefix, entry);
    }

    /// Counts an entry whose value was written, found to be wrong, and removed.
    pub(super) fn withdrawn(&self, entry: &Entry<'_>) {
        let mut written = self.lock();
        written.settle();
        written.leaves_no_trace(entry);
        written.stats.withdrawn += 1;
    }

    /// Takes the count of an entry back whose value died before it could be confirmed: it is written again. One that others had written was not counted.
    pub(super) fn expired(&self, entry: &Entry<'_>) {
        let mut written = self.lock();
        if !matches!(entry.mark, Mark::Provisional(_) | Mark::Outdated(_)) {
            return;
        }
        written.settle();
        written.leaves_no_trace(entry);
        written.stats.written = written.stats.written.saturating_sub(1);
        written.stats.bytes = written.stats.bytes.saturating_sub((entry.key.len() + entry.payload.len()) as u64);
    }

    /// Counts an entry for which it is too late: what we wrote has died or is about to, and is counted as not confirmed; what others wrote is left.
    pub(super) fn missed(&self, entry: &Entry<'_>) {
        self.lock().leaves_no_trace(entry);
        if matches!(entry.mark, Mark::Different(_)) {
            self.left(entry, Left::Unverified);
        }
    }

    /// Counts an entry whose key is no longer as it was seen.
    pub(super) fn overtaken(&self, entry: &Entry<'_>) {
        let mut written = self.lock();
        if matches!(entry.mark, Mark::Provisional(_) | Mark::Outdated(_) | Mark::Withdrawn(_)) {
            written.settle();
        }
        written.leaves_no_trace(entry);
        written.stats.overtaken += 1;
    }

    /// Counts an entry whose key holds what it should; `left` is how long it lives, in milliseconds.
    pub(super) fn same(&self, prefix: &str, entry: &Entry<'_>, left: Option<u64>) {
        self.lock().drift.same(prefix, entry, left);
    }

    /// Notes that the key of an entry was looked at, whatever comes of it.
    pub(super) fn looked_at(&self, entry: &Entry<'_>) {
        self.lock().drift.looked_at(entry.key);
    }

    /// Counts an entry whose key does, though it is sealed in another way.
    pub(super) fn same_when_opened(&self, prefix: &str, entry: &Entry<'_>, left: Option<u64>) {
        self.lock().drift.same_when_opened(prefix, entry, left);
    }

    /// Counts an entry whose key does not.
    pub(super) fn differs(&self, prefix: &str, kind: Kind, entry: &Entry<'_>, found: &Found) {
        let opens = self.opens();
        self.lock().drift.differs(prefix, kind, entry, found, opens.as_deref());
    }

    /// Says how values are opened that are to be compared.
    pub fn open_with(&self, opens: Arc<dyn Opens>) {
        self.lock().opens = Some(opens);
    }

    /// How they are, where they are sealed.
    pub(super) fn opens(&self) -> Option<Arc<dyn Opens>> {
        self.lock().opens.clone()
    }

    /// What a comparison has found.
    pub fn drift(&self) -> Drift {
        self.lock().drift.clone()
    }

    /// Counts an entry that was left alone.
    pub(super) fn left(&self, entry: &Entry<'_>, why: Left) {
        let mut written = self.lock();
        written.stats.leave(why);
        if why == Left::Present {
            written.keys.offer(entry.key);
        }
    }

    /// Adds a pause that was made because Redis was slow.
    pub(super) fn gave_way(&self, pause: Duration) {
        self.lock().stats.gave_way += pause;
    }

    /// Notes that a batch waits from now on for its turn at the rate that the operator allows.
    pub(super) fn waits(&self, now: Instant) {
        self.lock().waits.begin(now);
    }

    /// Notes that one of those waits no longer.
    pub(super) fn waits_no_longer(&self, now: Instant) {
        let mut written = self.lock();
        let waited = written.waits.end(now).unwrap_or_default();
        written.stats.waited += waited;
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_in_which_several_wait_counts_once_and_those_of_all_attempts_do() {
        let (tally, start) = (Tally::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        tally.waits(at(0));
        tally.waits(at(1));
        tally.waits_no_longer(at(3));
        tally.waits(at(3));
        tally.waits_no_longer(at(4));
        tally.waits_no_longer(at(5));
        assert_eq!(tally.stats().waited, Duration::from_secs(5));
        tally.reset();
        tally.waits(at(8));
        tally.waits_no_longer(at(10));
        assert_eq!(tally.stats(), Stats { waited: Duration::from_secs(7), ..Stats::default() });
    }
}
