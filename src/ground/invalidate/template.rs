//! Templates of keys that are to be deleted: `ticket:user:{userId}*`.
//!
//! Unlike the template of a job's key, one of these need not be read back: parameters may stand side by side or come twice, and `*` stands for any text. It begins with
//! literal text all the same, so that neither a value nor a pattern reaches all keys.

use std::fmt;

use crate::ground::key::{TemplateError, is_name, is_ours};

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Literal text.
    Text(String),
    /// The value of the parameter of this name.
    Value(String),
    /// Any text, also none.
    Any,
}

impl Template {
    /// Parses a key or a pattern. `{name}` is a parameter, `*` any text, `{{` and `}}` are literal braces.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn key(text: &str) -> Result<Self, TemplateError> {
        let fail = |message: &str| Err(TemplateError { at: 0, message: message.to_owned() });
        let template = parse(text)?;
        match template.0.first() {
            Some(Piece::Text(start)) if is_ours(start.as_bytes()) => {
                fail("keys that begin with `warm:` belong to warm itself")
            }
            Some(Piece::Text(_)) => Ok(template),
            _ => fail(
                "a key must begin with literal text, such as `event:{id}`, so that no value and no pattern reaches all keys",
            ),
        }
    }

    /// Parses the value that a set gives to another set's parameter.
    ///
    /// # Errors
    /// As [`Template::key`]; also for a pattern.
    pub fn argument(text: &str) -> Result<Self, TemplateError> {
        let fail = |at, message: &str| Err(TemplateError { at, message: message.to_owned() });
        let template = parse(text)?;
        match template.0.as_slice() {
            [] => fail(0, "a value is at least one character, or a parameter such as `{id}`"),
            pieces if pieces.contains(&Piece::Any) => {
                fail(text.find('*').unwrap_or_default(), "a value is literal: `*` would stand for nothing but itself")
            }
            _ => Ok(template),
        }
    }

    /// What it is made of, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// The names of its parameters; one that comes twice is given twice.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| if let Piece::Value(name) = piece { Some(name.as_str()) } else { None })
    }

    /// The literal text that it begins with.
    pub fn prefix(&self) -> &str {
        if let Some(Piece::Text(start)) = self.0.first() { start } else { "" }
    }

    /// Whether it stands for one key, once its parameters have values.
    pub fn is_exact(&self) -> bool {
        !self.0.contains(&Piece::Any)
    }

    /// Whether it is literal text and nothing else.
    pub fn is_literal(&self) -> bool {
        self.0.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }

    /// The same with other templates in place of its parameters; each has one.
    pub fn with(&self, arguments: &[(String, Template)]) -> Self {
        let mut pieces = Vec::new();
        for piece in &self.0 {
            let given = match piece {
                Piece::Value(name) => arguments.iter().find(|(other, _)| other == name).map(|(_, given)| given),
                _ => None,
            };
            match given {
                Some(given) => given.0.iter().for_each(|piece| push(&mut pieces, piece.clone())),
                None => push(&mut pieces, piece.clone()),
            }
        }
        Template(pieces)
    }

    /// The same whatever values the parameters have.
    pub(super) fn render_any(&self) -> Vec<Vec<u8>> {
        let mut parts = vec![Vec::new()];
        let mut was_text = true;
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => {
                    parts.last_mut().into_iter().for_each(|last| last.extend_from_slice(text.as_bytes()))
                }
                // What stands side by side is one.
                _ if was_text => parts.push(Vec::new()),
                _ => {}
            }
            was_text = matches!(piece, Piece::Text(_));
        }
        parts
    }

    /// What stands before, between and behind its `*`, if the parameters have these values.
    pub(super) fn render(&self, values: &[(String, String)]) -> Vec<Vec<u8>> {
        let mut parts = vec![Vec::new()];
        for piece in &self.0 {
            let text = match piece {
                Piece::Any => {
                    parts.push(Vec::new());
                    continue;
                }
                Piece::Text(text) => text,
                Piece::Value(name) => match values.iter().find(|(other, _)| other == name) {
                    Some((_, value)) => value,
                    None => continue,
                },
            };
            if let Some(last) = parts.last_mut() {
                last.extend_from_slice(text.as_bytes());
            }
        }
        parts
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            Piece::Value(name) => write!(f, "{{{name}}}"),
            Piece::Any => f.write_str("*"),
        })
    }
}

fn parse(text: &str) -> Result<Template, TemplateError> {
    let fail = |at: usize, message: &str| Err(TemplateError { at, message: message.to_owned() });
    let mut pieces = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '{' | '}' if chars.peek().is_some_and(|(_, next)| *next == c) => {
                chars.next();
                push(&mut pieces, Piece::Text(c.to_string()));
            }
            '}' => return fail(at, "this `}` closes nothing; a literal one is written `}}`"),
            '{' => {
                let rest = &text[at + 1..];
                let Some(length) = rest.find('}') else {
                    return fail(at, "this `{` is never closed; a literal one is written `{{`");
                };
                let name = &rest[..length];
                if !is_name(name) {
                    return fail(at, "what stands in braces is the name of a parameter, such as `{id}`");
                }
                push(&mut pieces, Piece::Value(name.to_owned()));
                while chars.next_if(|(i, _)| *i <= at + 1 + length).is_some() {}
            }
            '*' if pieces.last() == Some(&Piece::Any) => return fail(at, "one `*` stands for any text already"),
            '*' => push(&mut pieces, Piece::Any),
            c if c.is_control() => return fail(at, "control characters are not allowed here"),
            c => push(&mut pieces, Piece::Text(c.to_string())),
        }
    }
    Ok(Template(pieces))
}

/// Texts side by side are one: so equal templates are equal.
fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    match (pieces.last_mut(), piece) {
        (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
        (_, piece) => pieces.push(piece),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parsed_is_shown_as_it_was_written() {
        for text in ["event:{id}", "event:list:*", "a*b{x}{y}*{x}", "{{tag}}:{x}", "a"] {
            let template = Template::key(text).expect(text);
            assert_eq!(template.to_string(), text);
            assert_eq!(template.is_exact(), !text.contains('*'));
        }
    }

    #[test]
    fn bad_templates_are_refused_where_they_are_bad() {
        for (text, at, part) in [
            ("", 0, "begin with literal text"),
            ("*", 0, "begin with literal text"),
            ("{id}:x", 0, "begin with literal text"),
            ("warm:marker", 0, "belong to warm"),
            ("warm:*", 0, "belong to warm"),
            ("a:**", 3, "any text already"),
            ("a:{x", 2, "never closed"),
            ("a:x}", 3, "closes nothing"),
            ("a:{}", 2, "name of a parameter"),
            ("a:\n", 2, "control characters"),
        ] {
            let error = Template::key(text).expect_err(text);
            assert_eq!(error.at, at, "{text}");
            assert!(error.message.contains(part), "{text}: {}", error.message);
        }
        assert!(Template::argument("").is_err() && Template::argument("{x}:y").is_ok());
        assert_eq!(Template::argument("{x}*").expect_err("a pattern").at, 3);
    }

    #[test]
    fn arguments_take_the_place_of_parameters() {
        let given = [("id".to_owned(), Template::argument("e{eventId}").expect("good"))];
        let template = Template::key("event:{id}:{x}*").expect("good").with(&given);
        assert_eq!(template, Template::key("event:e{eventId}:{x}*").expect("good"));
        assert_eq!(template.names().collect::<Vec<_>>(), ["eventId", "x"]);
    }
}
