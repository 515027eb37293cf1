//! The kinds of values in the files, each with words of its own for what was expected.

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

/// `partition_by`: a column, and in how many ranges of it the query is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, expecting = "{ column = \"COLUMN\", parts = 4 }")]
pub(super) struct PartitionBy {
    pub(super) column: Text,
    pub(super) parts: Number,
}

/// `compress`: a format, and perhaps the size from which on it is used.
#[derive(Debug)]
pub(super) enum Compress {
    Word(String),
    Table { with: Text, above: Option<Spanned<Size>> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct CompressAbove {
    with: Text,
    above: Option<Spanned<Size>>,
}

impl<'de> Deserialize<'de> for Compress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrAbove;
        impl<'de> Visitor<'de> for WordOrAbove {
            type Value = Compress;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"zstd\", \"lz4\", \"gzip\" or { with = \"zstd\", above = \"1KiB\" }")
            }
            fn visit_str<E: Error>(self, word: &str) -> Result<Compress, E> {
                Ok(Compress::Word(word.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Compress, A::Error> {
                let table = CompressAbove::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Compress::Table { with: table.with, above: table.above })
            }
        }
        deserializer.deserialize_any(WordOrAbove)
    }
}

/// `refresh_ahead`: whether, or the share of their life that keys have left then.
#[derive(Debug, Clone)]
pub(super) enum Ahead {
    Whether(bool),
    Share(String),
}

impl<'de> Deserialize<'de> for Ahead {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WhetherOrShare;
        impl Visitor<'_> for WhetherOrShare {
            type Value = Ahead;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or a share such as \"20%\"")
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Ahead, E> {
                Ok(Ahead::Whether(value))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Ahead, E> {
                Ok(Ahead::Share(value.to_owned()))
            }
        }
        deserializer.deserialize_any(WhetherOrShare)
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
