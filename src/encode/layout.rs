//! Which columns make up a value and how they nest, before any type is looked at.

use super::ValueSpec;
use super::error::TypeError;
use super::format::MemberOrder;
use super::members::array_index;
use crate::ground::row::Column;

/// A member of the object that a row becomes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// The member's name: one segment of a dotted alias.
    pub(crate) name: String,
    pub(crate) item: Item,
}

/// What stands behind a member's name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A column, by its index.
    Column(usize),
    /// The columns whose aliases share the segments so far.
    Object(Vec<Member>),
}

/// Checks the names in `spec` against the columns: what is hidden must exist, what goes into a key must be
/// without doubt.
pub(crate) fn check_names(columns: &[Column], spec: &ValueSpec<'_>) -> Result<(), TypeError> {
    let count = |name: &String| columns.iter().filter(|column| column.name == *name).count();
    if let Some(name) = spec.hide.iter().find(|name| count(name) == 0) {
        return Err(TypeError::column(name, "it is to be hidden, but the query has no such column"));
    }
    for name in spec.key_columns {
        match count(name) {
            0 => {
                return Err(TypeError::column(name, "the key needs it, but the query has no such column"));
            }
            1 => {}
            _ => {
                return Err(TypeError::column(
                    name,
                    "the key needs it, but several columns have this name; give each an alias of its own",
                ));
            }
        }
    }
    Ok(())
}

/// The one column of `value = "column:NAME"`.
pub(crate) fn single(columns: &[Column], name: &str, hide: &[String]) -> Result<usize, TypeError> {
    if hide.iter().any(|hidden| hidden == name) {
        return Err(TypeError::column(name, "it is the value and cannot be hidden"));
    }
    let mut found = columns.iter().enumerate().filter(|(_, column)| column.name == name);
    match (found.next(), found.next()) {
        (Some((index, _)), None) => Ok(index),
        (None, _) => Err(TypeError::column(name, "it is to be the value, but the query has no such column")),
        _ => Err(TypeError::column(
            name,
            "it is to be the value, but several columns have this name; give each an alias of its own",
        )),
    }
}

/// The members of a row's object: visible columns, dotted aliases nested where their first segment first
/// appears.
pub(crate) fn members(columns: &[Column], hide: &[String], order: MemberOrder) -> Result<Vec<Member>, TypeError> {
    let mut members = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        if !hide.contains(&column.name) {
            insert(&mut members, &column.name, &column.name, index)?;
        }
    }
    if members.is_empty() {
        let name = columns.first().map_or("", |column| column.name.as_str());
        return Err(TypeError::column(name, "no column is left for the value; hide fewer, or select more"));
    }
    sort(&mut members, order);
    Ok(members)
}

fn insert(members: &mut Vec<Member>, path: &str, column: &str, index: usize) -> Result<(), TypeError> {
    let (segment, rest) = match path.split_once('.') {
        Some((segment, rest)) => (segment, Some(rest)),
        None => (path, None),
    };
    // A column may have no name at all only where it has no dots either.
    if segment.is_empty() && column.contains('.') || rest == Some("") {
        return Err(TypeError::column(column, "a dotted alias needs a name on both sides of each dot"));
    }
    let known = members.iter_mut().find(|member| member.name == segment);
    match (known, rest) {
        (None, None) => members.push(Member { name: segment.to_owned(), item: Item::Column(index) }),
        (None, Some(rest)) => {
            let mut inner = Vec::new();
            insert(&mut inner, rest, column, index)?;
            members.push(Member { name: segment.to_owned(), item: Item::Object(inner) });
        }
        (Some(Member { item: Item::Object(inner), .. }), Some(rest)) => insert(inner, rest, column, index)?,
        (Some(Member { item: Item::Column(_), .. }), None) => {
            return Err(TypeError::column(
                column,
                "two columns have this name; give each an alias of its own, or hide them",
            ));
        }
        (Some(_), _) => {
            return Err(TypeError::column(
                column,
                format!("\"{segment}\" cannot be both a value and an object; another column uses the name otherwise"),
            ));
        }
    }
    Ok(())
}

fn sort(members: &mut [Member], order: MemberOrder) {
    if order == MemberOrder::IndicesFirst {
        members.sort_by_key(|member| array_index(member.name.as_bytes()));
    }
    for member in members {
        if let Item::Object(inner) = &mut member.item {
            sort(inner, order);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ground::row::{PgKind, PgType};
    use std::sync::Arc;

    fn columns(names: &[&str]) -> Vec<Column> {
        let ty = Arc::new(PgType { oid: 25, name: "text".into(), kind: PgKind::Base });
        names.iter().map(|name| Column { name: (*name).into(), ty: Arc::clone(&ty) }).collect()
    }

    fn shown(members: &[Member]) -> String {
        let one = |member: &Member| match &member.item {
            Item::Column(index) => format!("{}:{index}", member.name),
            Item::Object(inner) => format!("{}{{{}}}", member.name, shown(inner)),
        };
        members.iter().map(one).collect::<Vec<_>>().join(",")
    }

    fn laid_out(names: &[&str], hide: &[&str]) -> Result<String, String> {
        let hide: Vec<String> = hide.iter().map(|name| (*name).to_owned()).collect();
        members(&columns(names), &hide, MemberOrder::IndicesFirst)
            .map(|members| shown(&members))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn dotted_aliases_nest_where_they_first_appear() {
        let names = ["a.x", "b", "a.y.z", "a.y.w", "c"];
        assert_eq!(laid_out(&names, &[]).unwrap(), "a{x:0,y{z:2,w:3}},b:1,c:4");
        assert_eq!(laid_out(&names, &["b", "a.x"]).unwrap(), "a{y{z:2,w:3}},c:4");
    }

    #[test]
    fn array_indices_come_first_at_each_level() {
        assert_eq!(laid_out(&["b", "10", "9", "o.b", "o.1", "01"], &[]).unwrap(), "9:2,10:1,b:0,o{1:4,b:3},01:5");
    }

    #[test]
    fn conflicts_are_refused() {
        for names in [["a", "a"], ["a", "a.b"], ["a.b", "a"], ["a.b", "a.b"], ["a.b", "a.b.c"]] {
            assert!(laid_out(&names, &[]).is_err(), "{names:?}");
        }
        for name in [".a", "a.", "a..b", ".", ""] {
            assert_eq!(laid_out(&[name], &[]).is_err(), !name.is_empty(), "{name:?}");
        }
        assert!(laid_out(&["a"], &["a"]).is_err());
    }
}
