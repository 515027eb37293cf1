//! `postgres`: the bytes of `row_to_json`, which only the server can produce; so it is made to.
//!
//! The job's query becomes a sub-select whose columns are renamed by position (`c0`, `c1`, …), so that it does
//! not matter what they are called or whether two have the same name. Around it stand the columns that the key
//! needs and, last, the value. The query's text is not touched, its placeholders included, and its order stays:
//! the outer select adds no join, and a sub-select with an ORDER BY is not flattened.

use std::fmt::Write;

use super::error::TypeError;
use super::format::{Format, MemberOrder, Rewrite, Scalar, Style};
use super::layout::{self, Item, Member};
use super::{ValueSpec, compile, parts};
use crate::ground::kind::{Element, KeyType};
use crate::ground::row::Column;
use crate::ground::sql::{as_sub_select, quote_identifier};
use crate::ground::value::ValueShape;

/// The format `postgres`.
#[derive(Debug)]
pub(crate) struct Postgres;

impl Format for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn style(&self) -> Style {
        Style::JSON
    }

    fn scalar(&self, _oid: u32) -> Option<Scalar> {
        None
    }

    fn server(&self) -> Option<Rewrite> {
        Some(rewrite)
    }
}

fn rewrite(query: &str, columns: &[Column], spec: &ValueSpec<'_>) -> Result<String, TypeError> {
    layout::check_names(columns, spec)?;
    let mut sql = String::from("SELECT ");
    for name in spec.key_columns {
        if let Some(at) = columns.iter().position(|column| column.name == *name) {
            let _ = write!(sql, "q.c{at} AS {}, ", quote_identifier(name));
        }
    }
    match (spec.key_type, spec.shape) {
        (KeyType::Hash, _) => fields(columns, spec, &mut sql)?,
        (KeyType::List(element) | KeyType::Set(element) | KeyType::SortedSet { element, .. }, _) => {
            if let KeyType::SortedSet { score, .. } = spec.key_type {
                let _ = write!(sql, "q.c{} AS \"score\", ", parts::score_column(columns, score)?);
            }
            match element {
                Element::Row => row(columns, &parts::hidden(spec), &mut sql)?,
                Element::Column(name) => plain(columns, layout::single(columns, name, spec.hide)?, &mut sql),
            }
            sql.push_str(" AS \"value\"");
        }
        (KeyType::String | KeyType::Json, ValueShape::Column(name)) => {
            let at = layout::single(columns, name, spec.hide)?;
            // A cast to text would strip the padding of char(n), so the column itself is sent.
            let _ = match is_text(columns, at) {
                true => write!(sql, "q.c{at} AS \"value\""),
                false => write!(sql, "to_json(q.c{at})::text AS \"value\""),
            };
        }
        (KeyType::String | KeyType::Json, ValueShape::Row | ValueShape::Rows | ValueShape::Pages(_)) => {
            row(columns, spec.hide, &mut sql)?;
            sql.push_str(" AS \"value\"");
        }
    }
    let _ = write!(sql, " FROM {}", as_sub_select(query, columns.len()));
    Ok(sql)
}

/// A row as an object.
fn row(columns: &[Column], hide: &[String], sql: &mut String) -> Result<(), TypeError> {
    object(&layout::members(columns, hide, MemberOrder::Declared)?, sql);
    sql.push_str("::text");
    Ok(())
}

/// The columns that become the fields of a hash, each under its name.
fn fields(columns: &[Column], spec: &ValueSpec<'_>, sql: &mut String) -> Result<(), TypeError> {
    for (at, member) in layout::members(columns, spec.hide, MemberOrder::Declared)?.iter().enumerate() {
        sql.push_str(if at > 0 { ", " } else { "" });
        match &member.item {
            Item::Column(index) => plain(columns, *index, sql),
            Item::Object(inner) => {
                object(inner, sql);
                sql.push_str("::text");
            }
        }
        let _ = write!(sql, " AS {}", quote_identifier(&member.name));
    }
    Ok(())
}

/// A column that stands for itself: text as it is, anything else as JSON, without the quotes of a JSON string.
fn plain(columns: &[Column], at: usize, sql: &mut String) {
    let _ = match is_text(columns, at) {
        true => write!(sql, "q.c{at}"),
        false => write!(sql, "to_json(q.c{at}) #>> '{{}}'"),
    };
}

fn is_text(columns: &[Column], at: usize) -> bool {
    columns.get(at).is_some_and(|column| compile::raw(&column.ty).is_some())
}

/// An expression that gives the members as one JSON object.
fn object(members: &[Member], sql: &mut String) {
    sql.push_str("(SELECT row_to_json(r) FROM (SELECT ");
    for (at, member) in members.iter().enumerate() {
        if at > 0 {
            sql.push_str(", ");
        }
        match &member.item {
            Item::Column(index) => {
                let _ = write!(sql, "q.c{index}");
            }
            Item::Object(inner) => object(inner, sql),
        }
        let _ = write!(sql, " AS {}", quote_identifier(&member.name));
    }
    sql.push_str(") AS r)");
}
