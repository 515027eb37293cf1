//! `warm serve`: the scheduler, in the foreground.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::interval;

use super::now::{flush, observer};
use super::setup::setup;
use super::{Failure, load, runtime, signals};
use crate::cache::WATCH_INTERVAL;
use crate::cli::Common;
use crate::config::{Loaded, Stamp};
use crate::ground::event::{Event, Observer};
use crate::ground::exit;
use crate::ground::health::Health;
use crate::ground::watch::Seen;
use crate::observe::{Metrics, Several};
use crate::runner::Runner;
use crate::service::{Daemon, Inputs, Setup, Stop, serve_pages};

/// How often the files are looked at. What has changed is read when it has not changed any more since the last look: it may have been half written.
const LOOK: Duration = Duration::from_secs(2);

/// Runs jobs as they come due, until a signal says that it is enough: 0 if what ran could finish, else 128 and the signal's number.
pub fn run(common: &Common) -> Result<u8, Failure> {
    let loaded = load(common)?;
    warn(&loaded);
    let jobs = loaded.settings.jobs.iter().map(|job| job.name.as_str());
    let metrics = Arc::new(Metrics::new(jobs));
    let observer: Arc<dyn Observer> = Arc::new(Several(vec![observer(), Arc::clone(&metrics) as _]));
    runtime()?.block_on(async {
        // Before anything is done: a place that is taken may mean that another process does it already.
        let listener = listen(&loaded, observer.as_ref()).await?;
        // The first signal lets runs finish, the second stops them.
        let (stopped, caught) = signals::catch(Stop::No, &[Stop::Drain, Stop::Cancel]);
        let first = setup(&loaded, Arc::clone(&observer)).await?;
        let runner = Arc::clone(&first.runner);
        let (setups, more) = mpsc::channel(1);
        let (seen, cache) = mpsc::channel(8);
        let watching = tokio::spawn(watch_redis(Arc::clone(&runner), seen));
        let reloading = tokio::spawn(reload(common.clone(), loaded, observer, setups));
        let daemon = Daemon::new(first);
        let pages = pages(listener, daemon.health(), metrics);
        let pages = tokio::spawn(pages);
        let all_done = daemon.serve(Inputs { stop: stopped, setups: more, cache }).await;
        reloading.abort();
        watching.abort();
        let _ = tokio::join!(pages, runner.source.close(), flush(runner.history.as_ref()));
        Ok(caught.exit_code().filter(|_| !all_done).unwrap_or(exit::OK))
    })
}

/// Takes the place where the service is to tell how it is.
async fn listen(loaded: &Loaded, observer: &dyn Observer) -> Result<Option<TcpListener>, Failure> {
    let Some(address) = loaded.settings.serve.listen else { return Ok(None) };
    let (file, example) = (loaded.settings.file.display(), SocketAddr::new(address.ip(), address.port() ^ 1));
    let listen = async {
        let listener = TcpListener::bind(address).await?;
        observer.on(&Event::Listening { address: listener.local_addr()? });
        Ok::<_, io::Error>(listener)
    };
    let refused = |error| {
        anyhow!(
            "cannot listen on {address} for /healthz, /readyz and /metrics: {error}; end what listens there, or say in [serve] of {file} `listen = \"{example}\"` for another place, `listen = \"none\"` for none"
        )
    };
    listen.await.map(Some).map_err(|error| refused(error).into())
}

async fn pages(listener: Option<TcpListener>, health: watch::Receiver<Health>, metrics: Arc<Metrics>) {
    if let Some(listener) = listener {
        serve_pages(listener, health, Arc::new(move |health| metrics.text(health))).await;
    }
}

fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        // Nobody can be told that nobody can be told.
        let _ = writeln!(std::io::stderr(), "{}", warning.render(std::io::stderr().is_terminal()));
    }
}

/// Reads the configuration again when the files have changed, or SIGHUP comes. Only a good one is handed on.
async fn reload(common: Common, loaded: Loaded, observer: Arc<dyn Observer>, setups: mpsc::Sender<Setup>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    let mut looks = interval(LOOK);
    let mut places = loaded.places;
    let mut used = Stamp::of(&places);
    let mut seen = used.clone();
    loop {
        tokio::select! {
            _ = looks.tick() => {
                let now = Stamp::of(&places);
                let settled = std::mem::replace(&mut seen, now.clone()) == now;
                if !settled || now == used {
                    continue;
                }
            }
            Some(()) = hangup.recv() => {}
        }
        used = Stamp::of(&places);
        match again(&common, &observer).await {
            Ok((loaded, setup)) => {
                places = loaded.places;
                if setups.send(setup).await.is_err() {
                    return;
                }
            }
            Err(failure) => observer.on(&Event::NotReloaded { reason: &failure.render(false) }),
        }
    }
}

async fn again(common: &Common, observer: &Arc<dyn Observer>) -> Result<(Loaded, Setup), Failure> {
    let loaded = load(common)?;
    warn(&loaded);
    let setup = setup(&loaded, Arc::clone(observer)).await?;
    Ok((loaded, setup))
}

/// Hands on what is noticed about Redis.
async fn watch_redis(runner: Arc<Runner>, seen: mpsc::Sender<Seen>) {
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
