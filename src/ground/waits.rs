//! How long somebody has waited, when several may wait at once.

use std::time::{Duration, Instant};

/// Those who wait now. A moment counts once, however many wait in it: the time is held against that of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Waits {
    waiting: usize,
    /// Since when anybody does.
    since: Option<Instant>,
}

impl Waits {
    /// One more waits from now on. Whether nobody else does.
    pub fn begin(&mut self, now: Instant) -> bool {
        self.waiting += 1;
        self.since.get_or_insert(now);
        self.waiting == 1
    }

    /// One of them waits no longer. How long there was somebody who waited, if that was the last of them.
    pub fn end(&mut self, now: Instant) -> Option<Duration> {
        self.waiting = self.waiting.saturating_sub(1);
        if self.waiting > 0 {
            return None;
        }
        self.since.take().map(|since| now.saturating_duration_since(since))
    }

    /// Whether anybody waits.
    pub fn is_any(&self) -> bool {
        self.waiting > 0
    }
}
