//! The room that turns rows into values: bytes in, bytes out, no I/O.
//!
//! The value of a key must be, byte for byte, what the application would have cached. So each format is written
//! down against the library that it imitates, and a value or type that it is not sure of is refused.
//!
//! ```text
//! columns ─┐                         layout   which columns, and how they nest
//! format  ─┼─► Encoder::new          compile  types become functions, once for each statement
//! spec    ─┘        │
//!                   ▼
//! row ────► Encoder::row ─► bytes    value    arrays and composites, taken apart by wire
//!                                    parts    fields, elements and scores, where Redis holds no string
//!                                    text, json, number, numeric, time, literal, scalar: what stands in them
//! ```
//!
//! A further format is a file beside `prisma.rs` and a line in `FORMATS`. A format whose bytes only the server
//! can produce rewrites the query first ([`rewrite`]); its encoder then copies the last columns.

mod compile;
mod encoder;
mod error;
mod format;
mod json;
mod key;
mod layout;
mod literal;
mod members;
mod number;
mod numeric;
mod out;
mod parts;
mod postgres;
mod prisma;
mod prisma5;
mod scalar;
mod text;
mod time;
mod value;
mod wire;

pub use encoder::Encoder;
pub use error::{Bad, Fail, RowError, TypeError};
pub use format::{Format, MemberOrder, Rewrite, Scalar, Style};
pub use key::KeyText;
pub use out::Out;

use crate::ground::kind::KeyType;
use crate::ground::row::Column;
use crate::ground::value::{BigInt, FormatInfo, ValueShape};

/// All formats, the default one first.
const FORMATS: [&dyn Format; 3] = [&prisma::Prisma, &prisma5::Prisma5, &postgres::Postgres];

/// The format of this name.
pub fn format(name: &str) -> Option<&'static dyn Format> {
    FORMATS.into_iter().find(|format| format.name() == name)
}

/// All formats, the default one first.
pub fn formats() -> impl Iterator<Item = FormatInfo> {
    FORMATS.iter().map(|format| FormatInfo { name: format.name(), chooses_bigint: format.bigint_as_number().is_some() })
}

/// What a job wants of a row.
#[derive(Debug, Clone, Copy)]
pub struct ValueSpec<'a> {
    /// How rows become values.
    pub shape: &'a ValueShape,
    /// What those values are in Redis.
    pub key_type: &'a KeyType,
    /// Columns that stay out of the value.
    pub hide: &'a [String],
    /// Columns that the key is made of. They are part of the value too unless they are hidden.
    pub key_columns: &'a [String],
    /// How an `int8` is written, where the format leaves the choice.
    pub bigint: BigInt,
}

/// For a format whose values the server prints: the SQL to run instead of the job's query, else `None`.
///
/// `columns` are those of the job's query. The new statement has the columns of the key, in the order of
/// `spec.key_columns`, and then the value. `query` is neither parsed nor changed: its placeholders stay, and it
/// must not end in a semicolon.
pub fn rewrite(
    format: &'static dyn Format,
    query: &str,
    columns: &[Column],
    spec: &ValueSpec<'_>,
) -> Result<Option<String>, TypeError> {
    format.server().map(|rewrite| rewrite(query, columns, spec)).transpose()
}
