//! How a job's rows become values.

/// The shape of a job's values (`value = …` in the job file).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueShape {
    /// `"row"`: one key for each row, holding the row as an object.
    Row,
    /// `"rows"`: the rows of one key as a JSON array.
    Rows,
    /// `"column:NAME"`: one key for each row, holding one column.
    Column(String),
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
