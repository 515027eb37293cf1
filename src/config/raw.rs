//! The files as serde reads them: every value with its place, nothing interpreted, no unknown field.

use serde::Deserialize;
use toml::Spanned;

pub(super) use super::values::{
    Ahead, Compress, Length, Number, PartitionBy, Scalar, Share, Size, Table, Text, Texts, Values, Verify,
};

/// Overwrites each field that the other side has.
macro_rules! merge {
    ($into:expr, $from:expr, $($field:ident),+) => { $( if $from.$field.is_some() { $into.$field = $from.$field; } )+ };
}

/// `warm.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Config {
    pub(super) jobs: Option<Text>,
    pub(super) state: Option<Text>,
    #[serde(default)]
    pub(super) postgres: Postgres,
    #[serde(default)]
    pub(super) redis: Redis,
    #[serde(default)]
    pub(super) ttl: Table<Spanned<Length>>,
    pub(super) defaults: Option<Defaults>,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) serve: Serve,
    #[serde(default)]
    pub(super) encryption: Encryption,
    #[serde(default)]
    pub(super) targets: Targets,
    #[serde(default)]
    pub(super) invalidate: Table<Invalidate>,
    #[serde(default)]
    pub(super) changes: Changes,
    #[serde(default)]
    pub(super) learn: Learn,
}

impl Config {
    /// Takes over what `other` says.
    pub(super) fn merge(&mut self, other: Config) {
        merge!(self, other, jobs, state);
        // A URL and a file that holds one are two ways to say the same: the later one replaces the earlier one.
        if other.postgres.url.is_some() || other.postgres.url_file.is_some() {
            (self.postgres.url, self.postgres.url_file) = (None, None);
        }
        if other.redis.url.is_some() || other.redis.url_file.is_some() {
            (self.redis.url, self.redis.url_file) = (None, None);
        }
        merge!(
            self.postgres,
            other.postgres,
            url,
            url_file,
            primary_url,
            primary_url_file,
            connections,
            connect_timeout,
            statement_timeout,
            busy_above,
            busy_query,
            max_lag
        );
        merge!(
            self.redis,
            other.redis,
            url,
            url_file,
            database,
            key_prefix,
            ca_file,
            connect_timeout,
            timeout,
            memory_limit,
            keys_per_second,
            bytes_per_second,
            latency_limit
        );
        merge!(
            self.serve,
            other.serve,
            grace_period,
            listen,
            keys_socket,
            keys_socket_mode,
            keys_listen,
            keys_invalidate,
            level1,
            level1_ttl
        );
        merge!(self.encryption, other.encryption, keys_file);
        merge!(self.changes, other.changes, channel, slot, slot_limit, missed);
        let tables = other.changes.tables.0;
        self.changes.tables.0.retain(|(table, _)| tables.iter().all(|(new, _)| new.get_ref() != table.get_ref()));
        self.changes.tables.0.extend(tables);
        merge!(self.targets, other.targets, hit_ratio, cache_answer, query, memory);
        merge!(self.learn, other.learn, keys, half_life);
        merge!(self.limits, other.limits, combinations, key_length, in_flight, buffer);
        self.ttl.0.retain(|(prefix, _)| other.ttl.0.iter().all(|(new, _)| new.get_ref() != prefix.get_ref()));
        self.ttl.0.extend(other.ttl.0);
        for (name, from) in other.invalidate.0 {
            match self.invalidate.0.iter_mut().find(|(known, _)| known.get_ref() == name.get_ref()) {
                Some((_, into)) => {
                    merge!(into, from, keys, then);
                }
                None => self.invalidate.0.push((name, from)),
            }
        }
        if let Some(from) = other.defaults {
            let into = self.defaults.get_or_insert_default();
            merge!(
                into,
                from,
                schedule,
                timezone,
                splay,
                format,
                bigint,
                priority,
                timeout,
                first_row_timeout,
                next_row_timeout,
                retries,
                on_bad_row,
                ttl_jitter,
                mode,
                verify,
                invalidates,
                catch_up,
                misfire_grace,
                overlap,
                refresh_ahead,
                max_age
            );
            if let Some(guard) = from.guard {
                into.guard.get_or_insert_default().merge(guard);
            }
        }
    }
}

/// `[postgres]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Postgres {
    pub(super) url: Option<Text>,
    pub(super) url_file: Option<Text>,
    pub(super) primary_url: Option<Text>,
    pub(super) primary_url_file: Option<Text>,
    pub(super) connections: Option<Number>,
    pub(super) connect_timeout: Option<Spanned<Length>>,
    pub(super) statement_timeout: Option<Spanned<Length>>,
    pub(super) busy_above: Option<Number>,
    pub(super) busy_query: Option<Text>,
    pub(super) max_lag: Option<Spanned<Length>>,
}

/// `[redis]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Redis {
    pub(super) url: Option<Text>,
    pub(super) url_file: Option<Text>,
    pub(super) database: Option<Number>,
    pub(super) key_prefix: Option<Text>,
    pub(super) ca_file: Option<Text>,
    pub(super) connect_timeout: Option<Spanned<Length>>,
    pub(super) timeout: Option<Spanned<Length>>,
    pub(super) memory_limit: Option<Spanned<Share>>,
    pub(super) keys_per_second: Option<Number>,
    pub(super) bytes_per_second: Option<Spanned<Size>>,
    pub(super) latency_limit: Option<Spanned<Length>>,
}

/// `[limits]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Limits {
    pub(super) combinations: Option<Number>,
    pub(super) key_length: Option<Number>,
    pub(super) in_flight: Option<Spanned<Size>>,
    pub(super) buffer: Option<Spanned<Size>>,
}

/// `[serve]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Serve {
    pub(super) grace_period: Option<Spanned<Length>>,
    pub(super) listen: Option<Text>,
    pub(super) keys_socket: Option<Text>,
    pub(super) keys_socket_mode: Option<Text>,
    pub(super) keys_listen: Option<Text>,
    pub(super) keys_invalidate: Option<Spanned<bool>>,
    pub(super) level1: Option<Spanned<Size>>,
    pub(super) level1_ttl: Option<Spanned<Length>>,
}

/// `[encryption]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Encryption {
    pub(super) keys_file: Option<Text>,
}

/// `[targets]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Targets {
    pub(super) hit_ratio: Option<Spanned<Share>>,
    pub(super) cache_answer: Option<Spanned<Length>>,
    pub(super) query: Option<Spanned<Length>>,
    pub(super) memory: Option<Spanned<Share>>,
}

/// `[learn]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Learn {
    pub(super) keys: Option<Number>,
    pub(super) half_life: Option<Spanned<Length>>,
}

/// A table of `[invalidate]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Invalidate {
    pub(super) keys: Option<Texts>,
    pub(super) then: Option<Texts>,
}

/// `[changes]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Changes {
    pub(super) channel: Option<Text>,
    pub(super) slot: Option<Text>,
    pub(super) slot_limit: Option<Spanned<Size>>,
    pub(super) missed: Option<Text>,
    #[serde(default)]
    pub(super) tables: Table<Texts>,
}

/// `[defaults]`: the fields of a job that make sense for all jobs.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Defaults {
    pub(super) schedule: Option<Text>,
    pub(super) timezone: Option<Text>,
    pub(super) splay: Option<Spanned<Length>>,
    pub(super) format: Option<Text>,
    pub(super) bigint: Option<Text>,
    pub(super) priority: Option<Number>,
    pub(super) timeout: Option<Spanned<Length>>,
    pub(super) first_row_timeout: Option<Spanned<Length>>,
    pub(super) next_row_timeout: Option<Spanned<Length>>,
    pub(super) retries: Option<Number>,
    pub(super) on_bad_row: Option<Text>,
    pub(super) ttl_jitter: Option<Spanned<Share>>,
    pub(super) mode: Option<Text>,
    pub(super) verify: Option<Spanned<Verify>>,
    pub(super) invalidates: Option<Text>,
    pub(super) catch_up: Option<Text>,
    pub(super) misfire_grace: Option<Spanned<Length>>,
    pub(super) overlap: Option<Text>,
    pub(super) refresh_ahead: Option<Spanned<Ahead>>,
    pub(super) max_age: Option<Spanned<Length>>,
    pub(super) guard: Option<Guard>,
}

/// `[guard]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Guard {
    pub(super) max_value: Option<Spanned<Size>>,
    pub(super) min_rows: Option<Number>,
    pub(super) max_rows: Option<Number>,
    pub(super) max_shrink: Option<Spanned<Share>>,
    pub(super) same_columns: Option<Spanned<bool>>,
}

impl Guard {
    fn merge(&mut self, other: Guard) {
        merge!(self, other, max_value, min_rows, max_rows, max_shrink, same_columns);
    }
}

/// A job file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Job {
    pub(super) description: Option<String>,
    pub(super) query: Option<Text>,
    pub(super) fill_query: Option<Text>,
    pub(super) key: Option<Text>,
    pub(super) value: Option<Text>,
    #[serde(rename = "type")]
    pub(super) key_type: Option<Text>,
    pub(super) element: Option<Text>,
    pub(super) score: Option<Text>,
    pub(super) ttl: Option<Spanned<Length>>,
    pub(super) hide: Option<Texts>,
    pub(super) compress: Option<Spanned<Compress>>,
    pub(super) encrypt: Option<Spanned<bool>>,
    pub(super) sweep: Option<Spanned<bool>>,
    pub(super) paginate: Option<Number>,
    pub(super) partition_by: Option<Spanned<PartitionBy>>,
    pub(super) on_change: Option<Text>,
    pub(super) predict: Option<Spanned<bool>>,
    pub(super) predict_top: Option<Number>,
    #[serde(default)]
    pub(super) for_each: Table<Spanned<Values>>,
    // The fields below are those of [defaults].
    pub(super) schedule: Option<Text>,
    pub(super) timezone: Option<Text>,
    pub(super) splay: Option<Spanned<Length>>,
    pub(super) format: Option<Text>,
    pub(super) bigint: Option<Text>,
    pub(super) priority: Option<Number>,
    pub(super) timeout: Option<Spanned<Length>>,
    pub(super) first_row_timeout: Option<Spanned<Length>>,
    pub(super) next_row_timeout: Option<Spanned<Length>>,
    pub(super) retries: Option<Number>,
    pub(super) on_bad_row: Option<Text>,
    pub(super) ttl_jitter: Option<Spanned<Share>>,
    pub(super) mode: Option<Text>,
    pub(super) verify: Option<Spanned<Verify>>,
    pub(super) invalidates: Option<Text>,
    pub(super) catch_up: Option<Text>,
    pub(super) misfire_grace: Option<Spanned<Length>>,
    pub(super) overlap: Option<Text>,
    pub(super) refresh_ahead: Option<Spanned<Ahead>>,
    pub(super) max_age: Option<Spanned<Length>>,
    pub(super) guard: Option<Guard>,
}

impl Job {
    /// The fields that `[defaults]` has too: the job's own, else the default.
    pub(super) fn with_defaults(&self, defaults: &Defaults) -> Defaults {
        macro_rules! own_or_default {
            ($($field:ident),+) => { Defaults { $( $field: self.$field.clone().or_else(|| defaults.$field.clone()) ),+ } };
        }
        let mut common = own_or_default!(
            schedule,
            timezone,
            splay,
            format,
            bigint,
            priority,
            timeout,
            first_row_timeout,
            next_row_timeout,
            retries,
            on_bad_row,
            ttl_jitter,
            mode,
            verify,
            invalidates,
            catch_up,
            misfire_grace,
            overlap,
            refresh_ahead,
            max_age,
            guard
        );
        // A table of the job's own does not take the defaults of its other fields away.
        if let (Some(guard), Some(own)) = (&defaults.guard, &self.guard) {
            common.guard.insert(guard.clone()).merge(own.clone());
        }
        common
    }
}
