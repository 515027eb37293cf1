//! What a change makes stale: sets of keys that are deleted together, `[invalidate.NAME]` in the configuration.
//!
//! ```text
//! Set        event: parameters (id), templates (event:{id}, event:list:*, analytics:{id})
//!   + values id=42
//! ─► Targets keys event:42, analytics:42 to be deleted by name; patterns event:list:* to be looked for
//! ```
//!
//! What a set takes from others (`then`) has been written out when it was read, so that a set is flat. A value is literal: whatever
//! stands in it, it widens no pattern.

mod change;
mod object;
mod targets;
mod template;

use std::fmt;

pub use change::{Change, find, values_of};
pub use object::Object;
pub use targets::{Pattern, Targets};
pub use template::{Piece, Template};

use super::key::is_ours;

/// Keys that are deleted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// What has to be given, in the order in which it is first used.
    pub parameters: Vec<String>,
    /// The keys, those of other sets included.
    pub keys: Vec<Template>,
}

/// Why values do not fit a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueError {
    /// Parameters have no value.
    Missing(Vec<String>),
    /// There is no parameter of this name.
    Unknown(String),
    /// A parameter has two values.
    Twice(String),
    /// The value is empty: a pattern would match more than what belongs to it.
    Empty(String),
    /// The key would be one of our own.
    Ours(String),
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueError::Missing(names) => {
                let verb = if names.len() == 1 { "is" } else { "are" };
                write!(f, "`{}` {verb} missing", names.join("` and `"))
            }
            ValueError::Unknown(name) => write!(f, "it has no parameter `{name}`"),
            ValueError::Twice(name) => write!(f, "`{name}` is given twice"),
            ValueError::Empty(name) => {
                write!(f, "`{name}` is empty, which would delete keys of others: a value is at least one character")
            }
            ValueError::Ours(key) => write!(f, "the key `{key}` belongs to warm itself"),
        }
    }
}

impl Set {
    /// What is to be deleted if the parameters have these values.
    ///
    /// # Errors
    /// Everything that is wrong with the values.
    pub fn targets(&self, values: &[(String, String)]) -> Result<Targets, Vec<ValueError>> {
        let mut wrong = Vec::new();
        for (at, (name, value)) in values.iter().enumerate() {
            if !self.parameters.contains(name) {
                wrong.push(ValueError::Unknown(name.clone()));
            } else if values[..at].iter().any(|(other, _)| other == name) {
                wrong.push(ValueError::Twice(name.clone()));
            } else if value.is_empty() {
                wrong.push(ValueError::Empty(name.clone()));
            }
        }
        let missing = self.parameters.iter().filter(|name| values.iter().all(|(given, _)| given != *name));
        let missing: Vec<String> = missing.cloned().collect();
        if !missing.is_empty() {
            wrong.push(ValueError::Missing(missing));
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let mut targets = Targets::default();
        for template in &self.keys {
            let parts = template.render(values);
            match parts.first().filter(|start| is_ours(start)) {
                Some(_) => wrong.push(ValueError::Ours(String::from_utf8_lossy(&parts.join(&b'*')).into_owned())),
                None => targets.add(parts),
            }
        }
        if wrong.is_empty() { Ok(targets) } else { Err(wrong) }
    }

    /// What is to be deleted if nobody knows the values: keys are looked for by what is literal in them.
    pub fn everything(&self) -> Targets {
        let mut targets = Targets::default();
        // A literal start belongs to no key of ours: the template would have been refused.
        self.keys.iter().for_each(|template| targets.add(template.render_any()));
        targets
    }

    /// How it is called: `ticket id=… userId=…`.
    pub fn usage(&self) -> String {
        let parameters = self.parameters.iter().map(|name| format!(" {name}=…"));
        self.name.clone() + &parameters.collect::<String>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(parameters: &[&str], keys: &[&str]) -> Set {
        let keys = keys.iter().map(|text| Template::key(text).expect(text)).collect();
        Set { name: "set".to_owned(), parameters: parameters.iter().map(|name| (*name).to_owned()).collect(), keys }
    }

    fn values(values: &[(&str, &str)]) -> Vec<(String, String)> {
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn keys_that_can_be_named_are_and_values_are_literal() {
        let set = set(&["id"], &["event:{id}", "event:list:*", "of:{id}:*:{id}", "event:{id}"]);
        let targets = set.targets(&values(&[("id", "4*[2]?{id}")])).expect("good values");
        assert_eq!(targets.keys().collect::<Vec<_>>(), [b"event:4*[2]?{id}"]);
        let shown: Vec<String> = targets.patterns().map(|pattern| format!("{pattern:?}")).collect();
        assert_eq!(shown.len(), 2, "{shown:?}");
        let matched = |key: &str| targets.patterns().any(|pattern| pattern.matches(key.as_bytes()));
        assert!(matched("event:list:") && matched("event:list:state:Lagos") && matched("of:4*[2]?{id}::4*[2]?{id}"));
        assert!(!matched("event:lis") && !matched("of:42:x:42") && !matched("of:4*[2]?{id}:4*[2]?{id}"));
    }

    #[test]
    fn without_values_all_keys_of_the_set_are_named() {
        let targets = set(&["id", "x"], &["event:{id}", "all", "of:{id}{x}*:{x}"]).everything();
        assert_eq!(targets.keys().collect::<Vec<_>>(), [b"all"]);
        assert!(targets.has(b"event:42") && targets.has(b"of:4:2") && targets.has(b"of::"));
        assert!(!targets.has(b"of:4") && !targets.has(b"ev"));
    }

    #[test]
    fn everything_that_is_wrong_with_values_is_said_at_once() {
        let set = set(&["id", "userId", "x"], &["a:{id}:{userId}*", "w{x}"]);
        let wrong = set.targets(&values(&[("id", ""), ("usrId", "1"), ("x", "1"), ("x", "2")])).expect_err("wrong");
        let name = |name: &str| name.to_owned();
        let expected = [
            ValueError::Empty(name("id")),
            ValueError::Unknown(name("usrId")),
            ValueError::Twice(name("x")),
            ValueError::Missing(vec![name("userId")]),
        ];
        assert_eq!(wrong, expected);
        let wrong = set.targets(&values(&[("id", "1"), ("userId", "2"), ("x", "arm:marker")])).expect_err("ours");
        assert_eq!(wrong, [ValueError::Ours(name("warm:marker"))]);
    }
}
