//! Key templates: `event:list:state:{state}`.
//!
//! A template begins with a literal and has a literal between any two placeholders. So no value can leave the job's prefix,
//! and a key can be matched back to its values without doubt: a value is taken up to the first occurrence of the literal that
//! follows, and a key for which this gives other values than it was rendered from is refused.

use std::fmt;

/// The placeholder of a page's number, in the key of a job whose arrays are cut into pages.
pub const PAGE: &str = "page";

/// A problem in the text of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// Byte offset in the template.
    pub at: usize,
    /// What is wrong, and the way out.
    pub message: String,
}

/// Why a rendered key must not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// A value is empty, so that the key would say nothing about its row.
    Empty,
    /// A value contains the literal that follows it, so that the key could be read in two ways.
    Ambiguous,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyError::Empty => "a value of the key is empty",
            KeyError::Ambiguous => {
                "a value contains the text that follows it in the key template, so the key could be read in two ways"
            }
        })
    }
}

/// A parsed key template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTemplate {
    text: String,
    /// `literals[0] names[0] literals[1] names[1] …`: always one literal more than names; only the last may be empty.
    literals: Vec<String>,
    names: Vec<String>,
}

impl KeyTemplate {
    /// Parses a template. `{name}` is a placeholder, `{{` and `}}` are literal braces.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let fail = |at: usize, message: &str| Err(TemplateError { at, message: message.to_owned() });
        let (mut literals, mut names) = (vec![String::new()], Vec::<String>::new());
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '{' | '}' if chars.peek().is_some_and(|(_, next)| *next == c) => {
                    chars.next();
                    push_literal(&mut literals, c);
                }
                '}' => return fail(at, "this `}` closes nothing; a literal one is written `}}`"),
                '{' => {
                    let rest = &text[at + 1..];
                    let Some(length) = rest.find('}') else {
                        return fail(at, "this `{` is never closed; a literal one is written `{{`");
                    };
                    let name = &rest[..length];
                    if !is_name(name) {
                        return fail(at, "a placeholder is the name of a parameter or a column, such as `{id}`");
                    }
                    if names.iter().any(|other| other == name) {
                        return fail(at, "this placeholder stands in the key twice; once is enough");
                    }
                    if literals.last().is_none_or(String::is_empty) {
                        return fail(
                            at,
                            if names.is_empty() {
                                "a key must begin with literal text, such as `event:{id}`, so that no value can leave the job's prefix"
                            } else {
                                "two placeholders need literal text between them, so that the key can be read back"
                            },
                        );
                    }
                    names.push(name.to_owned());
                    literals.push(String::new());
                    while chars.next_if(|(i, _)| *i <= at + 1 + length).is_some() {}
                }
                c if c.is_control() => return fail(at, "control characters are not allowed in a key template"),
                c => push_literal(&mut literals, c),
            }
        }
        if literals[0].is_empty() {
            return fail(0, "a key must begin with literal text, such as `event:{id}`");
        }
        if is_ours(literals[0].as_bytes()) {
            return fail(0, "keys that begin with `warm:` belong to warm itself");
        }
        Ok(KeyTemplate { text: text.to_owned(), literals, names })
    }

    /// The literal text that every key of the template begins with.
    pub fn prefix(&self) -> &str {
        &self.literals[0]
    }

    /// The names of the placeholders, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many bytes of the template are literal: the more, the more specific it is.
    pub fn literal_len(&self) -> usize {
        self.literals.iter().map(String::len).sum()
    }

    /// Whether both templates have the same keys: they differ at most in the placeholders' names.
    pub fn same_keys(&self, other: &KeyTemplate) -> bool {
        self.literals == other.literals
    }

    /// Whether some key could belong to both templates while neither has more literal text.
    ///
    /// Told from the literal prefixes alone, so it may be true although no key is shared.
    pub fn may_tie_with(&self, other: &KeyTemplate) -> bool {
        let (a, b) = (self.prefix(), other.prefix());
        let placeholders = !self.names.is_empty() || !other.names.is_empty();
        self.literal_len() == other.literal_len() && placeholders && (a.starts_with(b) || b.starts_with(a))
    }

    /// Appends the key made of `values` (one for each placeholder, in order) to `out`.
    ///
    /// On an error `out` is left as it was.
    pub fn render<'v>(
        &self,
        values: impl Iterator<Item = &'v [u8]> + Clone,
        out: &mut Vec<u8>,
    ) -> Result<(), KeyError> {
        let start = out.len();
        let mut values_left = values.clone();
        for (i, literal) in self.literals.iter().enumerate() {
            out.extend_from_slice(literal.as_bytes());
            if i < self.names.len() {
                let value = values_left.next().unwrap_or_default();
                if value.is_empty() {
                    out.truncate(start);
                    return Err(KeyError::Empty);
                }
                out.extend_from_slice(value);
            }
        }
        let unambiguous =
            self.names.len() < 2 || self.matches(&out[start..]).is_some_and(|found| found.into_iter().eq(values));
        if !unambiguous {
            out.truncate(start);
            return Err(KeyError::Ambiguous);
        }
        Ok(())
    }

    /// The values that `key` was rendered from, `None` if it is not a key of this template.
    pub fn matches<'k>(&self, key: &'k [u8]) -> Option<Vec<&'k [u8]>> {
        let mut rest = key.strip_prefix(self.literals[0].as_bytes())?;
        let mut values = Vec::with_capacity(self.names.len());
        for (i, literal) in self.literals.iter().enumerate().skip(1) {
            let value = if i == self.names.len() {
                rest.strip_suffix(literal.as_bytes())?
            } else {
                let at = find(rest, literal.as_bytes())?;
                let (value, after) = rest.split_at(at);
                rest = &after[literal.len()..];
                value
            };
            if value.is_empty() {
                return None;
            }
            values.push(value);
        }
        (!self.names.is_empty() || rest.is_empty()).then_some(values)
    }
}

impl fmt::Display for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether a key that begins so, without the installation's prefix, is one of our own: no job and nobody's words write or delete it.
pub fn is_ours(start: &[u8]) -> bool {
    start.starts_with(b"warm:")
}

/// Whether `text` can name a parameter or placeholder: a letter or `_`, then letters, digits, `_` and dots.
pub fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
}

fn push_literal(literals: &mut [String], c: char) {
    if let Some(last) = literals.last_mut() {
        last.push(c);
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn template(text: &str) -> KeyTemplate {
        KeyTemplate::parse(text).expect("a good template")
    }

    fn render(text: &str, values: &[&str]) -> Result<String, KeyError> {
        let mut out = Vec::new();
        template(text).render(values.iter().map(|v| v.as_bytes()), &mut out)?;
        Ok(String::from_utf8(out).expect("text in, text out"))
    }

    #[test]
    fn renders_and_matches_back() {
        let feed = "event:list:state:{state}:type:{eventType}:page:{page}";
        let key = render(feed, &["Cross River", "Owanbe: live", "2"]).expect("unambiguous");
        assert_eq!(key, "event:list:state:Cross River:type:Owanbe: live:page:2");
        let values = template(feed).matches(key.as_bytes()).expect("its own key");
        assert_eq!(values, [&b"Cross River"[..], b"Owanbe: live", b"2"]);
        assert_eq!(render("{{tag}}:x", &[]).expect("braces"), "{tag}:x");
        assert_eq!(template("leaderboard:top100").matches(b"leaderboard:top100"), Some(vec![]));
        assert_eq!(template("leaderboard:top100").matches(b"leaderboard:top1000"), None);
        assert_eq!(template("event:{id}").matches(b"event:"), None);
    }

    #[test]
    fn refuses_keys_that_could_be_read_in_two_ways() {
        assert_eq!(render("a:{x}:b:{y}", &["1:b:2", "3"]), Err(KeyError::Ambiguous));
        assert_eq!(render("a:{x}:b:{y}", &["1:b", "3"]), Err(KeyError::Ambiguous), "across the seam");
        assert_eq!(render("a:{x}:b:{y}", &["1", "2:b:3"]).as_deref(), Ok("a:1:b:2:b:3"));
        assert_eq!(render("a:{x}", &[""]), Err(KeyError::Empty));
    }

    #[test]
    fn bad_templates_are_refused_where_they_are_bad() {
        for (text, at, part) in [
            ("{id}", 0, "begin with literal text"),
            ("", 0, "begin with literal text"),
            ("a:{x}{y}", 5, "literal text between"),
            ("a:{x", 2, "never closed"),
            ("a:x}", 3, "closes nothing"),
            ("a:{}", 2, "name of a parameter"),
            ("a:{x}:{x}", 6, "twice"),
            ("warm:{x}", 0, "belong to warm"),
            ("a:\n{x}", 2, "control characters"),
        ] {
            let error = KeyTemplate::parse(text).expect_err(text);
            assert_eq!(error.at, at, "{text}");
            assert!(error.message.contains(part), "{text}: {}", error.message);
        }
    }

    proptest! {
        #[test]
        fn what_is_rendered_is_matched_back(x in "[a:b]{1,6}", y in "[a:b]{1,6}", z in "[a:b]{1,6}") {
            let t = template("p:{x}:a:{y}:b{z}:c");
            let values = [x.as_bytes(), y.as_bytes(), z.as_bytes()];
            let mut key = Vec::new();
            if t.render(values.into_iter(), &mut key).is_ok() {
                prop_assert_eq!(t.matches(&key), Some(values.to_vec()));
            } else {
                prop_assert!(key.is_empty());
            }
        }
    }
}
