//! Messages about files: where, what was found, what was expected, and the way out.
//!
//! A value may come from the configuration file, from the environment or from a job file. All their texts share one line of byte offsets: the file begins at
//! 0, each further text after the last one. So a byte range says which text it belongs to, and values from different texts can be merged.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::de::DeserializeOwned;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing starts.
    Error,
    /// It works, but is unwise.
    Warning,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong. Never a secret.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
    place: Option<Place>,
}

/// A byte range in a text whose secrets are masked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    label: String,
    text: Arc<str>,
    span: Option<Range<usize>>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Error, message: mask(&message.into()), help: None, place: None }
    }

    /// A warning without a place.
    pub fn warning(message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(message) }
    }

    /// An error about a file as a whole.
    pub fn about(file: &Path, message: impl std::fmt::Display) -> Self {
        Diagnostic::error(format!("{}: {message}", file.display()))
    }

    /// The same with the way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same as a warning.
    #[must_use]
    pub(super) fn into_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// The message in one line, `FILE:LINE:COLUMN: MESSAGE`.
    pub fn one_line(&self) -> String {
        let help = self.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        match &self.place {
            None => format!("{}{help}", self.message),
            Some(place) => format!("{}: {}{help}", place.position(), self.message),
        }
    }

    /// The message with the lines that it is about.
    pub fn render(&self, color: bool) -> String {
        let level = if self.severity == Severity::Error { Level::ERROR } else { Level::WARNING };
        let mut group = Group::with_title(level.primary_title(&self.message));
        if let Some(place) = &self.place {
            let snippet = Snippet::source(&*place.text).path(&place.label);
            group = group.element(match &place.span {
                Some(span) => snippet.annotation(AnnotationKind::Primary.span(span.clone())),
                None => snippet.annotation(AnnotationKind::Visible.span(0..0)),
            });
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }
}

impl Place {
    fn position(&self) -> String {
        let Some(span) = &self.span else { return self.label.clone() };
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{}:{line}:{column}", self.label)
    }
}

/// Several messages, at least one of them an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// All messages, with a line that counts them if they are several.
    pub fn render(&self, color: bool) -> String {
        let mut parts: Vec<String> = self.0.iter().map(|diagnostic| diagnostic.render(color)).collect();
        let errors = self.0.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
        if self.0.len() > 1 {
            parts.push(format!("{errors} errors, {} warnings; nothing was started", self.0.len() - errors));
        }
        parts.join("\n\n")
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Diagnostics(vec![diagnostic])
    }
}

/// Gathers messages, so that all mistakes are reported at once.
#[derive(Debug, Default)]
pub(super) struct Collector(Vec<Diagnostic>);

impl Collector {
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    pub(super) fn extend(&mut self, diagnostics: Diagnostics) {
        self.0.extend(diagnostics.0);
    }

    /// The value; an error is kept for the report.
    pub(super) fn take<T>(&mut self, result: Result<T, Diagnostic>) -> Option<T> {
        result.map_err(|diagnostic| self.push(diagnostic)).ok()
    }

    /// The warnings, if there is no error.
    pub(super) fn finish(self) -> Result<Vec<Diagnostic>, Diagnostics> {
        if self.0.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
            Err(Diagnostics(self.0))
        } else {
            Ok(self.0)
        }
    }
}

/// The texts that values come from.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources(Vec<Source>);

#[derive(Debug, Clone)]
struct Source {
    base: usize,
    label: String,
    /// As it was read.
    text: Arc<str>,
    /// The same with secrets masked, byte by byte.
    masked: Arc<str>,
}

impl Sources {
    fn end(&self) -> usize {
        self.0.last().map_or(0, |source| source.base + source.text.len() + 1)
    }

    /// Adds a text and parses it as TOML; the places of its values count from the text's own base.
    pub(super) fn parse<T: DeserializeOwned>(&mut self, label: &str, text: String) -> Result<T, Diagnostics> {
        let base = self.end();
        // Blanks before a text move its places to where they belong.
        let parsed = toml::from_str(&(" ".repeat(base) + &text));
        let masked = Arc::from(mask(&text));
        self.0.push(Source { base, label: label.to_owned(), text: Arc::from(text), masked });
        parsed.map_err(|error: toml::de::Error| {
            let span = error.span().unwrap_or(base..base);
            Diagnostics::from(self.error(span, error.message()))
        })
    }

    /// Takes the last text out again.
    pub(super) fn forget_last(&mut self) {
        self.0.pop();
    }

    /// An error about the given place.
    pub(super) fn error(&self, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        let place = self.at(span.start).map(|source| {
            let start = span.start.saturating_sub(source.base).min(source.text.len());
            let end = span.end.saturating_sub(source.base).clamp(start, source.text.len());
            Place { label: source.label.clone(), text: Arc::clone(&source.masked), span: Some(start..end) }
        });
        Diagnostic { place, ..Diagnostic::error(message) }
    }

    /// An error about the first text, the configuration file, as a whole.
    pub(super) fn error_in_first(&self, message: impl Into<String>) -> Diagnostic {
        Self::about_whole(self.0.first(), message)
    }

    /// An error about the last text, a job file, as a whole.
    pub(super) fn error_in_last(&self, message: impl Into<String>) -> Diagnostic {
        Self::about_whole(self.0.last(), message)
    }

    fn about_whole(source: Option<&Source>, message: impl Into<String>) -> Diagnostic {
        let place =
            source.map(|source| Place { label: source.label.clone(), text: Arc::clone(&source.masked), span: None });
        Diagnostic { place, ..Diagnostic::error(message) }
    }

    /// The text between the given offsets, as it was read.
    pub(super) fn raw(&self, span: &Range<usize>) -> &str {
        let source = self.at(span.start);
        source.and_then(|source| source.text.get(span.start - source.base..span.end - source.base)).unwrap_or_default()
    }

    /// The line, from 1, of its text that an offset stands on.
    pub(super) fn line(&self, offset: usize) -> usize {
        let before = self.at(offset).and_then(|source| source.text.get(..offset - source.base)).unwrap_or_default();
        before.matches('\n').count() + 1
    }

    fn at(&self, offset: usize) -> Option<&Source> {
        self.0.iter().rev().find(|source| source.base <= offset)
    }
}

/// Masks what may be a secret, byte for byte, so that places stay right: everything after `://` up to the end of the word or string, and the value of any setting
/// named `url`.
pub(super) fn mask(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let is_url = line.trim_start().strip_prefix("url").is_some_and(|rest| rest.trim_start().starts_with('='));
        let start = if is_url { line.find('=').map(|at| at + 1) } else { line.find("://").map(|at| at + 3) };
        let (clear, secret) = line.split_at(start.unwrap_or(line.len()));
        out.push_str(clear);
        for c in secret.chars() {
            match c {
                '"' | '\'' | '\n' | '\r' | ' ' => out.push(c),
                c => out.extend(std::iter::repeat_n('*', c.len_utf8())),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_places_stay() {
        let text = "a = 1\nurl = \"postgres://u:p\u{e4}ss@h/d\" # postgres://u:x@h\nother = 'redis://:pw@h'\n";
        let masked = mask(text);
        assert_eq!(masked.len(), text.len());
        for secret in ["u:p", "ss@h", ":pw", "x@h"] {
            assert!(!masked.contains(secret), "{masked}");
        }
        assert!(masked.contains("other = 'redis://"), "{masked}");
    }
}
