//! When a connection is tried for again, and what is said of it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::ground::error::{Error, ErrorKind};

/// How long nobody connects again after a connection was lost: the first time, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// A connection that lived for so long was a good one.
const GOOD: Duration = Duration::from_secs(60);

/// How the last tries ended.
#[derive(Debug)]
pub(super) struct Tries {
    /// Why there is no connection, as it was told.
    told: Option<ErrorKind>,
    pause: Duration,
    since: Instant,
}

impl Tries {
    pub(super) fn new() -> Self {
        Tries { told: None, pause: PAUSES.0, since: Instant::now() }
    }

    /// There is a connection.
    pub(super) fn connected(&mut self) {
        (self.told, self.since) = (None, Instant::now());
    }

    /// It was lost.
    pub(super) fn lost(&mut self, error: &Error) {
        if self.since.elapsed() > GOOD {
            self.pause = PAUSES.0;
        }
        self.told = Some(error.kind);
    }

    /// There is none; whether that is to be told.
    pub(super) fn is_news(&mut self, error: &Error) -> bool {
        self.told.replace(error.kind) != Some(error.kind)
    }

    /// Waits until it is time for the next try.
    pub(super) async fn wait(&mut self) {
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
    }
}
