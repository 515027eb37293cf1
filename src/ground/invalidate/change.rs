//! A change as its caller names it: a set, and values for its parameters. Everybody is told in the same words what is wrong with it, on the command line, over HTTP, and in a message of the database.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{Object, Set, Targets, ValueError};
use crate::ground::near::nearest;

/// A set that has to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The set's name.
    pub set: String,
    /// The values of its parameters; `None` if they are not known: then all keys that the set can have are stale.
    pub values: Option<Vec<(String, String)>>,
}

impl Change {
    /// A line: words (`ticket id=1 userId=a`), or an object (`{"ticket": {"id": 1, "userId": "a b"}}`). `*` in place of the values (`ticket *`, `{"ticket": "*"}`) stands for all
    /// that there may be.
    ///
    /// # Errors
    /// Everything that is wrong with it, in words.
    pub fn parse(line: &str) -> Result<Self, Vec<String>> {
        if line.trim_start().starts_with('{') {
            return object(line).map_err(|wrong| vec![wrong]);
        }
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        match words.clone().eq([ALL]) {
            true => Ok(Change { set: name.to_owned(), values: None }),
            false => Change::of_words(name, words),
        }
    }

    /// A set's name and `param=value…`. Here `*` stands for nothing: a shell may have left it from a pattern that matched no file.
    ///
    /// # Errors
    /// As [`Change::parse`].
    pub fn of_words<'w>(name: &str, words: impl Iterator<Item = &'w str>) -> Result<Self, Vec<String>> {
        let (mut values, mut wrong) = (Vec::new(), Vec::new());
        for word in words {
            match word.split_once('=') {
                Some((name, value)) => values.push((name.to_owned(), value.to_owned())),
                None => wrong.push(format!("`{word}` is no param=value, such as id=42")),
            }
        }
        if wrong.is_empty() { Ok(Change { set: name.to_owned(), values: Some(values) }) } else { Err(wrong) }
    }

    /// What is to be deleted. `file` is where the sets are defined.
    ///
    /// # Errors
    /// Everything that is wrong with it, in words.
    pub fn targets(&self, sets: &[Set], file: &Path) -> Result<Targets, Vec<String>> {
        let set = find(sets, &self.set, file).map_err(|wrong| vec![wrong])?;
        match &self.values {
            Some(values) => set.wanted(values),
            None => Ok(set.everything()),
        }
    }
}

/// Stands for all values.
const ALL: &str = "*";

fn object(line: &str) -> Result<Change, String> {
    const EXPECTED: &str = "one set with its values, such as {\"event\": {\"id\": 42}}";
    let unexpected = |why: &str| format!("this is not what was expected: {EXPECTED}{why}");
    let Object(sets) =
        serde_json::from_str::<Object<Values>>(line).map_err(|error| unexpected(&format!("; {error}")))?;
    match sets.as_slice() {
        [(set, Values::Known(Object(values)))] => Ok(Change { set: set.clone(), values: Some(values_of(values)?) }),
        [(set, Values::All(all))] if all == ALL => Ok(Change { set: set.clone(), values: None }),
        _ => Err(unexpected("")),
    }
}

/// What stands behind a set's name.
#[derive(Deserialize)]
#[serde(untagged, expecting = "an object of values")]
enum Values {
    Known(Object<Value>),
    All(String),
}

/// The set of this name.
///
/// # Errors
/// There is none; `file` is where there could be one.
pub fn find<'s>(sets: &'s [Set], name: &str, file: &Path) -> Result<&'s Set, String> {
    sets.iter().find(|set| set.name == name).ok_or_else(|| {
        let names = sets.iter().map(|set| set.name.as_str());
        let way_out = match nearest(name, names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if sets.is_empty() => format!("{} has none: [invalidate.{name}] would be its table", file.display()),
            None => format!("the sets are {}", names.collect::<Vec<_>>().join(", ")),
        };
        format!("there is no set `{name}`; {way_out}")
    })
}

/// The members of an object, such as `{"id": 42}`, as values of parameters.
///
/// # Errors
/// One has several notations, or is no value.
pub fn values_of(object: &[(String, Value)]) -> Result<Vec<(String, String)>, String> {
    let text = |(name, value): &(String, Value)| match value {
        Value::String(text) => Ok((name.clone(), text.clone())),
        // A fraction, or what is too large for a whole number, has several notations.
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok((name.clone(), number.to_string())),
        Value::Bool(value) => Ok((name.clone(), value.to_string())),
        _ => Err(format!("`{name}` must be a string, a whole number or a boolean, not {value}")),
    };
    object.iter().map(text).collect()
}

impl Set {
    /// What is to be deleted if the parameters have these values.
    ///
    /// # Errors
    /// Everything that is wrong with them, in words, with the way out.
    pub fn wanted(&self, values: &[(String, String)]) -> Result<Targets, Vec<String>> {
        self.targets(values).map_err(|wrong| wrong.iter().map(|wrong| self.explain(wrong)).collect())
    }

    fn explain(&self, wrong: &ValueError) -> String {
        let near = match wrong {
            ValueError::Unknown(name) => nearest(name, self.parameters.iter().map(String::as_str)),
            _ => None,
        };
        let way_out = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it is called `{}`", self.usage()),
        };
        format!("{}: {wrong}; {way_out}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_words_or_an_object() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (line, values) in [
            ("ticket id=1 userId=a=b", Some(vec![pair("id", "1"), pair("userId", "a=b")])),
            ("  ticket\tid=  ", Some(vec![pair("id", "")])),
            ("ticket", Some(Vec::new())),
            ("ticket *", None),
            (r#"{"ticket": "*"}"#, None),
            (
                r#"{"ticket": {"id": 9007199254740993, "x": "a b", "y": true}}"#,
                Some(vec![pair("id", "9007199254740993"), pair("x", "a b"), pair("y", "true")]),
            ),
        ] {
            assert_eq!(Change::parse(line), Ok(Change { set: "ticket".to_owned(), values }), "{line}");
        }
        for line in [
            "ticket 1",
            "ticket * id=1",
            "{",
            "{}",
            r#"{"a": {}, "b": {}}"#,
            r#"{"a": {"x": 1, "x": 2.5}}"#,
            r#"{"a": 1}"#,
            r#"{"a": "all"}"#,
            r#"{"a": {"id": 1.5}}"#,
            r#"{"a": {"id": null}}"#,
            r#"{"a": {"id": 123456789012345678901234567890}}"#,
        ] {
            assert!(Change::parse(line).is_err(), "{line}");
        }
    }
}
