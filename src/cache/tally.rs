//! What a run has written so far.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

use crate::ground::entry::Entry;
use crate::ground::run::{Left, Sample, Stats};

/// How many keys a run remembers to show.
const SAMPLES: usize = 5;

/// What has been written so far, shared between the run and its writer.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<Mutex<Written>>);

#[derive(Debug, Default)]
struct Written {
    stats: Stats,
    sample: Vec<Sample>,
    /// Fingerprints of keys that may have to be taken back → whether this run wrote them.
    watched: HashMap<u64, bool>,
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

    /// Forgets everything.
    pub fn reset(&self) {
        *self.lock() = Written::default();
    }

    /// Remembers from now on whether the key with this fingerprint is written.
    pub fn watch(&self, key: u64) {
        self.lock().watched.insert(key, false);
    }

    /// Forgets the key, and says whether it was written since it is watched.
    pub fn unwatch(&self, key: u64) -> bool {
        self.lock().watched.remove(&key).unwrap_or(false)
    }

    /// Counts an entry that was written. `prefix` is the installation's.
    pub(super) fn written(&self, prefix: &str, entry: &Entry<'_>) {
        let mut written = self.lock();
        if !written.watched.is_empty()
            && let Some(watched) = written.watched.get_mut(&xxh3_64(entry.key))
        {
            *watched = true;
        }
        written.stats.written += 1;
        written.stats.bytes += (entry.key.len() + entry.payload.len()) as u64;
        if written.sample.len() < SAMPLES {
            let key = format!("{prefix}{}", String::from_utf8_lossy(entry.key));
            written.sample.push(Sample { key, bytes: entry.payload.len(), ttl: entry.ttl });
        }
    }

    /// Counts an entry that was left alone.
    pub(super) fn left(&self, why: Left) {
        self.lock().stats.leave(why);
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
