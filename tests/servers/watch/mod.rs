//! The watch over Redis: what it notices, how soon, that it notices it once, and what it takes for no loss.

mod losses;
mod marker;
mod outages;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use warm::cache;
use warm::ground::clock::SystemClock;
use warm::ground::settings::{RedisSettings, Restraint};
use warm::ground::watch::{CacheHealth, Loss, Seen};

use crate::support::redis::Redis;
use crate::support::server::{PATIENCE, wait_for};
use crate::support::world::ask;

const MARKER: &str = "warm:marker";
const EMPTIED: Seen = Seen::Lost(Loss::Emptied);
const RESTARTED: Seen = Seen::Lost(Loss::Restarted);
/// The interval of a watch that is not to take a test's time.
const OFTEN: Duration = Duration::from_millis(50);
/// A second to the next look, and some for a busy machine.
const SOON: Duration = Duration::from_secs(3);
/// Two seconds between two tries.
const RATHER_SOON: Duration = Duration::from_secs(5);

/// How to reach a server, with little patience for one that does not answer.
pub(crate) fn settings(url: &str, prefix: &str) -> RedisSettings {
    RedisSettings {
        url: url.into(),
        origin: String::new(),
        database: None,
        key_prefix: prefix.to_owned(),
        ca_file: None,
        connect_timeout: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        memory_limit: 0.8,
        restraint: Restraint::default(),
    }
}

/// A watch and what it says.
struct Watch {
    runtime: Runtime,
    watch: cache::Watch,
}

impl Watch {
    /// A watch that has begun, whatever it says about that, and looks often.
    fn begin(url: &str) -> Watch {
        Watch::every(OFTEN, url)
    }

    fn every(interval: Duration, url: &str) -> Watch {
        Watch::with(interval, &settings(url, ""))
    }

    fn with(interval: Duration, settings: &RedisSettings) -> Watch {
        let redis = cache::Redis::new(settings).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Watch { runtime, watch: redis.watch(interval, Arc::new(SystemClock)).unwrap() }
    }

    /// A watch over a server that has been watched before.
    fn over(url: &str) -> Watch {
        Watch::begin(url).settled()
    }

    /// The same, when the beginning has been said, and the marker is there.
    fn settled(mut self) -> Watch {
        self.says(&[Seen::Up]);
        self.looks();
        while let Some(seen) = self.watch.next().now_or_never() {
            assert_eq!(seen, Some(Seen::Cold));
        }
        self
    }

    fn next(&mut self) -> Seen {
        let next = self.runtime.block_on(async { timeout(PATIENCE, self.watch.next()).await });
        next.expect("something is noticed").expect("the watch has not ended")
    }

    /// Fails unless this comes next, other reasons of an outage left out.
    #[track_caller]
    fn says(&mut self, seen: &[Seen]) {
        let mut next = || std::iter::repeat_with(|| self.next()).find(|seen| !matches!(seen, Seen::Down { .. }));
        let said: Vec<Seen> = seen.iter().filter_map(|_| next()).collect();
        assert_eq!(said, seen);
    }

    /// Fails unless it finds the server down next; gives the reason.
    #[track_caller]
    fn says_down(&mut self) -> String {
        match self.next() {
            Seen::Down { reason, .. } => reason,
            other => panic!("{other:?} instead of Down"),
        }
    }

    /// Fails if anything comes until the server has been looked at some more times.
    #[track_caller]
    fn says_no_more(&mut self) {
        self.looks();
        assert_eq!(self.watch.next().now_or_never(), None);
    }

    /// Waits for looks enough for one that has begun by now, and one after it.
    fn looks(&self) {
        for _ in 0..3 {
            let before = self.health().looked;
            wait_for("a look", || (self.health().looked != before).then_some(()));
        }
    }

    fn health(&self) -> CacheHealth {
        self.watch.health().borrow().clone()
    }
}

fn marker(redis: &Redis) -> Option<String> {
    ask(&mut redis.connect(), &["GET", MARKER])
}

fn tell(redis: &Redis, words: &[&str]) {
    let _: redis::Value = ask(&mut redis.connect(), words);
}

#[track_caller]
fn within(limit: Duration, start: Instant) {
    assert!(start.elapsed() < limit, "{:?}", start.elapsed());
}
