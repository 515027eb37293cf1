//! The Redis types that a job's keys may have, and how a value that is made of several parts travels.
//!
//! Between rows and Redis every value is bytes, whatever becomes of it there: so a value can be compared with what a second reading gives, and bounded, without
//! anybody knowing its type. One of several parts is each of them behind its length, which Lua takes apart in Redis.

/// The type of a job's keys in Redis (`type = …` in the job file), with what the types that hold elements need to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KeyType {
    /// `"string"`.
    #[default]
    String,
    /// `"hash"`: the columns of a row are its fields.
    Hash,
    /// `"list"`: an element for each row, in the order of the query.
    List(Element),
    /// `"set"`: the same without order and without repetition.
    Set(Element),
    /// `"zset"`: the same, with a column that is the score.
    SortedSet {
        /// The column.
        score: String,
        /// The element.
        element: Element,
    },
    /// `"json"`: a document, where the server has a module for it.
    Json,
}

/// What a row becomes in a list, a set or a sorted set (`element = …`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Element {
    /// `"row"`: the row as an object.
    #[default]
    Row,
    /// `"column:NAME"`: one column.
    Column(String),
}

impl KeyType {
    /// The type alone.
    pub fn kind(&self) -> Kind {
        match self {
            KeyType::String => Kind::String,
            KeyType::Hash => Kind::Hash,
            KeyType::List(_) => Kind::List,
            KeyType::Set(_) => Kind::Set,
            KeyType::SortedSet { .. } => Kind::SortedSet,
            KeyType::Json => Kind::Json,
        }
    }
}

/// A type of keys in Redis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Bytes.
    #[default]
    String,
    /// Fields with values.
    Hash,
    /// Elements in an order.
    List,
    /// Elements without an order.
    Set,
    /// Elements with scores.
    SortedSet,
    /// A JSON document.
    Json,
}

impl Kind {
    /// What a job file calls it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Hash => "hash",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::SortedSet => "zset",
            Kind::Json => "json",
        }
    }

    /// What Redis calls it (`TYPE`).
    pub fn name(self) -> &'static str {
        if self == Kind::Json { "ReJSON-RL" } else { self.word() }
    }

    /// For people, with its article.
    pub fn in_words(self) -> &'static str {
        match self {
            Kind::String => "a string",
            Kind::Hash => "a hash",
            Kind::List => "a list",
            Kind::Set => "a set",
            Kind::SortedSet => "a sorted set",
            Kind::Json => "a JSON document",
        }
    }

    /// Several of them, for people.
    pub fn in_words_of_many(self) -> &'static str {
        match self {
            Kind::String => "strings",
            Kind::Hash => "hashes",
            Kind::List => "lists",
            Kind::Set => "sets",
            Kind::SortedSet => "sorted sets",
            Kind::Json => "JSON documents",
        }
    }

    /// Whether a value is made of parts.
    pub fn has_parts(self) -> bool {
        !matches!(self, Kind::String | Kind::Json)
    }

    /// How many parts belong together: a field and its value, a score and its element.
    pub fn parts_of_one(self) -> usize {
        if matches!(self, Kind::Hash | Kind::SortedSet) { 2 } else { 1 }
    }

    /// What a value takes in Redis beside its bytes, roughly: as much as where its elements are too many, or too long, for the compact form.
    pub fn overhead(self, payload: &[u8]) -> usize {
        let each = match self {
            Kind::String | Kind::Json | Kind::List => return 0,
            Kind::Hash => 64,
            Kind::Set => 56,
            Kind::SortedSet => 104,
        };
        parts(payload).count() / self.parts_of_one() * each
    }
}

/// The length before a part.
const LENGTH: usize = 4;

/// Begins a part, whose bytes are then appended; gives what [`end_part`] needs.
pub fn begin_part(value: &mut Vec<u8>) -> usize {
    value.extend_from_slice(&[0; LENGTH]);
    value.len()
}

/// Ends the part that began there.
pub fn end_part(value: &mut [u8], start: usize) {
    // What is longer is refused before it comes here: Redis takes no more than 512 MiB.
    let length = u32::try_from(value.len() - start).unwrap_or(u32::MAX);
    if let Some(place) = value.get_mut(start - LENGTH..start) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

/// Appends a whole part.
pub fn put_part(value: &mut Vec<u8>, part: &[u8]) {
    let start = begin_part(value);
    value.extend_from_slice(part);
    end_part(value, start);
}

/// The parts of a value.
pub fn parts(mut value: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = value.split_first_chunk::<LENGTH>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let part = rest.get(..length)?;
        value = &rest[length..];
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_as_they_were_put_together() {
        let mut value = Vec::new();
        let long = vec![b'x'; 70_000];
        let all: [&[u8]; 4] = [b"", b"a\0\n", &long, b""];
        all.iter().for_each(|part| put_part(&mut value, part));
        assert!(parts(&value).eq(all));
        assert_eq!(parts(b"").count(), 0);
        assert_eq!(parts(&value[..value.len() - 5]).count(), 2, "half a part is none");
    }
}
