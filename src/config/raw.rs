//! The files as serde reads them: every value with its place, nothing interpreted, no unknown field.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

/// A text with its place.
pub(super) type Text = Spanned<String>;

/// Overwrites each field that the other side has.
macro_rules! merge {
    ($into:expr, $from:expr, $($field:ident),+) => { $( if $from.$field.is_some() { $into.$field = $from.$field; } )+ };
}

/// `warm.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) jobs: Option<Text>,
    #[serde(default)]
    pub(super) postgres: Postgres,
    #[serde(default)]
    pub(super) redis: Redis,
    #[serde(default)]
    pub(super) ttl: Table<Text>,
    pub(super) defaults: Option<Defaults>,
    #[serde(default)]
    pub(super) limits: Limits,
}

impl Config {
    /// Takes over what `other` says.
    pub(super) fn merge(&mut self, other: Config) {
        merge!(self, other, jobs);
        merge!(self.postgres, other.postgres, url, url_file, connections, connect_timeout, statement_timeout);
        merge!(self.redis, other.redis, url, url_file, database, key_prefix, ca_file, connect_timeout, timeout);
        merge!(self.limits, other.limits, combinations, key_length, in_flight, buffer);
        self.ttl.0.retain(|(prefix, _)| other.ttl.0.iter().all(|(new, _)| new.get_ref() != prefix.get_ref()));
        self.ttl.0.extend(other.ttl.0);
        if let Some(from) = other.defaults {
            let into = self.defaults.get_or_insert_default();
            merge!(
                into, from, schedule, timezone, format, bigint, priority, timeout, retries, on_bad_row, ttl_jitter,
                mode
            );
            if let Some(guard) = from.guard {
                merge!(into.guard.get_or_insert_default(), guard, max_value);
            }
        }
    }
}

/// `[postgres]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Postgres {
    pub(super) url: Option<Text>,
    pub(super) url_file: Option<Text>,
    pub(super) connections: Option<Spanned<u32>>,
    pub(super) connect_timeout: Option<Text>,
    pub(super) statement_timeout: Option<Text>,
}

/// `[redis]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Redis {
    pub(super) url: Option<Text>,
    pub(super) url_file: Option<Text>,
    pub(super) database: Option<Spanned<i64>>,
    pub(super) key_prefix: Option<Text>,
    pub(super) ca_file: Option<Text>,
    pub(super) connect_timeout: Option<Text>,
    pub(super) timeout: Option<Text>,
}

/// `[limits]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) combinations: Option<Spanned<u64>>,
    pub(super) key_length: Option<Spanned<u64>>,
    pub(super) in_flight: Option<Text>,
    pub(super) buffer: Option<Text>,
}

/// `[defaults]`: the fields of a job that make sense for all jobs.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Defaults {
    pub(super) schedule: Option<Text>,
    pub(super) timezone: Option<Text>,
    pub(super) format: Option<Text>,
    pub(super) bigint: Option<Text>,
    pub(super) priority: Option<Spanned<i64>>,
    pub(super) timeout: Option<Text>,
    pub(super) retries: Option<Spanned<i64>>,
    pub(super) on_bad_row: Option<Text>,
    pub(super) ttl_jitter: Option<Text>,
    pub(super) mode: Option<Text>,
    pub(super) guard: Option<Guard>,
}

/// `[guard]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Guard {
    pub(super) max_value: Option<Text>,
}

/// A job file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Job {
    pub(super) description: Option<String>,
    pub(super) query: Option<Text>,
    pub(super) key: Option<Text>,
    pub(super) value: Option<Text>,
    pub(super) ttl: Option<Text>,
    pub(super) hide: Option<Vec<Text>>,
    #[serde(default)]
    pub(super) for_each: Table<Spanned<Values>>,
    // The fields below are those of [defaults].
    pub(super) schedule: Option<Text>,
    pub(super) timezone: Option<Text>,
    pub(super) format: Option<Text>,
    pub(super) bigint: Option<Text>,
    pub(super) priority: Option<Spanned<i64>>,
    pub(super) timeout: Option<Text>,
    pub(super) retries: Option<Spanned<i64>>,
    pub(super) on_bad_row: Option<Text>,
    pub(super) ttl_jitter: Option<Text>,
    pub(super) mode: Option<Text>,
    pub(super) guard: Option<Guard>,
}

impl Job {
    /// Fills what the job leaves out from the defaults.
    pub(super) fn with_defaults(mut self, defaults: &Defaults) -> Self {
        macro_rules! fill {
            ($($field:ident),+) => { $( if self.$field.is_none() { self.$field = defaults.$field.clone(); } )+ };
        }
        fill!(schedule, timezone, format, bigint, priority, timeout, retries, on_bad_row, ttl_jitter, mode, guard);
        self
    }
}

/// A table with names of the user's choice, in the order of the file.
#[derive(Debug)]
pub(super) struct Table<T>(pub(super) Vec<(Text, T)>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Table<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Table(entries))
            }
        }
        deserializer.deserialize_map(Entries(std::marker::PhantomData))
    }
}

/// The values of a parameter in `[for_each]`.
#[derive(Debug)]
pub(super) enum Values {
    List(Vec<Spanned<Scalar>>),
    Query(Text),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValuesQuery {
    query: Text,
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListOrQuery;
        impl<'de> Visitor<'de> for ListOrQuery {
            type Value = Values;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of values, or { query = \"SELECT …\" }")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Values, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(Values::List(values))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Values, A::Error> {
                ValuesQuery::deserialize(MapAccessDeserializer::new(map)).map(|table| Values::Query(table.query))
            }
        }
        deserializer.deserialize_any(ListOrQuery)
    }
}

/// One value of a list, as the text that is bound and stands in the key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scalar(pub(super) String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsText;
        impl Visitor<'_> for AsText {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, an integer or a boolean (anything else is written as a string, as it should stand in the key)")
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Scalar, E> {
                Ok(Scalar(value.to_owned()))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
        }
        deserializer.deserialize_any(AsText)
    }
}
