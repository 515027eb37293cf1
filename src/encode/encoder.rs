//! The encoder: a format and a statement's columns, compiled once, then run for every row.

use super::ValueSpec;
use super::compile::{Compiler, join, raw};
use super::error::{Fail, RowError, TypeError};
use super::format::Format;
use super::layout::{self, Item};
use super::out::Out;
use super::parts::Parts;
use super::value::{Member, Node};
use crate::ground::row::{Column, PgType, Row};
use crate::ground::value::ValueShape;

/// Writes rows in a format.
#[derive(Debug)]
pub struct Encoder {
    program: Program,
}

#[derive(Debug)]
enum Program {
    /// An object of the row's columns.
    Object(Vec<Member<Slot>>),
    /// One column is the value.
    Single { index: usize, name: Box<str>, node: Node },
    /// The value is made of parts.
    Parts(Parts),
}

/// Where the value of a row's member comes from.
#[derive(Debug)]
pub(super) enum Slot {
    Column(usize, Node),
    Object(Vec<Member<Slot>>),
}

impl Encoder {
    /// Compiles an encoder for the columns of the statement that runs, which for a format whose values the
    /// server prints is the one that [`rewrite`](super::rewrite) made.
    pub fn new(format: &'static dyn Format, columns: &[Column], spec: &ValueSpec<'_>) -> Result<Self, TypeError> {
        let has_parts = spec.key_type.kind().has_parts();
        if format.server().is_some() {
            return match has_parts {
                true => Ok(Self { program: Program::Parts(Parts::printed(columns, spec)?) }),
                false => Self::printed(columns),
            };
        }
        layout::check_names(columns, spec)?;
        let compiler = Compiler { format, style: format.style(), bigint: spec.bigint };
        if has_parts {
            return Ok(Self { program: Program::Parts(Parts::new(&compiler, columns, spec)?) });
        }
        let program = match spec.shape {
            ValueShape::Column(name) => {
                let index = layout::single(columns, name, spec.hide)?;
                let ty = column(columns, index)?;
                let node = match raw(ty) {
                    Some(raw) => Node::Scalar(raw),
                    None => compiler.node(ty, name)?,
                };
                Program::Single { index, name: name.as_str().into(), node }
            }
            ValueShape::Row | ValueShape::Rows | ValueShape::Pages(_) => {
                Program::Object(row_members(&compiler, columns, spec.hide)?)
            }
        };
        Ok(Self { program })
    }

    /// The value is the last column, as the server printed it.
    fn printed(columns: &[Column]) -> Result<Self, TypeError> {
        let Some((index, column)) = columns.iter().enumerate().next_back() else {
            return Err(TypeError::column("", "the query has no columns"));
        };
        let node = Node::Scalar(raw(&column.ty).ok_or_else(|| {
            TypeError::of_type(&column.name, &column.ty.name, "the value that the server prints must be text or json")
        })?);
        Ok(Self { program: Program::Single { index, name: column.name.as_str().into(), node } })
    }

    /// Appends the row's value to `out`, and stops as soon as it is longer than `limit` bytes. After an error,
    /// what has been appended is of no use and is the caller's to cut off.
    pub fn row<R: Row + ?Sized>(&self, row: &R, out: &mut Vec<u8>, limit: usize) -> Result<(), RowError> {
        let mut out = Out::new(out, limit);
        match &self.program {
            Program::Object(members) => object(members, row, &mut out)?,
            Program::Single { index, name, node } => match row.value(*index) {
                Some(value) => node.write(value, &mut out).map_err(|fail| fail.within(name))?,
                None => {
                    let reason = "it is NULL, which cannot be a whole value".to_owned();
                    return Err(RowError::Bad { column: name.to_string(), reason });
                }
            },
            Program::Parts(parts) => parts.write(row, &mut out)?,
        }
        out.room(0)?;
        Ok(())
    }
}

/// The members of the object that a row becomes.
pub(super) fn row_members(
    compiler: &Compiler,
    columns: &[Column],
    hide: &[String],
) -> Result<Vec<Member<Slot>>, TypeError> {
    let members = layout::members(columns, hide, compiler.style.members)?;
    slots(compiler, &members, columns, "")
}

pub(super) fn slots(
    compiler: &Compiler,
    members: &[layout::Member],
    columns: &[Column],
    path: &str,
) -> Result<Vec<Member<Slot>>, TypeError> {
    let mut compiled = Vec::with_capacity(members.len());
    for member in members {
        let path = join(path, &member.name);
        let slot = match &member.item {
            Item::Column(index) => Slot::Column(*index, compiler.node(column(columns, *index)?, &path)?),
            Item::Object(inner) => Slot::Object(slots(compiler, inner, columns, &path)?),
        };
        compiled.push(compiler.member(&member.name, &path, compiled.is_empty(), slot)?);
    }
    Ok(compiled)
}

pub(super) fn object<R: Row + ?Sized>(members: &[Member<Slot>], row: &R, out: &mut Out<'_>) -> Result<(), Fail> {
    for member in members {
        out.put(&member.prefix);
        let written = match &member.value {
            Slot::Column(index, node) => match row.value(*index) {
                Some(value) => node.write(value, out),
                None => {
                    node.write_null(out);
                    Ok(())
                }
            },
            Slot::Object(inner) => object(inner, row, out),
        };
        written.and_then(|()| out.room(0)).map_err(|fail| fail.within(&member.name))?;
    }
    out.byte(b'}');
    Ok(())
}

pub(super) fn column(columns: &[Column], index: usize) -> Result<&PgType, TypeError> {
    columns
        .get(index)
        .map(|column| column.ty.as_ref())
        .ok_or_else(|| TypeError::column("", format!("the query has no column {index}")))
}
