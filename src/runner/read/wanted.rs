//! Whether somebody still waits for a reading.
//!
//! A reading that nobody waits for is dropped as long as it has not begun to fill its key: it must not stand in the way of others. A fill that has begun goes on to its end, whoever leaves.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::task::{AbortHandle, JoinError, JoinHandle};

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const GONE: u8 = 2;

/// What became of a reading: exactly one of both sides decides.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted(Arc<AtomicU8>);

impl Wanted {
    /// From now on it goes on to its end. Not if nobody waits any more.
    pub(super) fn begin(&self) -> bool {
        self.0.compare_exchange(WAITING, BEGUN, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    fn leave(&self) -> bool {
        self.0.compare_exchange(WAITING, GONE, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

/// Runs a reading as a task of its own for as long as this is waited for.
pub(super) async fn wait_for<T: Send + 'static>(
    wanted: &Wanted,
    reading: impl Future<Output = T> + Send + 'static,
) -> Result<T, JoinError> {
    let task: JoinHandle<T> = tokio::spawn(reading);
    let _waiting = Waiting { wanted: wanted.clone(), task: task.abort_handle() };
    task.await
}

/// Somebody waits as long as this lives.
struct Waiting {
    wanted: Wanted,
    task: AbortHandle,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.wanted.leave() {
            self.task.abort();
        }
    }
}
