//! Column values as text inside a key.

use super::error::{Fail, TypeError};
use super::format::Scalar;
use super::out::Out;
use super::{literal, scalar, text};
use crate::ground::row::{Column, PgKind, PgType};

/// Writes a column's value as part of a key.
///
/// Only types whose text admits no doubt go into a key: an application builds its keys with a template string,
/// and a number with a fraction or a date would look different in each language.
#[derive(Debug)]
pub struct KeyText {
    append: Scalar,
}

impl KeyText {
    /// Compiles a column for use in a key.
    pub fn new(column: &Column) -> Result<Self, TypeError> {
        match appender(&column.ty) {
            Some(append) => Ok(Self { append }),
            None => Err(TypeError::of_type(
                &column.name,
                &column.ty.name,
                "a key takes text, enums, integers, booleans and uuids only; cast the column to text in the query",
            )),
        }
    }

    /// Appends the text of a value that is not NULL.
    pub fn append(&self, value: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        (self.append)(value, &mut Out::new(out, usize::MAX)).map_err(Fail::reason)
    }
}

fn appender(ty: &PgType) -> Option<Scalar> {
    Some(match (&ty.kind, ty.oid) {
        (PgKind::Domain(base), _) => return appender(base),
        (PgKind::Enum, _) | (PgKind::Base, 19 | 25 | 1042 | 1043) => text::raw,
        (PgKind::Base, 16) => scalar::boolean,
        (PgKind::Base, 20) => scalar::int8,
        (PgKind::Base, 21) => scalar::int2,
        (PgKind::Base, 23) => scalar::int4,
        (PgKind::Base, 26) => scalar::oid,
        (PgKind::Base, 2950) => literal::uuid,
        _ => return None,
    })
}
