//! From the raw configuration to settings.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::diagnostic::{Collector, Diagnostic, Sources};
use super::environment::Environment;
use super::raw;
use super::secret::{self, Given, relative_to};
use super::units;
use crate::ground::job::Job;
use crate::ground::settings::{Limits, PostgresSettings, RedisSettings, Settings};
use crate::ground::ttl::TtlPolicy;

/// The shortest and the longest lifetime of a key.
pub(super) const TTL_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(366 * 86_400));
/// Bounds of time-outs.
pub(super) const TIMEOUT_BOUNDS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(86_400));

/// The settings without the jobs. A part that is wrong has been reported and stands at its default.
pub(super) struct Parts {
    pub(super) ttl: TtlPolicy,
    pub(super) limits: Limits,
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
        let given = Given { url: raw.postgres.url.as_ref(), url_file: raw.postgres.url_file.as_ref(), file };
        let url = secret::url(&secret::POSTGRES, &given, environment, sources, collector);
        let postgres = collector.take(url).map(|(url, origin)| PostgresSettings {
            url,
            origin,
            connections: number(raw.postgres.connections.as_ref(), 4, 1..=100, sources, collector),
            connect_timeout: timeout(raw.postgres.connect_timeout.as_ref(), 10, sources, collector),
            statement_timeout: timeout(raw.postgres.statement_timeout.as_ref(), 30, sources, collector),
        });
        let given = Given { url: raw.redis.url.as_ref(), url_file: raw.redis.url_file.as_ref(), file };
        let url = secret::url(&secret::REDIS, &given, environment, sources, collector);
        let redis = collector.take(url).map(|(url, origin)| RedisSettings {
            url,
            origin,
            database: raw
                .redis
                .database
                .as_ref()
                .map(|_| number(raw.redis.database.as_ref(), 0, 0..=65_535, sources, collector)),
            key_prefix: raw.redis.key_prefix.as_ref().map(|prefix| prefix.get_ref().clone()).unwrap_or_default(),
            ca_file: raw.redis.ca_file.as_ref().map(|path| relative_to(file, path.get_ref())),
            connect_timeout: timeout(raw.redis.connect_timeout.as_ref(), 10, sources, collector),
            timeout: timeout(raw.redis.timeout.as_ref(), 5, sources, collector),
        });
        let defaults = Limits::default();
        let limits = Limits {
            combinations: number(
                raw.limits.combinations.as_ref(),
                defaults.combinations,
                1..=1_000_000,
                sources,
                collector,
            ),
            key_length: number(raw.limits.key_length.as_ref(), defaults.key_length, 1..=65_536, sources, collector),
            in_flight: size(raw.limits.in_flight.as_ref(), defaults.in_flight, sources, collector),
            buffer: size(raw.limits.buffer.as_ref(), defaults.buffer, sources, collector),
        };
        Parts { ttl: ttl_policy(raw, sources, collector), limits, postgres, redis }
    }

    /// The settings. Called only when nothing was wrong, and then every part is there.
    pub(super) fn into_settings(self, file: PathBuf, jobs: Vec<Job>) -> Result<Settings, Diagnostic> {
        let (Some(postgres), Some(redis)) = (self.postgres, self.redis) else {
            return Err(Diagnostic::about(&file, "the servers' URLs are missing"));
        };
        Ok(Settings { file, postgres, redis, ttl: self.ttl, limits: self.limits, jobs })
    }
}

/// The folder of job files.
pub(super) fn jobs_folder(raw: &raw::Config, file: &Path, sources: &Sources) -> Result<PathBuf, Diagnostic> {
    match &raw.jobs {
        Some(jobs) => Ok(relative_to(file, jobs.get_ref())),
        None => Err(sources
            .error_in_first("the setting `jobs` is missing")
            .help("jobs = \"../jobs\" names the folder of job files, relative to this file")),
    }
}

/// What is wrong or unwise about jobs beside one another.
pub(super) fn conflicts(jobs: &[Job], collector: &mut Collector) {
    for (i, job) in jobs.iter().enumerate() {
        for other in &jobs[..i] {
            if job.key.same_keys(&other.key) {
                let message = format!(
                    "the key `{}` is that of {} too; each would overwrite the other's values",
                    job.key,
                    other.file.display()
                );
                collector.push(Diagnostic::about(&job.file, message).help("give one of them another key"));
            } else if job.key.may_tie_with(&other.key) {
                let message = format!(
                    "keys of `{}` may also be keys of `{}` ({}), and neither has more literal text; such keys are written by neither",
                    job.key,
                    other.key,
                    other.file.display()
                );
                collector.push(
                    Diagnostic::about(&job.file, message).help("make one key template more specific").into_warning(),
                );
            }
        }
    }
}

fn ttl_policy(raw: &raw::Config, sources: &Sources, collector: &mut Collector) -> TtlPolicy {
    let mut entries = Vec::new();
    for (prefix, ttl) in &raw.ttl.0 {
        let parsed = units::duration(ttl.get_ref(), TTL_BOUNDS.0, TTL_BOUNDS.1)
            .map_err(|message| sources.error(ttl.span(), message));
        if let Some(ttl) = collector.take(parsed) {
            entries.push((prefix.get_ref().clone(), ttl));
        }
    }
    TtlPolicy::new(entries)
}

/// A length of time from a raw value.
pub(super) fn duration(
    text: &raw::Text,
    bounds: (Duration, Duration),
    sources: &Sources,
) -> Result<Duration, Diagnostic> {
    units::duration(text.get_ref(), bounds.0, bounds.1).map_err(|message| sources.error(text.span(), message))
}

fn timeout(text: Option<&raw::Text>, default: u64, sources: &Sources, collector: &mut Collector) -> Duration {
    let given = text.and_then(|text| collector.take(duration(text, TIMEOUT_BOUNDS, sources)));
    given.unwrap_or(Duration::from_secs(default))
}

fn size(text: Option<&raw::Text>, default: usize, sources: &Sources, collector: &mut Collector) -> usize {
    const LEAST: usize = 64 << 10;
    let parse = |text: &raw::Text| match units::bytes(text.get_ref()) {
        Ok(bytes) if (LEAST..=1 << 31).contains(&bytes) => Ok(bytes),
        Ok(_) => Err(sources
            .error(text.span(), format!("`{}` is out of bounds; it lies between 64KiB and 2GiB", text.get_ref()))),
        Err(message) => Err(sources.error(text.span(), message)),
    };
    text.and_then(|text| collector.take(parse(text))).unwrap_or(default)
}

/// A number within bounds.
pub(super) fn bounded<T, N>(
    value: &Spanned<N>,
    bounds: std::ops::RangeInclusive<T>,
    sources: &Sources,
) -> Result<T, Diagnostic>
where
    T: TryFrom<N> + PartialOrd + std::fmt::Display,
    N: Copy + std::fmt::Display,
{
    let span: Range<usize> = value.span();
    match T::try_from(*value.get_ref()) {
        Ok(number) if bounds.contains(&number) => Ok(number),
        _ => {
            let message = format!(
                "{} is out of bounds; it lies between {} and {}",
                value.get_ref(),
                bounds.start(),
                bounds.end()
            );
            Err(sources.error(span, message))
        }
    }
}

fn number<T, N>(
    value: Option<&Spanned<N>>,
    default: T,
    bounds: std::ops::RangeInclusive<T>,
    sources: &Sources,
    collector: &mut Collector,
) -> T
where
    T: TryFrom<N> + PartialOrd + std::fmt::Display,
    N: Copy + std::fmt::Display,
{
    value.and_then(|value| collector.take(bounded(value, bounds, sources))).unwrap_or(default)
}
