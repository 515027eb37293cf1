//! Whose fault it is that something could not be read as a value of its type: that of a parameter, or that of the data.
//!
//! The first means that no row can be asked for with such a value, and is an answer; the second says nothing about what rows there are. The server names both in the same way, in the
//! language that it is set to. So the parameters are read once more, and nothing but them.

use super::snapshot::Snapshot;
use super::statement::{Argument, Statement};
use crate::ground::error::{Error, ErrorKind};

impl Snapshot {
    /// The error of a statement that has failed: [`ErrorKind::NoValue`] instead of [`ErrorKind::Data`], if its parameters are at fault. The snapshot is of no use after that.
    pub async fn blame(
        &mut self,
        error: Error,
        statement: &Statement,
        value: impl Fn(&str) -> Option<Argument>,
    ) -> Error {
        if error.kind != ErrorKind::Data {
            return error;
        }
        let Some(text) = statement.reading_arguments() else { return error };
        let Ok(arguments) = statement.arguments(value) else { return error };
        // The transaction has ended with the error.
        if self.begin_again().await.is_err() {
            return error;
        }
        match self.query(text, arguments).await {
            Err(again) if again.kind == ErrorKind::Data => Error { kind: ErrorKind::NoValue, ..error },
            _ => error,
        }
    }
}
