//! Rows and column types as the rooms hand them to one another.
//!
//! `source` produces rows, `encode` turns them into bytes, and neither may know the other. What they
//! share stands here: a resolved Postgres type tree, and a row as the binary values of its columns.
//! No decoding happens on this layer: a value format decides what a type looks like.

use std::sync::Arc;

/// A Postgres type, resolved down to its built-in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgType {
    /// The type's OID in the connected database. Built-in types keep theirs for ever (`text` is 25).
    pub oid: u32,
    /// The name as `format_type` prints it, for messages (`character varying`, `"Mood"`, `integer[]`).
    pub name: String,
    /// How values of the type are put together.
    pub kind: PgKind,
}

impl PgType {
    /// Whether a row type is part of it.
    pub fn has_composite(&self) -> bool {
        match &self.kind {
            PgKind::Composite(_) => true,
            PgKind::Domain(inner) | PgKind::Array(inner) => inner.has_composite(),
            PgKind::Base | PgKind::Enum | PgKind::Other => false,
        }
    }

    /// The name, and behind that of a row type its fields: `"Event"(id uuid, title text)`.
    pub fn in_full(&self) -> String {
        match &self.kind {
            PgKind::Composite(fields) => {
                let fields: Vec<_> =
                    fields.iter().map(|field| format!("{} {}", field.name, field.ty.in_full())).collect();
                format!("{}({})", self.name, fields.join(", "))
            }
            PgKind::Array(element) if element.has_composite() => format!("{}[]", element.in_full()),
            PgKind::Domain(base) if base.has_composite() => format!("{} over {}", self.name, base.in_full()),
            _ => self.name.clone(),
        }
    }
}

/// How values of a [`PgType`] are put together, along `pg_type.typtype` and `typcategory`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PgKind {
    /// A base type; its OID says which. Base types of extensions end up here too, with an OID that no
    /// format knows.
    Base,
    /// An enum; its binary value is the label.
    Enum,
    /// A domain; its binary value is that of the base type.
    Domain(Arc<PgType>),
    /// An array with elements of the given type.
    Array(Arc<PgType>),
    /// A row type: a table's, a view's or one made with `CREATE TYPE … AS (…)`. Dropped columns are left out,
    /// as they are in the binary form.
    Composite(Vec<PgField>),
    /// Ranges, multiranges, anonymous records and pseudo-types: nothing that a format can print.
    Other,
}

/// One field of a composite type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgField {
    /// The field's name.
    pub name: String,
    /// The field's type.
    pub ty: Arc<PgType>,
}

/// One column of a query's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The column's name or alias.
    pub name: String,
    /// The column's type.
    pub ty: Arc<PgType>,
}

/// One row of a result: the columns' values in Postgres' binary format.
pub trait Row {
    /// The binary value of the column at `index` (from 0), `None` for NULL.
    ///
    /// An index past the last column gives `None` too: the encoder is compiled against the statement's own
    /// columns, so it never asks for one.
    fn value(&self, index: usize) -> Option<&[u8]>;
}
