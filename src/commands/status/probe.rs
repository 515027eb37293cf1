//! Asks the service and both servers, none of them for long.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::feed::Followed;
use crate::cache::Redis;
use crate::commands::presence::Presence;
use crate::ground::changes::Feed;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::fingerprint::Fingerprint;
use crate::ground::job::Job;
use crate::ground::show::visible;
use crate::ground::targets::{Judged, Targets};
use crate::ground::warmth::Warmth;
use crate::runner::Runner;
use crate::source::{Account, Holder, Postgres};

/// How long each step of asking may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// How long a server is waited for, all steps together.
const ALTOGETHER: Duration = Duration::from_secs(8);
/// The most that is read of an answer, and of the metrics.
const MOST: u64 = 16 << 10;
const MOST_METRICS: u64 = 4 << 20;

/// How `warm serve` is, on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It moves.
    Running,
    /// It is there, and does not move.
    Stuck,
    /// It is not there.
    Away,
    /// That cannot be told.
    Unknown,
}

/// What is known of it.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) state: State,
    /// Where it was asked.
    pub(super) address: Option<SocketAddr>,
    /// Whether it is there, and about to end.
    pub(super) ending: bool,
    /// Why it is stuck, or does not answer.
    pub(super) message: Option<String>,
    /// Why it is not ready, in its own words.
    pub(super) unready: Vec<String>,
    /// How changes of the database are followed, if they are.
    pub(super) changes: Option<Followed>,
}

impl Service {
    /// Why a job is stale, as the service knows.
    pub(super) fn says_stale(&self, job: &str) -> Option<String> {
        self.unready.iter().find_map(|reason| reason.strip_prefix(job)?.strip_prefix(": stale: ")).map(str::to_owned)
    }
}

/// What came of asking for a page.
enum Answer {
    Page {
        status: u16,
        text: String,
    },
    /// Another program answers.
    Foreign,
    /// Nobody does.
    Nobody {
        reason: String,
        timed_out: bool,
    },
}

/// How a server is.
#[derive(Default)]
pub(super) struct Server {
    /// Where it is, without account and password.
    pub(super) place: String,
    /// Why it cannot be used.
    pub(super) error: Option<Error>,
    pub(super) version: Option<String>,
    /// Bytes in use, for a server that has a limit of its own; `None` when the account may not ask.
    pub(super) used_memory: Option<u64>,
    /// The limit in bytes; 0 means none.
    pub(super) max_memory: Option<u64>,
}

/// Asks the service for its pulse: where it says that it listens, else where it is meant to.
pub(super) async fn service(meant: Option<SocketAddr>, presence: Presence, feed: Option<&Feed>) -> Service {
    let Presence { there, said } = presence;
    let listen = said.map_or(meant, |said| said.address);
    let ending = said.is_some_and(|said| said.ending);
    let known =
        |state, address, message| Service { state, address, ending, message, unready: Vec::new(), changes: None };
    let Some(address) = listen.map(reachable) else {
        let state = there.map_or(State::Unknown, |there| if there { State::Running } else { State::Away });
        return known(state, None, None);
    };
    let silent = |reason: &str| Some(format!("it does not answer at {address}: {reason}"));
    let foreign = || "another program answers";
    match (ask(address, "/healthz").await, there) {
        (Answer::Page { .. }, Some(false)) => {
            let message = format!("who answers at {address} has another configuration or state folder");
            known(State::Away, Some(address), Some(message))
        }
        (Answer::Page { status: 200, .. }, _) => {
            let unready = match ask(address, "/readyz").await {
                Answer::Page { status, text } if status != 200 => text.lines().map(visible).collect(),
                _ => Vec::new(),
            };
            let changes = match feed {
                Some(feed) => match ask(address, "/metrics").await {
                    Answer::Page { status: 200, text } => Followed::parse(feed, &text),
                    _ => None,
                },
                None => None,
            };
            Service { unready, changes, ..known(State::Running, Some(address), None) }
        }
        (Answer::Page { text, .. }, _) => known(State::Stuck, Some(address), Some(visible(text.trim()))),
        // A process that is stopped is still connected to, by the kernel.
        (Answer::Nobody { reason, timed_out: true }, Some(true)) => known(State::Stuck, Some(address), silent(&reason)),
        // Nobody knows where it listens if it could not say so.
        (Answer::Nobody { reason, .. }, Some(true)) => known(State::Running, Some(address), silent(&reason)),
        (Answer::Foreign, Some(true)) => known(State::Running, Some(address), silent(foreign())),
        (Answer::Nobody { reason, .. }, _) => known(State::Away, Some(address), silent(&reason)),
        (Answer::Foreign, _) => known(State::Away, Some(address), silent(foreign())),
    }
}

async fn ask(address: SocketAddr, path: &str) -> Answer {
    let answer = match timeout(PATIENCE, fetch(address, path)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Answer::Nobody { reason: error.to_string(), timed_out: false },
        Err(_) => {
            let reason = format!("no answer within {}", humantime::format_duration(PATIENCE));
            return Answer::Nobody { reason, timed_out: true };
        }
    };
    let (head, text) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let ours = head.lines().any(|line| line.to_ascii_lowercase().starts_with("server: warm/"));
    match status.filter(|_| ours) {
        Some(status) => Answer::Page { status, text: text.to_owned() },
        None => Answer::Foreign,
    }
}

async fn fetch(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let most = if path == "/metrics" { MOST_METRICS } else { MOST };
    stream.take(most).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Where one connects to who listens everywhere.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(address) if address.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        other => other,
    }
}

/// Asks Redis about itself.
pub(super) async fn redis(redis: Redis) -> Server {
    let place = redis.describe();
    let asked = tokio::task::spawn_blocking(move || redis.inspect());
    let answer = match timeout(ALTOGETHER, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(Error::new(ErrorKind::Panic, error.to_string())),
        Err(_) => Err(silent(ErrorKind::RedisUnreachable, &format!("Redis at {place}"))),
    };
    match answer {
        Ok(found) => Server {
            place,
            error: None,
            version: found.version,
            used_memory: found.used_memory,
            max_memory: found.max_memory,
        },
        Err(error) => Server { place, error: Some(error), ..Server::default() },
    }
}

/// How warm the jobs are, by their names, and whether the targets are met; nothing, if Redis does not say.
pub(super) async fn look(
    runner: &Runner,
    jobs: &[Arc<Job>],
    targets: &Targets,
) -> Option<(HashMap<String, Warmth>, Vec<Judged>)> {
    let look = timeout(ALTOGETHER, runner.look(jobs, targets, None)).await.ok()?.ok()?;
    let warmth = look.jobs.into_iter().filter_map(|(job, warmth)| Some((job, warmth?))).collect();
    Some((warmth, look.targets))
}

/// Asks PostgreSQL about itself, and who has these leases; nobody, if that cannot be told.
pub(super) async fn postgres(source: &Postgres, leases: &[Fingerprint]) -> (Server, Vec<Option<Holder>>) {
    let place = source.target().describe();
    let asked = timeout(ALTOGETHER, account(source)).await;
    let answer =
        asked.unwrap_or_else(|_| Err(silent(ErrorKind::PostgresUnreachable, &format!("PostgreSQL at {place}"))));
    let answer = match answer {
        Ok(account) => Server { place, version: Some(account.version), ..Server::default() },
        Err(error) => return (Server { place, error: Some(error), ..Server::default() }, Vec::new()),
    };
    let holders = timeout(ALTOGETHER, holders(source.primary().unwrap_or(source), leases)).await;
    // What is not connected any more needs no farewell for long.
    let _ = timeout(PATIENCE, source.close()).await;
    (answer, holders.ok().and_then(Result::ok).unwrap_or_default())
}

async fn account(source: &Postgres) -> Result<Account, Error> {
    let mut snapshot = source.snapshot().await?;
    let account = snapshot.account().await?;
    snapshot.finish().await?;
    Ok(account)
}

async fn holders(source: &Postgres, leases: &[Fingerprint]) -> Result<Vec<Option<Holder>>, Error> {
    let mut snapshot = source.snapshot().await?;
    let holders = snapshot.holders(leases).await?;
    snapshot.finish().await?;
    Ok(holders)
}

fn silent(kind: ErrorKind, who: &str) -> Error {
    Error::new(kind, format!("{who} has not answered within {}", humantime::format_duration(ALTOGETHER)))
}
