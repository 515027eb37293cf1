//! Whether a value was made in another way than the one that should be there, rather than of other rows, and in which.
//!
//! A title that has changed, and dates in another notation, are two things; whoever asks why the application's bytes are others wants to know of the second, wherever the first
//! one stands. So what is told is the first member that was made otherwise, not the first byte that differs.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::show::visible;

/// How much of a name or a value is shown, in letters.
const SHOWN: usize = 48;

/// In which way the value that was found was made otherwise, in words; `None` if it was made in the same way. It is made otherwise if it is no JSON where that should be, says the same in other
/// bytes, or its rows have other members, in another order, or of other kinds. What stands within a member is the application's own. Without `shows_values` members
/// are named, and nothing of what they hold.
pub fn other_shape(expected: &[u8], found: &[u8], shows_values: bool) -> Option<String> {
    let expected = serde_json::from_slice::<Tree>(expected).ok()?;
    let Ok(found) = serde_json::from_slice::<Tree>(found) else { return Some("it is no JSON".to_owned()) };
    if expected == found {
        return Some("it says the same in another notation".to_owned());
    }
    let told = |row: &Tree, other: &Tree, rows: &[Tree], place: &str| {
        row_of_other_shape(row, other, rows).map(|how| how.told(place, shows_values))
    };
    match (&expected, &found) {
        (Tree::Array(rows), Tree::Array(others)) => {
            let row = rows.first()?;
            others.iter().enumerate().find_map(|(at, other)| told(row, other, rows, &format!("[{at}]")))
        }
        (row, other) => told(row, other, std::slice::from_ref(row), ""),
    }
}

/// How a row was made otherwise.
enum How<'t> {
    /// A member is missing; what stands in its place.
    Missing(&'t str, Option<&'t str>),
    /// There is a member too many.
    TooMany(&'t str),
    /// A member stands where another one should.
    Order(&'t str, &'t str),
    /// A member, or the row as a whole, is of another kind: what it should be, and is.
    Kind(Option<&'t str>, &'t Tree, &'t Tree),
}

impl How<'_> {
    /// The same in words, of the row at this place.
    fn told(&self, place: &str, shows_values: bool) -> String {
        let member = |name: &str| match place {
            "" => format!("`{}`", shortened(name)),
            _ => format!("`{place}.{}`", shortened(name)),
        };
        let value = |tree: &Tree| match tree.in_short().filter(|_| shows_values) {
            Some(value) => format!("{} (`{value}`)", tree.kind()),
            None => tree.kind().to_string(),
        };
        match self {
            How::Missing(name, None) => format!("{} is missing", member(name)),
            How::Missing(name, Some(other)) => format!("{} is missing, and {} is there", member(name), member(other)),
            How::TooMany(name) => format!("{} is there, and should not be", member(name)),
            How::Order(name, wanted) => format!("{} stands where {} should", member(name), member(wanted)),
            How::Kind(name, wanted, found) => {
                let whole = if place.is_empty() { "it".to_owned() } else { format!("`{place}`") };
                let what = name.map_or(whole, member);
                format!("{what} should be {}, and is {}", value(wanted), value(found))
            }
        }
    }
}

/// The first way in which the other row was made otherwise than these.
fn row_of_other_shape<'t>(row: &'t Tree, other: &'t Tree, rows: &'t [Tree]) -> Option<How<'t>> {
    let (Tree::Object(members), Tree::Object(others)) = (row, other) else {
        return (row.kind() != other.kind()).then_some(How::Kind(None, row, other));
    };
    let name_at = |members: &'t [(String, Tree)], at: usize| members.get(at).map(|(name, _)| name.as_str());
    let has = |members: &[(String, Tree)], name: &str| members.iter().any(|(other, _)| other == name);
    let places = members.len().max(others.len());
    for at in 0..places {
        let (wanted, found) = (name_at(members, at), name_at(others, at));
        let unknown = found.filter(|found| !has(members, found));
        match (wanted, found) {
            _ if wanted == found => {}
            (Some(wanted), _) if !has(others, wanted) => return Some(How::Missing(wanted, unknown)),
            (Some(wanted), Some(found)) if unknown.is_none() => return Some(How::Order(found, wanted)),
            (_, Some(found)) => return Some(How::TooMany(found)),
            // It is there, but earlier, a second time: the order is another one.
            (Some(wanted), None) => return Some(How::Missing(wanted, None)),
            (None, None) => {}
        }
    }
    others.iter().enumerate().find_map(|(at, (name, other))| {
        let values = rows.iter().filter_map(|row| match row {
            Tree::Object(members) => members.get(at).map(|(_, value)| value),
            _ => None,
        });
        let mut values = values.filter(|value| value.kind() != Kind::Null).peekable();
        // Where all are null nobody knows what else there could be.
        let wanted = *values.peek()?;
        let differs = other.kind() != Kind::Null && !values.any(|value| value.kind() == other.kind());
        differs.then_some(How::Kind(Some(name), wanted, other))
    })
}

/// A name or a value, cut if it is long.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", visible(&text[..end])),
        None => visible(text),
    }
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

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Null => "null",
            Kind::Bool => "true or false",
            Kind::Number => "a number",
            Kind::Time => "a time",
            Kind::Text => "a text",
            Kind::Array => "an array",
            Kind::Object => "an object",
        })
    }
}

impl Tree {
    /// What it holds, if that is one value.
    fn in_short(&self) -> Option<String> {
        match self {
            Tree::Bool(value) => Some(value.to_string()),
            Tree::Number(value) => Some(value.to_string()),
            Tree::Text(value) => Some(shortened(value)),
            Tree::Null | Tree::Array(_) | Tree::Object(_) => None,
        }
    }

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

    #[track_caller]
    fn tells(expected: &str, found: &str, told: Option<&str>) {
        assert_eq!(other_shape(expected.as_bytes(), found.as_bytes(), true).as_deref(), told, "{found}");
    }

    #[test]
    fn a_value_of_other_rows_is_stale_and_one_that_was_made_otherwise_has_another_shape() {
        let time = "`at` should be a time (`2026-11-24T12:00:00.000Z`), and is a text (`2026-11-24T12:00:00+00:00`)";
        for (found, told) in [
            (r#"{"id":2,"at":"2026-11-25T12:00:00.000Z","note":"x","tiers":{"Gold":7}}"#, None),
            (r#"{"id":1,"at":null,"note":null,"tiers":null}"#, None),
            (r#"{"id":2,"at":"2026-11-24T12:00:00+00:00","note":"x","tiers":{"VIP":5}}"#, Some(time)),
            (
                r#"{"id":"1","at":"2026-11-24T12:00:00.000Z","note":null,"tiers":{"VIP":5}}"#,
                Some("`id` should be a number (`1`), and is a text (`1`)"),
            ),
            (
                r#"{"at":"2026-11-24T12:00:00.000Z","id":2,"note":null,"tiers":{"VIP":5}}"#,
                Some("`at` stands where `id` should"),
            ),
            (r#"{"id":2,"at":"2026-11-24T12:00:00.000Z","note":null}"#, Some("`tiers` is missing")),
            (
                r#"{"id":2,"when":"2026-11-24T12:00:00.000Z","note":null,"tiers":{}}"#,
                Some("`at` is missing, and `when` is there"),
            ),
            (r#"{"id":2,"secret":1,"at":null,"note":null,"tiers":{}}"#, Some("`secret` is there, and should not be")),
            (r#"{"id":2,"at":null,"note":null,"tiers":{},"more":1}"#, Some("`more` is there, and should not be")),
            (r#"{"id":2,"at":null,"note":null,"tiers":[]}"#, Some("`tiers` should be an object, and is an array")),
            (
                r#"{"id":1.0,"at":"2026-11-24T12:00:00.000Z","note":null,"tiers":{"VIP":5}}"#,
                Some("it says the same in another notation"),
            ),
            (r#"[{"id":1}]"#, Some("it should be an object, and is an array")),
            ("gone", Some("it is no JSON")),
        ] {
            tells(ROW, found, told);
        }
        tells("5", "6", None);
        tells("5", r#""5""#, Some("it should be a number (`5`), and is a text (`5`)"));
        tells("a b", "a c", None);
    }

    #[test]
    fn of_several_rows_the_first_one_is_named_that_was_made_otherwise() {
        let rows = format!("[{ROW},{ROW}]");
        for (expected, found) in [(rows.as_str(), "[]"), ("[]", rows.as_str()), (&rows, &format!("[{ROW}]"))] {
            tells(expected, found, None);
        }
        tells(&rows, r#"[{"id":1}]"#, Some("`[0].at` is missing"));
        tells(&rows, &format!("[{ROW},5]"), Some("`[1]` should be an object, and is a number (`5`)"));
        // What is null in one row tells another row's kind.
        let (first, second) = (ROW.replace("null", "7"), ROW.replace(":1,", ":null,"));
        let rows = format!("[{second},{first}]");
        let other = format!("[{ROW},{}]", ROW.replace("null", r#""x""#));
        tells(&rows, &other, Some("`[1].note` should be a number (`7`), and is a text (`x`)"));
    }

    #[test]
    fn nothing_of_a_value_is_shown_where_that_is_secret_and_little_where_it_is_long() {
        let of = |shows| other_shape(br#"{"a":5}"#, format!(r#"{{"a":"{}"}}"#, "secret ".repeat(20)).as_bytes(), shows);
        assert_eq!(of(false).as_deref(), Some("`a` should be a number, and is a text"));
        let shown = of(true).unwrap_or_default();
        assert!(shown.ends_with("secret…`)") && shown.len() < 120, "{shown}");
        let told = other_shape(br#"{"a":5}"#, "{\"\\u001b[2J\":5}".as_bytes(), true).unwrap_or_default();
        assert_eq!(told, "`a` is missing, and `\\u{1b}[2J` is there");
    }
}
