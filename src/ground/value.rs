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
