//! The encoder: a format and a statement's columns, compiled once, then run for every row.

use super::ValueSpec;
use super::error::{Fail, RowError, TypeError};
use super::format::{Format, MemberOrder, Scalar, Style};
use super::layout::{self, Item};
use super::out::Out;
use super::wire::{self, Reader};
use super::{json, text};
use crate::ground::row::{Column, PgKind, PgType, Row};
use crate::ground::value::ValueShape;

const JSON: u32 = 114;
const JSONB: u32 = 3802;
/// `text`, `varchar`, `char(n)` and `name`: what `column:NAME` writes as it is.
const TEXTS: [u32; 4] = [25, 1043, 1042, 19];

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
}

/// A member of an object, with all that is written before its value: `{"name":` or `,"name":`.
#[derive(Debug)]
struct Member<T> {
    prefix: Box<[u8]>,
    name: Box<str>,
    value: T,
}

/// Where the value of a row's member comes from.
#[derive(Debug)]
enum Slot {
    Column(usize, Node),
    Object(Vec<Member<Slot>>),
}

/// How a value is written, by its type.
#[derive(Debug)]
enum Node {
    Scalar(Scalar),
    Array(Box<Array>),
    Composite(Box<Composite>),
}

#[derive(Debug)]
struct Array {
    oid: u32,
    element: Node,
    style: Style,
}

#[derive(Debug)]
struct Composite {
    /// The fields' OIDs in the type's order, as they arrive.
    oids: Vec<u32>,
    /// The members as they are written, each with the field that it shows.
    members: Vec<Member<(usize, Node)>>,
}

impl Encoder {
    /// Compiles an encoder for the columns of the statement that runs, which for a format whose values the
    /// server prints is the one that [`rewrite`](super::rewrite) made.
    pub fn new(format: &'static dyn Format, columns: &[Column], spec: &ValueSpec<'_>) -> Result<Self, TypeError> {
        if format.server().is_some() {
            return Self::printed(columns);
        }
        layout::check_names(columns, spec)?;
        let compiler = Compiler { format, style: format.style() };
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
            ValueShape::Row | ValueShape::Rows => {
                let members = layout::members(columns, spec.hide, compiler.style.members)?;
                Program::Object(compiler.slots(&members, columns, "")?)
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
        }
        out.room(0)?;
        Ok(())
    }
}

/// Whether `column:NAME` writes the type as it is.
pub(super) fn is_raw(ty: &PgType) -> bool {
    raw(ty).is_some()
}

/// How `column:NAME` writes a value as it is: text and JSON; `None` for other types.
fn raw(ty: &PgType) -> Option<Scalar> {
    match &ty.kind {
        PgKind::Domain(base) => raw(base),
        PgKind::Base if ty.oid == JSONB => Some(|value, out| text::raw(json::jsonb_text(value)?, out)),
        PgKind::Base if ty.oid == JSON || TEXTS.contains(&ty.oid) => Some(text::raw),
        _ => None,
    }
}

fn object<R: Row + ?Sized>(members: &[Member<Slot>], row: &R, out: &mut Out<'_>) -> Result<(), Fail> {
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

impl Node {
    #[inline]
    fn write(&self, value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
        match self {
            Self::Scalar(scalar) => scalar(value, out),
            Self::Array(array) => array.write(value, out),
            Self::Composite(composite) => composite.write(value, out),
        }
    }

    fn write_null(&self, out: &mut Out<'_>) {
        out.put(match self {
            Self::Array(array) => array.style.null_array.as_bytes(),
            _ => b"null",
        });
    }
}

impl Array {
    fn write(&self, value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
        let mut reader = Reader(value);
        let head = wire::array_head(&mut reader, self.oid)?;
        match head.lengths() {
            [] => out.put(b"[]"),
            lengths if lengths.len() > 1 && !self.style.nested_arrays => {
                return Err(Fail::bad(format!(
                    "an array of {} dimensions, which the format cannot write",
                    lengths.len()
                )));
            }
            lengths => self.dimension(lengths, &mut reader, out)?,
        }
        reader.end()
    }

    fn dimension(&self, lengths: &[usize], reader: &mut Reader<'_>, out: &mut Out<'_>) -> Result<(), Fail> {
        let Some((&length, inner)) = lengths.split_first() else {
            return self.element(reader.field()?, out);
        };
        out.byte(b'[');
        for at in 0..length {
            if at > 0 {
                out.byte(b',');
            }
            self.dimension(inner, reader, out)?;
            out.room(0)?;
        }
        out.byte(b']');
        Ok(())
    }

    fn element(&self, value: Option<&[u8]>, out: &mut Out<'_>) -> Result<(), Fail> {
        match (value, self.style.null_element) {
            (Some(value), _) => self.element.write(value, out),
            (None, Some(null)) => {
                out.put(null.as_bytes());
                Ok(())
            }
            (None, None) => Err(Fail::bad("an array with a NULL element, which the format cannot write")),
        }
    }
}

impl Composite {
    fn write(&self, value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
        let mut reader = Reader(value);
        if usize::try_from(reader.int4()?) != Ok(self.oids.len()) {
            return Err(Fail::bad("the type has another number of fields than when the query was prepared"));
        }
        let first = reader.0;
        let mut next = 0;
        for member in &self.members {
            let (field, node) = &member.value;
            // Only members that JavaScript orders otherwise stand before the reader.
            if *field < next {
                (reader, next) = (Reader(first), 0);
            }
            let mut value = None;
            while next <= *field {
                wire::expect_oid(&mut reader, self.oids.get(next).copied().unwrap_or_default())?;
                value = reader.field()?;
                next += 1;
            }
            out.put(&member.prefix);
            let written = match value {
                Some(value) => node.write(value, out),
                None => {
                    node.write_null(out);
                    Ok(())
                }
            };
            written.and_then(|()| out.room(0)).map_err(|fail| fail.within(&member.name))?;
        }
        if self.members.is_empty() {
            out.byte(b'{');
        }
        out.byte(b'}');
        Ok(())
    }
}

/// Turns types into nodes, along a format.
struct Compiler {
    format: &'static dyn Format,
    style: Style,
}

impl Compiler {
    fn slots(
        &self,
        members: &[layout::Member],
        columns: &[Column],
        path: &str,
    ) -> Result<Vec<Member<Slot>>, TypeError> {
        let mut slots = Vec::with_capacity(members.len());
        for member in members {
            let path = join(path, &member.name);
            let slot = match &member.item {
                Item::Column(index) => Slot::Column(*index, self.node(column(columns, *index)?, &path)?),
                Item::Object(inner) => Slot::Object(self.slots(inner, columns, &path)?),
            };
            slots.push(self.member(&member.name, &path, slots.is_empty(), slot)?);
        }
        Ok(slots)
    }

    fn node(&self, ty: &PgType, path: &str) -> Result<Node, TypeError> {
        match &ty.kind {
            PgKind::Base => self.format.scalar(ty.oid).map(Node::Scalar).ok_or_else(|| self.unknown(ty, path)),
            PgKind::Enum => Ok(Node::Scalar(self.style.string)),
            PgKind::Domain(base) => self.node(base, path),
            PgKind::Array(element) => self.array(element, path),
            PgKind::Composite(_) => self.composite(ty, path),
            PgKind::Other => Err(self.unknown(ty, path)),
        }
    }

    fn array(&self, element: &PgType, path: &str) -> Result<Node, TypeError> {
        let node = self.node(element, &format!("{path}[]"))?;
        if matches!(node, Node::Array(_)) && !self.style.nested_arrays {
            let reason = format!("the format \"{}\" cannot write arrays of arrays", self.format.name());
            return Err(TypeError::of_type(&format!("{path}[]"), &element.name, reason));
        }
        Ok(Node::Array(Box::new(Array { oid: element.oid, element: node, style: self.style })))
    }

    fn composite(&self, ty: &PgType, path: &str) -> Result<Node, TypeError> {
        let PgKind::Composite(fields) = &ty.kind else {
            return Err(self.unknown(ty, path));
        };
        let mut order: Vec<usize> = (0..fields.len()).collect();
        if self.style.members == MemberOrder::IndicesFirst {
            order.sort_by_key(|&at| fields.get(at).map(|field| json::array_index(field.name.as_bytes())));
        }
        let mut members = Vec::with_capacity(fields.len());
        for at in order {
            let Some(field) = fields.get(at) else {
                continue;
            };
            let path = join(path, &field.name);
            let node = self.node(&field.ty, &path)?;
            members.push(self.member(&field.name, &path, members.is_empty(), (at, node))?);
        }
        let oids = fields.iter().map(|field| field.ty.oid).collect();
        Ok(Node::Composite(Box::new(Composite { oids, members })))
    }

    fn member<T>(&self, name: &str, path: &str, first: bool, value: T) -> Result<Member<T>, TypeError> {
        let mut prefix = Vec::with_capacity(name.len() + 4);
        prefix.push(if first { b'{' } else { b',' });
        (self.style.string)(name.as_bytes(), &mut Out::new(&mut prefix, usize::MAX))
            .map_err(|fail| TypeError::column(path, fail.reason()))?;
        prefix.push(b':');
        Ok(Member { prefix: prefix.into(), name: name.into(), value })
    }

    fn unknown(&self, ty: &PgType, path: &str) -> TypeError {
        let reason = format!(
            "the format \"{}\" does not know this type; cast it in the query (for example to text), or hide it",
            self.format.name()
        );
        TypeError::of_type(path, &ty.name, reason)
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn column(columns: &[Column], index: usize) -> Result<&PgType, TypeError> {
    columns
        .get(index)
        .map(|column| column.ty.as_ref())
        .ok_or_else(|| TypeError::column("", format!("the query has no column {index}")))
}
