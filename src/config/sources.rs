//! The texts that values come from: the configuration file, environment variables, a job file.
//!
//! All texts share one line of byte offsets: the file begins at 0, each further text after the last one. So a byte range says which
//! text it belongs to, and values from different texts can be merged.

use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::diagnostic::{Diagnostic, Diagnostics, Place};
use super::mask::mask;
use super::shape;

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
        let parsed = shape::read(&(" ".repeat(base) + &text));
        let masked = Arc::from(mask(&text));
        self.0.push(Source { base, label: label.to_owned(), text: Arc::from(text), masked });
        parsed
            .map_err(|mistakes| Diagnostics(mistakes.into_iter().map(|mistake| self.mistake(mistake, base)).collect()))
    }

    fn mistake(&self, mistake: shape::Mistake, base: usize) -> Diagnostic {
        let span = mistake.span.start.max(base)..mistake.span.end.max(base);
        let diagnostic = self.error(span, mistake.message);
        // The value of a setting that does not exist may be anything, a password too; from a variable it is not quoted.
        let diagnostic = match self.at(base) {
            Some(source) if mistake.unknown && source.label.starts_with('$') => diagnostic.unquoted(),
            _ => diagnostic,
        };
        match mistake.help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        }
    }

    /// Takes the last text out again.
    pub(super) fn forget_last(&mut self) {
        self.0.pop();
    }

    /// An error about the given place.
    pub(super) fn error(&self, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        match self.place(span) {
            Some(place) => Diagnostic::at(place, message),
            None => Diagnostic::error(message),
        }
    }

    /// The place with the given offsets.
    pub(super) fn place(&self, span: Range<usize>) -> Option<Place> {
        let source = self.at(span.start)?;
        let start = span.start.saturating_sub(source.base).min(source.text.len());
        let end = span.end.saturating_sub(source.base).clamp(start, source.text.len());
        Some(Place::of(source.label.clone(), Arc::clone(&source.masked), start..end))
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
        match source {
            Some(source) => Diagnostic::at(Place::whole(source.label.clone()), message),
            None => Diagnostic::error(message),
        }
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
