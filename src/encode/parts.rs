//! Values of several parts, for the types of Redis that are made of them: the fields of a hash, the elements of a list or a set, with their scores in a
//! sorted set.
//!
//! A part is what an application would put there: a text as it is, an object or an array as JSON, and anything else as the format prints it, but without the quotes of a JSON
//! string around it.

use super::ValueSpec;
use super::compile::{Compiler, raw};
use super::encoder::{Slot, column, object, row_members, slots};
use super::error::{Fail, RowError, TypeError};
use super::format::Scalar;
use super::layout::{self, Item};
use super::out::Out;
use super::value::{Member, Node};
use super::{number, numeric, scalar, text};
use crate::ground::kind::{Element, KeyType, begin_part, end_part};
use crate::ground::row::{Column, PgKind, PgType, Row};

/// How a row becomes parts.
#[derive(Debug)]
pub(super) enum Parts {
    /// A field and its value for each column that is not NULL.
    Fields(Vec<(Box<str>, Part)>),
    /// One element, behind its score if it has one.
    Element { score: Option<Score>, name: Box<str>, element: Part },
}

/// What one part is made of.
#[derive(Debug)]
pub(super) enum Part {
    /// A column.
    Column(usize, Plain),
    /// An object of columns.
    Object(Vec<Member<Slot>>),
}

/// How a column's value is written that stands for itself.
#[derive(Debug)]
pub(super) enum Plain {
    AsItIs(Scalar),
    Printed(Node),
}

/// The column that gives the score.
#[derive(Debug)]
pub(super) struct Score {
    index: usize,
    name: Box<str>,
    print: Scalar,
}

impl Parts {
    /// Compiles what the job's type asks for.
    pub(super) fn new(compiler: &Compiler, columns: &[Column], spec: &ValueSpec<'_>) -> Result<Self, TypeError> {
        let (score, element) = match spec.key_type {
            KeyType::SortedSet { score, element } => (Some(score), element),
            KeyType::List(element) | KeyType::Set(element) => (None, element),
            KeyType::String | KeyType::Hash | KeyType::Json => return Self::fields(compiler, columns, spec.hide),
        };
        let index = score.map(|score| score_column(columns, score)).transpose()?;
        let (name, part) = match element {
            Element::Row => ("", Part::Object(row_members(compiler, columns, &hidden(spec))?)),
            Element::Column(name) => {
                let index = layout::single(columns, name, spec.hide)?;
                (name.as_str(), Part::Column(index, plain(compiler, column(columns, index)?, name)?))
            }
        };
        let score = index.map(|index| Score::new(columns, index)).transpose()?;
        Ok(Parts::Element { score, name: name.into(), element: part })
    }

    fn fields(compiler: &Compiler, columns: &[Column], hide: &[String]) -> Result<Self, TypeError> {
        let members = layout::members(columns, hide, compiler.style.members)?;
        let field = |member: &layout::Member| {
            let part = match &member.item {
                Item::Column(index) => Part::Column(*index, plain(compiler, column(columns, *index)?, &member.name)?),
                Item::Object(inner) => Part::Object(slots(compiler, inner, columns, &member.name)?),
            };
            Ok((member.name.as_str().into(), part))
        };
        Ok(Parts::Fields(members.iter().map(field).collect::<Result<_, _>>()?))
    }

    /// For values that the server prints: the columns behind those of the key are the parts.
    pub(super) fn printed(columns: &[Column], spec: &ValueSpec<'_>) -> Result<Self, TypeError> {
        let as_it_is = |(index, column): (usize, &Column)| {
            let scalar = raw(&column.ty).ok_or_else(|| {
                TypeError::of_type(&column.name, &column.ty.name, "what the server prints must be text or json")
            })?;
            Ok((Box::from(column.name.as_str()), Part::Column(index, Plain::AsItIs(scalar))))
        };
        let mut behind = columns.iter().enumerate().skip(spec.key_columns.len());
        if *spec.key_type == KeyType::Hash {
            return Ok(Parts::Fields(behind.map(as_it_is).collect::<Result<_, _>>()?));
        }
        let score = match spec.key_type {
            KeyType::SortedSet { score, .. } => {
                let printed = behind.next().map(|(index, _)| Score::new(columns, index)).transpose()?;
                // What is said of it is said of the job's own column.
                printed.map(|printed| Score { name: score.as_str().into(), ..printed })
            }
            _ => None,
        };
        let element = behind.next().ok_or_else(|| TypeError::column("", "the query has no columns"))?;
        let (_, element) = as_it_is(element)?;
        let name = match spec.key_type {
            KeyType::List(Element::Column(name))
            | KeyType::Set(Element::Column(name))
            | KeyType::SortedSet { element: Element::Column(name), .. } => name.as_str(),
            _ => "",
        };
        Ok(Parts::Element { score, name: name.into(), element })
    }

    /// Appends the row's parts.
    pub(super) fn write<R: Row + ?Sized>(&self, row: &R, out: &mut Out<'_>) -> Result<(), RowError> {
        match self {
            Parts::Fields(fields) => {
                let before = out.buf.len();
                for (name, field) in fields.iter().filter(|(_, field)| !field.is_null(row)) {
                    part(out, |out| {
                        out.put(name.as_bytes());
                        Ok(())
                    })?;
                    part(out, |out| field.write(row, out)).map_err(|fail| fail.within(name))?;
                }
                match fields.first() {
                    Some((name, _)) if out.buf.len() == before => {
                        let reason = "it is NULL, and so is every other column: Redis has no hash without fields";
                        Err(RowError::Bad { column: name.to_string(), reason: reason.to_owned() })
                    }
                    _ => Ok(()),
                }
            }
            Parts::Element { score, name, element } => {
                if element.is_null(row) {
                    let reason = "it is NULL, which cannot be an element".to_owned();
                    return Err(RowError::Bad { column: name.to_string(), reason });
                }
                if let Some(score) = score {
                    part(out, |out| score.write(row, out)).map_err(|fail| fail.within(&score.name))?;
                }
                part(out, |out| element.write(row, out)).map_err(|fail| match name.is_empty() {
                    true => fail,
                    false => fail.within(name),
                })?;
                Ok(())
            }
        }
    }
}

/// The columns that stay out of an element: those that are hidden, and the score.
pub(super) fn hidden(spec: &ValueSpec<'_>) -> Vec<String> {
    let score = match spec.key_type {
        KeyType::SortedSet { score, .. } => Some(score),
        _ => None,
    };
    spec.hide.iter().chain(score).cloned().collect()
}

/// The one column that is the score.
pub(super) fn score_column(columns: &[Column], name: &str) -> Result<usize, TypeError> {
    let mut found = columns.iter().enumerate().filter(|(_, column)| column.name == name);
    match (found.next(), found.next()) {
        (Some((index, _)), None) => Ok(index),
        (None, _) => Err(TypeError::column(name, "it is to be the score, but the query has no such column")),
        _ => Err(TypeError::column(
            name,
            "it is to be the score, but several columns have this name; give each an alias of its own",
        )),
    }
}

/// Appends one part.
fn part(out: &mut Out<'_>, write: impl FnOnce(&mut Out<'_>) -> Result<(), Fail>) -> Result<(), Fail> {
    let start = begin_part(out.buf);
    write(out)?;
    out.room(0)?;
    end_part(out.buf, start);
    Ok(())
}

impl Part {
    fn is_null<R: Row + ?Sized>(&self, row: &R) -> bool {
        matches!(self, Part::Column(index, _) if row.value(*index).is_none())
    }

    fn write<R: Row + ?Sized>(&self, row: &R, out: &mut Out<'_>) -> Result<(), Fail> {
        match self {
            Part::Object(members) => object(members, row, out),
            Part::Column(index, plain) => row.value(*index).map_or(Ok(()), |value| plain.write(value, out)),
        }
    }
}

fn plain(compiler: &Compiler, ty: &PgType, path: &str) -> Result<Plain, TypeError> {
    match &ty.kind {
        PgKind::Domain(base) => plain(compiler, base, path),
        PgKind::Enum => Ok(Plain::AsItIs(text::raw)),
        _ => match raw(ty) {
            Some(raw) => Ok(Plain::AsItIs(raw)),
            None => compiler.node(ty, path).map(Plain::Printed),
        },
    }
}

impl Plain {
    fn write(&self, value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
        let node = match self {
            Plain::AsItIs(scalar) => return scalar(value, out),
            Plain::Printed(node) => node,
        };
        let start = out.buf.len();
        node.write(value, out)?;
        let printed = out.buf.get(start..).unwrap_or_default();
        if printed.first() == Some(&b'"') {
            let text: String = serde_json::from_slice(printed).map_err(|error| Fail::bad(error.to_string()))?;
            out.buf.truncate(start);
            out.put(text.as_bytes());
        }
        Ok(())
    }
}

impl Score {
    fn new(columns: &[Column], index: usize) -> Result<Self, TypeError> {
        let ty = column(columns, index)?;
        let name = columns.get(index).map_or("", |column| column.name.as_str());
        let reason = "a score is a number; cast it in the query (for example to double precision)";
        let print = printer(ty).ok_or_else(|| TypeError::of_type(name, &ty.name, reason))?;
        Ok(Score { index, name: name.into(), print })
    }

    /// Redis keeps scores as doubles. One that it would not take must not come so far: the script that writes would stop half way.
    fn write<R: Row + ?Sized>(&self, row: &R, out: &mut Out<'_>) -> Result<(), Fail> {
        let value = row.value(self.index).ok_or_else(|| Fail::bad("it is NULL, which cannot be a score"))?;
        let start = out.buf.len();
        (self.print)(value, out)?;
        let printed = std::str::from_utf8(out.buf.get(start..).unwrap_or_default()).unwrap_or_default();
        let score = printed.parse::<f64>().ok().filter(|score| score.is_finite());
        let score = score.ok_or_else(|| Fail::bad("it is not a finite number, which cannot be a score"))?;
        out.buf.truncate(start);
        number::double(score, out);
        Ok(())
    }
}

fn printer(ty: &PgType) -> Option<Scalar> {
    Some(match (&ty.kind, ty.oid) {
        (PgKind::Domain(base), _) => return printer(base),
        (PgKind::Base, 20) => scalar::int8,
        (PgKind::Base, 21) => scalar::int2,
        (PgKind::Base, 23) => scalar::int4,
        (PgKind::Base, 26) => scalar::oid,
        (PgKind::Base, 700) => number::float4,
        (PgKind::Base, 701) => number::float8,
        (PgKind::Base, 1700) => |value, out| match numeric::read(value)? {
            numeric::Number::Finite(decimal) => numeric::write(&decimal, out),
            numeric::Number::Special(_) => Err(Fail::bad("it is not a finite number, which cannot be a score")),
        },
        _ => return None,
    })
}
