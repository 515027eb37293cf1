//! The configuration as the rest of the program sees it: resolved from file, environment and credentials.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::changes::ChangesSettings;
use super::demand::Memory;
use super::invalidate::Set;
use super::job::Job;
use super::keyspace::KeySpace;
use super::sql::Sql;
use super::targets::Targets;
use super::ttl::TtlPolicy;

/// Everything that the configuration says.
#[derive(Debug)]
pub struct Settings {
    /// The configuration file.
    pub file: PathBuf,
    /// The folder for what is remembered between runs; `None` when nothing says where.
    pub state: Option<PathBuf>,
    /// `[postgres]`.
    pub postgres: PostgresSettings,
    /// `[redis]`.
    pub redis: RedisSettings,
    /// `[ttl]`.
    pub ttl: TtlPolicy,
    /// `[limits]`.
    pub limits: Limits,
    /// `[serve]`.
    pub serve: ServeSettings,
    /// `[targets]`.
    pub targets: Targets,
    /// `[learn]`.
    pub learn: Memory,
    /// `[invalidate]`, in the order of the file.
    pub sets: Vec<Set>,
    /// `[changes]`; `None`: changes of the database are not followed.
    pub changes: Option<ChangesSettings>,
    /// The jobs, highest priority first, then by name; those that are disabled included.
    pub jobs: Vec<Job>,
}

impl Settings {
    /// Whether the other configuration means the same servers, reached in the same way: then their connections can be kept.
    pub fn has_same_servers(&self, other: &Settings) -> bool {
        self.postgres.is_same(&other.postgres) && self.redis.is_same(&other.redis)
    }

    /// The jobs that run.
    pub fn enabled(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().filter(|job| job.runs())
    }

    /// The key templates of all jobs, those that are disabled included: they keep their keys.
    pub fn key_space(&self) -> KeySpace {
        KeySpace::new(self.jobs.iter().map(|job| (job.name.clone(), job.key.clone())).collect())
    }
}

/// Where a URL was taken from, for messages; never the URL itself.
pub type Origin = String;

/// How to reach PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresSettings {
    /// The URL, as the application has it: parameters that only Prisma knows are understood.
    pub url: SecretString,
    /// Where the URL was found.
    pub origin: Origin,
    /// The most connections at a time.
    pub connections: u32,
    /// The longest time to get a connection, all tries together.
    pub connect_timeout: Duration,
    /// The longest time for one statement.
    pub statement_timeout: Duration,
    /// When the database has so much to do that no query is begun; `None`: never.
    pub busy: Option<Busy>,
    /// How far a standby may be behind to be read from; `None`: as far as it likes.
    pub max_lag: Option<Duration>,
    /// How to reach the server that the database is written to, when this one is a standby. It is only asked how far it has come.
    pub primary: Option<Box<PostgresSettings>>,
}

/// When the database counts as busy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    /// The figure above which it does.
    pub above: u32,
    /// Gives the figure: one row with one number. `None`: how many sessions of others are at work.
    pub query: Option<Sql>,
}

impl PostgresSettings {
    fn is_same(&self, other: &Self) -> bool {
        let terms = |of: &Self| (of.connections, of.connect_timeout, of.statement_timeout, of.busy.clone(), of.max_lag);
        let primaries = match (&self.primary, &other.primary) {
            (Some(one), Some(other)) => one.is_same(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        self.url.expose_secret() == other.url.expose_secret() && terms(self) == terms(other) && primaries
    }
}

/// How to reach Redis.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// The URL: `redis://`, `rediss://` (TLS) or `unix://`.
    pub url: SecretString,
    /// Where the URL was found.
    pub origin: Origin,
    /// The database index; overrides that of the URL.
    pub database: Option<i64>,
    /// Text before every key, for a server that several installations share.
    pub key_prefix: String,
    /// A PEM file with the certificate authority to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The longest time to get a connection, all tries together.
    pub connect_timeout: Duration,
    /// The longest time for one reply.
    pub timeout: Duration,
    /// The share of `maxmemory` (0 … 1) beyond which no key is added.
    pub memory_limit: f64,
    /// How much of Redis' time is left to others.
    pub restraint: Restraint,
}

/// What keeps writing from being felt by others who use the same Redis: for all jobs of the process together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restraint {
    /// The most keys that are asked about or written in a second; `None`: as many as can be.
    pub keys_per_second: Option<u64>,
    /// The most bytes of keys and values that are sent in a second.
    pub bytes_per_second: Option<u64>,
    /// How long Redis may take for a batch before it counts as busy, and writing pauses; `None`: however long.
    pub latency_limit: Option<Duration>,
}

/// `[serve]`: the service.
#[derive(Debug, Clone)]
pub struct ServeSettings {
    /// How long runs may still take when the service is to end.
    pub grace_period: Duration,
    /// Where it tells over HTTP how it is; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Where it gives the values of keys to whoever asks.
    pub keys: KeysSettings,
}

/// Where values are given, and what is kept of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysSettings {
    /// A socket in the file system; `None`: none.
    pub socket: Option<PathBuf>,
    /// Who may connect to it: the permissions of the file.
    pub socket_mode: u32,
    /// An address of this machine; `None`: none.
    pub listen: Option<SocketAddr>,
    /// Whether whoever may ask for values may also have sets of keys deleted.
    pub invalidate: bool,
    /// What is kept in memory.
    pub level1: Level1,
}

/// The first level of several: the memory of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level1 {
    /// The most bytes.
    pub bytes: usize,
    /// How long a value is kept at the most.
    pub ttl: Duration,
}

impl RedisSettings {
    fn is_same(&self, other: &Self) -> bool {
        let terms = |of: &Self| (of.database, of.connect_timeout, of.timeout, of.memory_limit, of.restraint);
        let texts = |of: &Self| (of.key_prefix.clone(), of.ca_file.clone());
        self.url.expose_secret() == other.url.expose_secret()
            && terms(self) == terms(other)
            && texts(self) == texts(other)
    }
}

/// `[limits]`: bounds that protect memory and servers.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most combinations that one job's `[for_each]` may have.
    pub combinations: usize,
    /// The longest key in bytes, without `key_prefix`.
    pub key_length: usize,
    /// The most bytes of entries of one job on their way between reading and writing.
    pub in_flight: usize,
    /// The most bytes of rows that one job keeps while it waits for more rows of the same key.
    pub buffer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { combinations: 10_000, key_length: 1024, in_flight: 4 << 20, buffer: 16 << 20 }
    }
}
