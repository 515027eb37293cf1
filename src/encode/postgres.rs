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
use super::{ValueSpec, compile};
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
    match spec.shape {
        ValueShape::Column(name) => {
            let at = layout::single(columns, name, spec.hide)?;
            let as_it_is = columns.get(at).is_some_and(|column| compile::raw(&column.ty).is_some());
            // A cast to text would strip the padding of char(n), so the column itself is sent.
            let _ = if as_it_is { write!(sql, "q.c{at}") } else { write!(sql, "to_json(q.c{at})::text") };
        }
        ValueShape::Row | ValueShape::Rows | ValueShape::Pages(_) => {
            object(&layout::members(columns, spec.hide, MemberOrder::Declared)?, &mut sql);
            sql.push_str("::text");
        }
    }
    let _ = write!(sql, " AS \"value\" FROM {}", as_sub_select(query, columns.len()));
    Ok(sql)
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
