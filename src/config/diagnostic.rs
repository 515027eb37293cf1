//! Messages about files: where, what was found, what was expected, and the way out.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::mask::{mask, mask_name};

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

/// A file or a variable, and a byte range in its text, whose secrets are masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    label: String,
    /// `None` when it is about the whole.
    quoted: Option<(Arc<str>, Range<usize>)>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Error, message: mask(&message.into()), help: None, place: None }
    }

    /// An error about a file as a whole.
    pub fn about(file: &Path, message: impl std::fmt::Display) -> Self {
        Diagnostic::at(Place::whole(file.display().to_string()), message.to_string())
    }

    /// An error about a place.
    pub(super) fn at(place: Place, message: impl Into<String>) -> Self {
        Diagnostic { place: Some(place), ..Diagnostic::error(message) }
    }

    /// The same in one line, for a log.
    pub fn in_a_line(&self) -> String {
        let at = self.position().map(|at| format!("{at}: ")).unwrap_or_default();
        let help = self.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
        format!("{at}{}{help}", self.message)
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

    /// The same without the lines that it is about.
    #[must_use]
    pub(super) fn unquoted(mut self) -> Self {
        self.place = self.place.map(|place| Place::whole(place.label));
        self
    }

    /// Where it is: `FILE:LINE:COLUMN`, `FILE` or `$VARIABLE`.
    pub fn position(&self) -> Option<String> {
        self.place.as_ref().map(Place::position)
    }

    /// The message with the lines that it is about.
    pub fn render(&self, color: bool) -> String {
        let level = if self.severity == Severity::Error { Level::ERROR } else { Level::WARNING };
        let mut group = Group::with_title(level.primary_title(&self.message));
        group = match &self.place {
            None => group,
            Some(Place { label, quoted: None }) => group.element(Origin::path(label)),
            Some(Place { label, quoted: Some((text, span)) }) => group
                .element(Snippet::source(&**text).path(label).annotation(AnnotationKind::Primary.span(span.clone()))),
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }
}

impl Place {
    /// A file or variable as a whole.
    pub(super) fn whole(label: String) -> Self {
        Place { label: mask_name(label), quoted: None }
    }

    /// The range of a text whose secrets have been masked.
    pub(super) fn of(label: String, masked: Arc<str>, span: Range<usize>) -> Self {
        Place { label: mask_name(label), quoted: Some((masked, span)) }
    }

    /// `FILE:LINE:COLUMN`, or `FILE` alone.
    pub(super) fn position(&self) -> String {
        let Some((text, span)) = &self.quoted else { return self.label.clone() };
        let before = text.get(..span.start).unwrap_or_default();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{}:{}:{column}", self.label, line_after(before))
    }

    /// `FILE:LINE`, or `FILE` alone, or a variable, which has one line only.
    pub(super) fn line(&self) -> String {
        match &self.quoted {
            Some((text, span)) if !self.label.starts_with('$') => {
                format!("{}:{}", self.label, line_after(text.get(..span.start).unwrap_or_default()))
            }
            _ => self.label.clone(),
        }
    }
}

/// The number of the line, from 1, on which a text ends.
fn line_after(text: &str) -> usize {
    text.matches('\n').count() + 1
}

/// Several messages, at least one of them an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// All messages, with a line that counts them if they are several.
    pub fn render(&self, color: bool) -> String {
        self.render_before(color, "nothing was started")
    }

    /// The same before something else is done.
    pub fn render_before(&self, color: bool, what: &str) -> String {
        let mut parts: Vec<String> = self.0.iter().map(|diagnostic| diagnostic.render(color)).collect();
        let errors = self.0.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
        if self.0.len() > 1 {
            parts.push(format!("{}; {what}", tally(errors, self.0.len() - errors)));
        }
        parts.join("\n\n")
    }
}

/// `2 errors, 1 warning`.
pub fn tally(errors: usize, warnings: usize) -> String {
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    format!("{}, {}", count(errors, "error"), count(warnings, "warning"))
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
    /// Keeps a message, once: a mistake in `[defaults]` is met by every job.
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        if !self.0.contains(&diagnostic) {
            self.0.push(diagnostic);
        }
    }

    pub(super) fn extend(&mut self, diagnostics: Diagnostics) {
        diagnostics.0.into_iter().for_each(|diagnostic| self.push(diagnostic));
    }

    /// The value; an error is kept for the report.
    pub(super) fn take<T>(&mut self, result: Result<T, Diagnostic>) -> Option<T> {
        result.map_err(|diagnostic| self.push(diagnostic)).ok()
    }

    /// How many errors there are so far.
    pub(super) fn errors(&self) -> usize {
        self.0.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count()
    }

    /// The warnings, if there is no error. Messages about one file stand together, in the order of its lines.
    pub(super) fn finish(self) -> Result<Vec<Diagnostic>, Diagnostics> {
        let label = |diagnostic: &Diagnostic| diagnostic.place.as_ref().map(|place| place.label.clone());
        let mut labels: Vec<Option<String>> = Vec::new();
        for other in self.0.iter().map(label) {
            if !labels.contains(&other) {
                labels.push(other);
            }
        }
        let mut all = self.0;
        all.sort_by_cached_key(|diagnostic| {
            let start = diagnostic.place.as_ref().and_then(|place| Some(place.quoted.as_ref()?.1.start));
            (labels.iter().position(|other| *other == label(diagnostic)), start)
        });
        match all.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
            true => Err(Diagnostics(all)),
            false => Ok(all),
        }
    }
}
