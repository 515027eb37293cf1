//! The places for connections, which those who say nothing cannot keep.
//!
//! Whoever connects and asks nothing costs nobody an answer: when all places are taken, the one of them who is there longest makes room.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// The most connections at once.
const CONNECTIONS: usize = 16;
/// How long a connection keeps its place in any case: what was sent together with it has to be read first.
const ARRIVAL: Duration = Duration::from_millis(10);

/// Whether a connection has sent a complete request.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked(Arc<AtomicBool>);

impl Asked {
    /// It has.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The connections that there are.
#[derive(Default)]
pub(super) struct Places {
    connections: JoinSet<()>,
    /// Those that had sent no complete request when it was looked last, oldest first.
    silent: VecDeque<Silent>,
}

struct Silent {
    since: Instant,
    asked: Asked,
    connection: AbortHandle,
}

impl Places {
    /// Waits until there is a place, for which one who says nothing has to go if need be.
    pub(super) async fn make_room(&mut self) {
        loop {
            while self.connections.try_join_next().is_some() {}
            self.silent.retain(|one| !one.asked.is_set() && !one.connection.is_finished());
            if self.connections.len() < CONNECTIONS {
                return;
            }
            let oldest = self.silent.front().map(|one| one.since + ARRIVAL);
            tokio::select! {
                Some(_) = self.connections.join_next() => {}
                () = sleep_until(oldest.unwrap_or_else(Instant::now)), if oldest.is_some() => {
                    // It may have asked meanwhile.
                    if let Some(one) = self.silent.pop_front_if(|one| !one.asked.is_set()) {
                        one.connection.abort();
                        self.connections.join_next().await;
                    }
                }
            }
        }
    }

    /// Gives a place to a connection.
    pub(super) fn take(&mut self, asked: Asked, connection: impl Future<Output = ()> + Send + 'static) {
        let connection = self.connections.spawn(connection);
        self.silent.push_back(Silent { since: Instant::now(), asked, connection });
    }

    /// Waits until all connections have ended.
    pub(super) async fn end(&mut self) {
        while self.connections.join_next().await.is_some() {}
    }
}
