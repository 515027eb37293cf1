//! Which keys are being read through just now, and which round of each key counts.
//!
//! A reading that has begun to fill its key may have read what is old by now; one that has not yet will read what is new. So whoever forgets a key waits for the former only.
//!
//! What is kept of a key belongs to the round in which its reading began. To forget a key is to begin its next round: what was kept is found no more, and what a reading that is under way
//! brings home is kept for nobody. So no moment is left in which something old could slip in.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;
use tokio::time::sleep_until;
use xxhash_rust::xxh3::xxh3_64;

/// How many rounds are counted: keys that share one are forgotten together, which costs a further look at Redis.
const ROUNDS: usize = 4096;

/// What is under way.
#[derive(Debug)]
pub(super) struct UnderWay {
    rounds: Vec<AtomicU64>,
    reads: Mutex<Reads>,
}

#[derive(Debug, Default)]
struct Reads {
    last: u64,
    all: HashMap<u64, Reading>,
}

#[derive(Debug)]
struct Reading {
    key: Arc<[u8]>,
    /// Whether it has begun to fill the key.
    fills: bool,
    /// Fails when it is over.
    is_over: watch::Receiver<()>,
}

/// A reading that is under way, as long as this lives.
#[derive(Debug)]
pub(super) struct UnderWayNow {
    of: Arc<UnderWay>,
    id: u64,
    /// Whoever waits for its end notices that this is gone.
    _over: watch::Sender<()>,
}

impl UnderWay {
    pub(super) fn new() -> Arc<Self> {
        let rounds = (0..ROUNDS).map(|_| AtomicU64::new(0)).collect();
        Arc::new(UnderWay { rounds, reads: Mutex::default() })
    }

    /// Which round of the key this is.
    pub(super) fn round(&self, key: &[u8]) -> u64 {
        self.counter(key).map_or(0, |round| round.load(Ordering::SeqCst))
    }

    /// Begins the next round of the key.
    pub(super) fn advance(&self, key: &[u8]) {
        if let Some(round) = self.counter(key) {
            round.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A reading of the key begins: only now may it be asked for the key's round, so that whoever forgets the key either finds the reading here or is before it.
    pub(super) fn begin(self: &Arc<Self>, key: &Arc<[u8]>) -> Arc<UnderWayNow> {
        let (over, is_over) = watch::channel(());
        let mut reads = self.reads();
        reads.last += 1;
        let id = reads.last;
        reads.all.insert(id, Reading { key: Arc::clone(key), fills: false, is_over });
        Arc::new(UnderWayNow { of: Arc::clone(self), id, _over: over })
    }

    /// The keys that are being read, of those that are meant.
    pub(super) fn of(&self, is_meant: impl Fn(&[u8]) -> bool) -> Vec<Arc<[u8]>> {
        self.reads().all.values().map(|read| &read.key).filter(|key| is_meant(key)).cloned().collect()
    }

    /// The fills of such keys. Each receiver fails when its fill is over.
    pub(super) fn fills_of(&self, is_meant: impl Fn(&[u8]) -> bool) -> Vec<watch::Receiver<()>> {
        let reads = self.reads();
        let fills = reads.all.values().filter(|read| read.fills && is_meant(&read.key));
        fills.map(|read| read.is_over.clone()).collect()
    }

    fn counter(&self, key: &[u8]) -> Option<&AtomicU64> {
        // Far below the number of rounds.
        self.rounds.get((xxh3_64(key) % ROUNDS as u64) as usize)
    }

    fn reads(&self) -> MutexGuard<'_, Reads> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWayNow {
    /// From now on it fills its key: nothing may have been read for that yet.
    pub(super) fn fills(&self) {
        self.of.reads().all.entry(self.id).and_modify(|read| read.fills = true);
    }

    /// It counts as under way until then at the least: something may still come of it.
    pub(super) fn linger(self: &Arc<Self>, until: Instant) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            sleep_until(until.into()).await;
            drop(this);
        });
    }
}

impl Drop for UnderWayNow {
    fn drop(&mut self) {
        self.of.reads().all.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reading_is_found_until_it_is_over_and_a_round_is_the_keys_own() {
        let under_way = UnderWay::new();
        let (a, b) = (Arc::from(&b"a"[..]), Arc::from(&b"b"[..]));
        let (first, second) = (under_way.begin(&a), under_way.begin(&a));
        let _other = under_way.begin(&b);
        assert_eq!(under_way.of(|key| key == b"a").len(), 2);
        assert!(under_way.fills_of(|_| true).is_empty(), "they have not begun");
        first.fills();
        let mut found = under_way.fills_of(|key| key == b"a");
        assert_eq!(found.len(), 1);
        drop(first);
        assert_eq!(under_way.of(|key| key == b"a").len(), 1);
        found[0].changed().await.expect_err("it is over");
        drop(second);
        under_way.advance(&a);
        assert_eq!((under_way.round(&a), under_way.round(&b)), (1, 0));
    }
}
