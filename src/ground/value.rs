//! How a job's rows become values.

use std::num::NonZeroUsize;

/// The shape of a job's values (`value = …` in the job file).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueShape {
    /// `"row"`: one key for each row, holding the row as an object.
    Row,
    /// `"rows"`: the rows of one key as a JSON array.
    Rows,
    /// `"rows"` with `paginate`: the rows of one group as several arrays of at most so many, each at a key with its number in it.
    Pages(NonZeroUsize),
    /// `"column:NAME"`: one key for each row, holding one column.
    Column(String),
}

impl ValueShape {
    /// Whether the values are arrays of rows.
    pub fn is_array(&self) -> bool {
        matches!(self, ValueShape::Rows | ValueShape::Pages(_))
    }

    /// How many rows make a page, if arrays are cut into pages.
    pub fn page_size(&self) -> Option<NonZeroUsize> {
        match self {
            ValueShape::Pages(size) => Some(*size),
            ValueShape::Row | ValueShape::Rows | ValueShape::Column(_) => None,
        }
    }
}

/// How a format that imitates JavaScript writes an `int8` (`bigint = …` in the job file). `JSON.stringify` throws on a `BigInt`, so each
/// application has taught it one of two ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BigInt {
    /// `"string"`: exact, in quotes.
    #[default]
    String,
    /// `"number"`: as `Number(value)` prints, which rounds beyond 2^53.
    Number,
}

/// What the configuration needs to know about a value format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatInfo {
    /// The name by which a job file asks for it.
    pub name: &'static str,
    /// Whether the format leaves a choice of [`BigInt`].
    pub chooses_bigint: bool,
}
