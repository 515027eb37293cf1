//! `warm serve`: the scheduler, in the foreground.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::interval;

use super::follow::Follows;
use super::keys::{Keys, Sources, source};
use super::now::observer;
use super::predict::{Ends, Predicting, Subject};
use super::presence::{Announced, Said};
use super::setup::{InUse, pause_stamp, pauses, setup};
use super::{Failure, load, presence, runtime, signals};
use crate::cache::WATCH_INTERVAL;
use crate::cli::Common;
use crate::config::{Loaded, Stamp};
use crate::ground::event::{Event, Observer};
use crate::ground::exit;
use crate::ground::health::Health;
use crate::ground::pause::Pauses;
use crate::ground::settings::Settings;
use crate::ground::watch::Seen;
use crate::observe::{Metrics, Several};
use crate::runner::Runner;
use crate::service::{Daemon, Inputs, Setup, Stop, serve_pages};

/// How often the files are looked at. What has changed is read when it has not changed any more since the last look: it may have been half written.
const LOOK: Duration = Duration::from_secs(2);

/// Runs jobs as they come due, until a signal says that it is enough: 0 if what ran could finish, or nothing had begun, else 128 and the signal's number.
pub fn run(common: &Common) -> Result<u8, Failure> {
    let loaded = load(common)?;
    let jobs = loaded.settings.enabled().map(|job| job.name.as_str());
    let metrics = Arc::new(Metrics::new(jobs));
    let ends = Ends::new();
    let all = vec![observer(), Arc::clone(&metrics) as _, Arc::new(ends.clone()) as _];
    let observer: Arc<dyn Observer> = Arc::new(Several(all));
    observer.on(&Event::Serving { file: &loaded.settings.file, jobs: loaded.settings.enabled().count() });
    warn(&loaded, observer.as_ref());
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        // From now on no signal ends the process by itself. The first one lets runs finish, the second stops them; SIGHUP waits until there is something to reload.
        let (stopped, caught) = signals::catch(Stop::No, &[Stop::Drain, Stop::Cancel]);
        let hangup = signal(SignalKind::hangup()).context("cannot catch SIGHUP")?;
        // Before anything is done: a place that is taken may mean that another process does it already.
        let listener = listen(&loaded, observer.as_ref()).await?;
        let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let mut there = presence::announce(&loaded.settings, address);
        let begin = setup(loaded, None, Arc::clone(&observer));
        let Some(begun) = signals::unless_stopped(&stopped, begin).await else {
            observer.on(&Event::Ended);
            return Ok(None);
        };
        let (in_use, first) = begun?;
        let (keys, sources) = Keys::begin(&in_use, &observer).await?;
        let (predicting, subjects) = Predicting::begin(&in_use, &ends);
        let (setups, more) = mpsc::channel(1);
        let (watching, cache) = Watching::start(&in_use.runner);
        let (paused, pauses) = mpsc::channel(1);
        let (follows, heard) = Follows::begin(&in_use, sources.clone(), &observer);
        let others = Others { setups, paused, sources, subjects, follows };
        let reload = reload(common.clone(), in_use, Arc::clone(&observer), hangup, watching, others);
        let reloading = tokio::spawn(reload);
        let daemon = Daemon::new(first);
        let pages = tokio::spawn(pages(listener, daemon.health(), metrics));
        let mut stopping = stopped.clone();
        let say_ending = async {
            let _ = stopping.wait_for(|stop| *stop > Stop::No).await;
            there.as_mut().map(Announced::ending)
        };
        let serve = daemon.serve(Inputs {
            stop: stopped,
            setups: more,
            pauses,
            cache,
            deleted: heard.deleted,
            changes: heard.changes,
        });
        let (all_done, _) = tokio::join!(serve, say_ending);
        reloading.abort();
        // They end with the daemon.
        let _ = tokio::join!(pages, keys.end(), predicting.end());
        observer.on(&Event::Ended);
        Ok::<_, Failure>(Some(caught.exit_code().filter(|_| !all_done).unwrap_or(exit::OK)))
    });
    // A thread may still wait for Redis' answer, for as long as its time-outs allow: nobody needs it any more.
    runtime.shutdown_background();
    served.map(|code| code.unwrap_or(exit::OK))
}

/// Takes the place where the service is to tell how it is.
async fn listen(loaded: &Loaded, observer: &dyn Observer) -> Result<Option<TcpListener>, Failure> {
    let Some(address) = loaded.settings.serve.listen else { return Ok(None) };
    let (file, example) = (loaded.settings.file.display(), another(address, loaded.settings.serve.keys.listen));
    let listen = async {
        let listener = TcpListener::bind(address).await?;
        observer.on(&Event::Listening { address: listener.local_addr()? });
        Ok::<_, io::Error>(listener)
    };
    let refused = |error| {
        let who = who_listens(&loaded.settings, address);
        anyhow!(
            "cannot listen on {address} for /healthz, /readyz and /metrics: {error}; {who}, or say in [serve] of {file} `listen = \"{example}\"` for another place, `listen = \"none\"` for none"
        )
    };
    listen.await.map(Some).map_err(|error| refused(error).into())
}

/// An address beside this one that the configuration does not name as that of something else.
fn another(address: SocketAddr, taken: Option<SocketAddr>) -> SocketAddr {
    let beside = (1..=3).map(|step| SocketAddr::new(address.ip(), address.port() ^ step));
    let free = |other: &SocketAddr| other.port() != 0 && taken.is_none_or(|taken| taken.port() != other.port());
    beside.into_iter().find(free).unwrap_or(address)
}

/// Whom to end who listens there: perhaps it is this very service.
fn who_listens(settings: &Settings, address: SocketAddr) -> String {
    match presence::look(settings).said.filter(|said| said.address.is_some_and(|at| at.port() == address.port())) {
        Some(Said { pid, .. }) => format!("`warm serve` runs here already (process {pid}): end it"),
        None => "end what listens there".to_owned(),
    }
}

async fn pages(listener: Option<TcpListener>, health: watch::Receiver<Health>, metrics: Arc<Metrics>) {
    if let Some(listener) = listener {
        serve_pages(listener, health, Arc::new(move |health| metrics.text(health))).await;
    }
}

fn warn(loaded: &Loaded, observer: &dyn Observer) {
    for warning in &loaded.warnings {
        let part = |before: &str, text: Option<String>| text.map(|text| format!("{before}{text}")).unwrap_or_default();
        let at = part("; at ", warning.position());
        let advice = part("; advice: ", warning.help.clone());
        observer.on(&Event::Unwise { warning: &format!("{}{at}{advice}", warning.message) });
    }
    for (job, reason) in loaded.settings.jobs.iter().filter_map(|job| Some((&job.name, job.disabled()?))) {
        observer.on(&Event::Disabled { job, reason });
    }
}

/// Who is told of another configuration.
struct Others {
    setups: mpsc::Sender<Setup>,
    paused: mpsc::Sender<Pauses>,
    sources: Option<Sources>,
    subjects: watch::Sender<Subject>,
    follows: Follows,
}

/// Reads the configuration again when the files have changed, or SIGHUP comes. Only a good one is handed on.
async fn reload(
    common: Common,
    mut in_use: InUse,
    observer: Arc<dyn Observer>,
    mut hangup: Signal,
    mut watching: Watching,
    Others { setups, paused, sources, subjects, mut follows }: Others,
) {
    let mut looks = interval(LOOK);
    let mut used = Stamp::of(&in_use.loaded.places);
    let mut last = used.clone();
    // It goes on to listen there.
    let listens = in_use.loaded.settings.serve.listen;
    loop {
        tokio::select! {
            _ = looks.tick() => {
                // That file is replaced as a whole: nobody has to wait until it is complete.
                if pause_stamp(&in_use.loaded.settings) != in_use.paused {
                    let (stamp, now_paused) = pauses(&in_use.loaded.settings, observer.as_ref());
                    in_use.paused = stamp;
                    if paused.send(now_paused).await.is_err() {
                        return drop(watching);
                    }
                }
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
            Ok((now_in_use, mut setup)) => {
                if !now_in_use.loaded.settings.has_same_servers(&in_use.loaded.settings) {
                    let (begun, seen) = Watching::start(&now_in_use.runner);
                    (watching, setup.cache) = (begun, Some(seen));
                }
                let listen = now_in_use.loaded.settings.serve.listen;
                if listen != in_use.loaded.settings.serve.listen && listen != listens {
                    observer.on(&Event::ListenLater { listen });
                }
                let before = std::mem::replace(&mut in_use, now_in_use).loaded.settings;
                if let Some(sources) = &sources {
                    let given = Arc::clone(&sources.borrow());
                    if let Ok(source) = source(&in_use, Some(&given), observer.as_ref()) {
                        sources.send_replace(source);
                    }
                }
                follows.replace(&before, &in_use);
                subjects.send_replace(Subject::of(&in_use));
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
    warn(&loaded, observer.as_ref());
    setup(loaded, Some(in_use), Arc::clone(observer)).await
}

/// Hands on what is noticed about Redis, until it is dropped.
struct Watching(JoinHandle<()>);

impl Watching {
    fn start(runner: &Arc<Runner>) -> (Self, mpsc::Receiver<Seen>) {
        let (tell, seen) = mpsc::channel(8);
        (Watching(tokio::spawn(watch_redis(Arc::clone(runner), tell))), seen)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn watch_redis(runner: Arc<Runner>, seen: mpsc::Sender<Seen>) {
    let mut watch = match runner.redis.watch(WATCH_INTERVAL, Arc::clone(&runner.clock)) {
        Ok(watch) => watch,
        // The daemon says so. If it is gone, nobody has to know.
        Err(error) => return drop(seen.send(Seen::Blind { reason: error.to_string() }).await),
    };
    while let Some(what) = watch.next().await {
        if seen.send(what).await.is_err() {
            return;
        }
    }
}
