//! What a job puts into the value of a key.

/// How rows become values: the job file's `value = …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueShape {
    /// `"row"`: one key for each row, its value is an object.
    Row,
    /// `"rows"`: the rows of one key form an array of objects.
    Rows,
    /// `"column:NAME"`: the named column's value is the whole value.
    Column(String),
}
