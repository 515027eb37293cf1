//! How to reach Redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates,
};
use secrecy::ExposeSecret;

use super::error::{Trouble, translate};
use super::memory::{MemoryGuard, Sent};
use super::rate::Rate;
use super::session::Session;
use crate::ground::backoff::pause_between_tries;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::settings::RedisSettings;

/// A Redis server to write to.
#[derive(Debug, Clone)]
pub struct Redis {
    client: Client,
    session: Session,
    connect_timeout: Duration,
    timeout: Duration,
    key_prefix: String,
    memory_limit: f64,
    sent: Sent,
    rate: Arc<Rate>,
    latency_limit: Option<Duration>,
}

/// A connection, and which server process is at its other end.
pub(super) struct Connected {
    pub(super) connection: Connection,
    /// What the server said about itself (`INFO`); `None` when the account may not ask.
    pub(super) info: Option<String>,
    /// The server's time when the connection was made, in milliseconds since 1970, and ours.
    clock: (u64, Instant),
    /// How long it took to answer a question that costs it nothing.
    pub(super) round_trip: Duration,
}

impl Connected {
    /// Changes when the server is restarted.
    pub(super) fn run_id(&self) -> Option<&str> {
        field(self.info.as_deref()?, "run_id")
    }

    /// The server's time, in milliseconds since 1970. While this machine sleeps, ours stands still; then the time lies in the past, and so does the
    /// death of what is written by it: nothing lives too long.
    pub(super) fn now(&self) -> u64 {
        let (then, since) = self.clock;
        then + u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }
}

impl Redis {
    /// Prepares to connect; nothing is opened yet.
    ///
    /// # Errors
    /// [`ErrorKind::RedisRefused`] for a URL or a certificate that cannot be used; the message does not repeat the URL.
    pub fn new(settings: &RedisSettings) -> Result<Self, Error> {
        let bad = |what: String| Error::new(ErrorKind::RedisRefused, what);
        let url = settings.url.expose_secret();
        let info = url
            .into_connection_info()
            .map_err(|error| bad(format!("the Redis URL is malformed: {}", error.category())))?;
        if let ConnectionAddr::TcpTls { insecure: true, .. } = info.addr() {
            let way_out = "remove it; `ca_file` in [redis] names an authority to trust";
            return Err(bad(format!(
                "`#insecure` in the Redis URL asks not to verify the server's certificate: {way_out}"
            )));
        }
        if !matches!(info.addr(), ConnectionAddr::Unix(_))
            && let Some(name) = foreign_parameter(url)
        {
            return Err(bad(format!(
                "the Redis URL has a parameter `{name}`, which means nothing here; a database is written `redis://host:6379/3`"
            )));
        }
        let session = Session::new(info.redis_settings(), settings.database);
        let client = match &settings.ca_file {
            None => Client::open(bare(info)),
            Some(_) if !is_encrypted(info.addr()) => {
                return Err(bad("`ca_file` is for a URL that begins with rediss://".to_owned()));
            }
            Some(file) => {
                let about =
                    |what: &dyn std::fmt::Display| bad(format!("`ca_file` in [redis]: {}: {what}", file.display()));
                // Anything else may never end.
                if !std::fs::metadata(file).map_err(|error| about(&error))?.is_file() {
                    return Err(about(&"this is not a regular file"));
                }
                let pem = std::fs::read(file).map_err(|error| about(&error))?;
                if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
                    return Err(about(&"there is no PEM certificate in this file"));
                }
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem) };
                Client::build_with_tls(bare(info), certificates)
            }
        };
        Ok(Redis {
            client: client.map_err(|error| bad(format!("the Redis URL cannot be used: {error}")))?,
            session,
            connect_timeout: settings.connect_timeout,
            timeout: settings.timeout,
            key_prefix: settings.key_prefix.clone(),
            memory_limit: settings.memory_limit,
            sent: Sent::default(),
            rate: Arc::new(Rate::new(&settings.restraint, Instant::now())),
            latency_limit: settings.restraint.latency_limit,
        })
    }

    /// The server for messages, without account and password.
    pub fn describe(&self) -> String {
        format!("{} (database {})", self.client.get_connection_info().addr(), self.session.database)
    }

    /// Text before every key.
    pub fn key_prefix(&self) -> &str {
        &self.key_prefix
    }

    /// The database's index.
    pub(super) fn database(&self) -> i64 {
        self.session.database
    }

    /// Does work that blocks, where that holds nobody up.
    pub(super) async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Redis) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let redis = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&redis)).await;
        done.unwrap_or_else(|error| Err(Error::new(ErrorKind::Panic, error.to_string())))
    }

    /// A guard of the server's memory, for a writer that has just connected.
    pub(super) fn guard(&self, connected: &Connected) -> MemoryGuard {
        MemoryGuard::new(self.memory_limit, Sent::clone(&self.sent), connected.info.as_deref())
    }

    /// How fast may be written to it, by all writers of this process together.
    pub(super) fn rate(&self) -> &Rate {
        &self.rate
    }

    /// How long it may take for a batch before it counts as busy.
    pub(super) fn latency_limit(&self) -> Option<Duration> {
        self.latency_limit
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// A connection, tried for until the connect time-out. Blocks.
    pub(super) fn connect(&self) -> Result<Connected, Error> {
        let start = Instant::now();
        loop {
            let left = self.connect_timeout.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
            let error = match self.try_connect(left) {
                Ok(connected) => return Ok(connected),
                Err(Trouble::Stop(error)) => return Err(error),
                Err(Trouble::Wait(error) | Trouble::Reconnect(error)) => error,
            };
            let pause = pause_between_tries();
            if start.elapsed() + pause >= self.connect_timeout {
                let server = self.describe();
                let encrypted = if is_encrypted(self.client.get_connection_info().addr()) { "encrypted " } else { "" };
                return Err(Error::new(
                    ErrorKind::RedisUnreachable,
                    format!("no {encrypted}connection to Redis at {server}: {error}"),
                ));
            }
            std::thread::sleep(pause);
        }
    }

    /// A connection, tried for once. Blocks, each step for no longer than the time-outs allow.
    pub(super) fn connect_once(&self) -> Result<Connected, Trouble> {
        self.try_connect(self.connect_timeout.min(self.timeout))
    }

    fn try_connect(&self, limit: Duration) -> Result<Connected, Trouble> {
        let begun = Instant::now();
        let mut connection = self.client.get_connection_with_timeout(limit).map_err(|error| translate(&error))?;
        let opening = begun.elapsed();
        set_timeout(&connection, limit.min(self.timeout))?;
        self.session.begin(&mut connection)?;
        let info = match redis::cmd("INFO").query::<String>(&mut connection) {
            Ok(info) => Some(info),
            // An account without the right to ask is a pity, not an error.
            Err(error) if error.code() == Some("NOPERM") => None,
            Err(error) => return Err(translate(&error)),
        };
        let asked = Instant::now();
        let now = time(&mut connection)?;
        // A connection is opened by the server's kernel, also while Redis is at something else: that tells the network's time from a Redis that is slow
        // already when a run begins. With TLS it has to answer.
        let is_plain = !is_encrypted(self.client.get_connection_info().addr());
        let round_trip = if is_plain { asked.elapsed().min(opening) } else { asked.elapsed() };
        set_timeout(&connection, self.timeout)?;
        Ok(Connected { connection, info, clock: (now, asked), round_trip })
    }
}

/// The server's time, in milliseconds since 1970.
pub(super) fn time(connection: &mut Connection) -> Result<u64, Trouble> {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(connection).map_err(|error| translate(&error))?;
    Ok(seconds * 1000 + micros / 1000)
}

/// The longest time that the server may take for one answer.
fn set_timeout(connection: &Connection, timeout: Duration) -> Result<(), Trouble> {
    let read = connection.set_read_timeout(Some(timeout));
    read.and_then(|()| connection.set_write_timeout(Some(timeout))).map_err(|error| translate(&error))
}

fn is_encrypted(address: &ConnectionAddr) -> bool {
    matches!(address, ConnectionAddr::TcpTls { .. })
}

/// The address alone: the rest is the [`Session`]'s. So the driver says nothing by itself, neither its library's name nor ours.
fn bare(info: ConnectionInfo) -> ConnectionInfo {
    // Without TCP_NODELAY the tail of every batch waits for the server's acknowledgement of its head.
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    let settings = RedisConnectionInfo::default().set_skip_set_lib_name();
    info.set_tcp_settings(tcp).set_redis_settings(settings)
}

/// A parameter of a TCP URL that would be passed over in silence. A name that is not a plain word is not repeated.
fn foreign_parameter(url: &str) -> Option<&str> {
    let (_, query) = url.split('#').next()?.split_once('?')?;
    let name =
        query.split('&').map(|pair| pair.split('=').next().unwrap_or_default()).find(|name| *name != "protocol")?;
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    Some(if plain { name } else { "…" })
}

/// A field of `INFO`'s answer.
pub(super) fn field<'i>(info: &'i str, name: &str) -> Option<&'i str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// A field of `INFO`'s answer that is a whole number.
pub(super) fn number(info: &str, name: &str) -> Option<u64> {
    field(info, name)?.trim().parse().ok()
}
