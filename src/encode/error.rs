//! What can go wrong: at compile time with a type, at run time with a value.

use std::borrow::Cow;
use std::fmt;

/// A column that the format cannot print, found before the first row is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeError {
    /// The column, with the path inside it (`event.at` for a field of a composite, `tags[]` for an element).
    pub column: String,
    /// The Postgres type as `format_type` prints it; `None` where the trouble is the name and not the type.
    pub type_name: Option<String>,
    /// What is wrong, and the way out.
    pub reason: String,
}

impl TypeError {
    pub(crate) fn column(column: &str, reason: impl Into<String>) -> Self {
        Self { column: column.to_owned(), type_name: None, reason: reason.into() }
    }

    pub(crate) fn of_type(column: &str, type_name: &str, reason: impl Into<String>) -> Self {
        let type_name = Some(type_name.to_owned());
        Self { column: column.to_owned(), type_name, reason: reason.into() }
    }
}

impl fmt::Display for TypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.type_name {
            Some(name) => write!(f, "column \"{}\" of type {name}: {}", self.column, self.reason),
            None => write!(f, "column \"{}\": {}", self.column, self.reason),
        }
    }
}

impl std::error::Error for TypeError {}

/// A row whose value cannot be written. What stands in the output buffer is then of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowError {
    /// The value is longer than the limit.
    TooLarge,
    /// A value that the format has no text for, or one that the wire did not deliver as promised.
    Bad {
        /// The column, with the path inside it.
        column: String,
        /// What was found.
        reason: String,
    },
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("the value is longer than the limit"),
            Self::Bad { column, reason } => write!(f, "column \"{column}\": {reason}"),
        }
    }
}

impl std::error::Error for RowError {}

/// Why one value could not be written; the size of a pointer, so that the good case stays cheap.
#[derive(Debug)]
pub enum Fail {
    /// The output has passed its limit.
    TooLarge,
    /// The value is bad.
    Bad(Box<Bad>),
}

/// The details of [`Fail::Bad`].
#[derive(Debug)]
pub struct Bad {
    /// The path from the innermost field outwards.
    path: Vec<String>,
    reason: Cow<'static, str>,
}

impl Fail {
    /// A bad value.
    #[cold]
    pub fn bad(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Bad(Box::new(Bad { path: Vec::new(), reason: reason.into() }))
    }

    /// Notes that the failed value is (inside) the member `name`.
    #[cold]
    pub(crate) fn within(mut self, name: &str) -> Self {
        if let Self::Bad(bad) = &mut self {
            bad.path.push(name.to_owned());
        }
        self
    }

    /// The reason alone; for callers that know the column.
    pub(crate) fn reason(self) -> String {
        match self {
            Self::TooLarge => RowError::TooLarge.to_string(),
            Self::Bad(bad) => bad.reason.into_owned(),
        }
    }
}

impl From<Fail> for RowError {
    fn from(fail: Fail) -> Self {
        match fail {
            Fail::TooLarge => Self::TooLarge,
            Fail::Bad(mut bad) => {
                bad.path.reverse();
                Self::Bad { column: bad.path.join("."), reason: bad.reason.into_owned() }
            }
        }
    }
}
