//! Where two values begin to differ, and whether they were made in the same way.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::show::visible;

/// How much of each value is shown from a little before the difference on, in bytes.
const BEFORE: usize = 12;
const AFTER: usize = 36;

/// The first difference of two values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// How many bytes are equal before it.
    pub at: usize,
    /// The member that it is in, such as `[2].startDate`; empty if that cannot be told.
    pub member: String,
    /// What should be there, from a little before on; `None` if that is shown to nobody.
    pub expected: Option<String>,
    /// What is there; `None` likewise.
    pub found: Option<String>,
}

impl Difference {
    /// The first difference of a value from the one that should be there.
    pub fn between(expected: &[u8], found: &[u8]) -> Self {
        let at = expected.iter().zip(found).take_while(|(a, b)| a == b).count();
        let part = |value: &[u8]| {
            let (start, end) = (at.saturating_sub(BEFORE), (at + AFTER).min(value.len()));
            let (ahead, behind) = (if start > 0 { "…" } else { "" }, if end < value.len() { "…" } else { "" });
            let text = String::from_utf8_lossy(value.get(start..end).unwrap_or_default()).into_owned();
            // A letter may have been cut.
            format!("{ahead}{}{behind}", visible(text.trim_matches('\u{fffd}')))
        };
        let (shown, is) = (Some(part(expected)), Some(part(found)));
        Difference { at, member: member_at(&expected[..at]), expected: shown, found: is }
    }

    /// The same without anything of the values.
    #[must_use]
    pub fn without_values(self) -> Self {
        Difference { expected: None, found: None, ..self }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { at, member, expected, found } = self;
        let member = if member.is_empty() { String::new() } else { format!("in {member}, ") };
        write!(f, "{member}at byte {at}")?;
        match (expected, found) {
            (Some(expected), Some(found)) => write!(f, ": should be `{expected}`, is `{found}`"),
            _ => f.write_str(" of what was encrypted"),
        }
    }
}

/// The member that is open at the end of the beginning of a JSON text.
fn member_at(text: &[u8]) -> String {
    /// An array with the number of its elements so far, or an object with its present member.
    enum Open {
        Array(usize),
        Object(Vec<u8>),
    }
    let (mut open, mut at) = (Vec::new(), 0);
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'[' => open.push(Open::Array(0)),
            b'{' => open.push(Open::Object(Vec::new())),
            b']' | b'}' => drop(open.pop()),
            b',' => match open.last_mut() {
                Some(Open::Array(count)) => *count += 1,
                Some(Open::Object(name)) => name.clear(),
                None => {}
            },
            b'"' => {
                let start = at;
                while text.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
                let word = text.get(start..at).unwrap_or_default();
                at += 1;
                if let Some(Open::Object(name)) = open.last_mut()
                    && text.get(at).is_none_or(|byte| *byte == b':')
                    && name.is_empty()
                {
                    *name = word.to_vec();
                }
            }
            _ => {}
        }
    }
    let step = |open: &Open| match open {
        Open::Array(count) => format!("[{count}]"),
        Open::Object(name) if name.is_empty() => String::new(),
        Open::Object(name) => format!(".{}", visible(&String::from_utf8_lossy(name))),
    };
    open.iter().map(step).collect::<String>().trim_start_matches('.').to_owned()
}

/// Whether a value was made in another way than the one that should be there, rather than of other rows: it is no JSON where that is, says the same in other bytes, or
/// its rows have other members, in another order, or of other kinds. What stands within a member is the application's own.
pub fn has_other_shape(expected: &[u8], found: &[u8]) -> bool {
    let Ok(expected) = serde_json::from_slice::<Tree>(expected) else { return false };
    let Ok(found) = serde_json::from_slice::<Tree>(found) else { return true };
    if expected == found {
        return true;
    }
    match (&expected, &found) {
        (Tree::Array(rows), Tree::Array(others)) => match (rows.first(), others.first()) {
            (Some(row), Some(_)) => others.iter().any(|other| differ(row, other, rows)),
            _ => false,
        },
        (row, other) => differ(row, other, std::slice::from_ref(row)),
    }
}

/// Whether the other row was made in another way than these.
fn differ(row: &Tree, other: &Tree, rows: &[Tree]) -> bool {
    let (Tree::Object(members), Tree::Object(others)) = (row, other) else { return row.kind() != other.kind() };
    if !members.iter().map(|(name, _)| name).eq(others.iter().map(|(name, _)| name)) {
        return true;
    }
    others.iter().enumerate().any(|(at, (_, other))| {
        let kinds = rows.iter().filter_map(|row| match row {
            Tree::Object(members) => members.get(at).map(|(_, value)| value.kind()),
            _ => None,
        });
        let mut kinds = kinds.filter(|kind| *kind != Kind::Null).peekable();
        // Where all are null nobody knows what else there could be.
        other.kind() != Kind::Null && kinds.peek().is_some() && !kinds.any(|kind| kind == other.kind())
    })
}

/// What kind of value a member is, as far as a format decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Bool,
    Number,
    /// A time as JavaScript writes it.
    Time,
    Text,
    Array,
    Object,
}

/// A JSON value whose members keep their order.
#[derive(Debug, Clone, PartialEq)]
enum Tree {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    fn kind(&self) -> Kind {
        match self {
            Tree::Null => Kind::Null,
            Tree::Bool(_) => Kind::Bool,
            Tree::Number(_) => Kind::Number,
            Tree::Text(text) if is_time(text) => Kind::Time,
            Tree::Text(_) => Kind::Text,
            Tree::Array(_) => Kind::Array,
            Tree::Object(_) => Kind::Object,
        }
    }
}

/// Whether the text is a time in the notation of JavaScript's `toISOString`.
fn is_time(text: &str) -> bool {
    const LIKE: &[u8] = b"0000-00-00T00:00:00.000Z";
    let same = |(byte, like): (u8, &u8)| if *like == b'0' { byte.is_ascii_digit() } else { byte == *like };
    text.len() == LIKE.len() && text.bytes().zip(LIKE).all(same)
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Tree, A::Error> {
        let mut all = Vec::new();
        while let Some(value) = values.next_element()? {
            all.push(value);
        }
        Ok(Tree::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let mut all = Vec::new();
        while let Some(member) = members.next_entry()? {
            all.push(member);
        }
        Ok(Tree::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = r#"{"id":1,"at":"2026-11-24T12:00:00.000Z","note":null,"tiers":{"VIP":5}}"#;

    #[test]
    fn a_value_of_other_rows_is_stale_and_one_that_was_made_otherwise_has_another_shape() {
        for (found, other) in [
            (r#"{"id":2,"at":"2026-11-25T12:00:00.000Z","note":"x","tiers":{"Gold":7}}"#, false),
            (r#"{"id":1,"at":null,"note":null,"tiers":null}"#, false),
            (r#"{"id":1,"at":"2026-11-24 12:00:00","note":null,"tiers":{"VIP":5}}"#, true),
            (r#"{"id":"1","at":"2026-11-24T12:00:00.000Z","note":null,"tiers":{"VIP":5}}"#, true),
            (r#"{"at":"2026-11-24T12:00:00.000Z","id":1,"note":null,"tiers":{"VIP":5}}"#, true),
            (r#"{"id":1,"at":"2026-11-24T12:00:00.000Z","note":null}"#, true),
            (r#"{"id":1.0,"at":"2026-11-24T12:00:00.000Z","note":null,"tiers":{"VIP":5}}"#, true),
            (r#"[{"id":1}]"#, true),
            ("gone", true),
        ] {
            assert_eq!(has_other_shape(ROW.as_bytes(), found.as_bytes()), other, "{found}");
        }
        let rows = format!("[{ROW},{ROW}]");
        assert!(!has_other_shape(rows.as_bytes(), b"[]") && !has_other_shape(b"[]", rows.as_bytes()));
        assert!(!has_other_shape(rows.as_bytes(), format!("[{ROW}]").as_bytes()), "one row less");
        assert!(has_other_shape(rows.as_bytes(), br#"[{"id":1}]"#));
        assert!(!has_other_shape(b"5", b"6") && has_other_shape(b"5", br#""5""#) && !has_other_shape(b"a b", b"a c"));
    }

    #[test]
    fn the_first_difference_is_told_with_its_member() {
        let of = |expected: &str, found: &str| Difference::between(expected.as_bytes(), found.as_bytes());
        let first = of(r#"[{"id":1,"a":{"b\"c":[1,2]}}]"#, r#"[{"id":1,"a":{"b\"c":[1,3]}}]"#);
        assert_eq!((first.at, first.member.as_str()), (24, r#"[0].a.b\"c[1]"#));
        let first = of(r#"{"name":"Ọdún","x":1}"#, r#"{"name":"Ọdun","x":1}"#);
        assert_eq!(first.member, "name");
        assert!(first.to_string().starts_with("in name, at byte 13: should be `…"), "{first}");
        assert_eq!(of("{}", "{}x").found.as_deref(), Some("{}x"));
        let hidden = of(r#"{"a":"secret"}"#, r#"{"a":"public"}"#).without_values();
        assert_eq!(hidden.to_string(), "in a, at byte 6 of what was encrypted");
        assert_eq!(of("abc", "").at, 0);
    }
}
