//! `warm serve`: the scheduler, in the foreground.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::interval;

use super::now::observer;
use super::setup::{InUse, setup};
use super::{Failure, load, runtime, signals};
use crate::cache::WATCH_INTERVAL;
use crate::cli::Common;
use crate::config::{Loaded, Stamp};
use crate::ground::event::{Event, Observer};
use crate::ground::exit;
use crate::ground::watch::Seen;
use crate::runner::Runner;
use crate::service::{Daemon, Inputs, Setup, Stop};

/// How often the files are looked at. What has changed is read when it has not changed any more since the last look: it may have been half written.
const LOOK: Duration = Duration::from_secs(2);

/// Runs jobs as they come due, until a signal says that it is enough: 0 if what ran could finish, else 128 and the signal's number.
pub fn run(common: &Common) -> Result<u8, Failure> {
    let loaded = load(common)?;
    warn(&loaded);
    let observer = observer();
    runtime()?.block_on(async {
        // The first signal lets runs finish, the second stops them.
        let (stopped, caught) = signals::catch(Stop::No, &[Stop::Drain, Stop::Cancel]);
        let (in_use, first) = setup(loaded, None, Arc::clone(&observer)).await?;
        let (setups, more) = mpsc::channel(1);
        let (seen, cache) = mpsc::channel(8);
        let reloading = tokio::spawn(reload(common.clone(), in_use, observer, (setups, seen)));
        let all_done = Daemon::new(first).serve(Inputs { stop: stopped, setups: more, cache }).await;
        reloading.abort();
        Ok(caught.exit_code().filter(|_| !all_done).unwrap_or(exit::OK))
    })
}

fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        // Nobody can be told that nobody can be told.
        let _ = writeln!(std::io::stderr(), "{}", warning.render(std::io::stderr().is_terminal()));
    }
}

/// Watches Redis, and reads the configuration again when the files have changed, or SIGHUP comes. Only a good one is handed on.
async fn reload(
    common: Common,
    mut in_use: InUse,
    observer: Arc<dyn Observer>,
    (setups, seen): (mpsc::Sender<Setup>, mpsc::Sender<Seen>),
) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    let mut looks = interval(LOOK);
    let mut used = Stamp::of(&in_use.loaded.places);
    let mut last = used.clone();
    let mut watching = Watching::start(&in_use.runner, &seen);
    loop {
        tokio::select! {
            _ = looks.tick() => {
                let now = Stamp::of(&in_use.loaded.places);
                let settled = std::mem::replace(&mut last, now.clone()) == now;
                if !settled || now == used {
                    continue;
                }
            }
            Some(()) = hangup.recv() => {}
        }
        used = Stamp::of(&in_use.loaded.places);
        match again(&common, &in_use, &observer).await {
            Ok((now_in_use, setup)) => {
                if !now_in_use.loaded.settings.has_same_servers(&in_use.loaded.settings) {
                    watching = Watching::start(&now_in_use.runner, &seen);
                }
                in_use = now_in_use;
                if setups.send(setup).await.is_err() {
                    return drop(watching);
                }
            }
            Err(failure) => observer.on(&Event::NotReloaded { reason: &failure.render(false) }),
        }
    }
}

async fn again(common: &Common, in_use: &InUse, observer: &Arc<dyn Observer>) -> Result<(InUse, Setup), Failure> {
    let loaded = load(common)?;
    warn(&loaded);
    setup(loaded, Some(in_use), Arc::clone(observer)).await
}

/// Hands on what is noticed about Redis, until it is dropped.
struct Watching(JoinHandle<()>);

impl Watching {
    fn start(runner: &Arc<Runner>, seen: &mpsc::Sender<Seen>) -> Self {
        Watching(tokio::spawn(watch(Arc::clone(runner), seen.clone())))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn watch(runner: Arc<Runner>, seen: mpsc::Sender<Seen>) {
    let mut watch = match runner.redis.watch(WATCH_INTERVAL, Arc::clone(&runner.clock)) {
        Ok(watch) => watch,
        Err(error) => return runner.observer.on(&Event::Cache { seen: &Seen::Blind { reason: error.to_string() } }),
    };
    while let Some(what) = watch.next().await {
        if seen.send(what).await.is_err() {
            return;
        }
    }
}
