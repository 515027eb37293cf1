//! Where two values begin to differ.

use std::fmt;

use super::show::visible;

/// How much of each value is shown from a little before the difference on, in bytes.
const BEFORE: usize = 12;
const AFTER: usize = 36;

/// The first difference of two values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// How many bytes are equal before it.
    pub at: usize,
    /// The member that it is in, such as `[2].startDate`; empty if that cannot be told.
    pub member: String,
    /// What should be there, from a little before on; `None` if that is shown to nobody.
    pub expected: Option<String>,
    /// What is there; `None` likewise.
    pub found: Option<String>,
}

impl Difference {
    /// The first difference of a value from the one that should be there.
    pub fn between(expected: &[u8], found: &[u8]) -> Self {
        let at = expected.iter().zip(found).take_while(|(a, b)| a == b).count();
        let part = |value: &[u8]| {
            let (start, end) = (at.saturating_sub(BEFORE), (at + AFTER).min(value.len()));
            let (ahead, behind) = (if start > 0 { "…" } else { "" }, if end < value.len() { "…" } else { "" });
            let text = String::from_utf8_lossy(value.get(start..end).unwrap_or_default()).into_owned();
            // A letter may have been cut.
            format!("{ahead}{}{behind}", visible(text.trim_matches('\u{fffd}')))
        };
        let (shown, is) = (Some(part(expected)), Some(part(found)));
        Difference { at, member: member_at(&expected[..at]), expected: shown, found: is }
    }

    /// The same without anything of the values.
    #[must_use]
    pub fn without_values(self) -> Self {
        Difference { expected: None, found: None, ..self }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { at, member, expected, found } = self;
        let member = if member.is_empty() { String::new() } else { format!("in {member}, ") };
        write!(f, "{member}at byte {at}")?;
        match (expected, found) {
            (Some(expected), Some(found)) => write!(f, ": should be `{expected}`, is `{found}`"),
            _ => f.write_str(" of what was encrypted"),
        }
    }
}

/// The member that is open at the end of the beginning of a JSON text.
fn member_at(text: &[u8]) -> String {
    /// An array with the number of its elements so far, or an object with its present member.
    enum Open {
        Array(usize),
        Object(Vec<u8>),
    }
    let (mut open, mut at) = (Vec::new(), 0);
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'[' => open.push(Open::Array(0)),
            b'{' => open.push(Open::Object(Vec::new())),
            b']' | b'}' => drop(open.pop()),
            b',' => match open.last_mut() {
                Some(Open::Array(count)) => *count += 1,
                Some(Open::Object(name)) => name.clear(),
                None => {}
            },
            b'"' => {
                let start = at;
                while text.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
                let word = text.get(start..at).unwrap_or_default();
                at += 1;
                if let Some(Open::Object(name)) = open.last_mut()
                    && text.get(at).is_none_or(|byte| *byte == b':')
                    && name.is_empty()
                {
                    *name = word.to_vec();
                }
            }
            _ => {}
        }
    }
    let step = |open: &Open| match open {
        Open::Array(count) => format!("[{count}]"),
        Open::Object(name) if name.is_empty() => String::new(),
        Open::Object(name) => format!(".{}", visible(&String::from_utf8_lossy(name))),
    };
    open.iter().map(step).collect::<String>().trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_told_with_its_member() {
        let of = |expected: &str, found: &str| Difference::between(expected.as_bytes(), found.as_bytes());
        let first = of(r#"[{"id":1,"a":{"b\"c":[1,2]}}]"#, r#"[{"id":1,"a":{"b\"c":[1,3]}}]"#);
        assert_eq!((first.at, first.member.as_str()), (24, r#"[0].a.b\"c[1]"#));
        let first = of(r#"{"name":"Ọdún","x":1}"#, r#"{"name":"Ọdun","x":1}"#);
        assert_eq!(first.member, "name");
        assert!(first.to_string().starts_with("in name, at byte 13: should be `…"), "{first}");
        assert_eq!(of("{}", "{}x").found.as_deref(), Some("{}x"));
        let hidden = of(r#"{"a":"secret"}"#, r#"{"a":"public"}"#).without_values();
        assert_eq!(hidden.to_string(), "in a, at byte 6 of what was encrypted");
        assert_eq!(of("abc", "").at, 0);
    }
}
