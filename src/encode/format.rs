//! What a value format says of itself. One format is one file that implements [`Format`], and one line in the
//! table of `encode/mod.rs`.
//!
//! A format does not walk rows. It names, for each built-in type, the function that writes such a value
//! ([`Format::scalar`]), and the rules for what surrounds values ([`Style`]); domains, enums, composites and
//! arrays are taken apart once for all formats, when an [`Encoder`](super::Encoder) is compiled. A type that it
//! does not name is refused at `warm check`, never guessed. A format whose bytes only the server can produce
//! says so with [`Format::server`] instead.

use super::error::{Fail, TypeError};
use super::out::Out;
use super::{ValueSpec, text};
use crate::ground::row::Column;

/// Writes one value that is not NULL, given in Postgres' binary format.
pub type Scalar = fn(&[u8], &mut Out<'_>) -> Result<(), Fail>;

/// Makes the SQL whose last column is the value, printed by the server.
pub type Rewrite = fn(&str, &[Column], &ValueSpec<'_>) -> Result<String, TypeError>;

/// A value format.
pub trait Format: Sync {
    /// The name by which a job file asks for it.
    fn name(&self) -> &'static str;

    /// How a value of the built-in base type with this OID is written; `None` if the format does not know it.
    fn scalar(&self, oid: u32) -> Option<Scalar>;

    /// What surrounds the values.
    fn style(&self) -> Style;

    /// How an `int8` is written as a number, for a format that leaves the choice; [`Format::scalar`] writes it as a string then.
    fn bigint_as_number(&self) -> Option<Scalar> {
        None
    }

    /// For a format whose values the server prints: how the query is made to do so.
    fn server(&self) -> Option<Rewrite> {
        None
    }
}

/// How a format puts values together.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// How an enum's label and the name of a member are written.
    pub string: Scalar,
    /// The order of an object's members.
    pub members: MemberOrder,
    /// What stands for an array column that is NULL.
    pub null_array: &'static str,
    /// What stands for an element that is NULL; `None` if such a row cannot be written.
    pub null_element: Option<&'static str>,
    /// Whether arrays of more than one dimension can be written, as arrays of arrays.
    pub nested_arrays: bool,
}

/// The order of an object's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberOrder {
    /// As the columns stand in the query, the fields in the type.
    Declared,
    /// As JavaScript keeps the members of an object: names that are array indices first, in ascending order.
    IndicesFirst,
}

impl Style {
    /// JSON as most libraries write it.
    pub const JSON: Self = Self {
        string: text::json_string,
        members: MemberOrder::Declared,
        null_array: "null",
        null_element: Some("null"),
        nested_arrays: true,
    };
}
