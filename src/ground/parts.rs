//! Where two values of several parts differ: which field, which element, which score.

use std::collections::BTreeMap;

use super::difference::Difference;
use super::kind::{Kind, parts};
use super::show::visible;

/// How much of a name is shown.
const NAME: usize = 48;

/// The first difference of what is at a key from what should be there.
pub fn first_difference(kind: Kind, expected: &[u8], found: &[u8]) -> Difference {
    match kind {
        Kind::List => of_lists(expected, found),
        _ => of_names(kind, &by_name(kind, expected), &by_name(kind, found)),
    }
}

fn of_lists(expected: &[u8], found: &[u8]) -> Difference {
    let (mut expected, mut found) = (parts(expected), parts(found));
    for index in 0.. {
        let (one, other) = (expected.next(), found.next());
        if one != other || one.is_none() {
            return of_values(format!("element {index}"), one, other);
        }
    }
    Difference::between(b"", b"")
}

/// What has a name: the values of a hash, the scores of a sorted set; in a set a name is all there is.
fn by_name(kind: Kind, value: &[u8]) -> BTreeMap<&[u8], &[u8]> {
    let mut parts = parts(value);
    let mut all = BTreeMap::new();
    while let Some(first) = parts.next() {
        let (name, value) = match kind {
            Kind::Hash => (first, parts.next().unwrap_or_default()),
            Kind::SortedSet => (parts.next().unwrap_or_default(), first),
            _ => (first, first),
        };
        all.insert(name, value);
    }
    all
}

fn of_names(kind: Kind, expected: &BTreeMap<&[u8], &[u8]>, found: &BTreeMap<&[u8], &[u8]>) -> Difference {
    let differs = |name: &&&[u8]| !is_same(kind, expected.get(**name).copied(), found.get(**name).copied());
    let name = expected.keys().find(differs).or_else(|| found.keys().find(differs)).copied().unwrap_or_default();
    let mut shown = String::from_utf8_lossy(name).into_owned();
    if let Some((end, _)) = shown.char_indices().nth(NAME) {
        shown.truncate(end);
        shown.push('…');
    }
    let what = match kind {
        Kind::Hash => "the field",
        Kind::SortedSet => "the score of",
        _ => "the element",
    };
    of_values(format!("{what} {}", visible(&shown)), expected.get(name).copied(), found.get(name).copied())
}

/// Redis may print a score in another way than it was given.
fn is_same(kind: Kind, one: Option<&[u8]>, other: Option<&[u8]>) -> bool {
    let number = |value: Option<&[u8]>| std::str::from_utf8(value?).ok()?.parse::<f64>().ok();
    one == other || (kind == Kind::SortedSet && number(one).is_some() && number(one) == number(other))
}

fn of_values(member: String, expected: Option<&[u8]>, found: Option<&[u8]>) -> Difference {
    let mut difference = Difference::between(expected.unwrap_or_default(), found.unwrap_or_default());
    difference.member = match difference.member.as_str() {
        "" => member,
        inner => format!("{member}, {inner}"),
    };
    let is_there = |value: Option<&[u8]>, shown: &mut Option<String>| {
        if value.is_none() {
            *shown = Some("(absent)".to_owned());
        }
    };
    is_there(expected, &mut difference.expected);
    is_there(found, &mut difference.found);
    difference
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::kind::put_part;

    fn value(parts: &[&str]) -> Vec<u8> {
        let mut value = Vec::new();
        parts.iter().for_each(|part| put_part(&mut value, part.as_bytes()));
        value
    }

    fn told(kind: Kind, expected: &[&str], found: &[&str]) -> String {
        first_difference(kind, &value(expected), &value(found)).to_string()
    }

    #[test]
    fn the_first_difference_names_field_element_or_score() {
        for (kind, expected, found, words) in [
            (
                Kind::Hash,
                ["a", "1", "b", "2"],
                ["b", "3", "a", "1"],
                "in the field b, at byte 0: should be `2`, is `3`",
            ),
            (Kind::List, ["a", "b", "c", "d"], ["a", "c", "b", "d"], "in element 1, at byte 0: should be `b`, is `c`"),
            (
                Kind::Set,
                ["a", "b", "b", "d"],
                ["d", "b", "a", "e"],
                "in the element e, at byte 0: should be `(absent)`, is `e`",
            ),
            (
                Kind::SortedSet,
                ["1", "a", "2", "b"],
                ["1.0", "a", "3", "b"],
                "in the score of b, at byte 0: should be `2`, is `3`",
            ),
        ] {
            assert_eq!(told(kind, &expected, &found), words);
        }
        assert_eq!(told(Kind::List, &["a"], &[]), "in element 0, at byte 0: should be `a`, is `(absent)`");
        let words = told(Kind::List, &[r#"{"id":1}"#], &[r#"{"id":2}"#]);
        assert!(words.starts_with("in element 0, id, at byte 6:"), "{words}");
    }
}
