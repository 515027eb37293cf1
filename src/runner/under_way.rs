//! Which keys are being read through just now, and which round of each key counts.
//!
//! What is kept of a key belongs to the round in which its reading began. To forget a key is to begin its next round: what was kept is found no more, and what a reading that is under way
//! brings home is kept for nobody. So no moment is left in which something old could slip in.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
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
    all: HashMap<u64, (Arc<[u8]>, watch::Receiver<()>)>,
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
    pub(super) fn begin(self: &Arc<Self>, key: &Arc<[u8]>) -> UnderWayNow {
        let (over, is_over) = watch::channel(());
        let mut reads = self.reads();
        reads.last += 1;
        let id = reads.last;
        reads.all.insert(id, (Arc::clone(key), is_over));
        UnderWayNow { of: Arc::clone(self), id, _over: over }
    }

    /// The readings of such keys. Each receiver fails when its reading is over.
    pub(super) fn of(&self, is_meant: impl Fn(&[u8]) -> bool) -> Vec<(Arc<[u8]>, watch::Receiver<()>)> {
        self.reads().all.values().filter(|(key, _)| is_meant(key)).cloned().collect()
    }

    fn counter(&self, key: &[u8]) -> Option<&AtomicU64> {
        // Far below the number of rounds.
        self.rounds.get((xxh3_64(key) % ROUNDS as u64) as usize)
    }

    fn reads(&self) -> MutexGuard<'_, Reads> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut found = under_way.of(|key| key == b"a");
        assert_eq!(found.len(), 2);
        drop(first);
        assert_eq!(under_way.of(|key| key == b"a").len(), 1);
        drop(second);
        for (_, over) in &mut found {
            over.changed().await.expect_err("it is over");
        }
        under_way.advance(&a);
        assert_eq!((under_way.round(&a), under_way.round(&b)), (1, 0));
    }
}
