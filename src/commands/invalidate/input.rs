//! What is to be invalidated: words of the command line, or lines of standard input. Either way everything that is wrong is said at once, and then nothing is deleted.

use std::io::{BufRead, Read};

use serde_json::Value;

use crate::commands::Failure;
use crate::config::{Diagnostic, Diagnostics};
use crate::ground::invalidate::{Object, Targets, find, values_of};
use crate::ground::settings::Settings;

/// The most bytes that are read from standard input.
const MOST: u64 = 64 << 20;
/// How many mistakes of standard input are told.
const TOLD: usize = 20;

/// A set's name, and values for its parameters.
type Change = (String, Vec<(String, String)>);

/// What `NAME param=value…` names.
pub(super) fn words(settings: &Settings, name: &str, values: &[String]) -> Result<Targets, Failure> {
    let change = change(name, values.iter().map(String::as_str));
    let targets = change.and_then(|change| targets(settings, &change));
    targets.map_err(|mistakes| failure(mistakes.into_iter()))
}

/// What all the lines name, and how many there are; blank ones are none.
pub(super) fn lines(settings: &Settings, input: impl BufRead) -> Result<(u64, Targets), Failure> {
    let mut text = String::new();
    let read = input.take(MOST + 1).read_to_string(&mut text);
    read.map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")))?;
    if text.len() as u64 > MOST {
        return Err(Failure::usage(format!("standard input is longer than {} MiB; give it in parts", MOST >> 20)));
    }
    let (mut count, mut all, mut mistakes) = (0, Targets::default(), Vec::new());
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        count += 1;
        match parse(line).and_then(|change| targets(settings, &change)) {
            Ok(targets) => all.extend(targets),
            Err(wrong) => mistakes.extend(wrong.into_iter().map(|wrong| format!("line {}: {wrong}", number + 1))),
        }
    }
    match mistakes.len() {
        0 => Ok((count, all)),
        told if told <= TOLD => Err(failure(mistakes.into_iter())),
        many => {
            let more = format!("and {} more mistakes in standard input", many - TOLD);
            Err(failure(mistakes.into_iter().take(TOLD).chain([more])))
        }
    }
}

/// A line: words, or an object.
fn parse(line: &str) -> Result<Change, Vec<String>> {
    if line.trim_start().starts_with('{') {
        return object(line).map_err(|wrong| vec![wrong]);
    }
    let mut words = line.split_whitespace();
    change(words.next().unwrap_or_default(), words)
}

fn change<'w>(name: &str, words: impl Iterator<Item = &'w str>) -> Result<Change, Vec<String>> {
    let (mut values, mut wrong) = (Vec::new(), Vec::new());
    for word in words {
        match word.split_once('=') {
            Some((name, value)) => values.push((name.to_owned(), value.to_owned())),
            None => wrong.push(format!("`{word}` is no param=value, such as id=42")),
        }
    }
    if wrong.is_empty() { Ok((name.to_owned(), values)) } else { Err(wrong) }
}

/// `{"ticket": {"id": 1, "userId": "a b"}}`.
fn object(line: &str) -> Result<Change, String> {
    const EXPECTED: &str = "one set with its values, such as {\"event\": {\"id\": 42}}";
    let Object(sets) = serde_json::from_str::<Object<Object<Value>>>(line)
        .map_err(|error| format!("this is not what was expected: {EXPECTED}; {error}"))?;
    match sets.as_slice() {
        [(name, Object(values))] => Ok((name.clone(), values_of(values)?)),
        _ => Err(format!("this is not what was expected: {EXPECTED}")),
    }
}

/// What a change names.
fn targets(settings: &Settings, (name, values): &Change) -> Result<Targets, Vec<String>> {
    find(&settings.sets, name, &settings.file).map_err(|wrong| vec![wrong])?.wanted(values)
}

fn failure(mistakes: impl Iterator<Item = String>) -> Failure {
    Diagnostics(mistakes.map(Diagnostic::error).collect()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_words_or_objects() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (line, expected) in [
            ("ticket id=1 userId=a=b", vec![pair("id", "1"), pair("userId", "a=b")]),
            ("  ticket\tid=  ", vec![pair("id", "")]),
            (
                r#"{"ticket": {"id": 9007199254740993, "x": "a b", "y": true}}"#,
                vec![pair("id", "9007199254740993"), pair("x", "a b"), pair("y", "true")],
            ),
        ] {
            assert_eq!(parse(line), Ok(("ticket".to_owned(), expected)), "{line}");
        }
        for line in [
            "ticket 1",
            "{",
            "{}",
            r#"{"a": {}, "b": {}}"#,
            r#"{"a": 1}"#,
            r#"{"a": {"id": 1.5}}"#,
            r#"{"a": {"id": null}}"#,
            r#"{"a": {"id": 123456789012345678901234567890}}"#,
        ] {
            assert_eq!(parse(line).map_err(|wrong| wrong.len()), Err(1), "{line}");
        }
    }
}
