//! The files as serde reads them: every value with its place, nothing interpreted, no unknown field.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

/// A text with its place.
pub(super) type Text = Spanned<String>;
/// A whole number with its place.
pub(super) type Number = Spanned<Integer>;

/// Texts that mean something else than text, so that a value of another type is refused in these words.
macro_rules! written {
    ($($(#[$doc:meta])* $name:ident: $expected:literal),+) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub(super) struct $name(pub(super) String);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Written;
                impl Visitor<'_> for Written {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_str<E: Error>(self, value: &str) -> Result<$name, E> {
                        Ok($name(value.to_owned()))
                    }
                }
                deserializer.deserialize_any(Written)
            }
        }
    )+ };
}

written! {
    /// `"5m"`.
    Length: "a length of time such as \"5m\"",
    /// `"1MiB"`.
    Size: "a size such as \"1MiB\"",
    /// `"5%"`.
    Share: "a share such as \"5%\""
}

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
            statement_timeout
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
            memory_limit
        );
        merge!(self.limits, other.limits, combinations, key_length, in_flight, buffer);
        self.ttl.0.retain(|(prefix, _)| other.ttl.0.iter().all(|(new, _)| new.get_ref() != prefix.get_ref()));
        self.ttl.0.extend(other.ttl.0);
        if let Some(from) = other.defaults {
            let into = self.defaults.get_or_insert_default();
            merge!(
                into,
                from,
                schedule,
                timezone,
                format,
                bigint,
                priority,
                timeout,
                retries,
                on_bad_row,
                ttl_jitter,
                mode,
                verify,
                invalidates
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

/// `[defaults]`: the fields of a job that make sense for all jobs.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Defaults {
    pub(super) schedule: Option<Text>,
    pub(super) timezone: Option<Text>,
    pub(super) format: Option<Text>,
    pub(super) bigint: Option<Text>,
    pub(super) priority: Option<Number>,
    pub(super) timeout: Option<Spanned<Length>>,
    pub(super) retries: Option<Number>,
    pub(super) on_bad_row: Option<Text>,
    pub(super) ttl_jitter: Option<Spanned<Share>>,
    pub(super) mode: Option<Text>,
    pub(super) verify: Option<Spanned<Verify>>,
    pub(super) invalidates: Option<Text>,
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
    pub(super) key: Option<Text>,
    pub(super) value: Option<Text>,
    pub(super) ttl: Option<Spanned<Length>>,
    pub(super) hide: Option<Texts>,
    pub(super) sweep: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) for_each: Table<Spanned<Values>>,
    // The fields below are those of [defaults].
    pub(super) schedule: Option<Text>,
    pub(super) timezone: Option<Text>,
    pub(super) format: Option<Text>,
    pub(super) bigint: Option<Text>,
    pub(super) priority: Option<Number>,
    pub(super) timeout: Option<Spanned<Length>>,
    pub(super) retries: Option<Number>,
    pub(super) on_bad_row: Option<Text>,
    pub(super) ttl_jitter: Option<Spanned<Share>>,
    pub(super) mode: Option<Text>,
    pub(super) verify: Option<Spanned<Verify>>,
    pub(super) invalidates: Option<Text>,
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
            format,
            bigint,
            priority,
            timeout,
            retries,
            on_bad_row,
            ttl_jitter,
            mode,
            verify,
            invalidates,
            guard
        );
        // A table of the job's own does not take the defaults of its other fields away.
        if let (Some(guard), Some(own)) = (&defaults.guard, &self.guard) {
            common.guard.insert(guard.clone()).merge(own.clone());
        }
        common
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
#[serde(deny_unknown_fields, expecting = "a table")]
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

/// `verify`: a word, or the column with a row's version.
#[derive(Debug, Clone)]
pub(super) enum Verify {
    Word(String),
    Version(Text),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct VerifyVersion {
    version: Text,
}

impl<'de> Deserialize<'de> for Verify {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrVersion;
        impl<'de> Visitor<'de> for WordOrVersion {
            type Value = Verify;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"requery\", \"none\" or { version = \"COLUMN\" }")
            }
            fn visit_str<E: Error>(self, word: &str) -> Result<Verify, E> {
                Ok(Verify::Word(word.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Verify, A::Error> {
                VerifyVersion::deserialize(MapAccessDeserializer::new(map)).map(|table| Verify::Version(table.version))
            }
        }
        deserializer.deserialize_any(WordOrVersion)
    }
}

/// A list of texts.
#[derive(Debug, Default)]
pub(super) struct Texts(pub(super) Vec<Text>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Texts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strings")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(Texts(texts))
            }
        }
        deserializer.deserialize_any(List)
    }
}

/// A whole number. One that is too large for an `i64` is at its end, and so out of any bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Integer(pub(super) i64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Integer;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Integer, E> {
                Ok(Integer(value))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Integer, E> {
                Ok(Integer(i64::try_from(value).unwrap_or(i64::MAX)))
            }
            fn visit_i128<E: Error>(self, value: i128) -> Result<Integer, E> {
                Ok(Integer(if value < 0 { i64::MIN } else { i64::MAX }))
            }
        }
        deserializer.deserialize_any(Whole)
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
                f.write_str("a string, a whole number or a boolean")
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
