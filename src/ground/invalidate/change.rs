//! A change as its caller names it: a set, and values for its parameters. Everybody is told in the same words what is wrong with it, on the command line as over HTTP.

use std::path::Path;

use serde_json::Value;

use super::{Set, Targets, ValueError};
use crate::ground::near::nearest;

/// The set of this name.
///
/// # Errors
/// There is none; `file` is where there could be one.
pub fn find<'s>(sets: &'s [Set], name: &str, file: &Path) -> Result<&'s Set, String> {
    sets.iter().find(|set| set.name == name).ok_or_else(|| {
        let names = sets.iter().map(|set| set.name.as_str());
        let way_out = match nearest(name, names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if sets.is_empty() => format!("{} has none: [invalidate.{name}] would be its table", file.display()),
            None => format!("the sets are {}", names.collect::<Vec<_>>().join(", ")),
        };
        format!("there is no set `{name}`; {way_out}")
    })
}

/// The members of an object, such as `{"id": 42}`, as values of parameters.
///
/// # Errors
/// One has several notations, or is no value.
pub fn values_of(object: &[(String, Value)]) -> Result<Vec<(String, String)>, String> {
    let text = |(name, value): &(String, Value)| match value {
        Value::String(text) => Ok((name.clone(), text.clone())),
        // A fraction, or what is too large for a whole number, has several notations.
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok((name.clone(), number.to_string())),
        Value::Bool(value) => Ok((name.clone(), value.to_string())),
        _ => Err(format!("`{name}` must be a string, a whole number or a boolean, not {value}")),
    };
    object.iter().map(text).collect()
}

impl Set {
    /// What is to be deleted if the parameters have these values.
    ///
    /// # Errors
    /// Everything that is wrong with them, in words, with the way out.
    pub fn wanted(&self, values: &[(String, String)]) -> Result<Targets, Vec<String>> {
        self.targets(values).map_err(|wrong| wrong.iter().map(|wrong| self.explain(wrong)).collect())
    }

    fn explain(&self, wrong: &ValueError) -> String {
        let near = match wrong {
            ValueError::Unknown(name) => nearest(name, self.parameters.iter().map(String::as_str)),
            _ => None,
        };
        let way_out = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it is called `{}`", self.usage()),
        };
        format!("{}: {wrong}; {way_out}", self.name)
    }
}
