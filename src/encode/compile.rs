//! Turns types into what runs for their values, along a format.

use super::error::TypeError;
use super::format::{Format, MemberOrder, Scalar, Style};
use super::members::array_index;
use super::out::Out;
use super::value::{Array, Composite, Member, Node};
use super::{json, text};
use crate::ground::row::{PgKind, PgType};
use crate::ground::value::BigInt;

const INT8: u32 = 20;
const JSON: u32 = 114;
const JSONB: u32 = 3802;
/// `text`, `varchar`, `char(n)` and `name`: what `column:NAME` writes as it is.
const TEXTS: [u32; 4] = [25, 1043, 1042, 19];

/// Compiles types for a format.
pub(super) struct Compiler {
    pub(super) format: &'static dyn Format,
    pub(super) style: Style,
    pub(super) bigint: BigInt,
}

impl Compiler {
    /// How values of a type are written; `path` says where, for messages.
    pub(super) fn node(&self, ty: &PgType, path: &str) -> Result<Node, TypeError> {
        match &ty.kind {
            PgKind::Base if ty.oid == INT8 && self.bigint == BigInt::Number => {
                self.format.bigint_as_number().map(Node::Scalar).ok_or_else(|| self.unknown(ty, path))
            }
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
            order.sort_by_key(|&at| fields.get(at).map(|field| array_index(field.name.as_bytes())));
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

    /// A member of an object, which may be its first.
    pub(super) fn member<T>(&self, name: &str, path: &str, first: bool, value: T) -> Result<Member<T>, TypeError> {
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

/// How `column:NAME` writes a value as it is: text and JSON; `None` for other types.
pub(super) fn raw(ty: &PgType) -> Option<Scalar> {
    match &ty.kind {
        PgKind::Domain(base) => raw(base),
        PgKind::Base if ty.oid == JSONB => Some(|value, out| text::raw(json::jsonb_text(value)?, out)),
        PgKind::Base if ty.oid == JSON || TEXTS.contains(&ty.oid) => Some(text::raw),
        _ => None,
    }
}

/// The path of something inside something.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
