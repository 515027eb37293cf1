//! From changed rows to messages, in the words that triggers would use: `{"event": {"id": "7"}}`, or `{"event": "*"}` where it is not known which keys are about a row.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, json};

use super::pgoutput::{Column, Old, Relation, Row, Value};
use crate::ground::changes::{Call, Watched};
use crate::ground::invalidate::{Piece, Template};

/// More messages about a table than this in a transaction become "anything".
const MOST_MESSAGES: usize = 20_000;

/// A type whose text in a key is not what the server writes: `text` of a value is what a cast makes of it, as in a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Odd {
    /// `t` is `true`.
    Boolean,
    /// Spaces at the end are no part of it.
    Padded,
    /// A host's address has its mask.
    Address,
}

impl Odd {
    /// The type with this number.
    pub(super) fn of(ty: u32) -> Option<Self> {
        match ty {
            16 => Some(Odd::Boolean),
            1042 => Some(Odd::Padded),
            869 => Some(Odd::Address),
            _ => None,
        }
    }

    fn text(self, value: &str) -> String {
        match self {
            Odd::Boolean => if value == "t" { "true" } else { "false" }.to_owned(),
            Odd::Padded => value.trim_end_matches(' ').to_owned(),
            Odd::Address if value.contains('/') => value.to_owned(),
            Odd::Address => format!("{value}/{}", if value.contains(':') { 128 } else { 32 }),
        }
    }
}

/// What is watched, by the tables' numbers.
#[derive(Debug, Default)]
pub(super) struct Tables {
    watched: HashMap<u32, Vec<Subject>>,
    /// Domains over types that are odd.
    odd: HashMap<u32, Odd>,
}

/// A table that is watched.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) watched: Watched,
    /// Whether rows that were come with the columns that they are said to come with: those of partitions that were made later do not, and what is missing looks like NULL.
    pub(super) tells_all: bool,
}

impl Tables {
    pub(super) fn new(tables: impl IntoIterator<Item = (u32, Subject)>, odd: HashMap<u32, Odd>) -> Self {
        let mut watched: HashMap<_, Vec<_>> = HashMap::new();
        for (oid, table) in tables {
            watched.entry(oid).or_default().push(table);
        }
        Tables { watched, odd }
    }

    /// The calls, and whether rows that were can be believed.
    fn calls(&self, relation: &Relation) -> impl Iterator<Item = (&Call, bool)> {
        let subjects = self.watched.get(&relation.oid).into_iter().flatten();
        subjects.flat_map(|subject| subject.watched.calls.iter().map(|call| (call, subject.tells_all)))
    }

    /// The value as a text, if it was sent. NULL is written as the applications' languages write it into a key.
    fn text(&self, column: &Column, value: Value<'_>) -> Option<String> {
        match value {
            Value::Unsent => None,
            Value::Null => Some("null".to_owned()),
            Value::Text(text) => {
                let odd = Odd::of(column.ty).or_else(|| self.odd.get(&column.ty).copied());
                Some(odd.map_or_else(|| text.to_owned(), |odd| odd.text(text)))
            }
        }
    }
}

/// Messages, each once in a transaction.
#[derive(Debug, Default)]
pub(super) struct Told {
    messages: Vec<String>,
    /// Those of the transaction at hand, and how many of them each table has.
    seen: HashSet<String>,
    counts: HashMap<u32, usize>,
}

impl Told {
    /// The next transaction begins, after so many messages.
    pub(super) fn begin(&mut self) -> usize {
        self.seen.clear();
        self.counts.clear();
        self.len()
    }

    /// How many messages there are.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// What has been said.
    pub(super) fn into_messages(self) -> Vec<String> {
        self.messages
    }

    /// A row has changed: both the one that was and the one that is are told.
    pub(super) fn changed(&mut self, tables: &Tables, relation: &Relation, row: &Row<'_>) {
        let count = self.counts.get(&relation.oid).copied().unwrap_or_default();
        if count > MOST_MESSAGES {
            return;
        }
        let before = self.seen.len();
        for (call, tells_all) in tables.calls(relation) {
            let is_known = tells_all || matches!(row, Row::Inserted(_));
            let rows = rows(call, relation, row).filter(|_| is_known).unwrap_or_default();
            let said: Option<Vec<_>> = rows.iter().map(|row| said(tables, call, relation, row)).collect();
            match said.filter(|said| !said.is_empty()) {
                Some(said) => said.into_iter().for_each(|message| self.say(message)),
                None => self.say(anything(call)),
            }
        }
        let count = count + self.seen.len() - before;
        self.counts.insert(relation.oid, count);
        if count > MOST_MESSAGES {
            self.truncated(tables, relation);
        }
    }

    /// Any row may be another one now.
    pub(super) fn truncated(&mut self, tables: &Tables, relation: &Relation) {
        tables.calls(relation).for_each(|(call, _)| self.say(anything(call)));
    }

    fn say(&mut self, message: String) {
        if self.seen.insert(message.clone()) {
            self.messages.push(message);
        }
    }
}

/// The rows that a call has to be told of, the one that was and the one that is; `None` if one of them is not known well enough.
fn rows<'m>(call: &Call, relation: &Relation, row: &Row<'m>) -> Option<Vec<Vec<Value<'m>>>> {
    // Whether what the call needs is all among the columns that name a row. Where all of them are said to, and less has come, it is of a partition that is not as its table.
    let is_named = || {
        if relation.is_full {
            return call.arguments.iter().all(|(_, text)| text.names().next().is_none());
        }
        let is_key = |name: &str| relation.columns.iter().any(|column| column.is_key && column.name == name);
        call.arguments.iter().flat_map(|(_, text)| text.names()).all(is_key)
    };
    match row {
        Row::Inserted(new) => Some(vec![new.clone()]),
        Row::Updated(Some(Old::Whole(old)), new) => {
            // What is not sent has not changed.
            let new = new.iter().zip(old).map(|(new, old)| if *new == Value::Unsent { *old } else { *new });
            Some(vec![old.clone(), new.collect()])
        }
        Row::Deleted(Old::Whole(old)) => Some(vec![old.clone()]),
        Row::Updated(Some(Old::Key(old)), new) => is_named().then(|| vec![old.clone(), new.clone()]),
        // What names the row is what it was.
        Row::Updated(None, new) => is_named().then(|| vec![new.clone()]),
        Row::Deleted(Old::Key(old)) => is_named().then(|| vec![old.clone()]),
    }
}

/// The message about a row; `None` if a value is not known.
fn said(tables: &Tables, call: &Call, relation: &Relation, row: &[Value<'_>]) -> Option<String> {
    let value = |name: &str| {
        let at = relation.columns.iter().position(|column| column.name == name)?;
        tables.text(&relation.columns[at], *row.get(at)?)
    };
    let text = |template: &Template| {
        template.pieces().iter().try_fold(String::new(), |text, piece| match piece {
            Piece::Text(literal) => Some(text + literal),
            Piece::Value(name) => Some(text + &value(name)?),
            Piece::Any => Some(text),
        })
    };
    let values = call.arguments.iter().map(|(name, template)| Some((name.clone(), text(template)?.into())));
    let values = values.collect::<Option<Map<_, _>>>()?;
    Some(json!({ call.set.as_str(): values }).to_string())
}

fn anything(call: &Call) -> String {
    json!({ call.set.as_str(): "*" }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(keys: usize) -> Relation {
        let columns = [("id", 23), ("ok", 16), ("code", 1042), ("host", 869), ("own", 99_999)];
        let column =
            |(at, (name, ty)): (usize, &(&str, u32))| Column { name: (*name).to_owned(), ty: *ty, is_key: at < keys };
        Relation { oid: 7, is_full: keys == 5, columns: columns.iter().enumerate().map(column).collect() }
    }

    fn tables(texts: &[&str]) -> Tables {
        let argument = |text: &&str| ("x".to_owned(), Template::argument(text).expect(text));
        let call = |text: &&str| Call { set: "set".to_owned(), arguments: vec![argument(text)] };
        let table = Watched { schema: None, table: "t".to_owned(), calls: texts.iter().map(call).collect() };
        Tables::new([(7, Subject { watched: table, tells_all: true })], HashMap::from([(99_999, Odd::Boolean)]))
    }

    fn told(texts: &[&str], keys: usize, rows: &[Row<'_>]) -> Vec<String> {
        let mut told = Told::default();
        rows.iter().for_each(|row| told.changed(&tables(texts), &relation(keys), row));
        let strip =
            |text: &String| text.replace(r#"{"set":{"x":"#, "").replace(r#"{"set":"#, "").replace(['}', '"'], "");
        told.into_messages().iter().map(strip).collect()
    }

    fn row(id: &str) -> Vec<Value<'_>> {
        [id, "t", "ab ", "10.0.0.1", "f"].map(Value::Text).to_vec()
    }

    #[test]
    fn values_are_written_as_a_cast_to_text_writes_them() {
        let texts = ["{id}-{ok}", "{code}", "{host}", "{own}", "{none}"];
        assert_eq!(told(&texts, 1, &[Row::Inserted(row("7"))]), ["7-true", "ab", "10.0.0.1/32", "false", "*"]);
        let mut other = row("8");
        other[1] = Value::Null;
        other[3] = Value::Text("::1");
        assert_eq!(told(&["{ok}", "{host}"], 1, &[Row::Inserted(other)]), ["null", "::1/128"]);
    }

    #[test]
    fn a_row_that_was_is_told_as_far_as_it_is_known() {
        let mut large = row("8");
        large[2] = Value::Unsent;
        let whole = || Some(Old::Whole(row("7")));
        assert_eq!(told(&["{id}{code}"], 5, &[Row::Updated(whole(), large.clone())]), ["7ab", "8ab"]);
        assert_eq!(told(&["{id}"], 1, &[Row::Updated(None, large.clone())]), ["8"]);
        // Another column may have been anything, and one that is not sent is not known.
        assert_eq!(told(&["{id}-{ok}"], 1, &[Row::Updated(None, large.clone())]), ["*"]);
        assert_eq!(told(&["{id}{code}"], 3, &[Row::Updated(None, large)]), ["*"]);
        let key = || Old::Key(vec![Value::Text("7"), Value::Null, Value::Null, Value::Null, Value::Null]);
        assert_eq!(told(&["{id}"], 1, &[Row::Updated(Some(key()), row("8"))]), ["7", "8"]);
        assert_eq!(told(&["{id}"], 1, &[Row::Deleted(key())]), ["7"]);
        assert_eq!(told(&["{id}{ok}"], 1, &[Row::Deleted(key())]), ["*"]);
        // A partition that was made later tells less than its table says.
        assert_eq!(told(&["{id}"], 5, &[Row::Deleted(key()), Row::Updated(None, row("8"))]), ["*"]);
        assert_eq!(told(&["all"], 0, &[Row::Deleted(key()), Row::Deleted(key())]), ["all"]);
    }

    #[test]
    fn very_many_are_anything() {
        let ids: Vec<String> = (0..=MOST_MESSAGES + 5).map(|id| id.to_string()).collect();
        let rows: Vec<_> = ids.iter().map(|id| Row::Inserted(row(id))).collect();
        let told = told(&["{id}"], 1, &rows);
        assert_eq!((told.len(), told.last().map(String::as_str)), (MOST_MESSAGES + 2, Some("*")));
    }
}
