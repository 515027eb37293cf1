//! What a run has written and not made sure of, so that it can be taken back.
//!
//! A run over many keys leaves such values to die. Of a fill somebody waits for the one key, and for what is promised about it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::ground::entry::{Entry, Mark};

/// By how much Redis' clock and ours may disagree.
const MARGIN: Duration = Duration::from_millis(500);

/// Values that are there provisionally.
#[derive(Debug, Clone, Default)]
pub(super) struct Traces {
    /// Key without the installation's prefix → when its value dies, on Redis' clock, and the bytes of both.
    there: HashMap<Vec<u8>, (u64, u64)>,
    /// When the last of the values dies that were sent.
    end: Option<Instant>,
    /// Whether an answer never came, so that a value may be there, or come, of which nothing is known.
    lost: bool,
}

impl Traces {
    pub(super) fn is_empty(&self) -> bool {
        self.there.is_empty()
    }

    /// Notes that values were sent that live until then at the longest.
    pub(super) fn sent(&mut self, end: Instant) {
        self.end = self.end.max(Some(end));
    }

    /// Notes that an answer never came.
    pub(super) fn lose(&mut self) {
        self.lost = true;
    }

    pub(super) fn written(&mut self, entry: &Entry<'_>, mark: Mark) {
        if let Mark::Provisional(dies) = mark {
            self.there.insert(entry.key.to_vec(), (dies, (entry.key.len() + entry.payload.len()) as u64));
        }
    }

    /// The value is sure, or is there no more.
    pub(super) fn settled(&mut self, entry: &Entry<'_>) {
        self.there.remove(entry.key);
    }

    /// Takes what is there: keys, with the moment at which their values die, and how many bytes they are.
    pub(super) fn take(&mut self) -> (Vec<(Vec<u8>, u64)>, u64) {
        let there = std::mem::take(&mut self.there);
        let bytes = there.values().map(|(_, bytes)| bytes).sum();
        (there.into_iter().map(|(key, (dies, _))| (key, dies)).collect(), bytes)
    }

    /// Until when something may be there of which nothing is known, if it may.
    pub(super) fn lost_until(&self) -> Option<Instant> {
        self.end.filter(|_| self.lost).map(|end| end + MARGIN)
    }
}
