//! From a text to what serde reads from it, or everything that is wrong with its shape: unknown fields and values of a wrong type.
//!
//! serde stops at the first mistake. So each mistake is taken out of the parsed tree, and the rest is read again, until nothing
//! is wrong. Which fields there are is known to the types of `raw` alone; it is learned from serde's own message.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue, Deserializer, Error};

use crate::ground::near::nearest;

/// The most mistakes that are reported about one text.
const MOST: usize = 20;

/// Numbers that bound nothing where they are left out: who wants that may try to say so.
const LIMITS: [&str; 2] = ["busy_above", "keys_per_second"];

/// Something that is wrong with a text's shape.
#[derive(Debug)]
pub(super) struct Mistake {
    /// Where, in bytes of the text.
    pub(super) span: Range<usize>,
    /// What was found and what was expected.
    pub(super) message: String,
    /// The way out.
    pub(super) help: Option<String>,
    /// Whether it is a field that does not exist.
    pub(super) unknown: bool,
}

/// Reads a text.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Vec<Mistake>> {
    let mut root = DeTable::parse(text).map_err(|error| vec![syntax(&error, text)])?;
    let (mut mistakes, mut taken, mut listed) = (Vec::new(), Vec::<Entry>::new(), Vec::new());
    loop {
        let error = match T::deserialize(Deserializer::from(root.clone())) {
            Ok(value) if taken.is_empty() => return Ok(value),
            Ok(_) => return Err(mistakes),
            Err(error) => error,
        };
        let span = error.span().unwrap_or(0..0);
        let Some(entry) = take_out(root.get_mut(), &span) else {
            mistakes.push(explain::<T>(&error, span, &Entry::default(), &mut listed));
            return Err(mistakes);
        };
        // A field may be missing only because it was taken out under a wrong name.
        let follows = error.message().starts_with("missing field")
            && taken.iter().any(|other| other.path.starts_with(&entry.path));
        if !follows {
            mistakes.push(explain::<T>(&error, span, &entry, &mut listed));
        }
        taken.push(entry);
        if mistakes.len() == MOST {
            return Err(mistakes);
        }
    }
}

/// The fields of the table that `T` is read from.
pub(super) fn fields<T: DeserializeOwned>() -> Vec<String> {
    let refused = toml::from_str::<T>("\"\" = 0").err();
    refused.map(|error| names(error.message())).unwrap_or_default()
}

fn syntax(error: &Error, text: &str) -> Mistake {
    let span = error.span().unwrap_or(0..0);
    let next = text.get(span.start..).and_then(|rest| rest.chars().next());
    let what = match next.filter(|c| c.is_control() && !matches!(c, '\n' | '\r')) {
        Some(c) => format!("the control character U+{:04X} must not stand here", u32::from(c)),
        None if error.message() == "duplicate key" => "this name is given a second time".to_owned(),
        None => error.message().to_owned(),
    };
    Mistake { span, message: format!("this is not TOML: {what}"), help: None, unknown: false }
}

/// An entry of the tree that a mistake belongs to.
#[derive(Debug, Default)]
struct Entry {
    /// The names of the tables around it, and its own.
    path: Vec<String>,
    /// Whether the mistake is in a part of its value: a member of a list.
    member: bool,
    /// Whether what is wrong is a date or a time, of which serde does not tell.
    date: bool,
}

impl Entry {
    /// The tables around it.
    fn tables(&self) -> &[String] {
        self.path.split_last().map(|(_, tables)| tables).unwrap_or_default()
    }
}

/// Takes the entry out that the place belongs to.
fn take_out(table: &mut DeTable<'_>, at: &Range<usize>) -> Option<Entry> {
    for (name, value) in table.iter_mut() {
        if let DeValue::Table(inner) = value.get_mut()
            && let Some(mut entry) = take_out(inner, at)
        {
            entry.path.insert(0, name.get_ref().to_string());
            return Some(entry);
        }
    }
    let covers = |span: Range<usize>| span.start <= at.start && at.end <= span.end;
    let (name, value) = table.iter().find(|(name, value)| covers(name.span()) || covers(value.span()))?;
    let members = value.get_ref().as_array().filter(|_| covers(value.span()) && value.span() != *at);
    let wrong = members.and_then(|members| members.iter().find(|member| member.span() == *at)).unwrap_or(value);
    let (member, date) = (members.is_some(), wrong.get_ref().is_datetime());
    let name = name.get_ref().to_string();
    table.remove(name.as_str());
    Some(Entry { path: vec![name], member, date })
}

/// `listed` are the tables whose fields have been listed.
fn explain<T: DeserializeOwned>(error: &Error, span: Range<usize>, entry: &Entry, listed: &mut Vec<String>) -> Mistake {
    let message = error.message();
    let name = entry.path.last().map(String::as_str).unwrap_or_default();
    let table = path(entry.tables());
    let place = if table.is_empty() { String::new() } else { format!(" in [{table}]") };
    let misplaced = !table.is_empty() && fields::<T>().iter().any(|field| field == name);
    let misplaced = misplaced.then(|| {
        format!("`{name}` is a field of the file itself: write it above the first [table], not below [{table}]")
    });
    if message.starts_with("unknown field") {
        let known = names(message);
        let near = || nearest(name, known.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
        let all = || {
            // Once for each table is enough.
            if listed.contains(&table) {
                return None;
            }
            listed.push(table.clone());
            Some(match &known[..] {
                [only] => format!("the only field here is {only}"),
                several => format!("the fields here are {}", several.join(", ")),
            })
        };
        let help = misplaced.or_else(near).or_else(all);
        return Mistake { span, message: format!("unknown field `{name}`{place}"), help, unknown: true };
    }
    if let [missing] = &message.strip_prefix("missing field ").map(quoted).unwrap_or_default()[..] {
        let message = format!("the field `{missing}` is missing in `{}`", path(&entry.path));
        return Mistake { span, message, help: None, unknown: false };
    }
    let wrong_type = ["invalid type: ", "invalid value: "].iter().find_map(|start| message.strip_prefix(start));
    let message = match wrong_type.and_then(|rest| rest.split_once(", expected ")) {
        Some((found, expected)) => {
            let what = if entry.member { "each value of " } else { "" };
            let found = match found {
                _ if entry.date => "a date or a time".to_owned(),
                // What stands in the place of a table may be anything, a URL too.
                text if expected == "a table" && text.starts_with("string") => "a text".to_owned(),
                other => thing(other),
            };
            format!("{what}`{}` must be {expected}, not {found}", path(&entry.path))
        }
        None => message.to_owned(),
    };
    let none = message.ends_with(" must be a whole number, not the text \"none\"");
    let no_limit = none && entry.path.last().is_some_and(|name| LIMITS.contains(&name.as_str()));
    let help = misplaced
        .or_else(|| entry.date.then(|| "write it in quotes".to_owned()))
        .or_else(|| no_limit.then(|| "leave it out, and there is no limit".to_owned()));
    Mistake { span, message, help, unknown: false }
}

/// A path as it would be written in the file.
fn path(names: &[String]) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let written = names.iter().map(|name| match name.is_empty() || !name.chars().all(is_bare) {
        true => format!("\"{name}\""),
        false => name.clone(),
    });
    written.collect::<Vec<_>>().join(".")
}

/// serde's name for what was found, in words of the file.
fn thing(found: &str) -> String {
    match found.split_once(' ') {
        Some(("string", text)) => format!("the text {text}"),
        Some(("boolean", value)) => value.trim_matches('`').to_owned(),
        Some(("integer", number)) => number.trim_end_matches(" as i128").trim_matches('`').to_owned(),
        Some(("floating", number)) => number.trim_start_matches("point ").trim_matches('`').to_owned(),
        _ => match found {
            "sequence" => "a list".to_owned(),
            "map" => "a table".to_owned(),
            other => other.to_owned(),
        },
    }
}

/// The names that serde expected.
fn names(message: &str) -> Vec<String> {
    message.split_once("expected ").map(|(_, rest)| quoted(rest)).unwrap_or_default()
}

/// What stands in backquotes.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
