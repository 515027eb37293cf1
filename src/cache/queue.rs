//! What the writer's thread has been given and has not sent yet.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::writer::Loaded;
use crate::ground::entry::Mark;

/// Batches in the order in which they go.
pub(super) struct Queue {
    receiver: mpsc::UnboundedReceiver<Loaded>,
    /// Taken out of the receiver to look at them.
    waiting: VecDeque<Loaded>,
}

impl Queue {
    pub(super) fn new(receiver: mpsc::UnboundedReceiver<Loaded>) -> Self {
        Queue { receiver, waiting: VecDeque::new() }
    }

    /// Waits until there is one; `false` when nobody gives any more.
    pub(super) fn wait(&mut self) -> bool {
        if self.waiting.is_empty() {
            self.waiting.extend(self.receiver.blocking_recv());
        }
        !self.waiting.is_empty()
    }

    /// The next one, if there is one now.
    ///
    /// While the writer is `slow`, what was written before goes first: its provisional life is short, and what dies before it is confirmed has to be written
    /// again. That changes no order that matters: as long as one entry of a key is to be confirmed, no other of that key is on its way.
    pub(super) fn next(&mut self, slow: bool) -> Option<Loaded> {
        if slow {
            while let Ok(loaded) = self.receiver.try_recv() {
                self.waiting.push_back(loaded);
            }
            let urgent =
                self.waiting.iter().position(|loaded| loaded.batch.iter().all(|entry| entry.mark != Mark::New));
            if let Some(loaded) = urgent.and_then(|urgent| self.waiting.remove(urgent)) {
                return Some(loaded);
            }
        }
        self.waiting.pop_front().or_else(|| self.receiver.try_recv().ok())
    }
}
