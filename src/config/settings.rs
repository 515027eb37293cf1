//! From the raw configuration to settings.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::diagnostic::{Collector, Diagnostic};
use super::environment::Environment;
use super::job::Read;
use super::keys::{self, Keys};
use super::paths::named;
use super::secret::{self, Given};
use super::sources::Sources;
use super::{busy, predict, raw, read_through, restraint, state, targets, units};
use crate::ground::changes::ChangesSettings;
use crate::ground::demand::Memory;
use crate::ground::invalidate::Set;
use crate::ground::job::Job;
use crate::ground::settings::{Limits, PostgresSettings, RedisSettings, ServeSettings, Settings};
use crate::ground::targets::Targets;
use crate::ground::ttl::TtlPolicy;

/// The shortest and the longest lifetime of a key.
pub(super) const TTL_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(366 * 86_400));
/// Bounds of time-outs.
pub(super) const TIMEOUT_BOUNDS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(86_400));

/// Bounds of what a standby may be behind. It is not known more exactly than to about the shorter one.
const LAG_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(86_400));

/// The settings without the jobs. A part that is wrong has been reported and stands at its default.
pub(super) struct Parts {
    pub(super) ttl: TtlPolicy,
    pub(super) limits: Limits,
    pub(super) serve: ServeSettings,
    learn: Memory,
    pub(super) statement_timeout: Duration,
    /// What values are encrypted with, and where it was read.
    pub(super) keys: Option<Keys>,
    targets: Targets,
    state: Option<PathBuf>,
    postgres: Option<PostgresSettings>,
    redis: Option<RedisSettings>,
}

impl Parts {
    pub(super) fn resolve(
        raw: &raw::Config,
        file: &Path,
        environment: &Environment,
        sources: &Sources,
        collector: &mut Collector,
    ) -> Self {
        let mut field = Fields { table: "postgres", sources, collector: &mut *collector };
        let statement_timeout = field.timeout("statement_timeout", raw.postgres.statement_timeout.as_ref(), 30);
        let postgres = postgres(&raw.postgres, statement_timeout, file, environment, sources, collector);
        let redis = redis(&raw.redis, file, environment, sources, collector);
        let keys = keys::keys(raw.encryption.keys_file.as_ref(), file, environment, sources, collector);
        let keys = collector.take(keys).flatten();
        let state = collector.take(state::folder(raw.state.as_ref(), file, environment, sources)).flatten();
        let (given, defaults) = (&raw.limits, Limits::default());
        let mut field = Fields { table: "limits", sources, collector: &mut *collector };
        let limits = Limits {
            combinations: field.number(
                "combinations",
                given.combinations.as_ref(),
                defaults.combinations,
                1..=1_000_000,
            ),
            key_length: field.number("key_length", given.key_length.as_ref(), defaults.key_length, 1..=65_536),
            in_flight: field.size("in_flight", given.in_flight.as_ref(), defaults.in_flight),
            buffer: field.size("buffer", given.buffer.as_ref(), defaults.buffer),
        };
        let mut field = Fields { table: "serve", sources, collector: &mut *collector };
        let grace_period = field.timeout("grace_period", raw.serve.grace_period.as_ref(), 25);
        let listen = collector.take(listen(raw.serve.listen.as_ref(), sources)).flatten();
        let serve =
            ServeSettings { grace_period, listen, keys: read_through::keys(&raw.serve, file, sources, collector) };
        Parts {
            ttl: ttl_policy(raw, sources, collector),
            limits,
            serve,
            learn: predict::memory(&raw.learn, sources, collector),
            statement_timeout,
            keys,
            targets: targets::resolve(&raw.targets, sources, collector),
            state,
            postgres,
            redis,
        }
    }

    /// The settings. Called only when nothing was wrong, and then every part is there.
    pub(super) fn into_settings(
        self,
        file: PathBuf,
        sets: Vec<Set>,
        changes: Option<ChangesSettings>,
        jobs: Vec<Job>,
    ) -> Result<Settings, Diagnostic> {
        let (Some(postgres), Some(redis)) = (self.postgres, self.redis) else {
            return Err(Diagnostic::about(&file, "the servers' URLs are missing"));
        };
        Ok(Settings {
            file,
            state: self.state,
            postgres,
            redis,
            ttl: self.ttl,
            limits: self.limits,
            serve: self.serve,
            targets: self.targets,
            learn: self.learn,
            sets,
            changes,
            jobs,
        })
    }
}

fn postgres(
    raw: &raw::Postgres,
    statement_timeout: Duration,
    file: &Path,
    environment: &Environment,
    sources: &Sources,
    collector: &mut Collector,
) -> Option<PostgresSettings> {
    // Everything is looked at, also when the URL is wrong.
    let mut field = Fields { table: "postgres", sources, collector: &mut *collector };
    let connections = field.number("connections", raw.connections.as_ref(), 4, 1..=100);
    let connect_timeout = field.timeout("connect_timeout", raw.connect_timeout.as_ref(), 10);
    let max_lag = raw.max_lag.as_ref().map(|length| duration("postgres.max_lag", length, LAG_BOUNDS, sources));
    let any_lag = "leave it out, and jobs read from a standby however far it is behind";
    let max_lag = max_lag.and_then(|given| collector.take(given.map_err(|error| error.help(any_lag))));
    let busy = collector.take(busy::busy(raw, statement_timeout, sources)).flatten();
    let given = Given { url: raw.url.as_ref(), url_file: raw.url_file.as_ref(), file };
    let url = secret::url(&secret::POSTGRES, &given, environment, sources, collector);
    let given = Given { url: raw.primary_url.as_ref(), url_file: raw.primary_url_file.as_ref(), file };
    let primary = secret::url(&secret::PRIMARY, &given, environment, sources, collector);
    let primary = collector.take(primary);
    let (url, origin) = collector.take(url)??;
    let settings = PostgresSettings {
        url,
        origin,
        connections,
        connect_timeout,
        statement_timeout,
        busy: None,
        max_lag: None,
        primary: None,
    };
    let primary =
        primary?.map(|(url, origin)| Box::new(PostgresSettings { url, origin, connections: 1, ..settings.clone() }));
    Some(PostgresSettings { primary, busy, max_lag, ..settings })
}

fn redis(
    raw: &raw::Redis,
    file: &Path,
    environment: &Environment,
    sources: &Sources,
    collector: &mut Collector,
) -> Option<RedisSettings> {
    let mut field = Fields { table: "redis", sources, collector: &mut *collector };
    let database = raw.database.as_ref().map(|index| field.number("database", Some(index), 0, 0..=65_535));
    let connect_timeout = field.timeout("connect_timeout", raw.connect_timeout.as_ref(), 10);
    let timeout = field.timeout("timeout", raw.timeout.as_ref(), 5);
    let memory_limit = field.share("memory_limit", raw.memory_limit.as_ref(), 0.8, 1.0..=100.0);
    let restraint = restraint::resolve(raw, sources, collector);
    let key_prefix = collector.take(key_prefix(raw.key_prefix.as_ref(), sources)).unwrap_or_default();
    let ca_file =
        raw.ca_file.as_ref().map(|path| named("file", path, file, sources, "it names a PEM file on this machine"));
    let ca_file = ca_file.and_then(|ca_file| collector.take(ca_file));
    let given = Given { url: raw.url.as_ref(), url_file: raw.url_file.as_ref(), file };
    let url = secret::url(&secret::REDIS, &given, environment, sources, collector);
    let (url, origin) = collector.take(url)??;
    Some(RedisSettings {
        url,
        origin,
        database,
        key_prefix,
        ca_file,
        connect_timeout,
        timeout,
        memory_limit,
        restraint,
    })
}

/// The text before every key: what may stand in a key template may stand here.
fn key_prefix(text: Option<&raw::Text>, sources: &Sources) -> Result<String, Diagnostic> {
    let Some(text) = text else { return Ok(String::new()) };
    let prefix = text.get_ref();
    if prefix.chars().any(char::is_control) {
        return Err(sources.error(text.span(), "control characters are not allowed in keys"));
    }
    if prefix.starts_with("warm:") {
        return Err(sources.error(text.span(), "keys that begin with `warm:` belong to warm itself"));
    }
    Ok(prefix.clone())
}

/// Where the service tells how it is. By default on the machine itself only, at a port that is neither one of the Prometheus exporters' (9100 to 9999)
/// nor one that Linux gives to outgoing connections (from 32768).
fn listen(text: Option<&raw::Text>, sources: &Sources) -> Result<Option<SocketAddr>, Diagnostic> {
    let Some(text) = text else { return Ok(Some((Ipv4Addr::LOCALHOST, 19276).into())) };
    if text.get_ref() == "none" {
        return Ok(None);
    }
    let expected = "an address with a port, such as \"127.0.0.1:19276\", or \"none\"";
    text.get_ref().parse().map(Some).map_err(|_| must_be("serve.listen", expected, text.span(), sources))
}

/// The folder of job files.
pub(super) fn jobs_folder(raw: &raw::Config, file: &Path, sources: &Sources) -> Result<PathBuf, Diagnostic> {
    const HELP: &str = "jobs = \"../jobs\" names the folder of job files, relative to this file";
    match &raw.jobs {
        Some(jobs) => named("folder", jobs, file, sources, HELP),
        None => Err(sources.error_in_first("the setting `jobs` is missing").help(HELP)),
    }
}

/// What is wrong or unwise about jobs beside one another.
pub(super) fn conflicts(read: &[Read], collector: &mut Collector) {
    for (i, Read { job, key }) in read.iter().enumerate() {
        for Read { job: other, key: other_key } in &read[..i] {
            if job.key.same_keys(&other.key) {
                let message = format!(
                    "the key `{}` is that of the job `{}` too ({}); each would overwrite the other's values",
                    job.key,
                    other.name,
                    other_key.position()
                );
                collector.push(Diagnostic::at(key.clone(), message).help("give one of them another key"));
            } else if job.key.may_tie_with(&other.key) {
                let message = format!(
                    "a key may belong to `{}` and to `{}` of the job `{}` ({}), and neither has more literal text; such a key is written by neither",
                    job.key,
                    other.key,
                    other.name,
                    other_key.position()
                );
                let warning = Diagnostic::at(key.clone(), message).help("make one key template more specific");
                collector.push(warning.into_warning());
            }
        }
    }
}

fn ttl_policy(raw: &raw::Config, sources: &Sources, collector: &mut Collector) -> TtlPolicy {
    let entries = raw.ttl.0.iter().map(|(prefix, ttl)| {
        let ttl = collector.take(duration(&format!("ttl.\"{}\"", prefix.get_ref()), ttl, TTL_BOUNDS, sources));
        // A prefix with a wrong lifetime is there nevertheless: its keys have one mistake, not two.
        (prefix.get_ref().clone(), ttl.unwrap_or(TTL_BOUNDS.0))
    });
    TtlPolicy::new(entries.collect())
}

/// A length of time from a raw value.
pub(super) fn duration(
    field: &str,
    length: &Spanned<raw::Length>,
    bounds: (Duration, Duration),
    sources: &Sources,
) -> Result<Duration, Diagnostic> {
    let text = &length.get_ref().0;
    units::duration(text, bounds.0, bounds.1).map_err(|expected| must_be(field, &expected, length.span(), sources))
}

/// A size within bounds.
pub(super) fn size(
    field: &str,
    size: &Spanned<raw::Size>,
    bounds: RangeInclusive<usize>,
    shown: &str,
    sources: &Sources,
) -> Result<usize, Diagnostic> {
    match units::bytes(&size.get_ref().0) {
        Ok(bytes) if bounds.contains(&bytes) => Ok(bytes),
        Ok(_) => Err(must_be(field, shown, size.span(), sources)),
        Err(expected) => Err(must_be(field, &expected, size.span(), sources)),
    }
}

/// A number within bounds.
pub(super) fn bounded<T>(
    field: &str,
    value: &raw::Number,
    bounds: RangeInclusive<T>,
    sources: &Sources,
) -> Result<T, Diagnostic>
where
    T: TryFrom<i64> + PartialOrd + std::fmt::Display,
{
    match T::try_from(value.get_ref().0) {
        Ok(number) if bounds.contains(&number) => Ok(number),
        _ => {
            let expected = format!("between {} and {}", bounds.start(), bounds.end());
            Err(must_be(field, &expected, value.span(), sources))
        }
    }
}

/// An error about a field whose value has the right type.
pub(super) fn must_be(field: &str, expected: &str, span: Range<usize>, sources: &Sources) -> Diagnostic {
    const SHORT: usize = 60;
    let found = sources.raw(&span);
    let found = if found.len() > SHORT || found.contains('\n') { String::new() } else { format!(", not {found}") };
    sources.error(span, format!("`{field}` must be {expected}{found}"))
}

/// The fields of a table. One that is wrong is reported and stands at its default.
struct Fields<'a> {
    table: &'static str,
    sources: &'a Sources,
    collector: &'a mut Collector,
}

impl Fields<'_> {
    fn named(&self, field: &str) -> String {
        format!("{}.{field}", self.table)
    }

    fn timeout(&mut self, field: &str, length: Option<&Spanned<raw::Length>>, default: u64) -> Duration {
        let field = self.named(field);
        let given = length.map(|length| duration(&field, length, TIMEOUT_BOUNDS, self.sources));
        given.and_then(|given| self.collector.take(given)).unwrap_or(Duration::from_secs(default))
    }

    fn size(&mut self, field: &str, value: Option<&Spanned<raw::Size>>, default: usize) -> usize {
        let field = self.named(field);
        let bounds = 64 << 10..=2 << 30;
        let given = value.map(|value| size(&field, value, bounds, "between 64KiB and 2GiB", self.sources));
        given.and_then(|given| self.collector.take(given)).unwrap_or(default)
    }

    fn share(
        &mut self,
        field: &str,
        value: Option<&Spanned<raw::Share>>,
        default: f64,
        bounds: RangeInclusive<f64>,
    ) -> f64 {
        let field = self.named(field);
        let given = value.map(|share| {
            let percent = units::percent(&share.get_ref().0, bounds);
            percent.map_err(|expected| must_be(&field, &expected, share.span(), self.sources))
        });
        given.and_then(|given| self.collector.take(given)).unwrap_or(default)
    }

    fn number<T>(&mut self, field: &str, value: Option<&raw::Number>, default: T, bounds: RangeInclusive<T>) -> T
    where
        T: TryFrom<i64> + PartialOrd + std::fmt::Display,
    {
        let field = self.named(field);
        let given = value.map(|value| bounded(&field, value, bounds, self.sources));
        given.and_then(|given| self.collector.take(given)).unwrap_or(default)
    }
}
