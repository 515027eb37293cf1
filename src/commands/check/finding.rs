//! What `warm check` has to say, and how it is shown.

use std::io::Write;

use serde_json::{Value, json};

use super::room::Estimate;
use crate::config::{Diagnostic, Severity, tally};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::exit;
use crate::ground::job::Job;

/// Something that the operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// The exit code that it asks for; `None` for a warning.
    error: Option<u8>,
    /// The job that it concerns.
    job: Option<String>,
    /// The place in a file.
    at: Option<String>,
    message: String,
    advice: Option<String>,
}

impl Finding {
    /// A warning about the whole.
    pub(super) fn warning(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding { error: None, job: None, at: None, message: message.into(), advice: Some(advice.into()) }
    }

    /// A warning about a job.
    pub(super) fn warning_of(job: &Job, message: impl Into<String>, advice: impl Into<String>) -> Self {
        let at = Some(job.file.display().to_string());
        Finding { job: Some(job.name.clone()), at, ..Finding::warning(message, advice) }
    }

    /// An error of a server.
    pub(super) fn error(error: &Error) -> Self {
        let consequence = error.kind.consequence();
        // The usual advice for these two is to run the check.
        let advice = match error.kind {
            ErrorKind::Query => "correct the query, or bring the database up to date with it",
            ErrorKind::Definition => "correct the job's file",
            _ => consequence.advice,
        };
        Finding { error: Some(consequence.exit), ..Finding::warning(error.message.clone(), advice) }
    }

    /// An error of a job.
    pub(super) fn error_of(job: &Job, error: &Error) -> Self {
        Finding { job: Some(job.name.clone()), at: Some(error.place(&job.file)), ..Finding::error(error) }
    }

    /// The same with advice that fits better than the usual one.
    pub(super) fn advise(mut self, advice: &str) -> Self {
        self.advice = Some(advice.to_owned());
        self
    }

    /// The same with the place that it is about.
    pub(super) fn at(mut self, place: &str) -> Self {
        self.at = Some(place.to_owned());
        self
    }

    /// Whether it is more than a warning.
    pub(super) fn is_error(&self) -> bool {
        self.error.is_some()
    }

    fn label(&self) -> &'static str {
        if self.is_error() { "error" } else { "warning" }
    }

    fn text(&self) -> String {
        let job = self.job.as_ref().map(|job| format!("{job}: ")).unwrap_or_default();
        let line = |name: &str, text: &Option<String>| text.as_ref().map(|text| format!("  {name}: {text}\n"));
        let at = line("at", &self.at).unwrap_or_default();
        let advice = line("advice", &self.advice).unwrap_or_default();
        format!("{}: {job}{}\n{at}{advice}", self.label(), self.message)
    }

    fn value(&self) -> Value {
        json!({ "severity": self.label(), "job": self.job, "at": self.at, "message": self.message, "advice": self.advice })
    }
}

impl From<&Diagnostic> for Finding {
    fn from(diagnostic: &Diagnostic) -> Self {
        Finding {
            error: (diagnostic.severity == Severity::Error).then_some(exit::CONFIG),
            job: None,
            at: diagnostic.position(),
            message: diagnostic.message.clone(),
            advice: diagnostic.help.clone(),
        }
    }
}

/// The exit code of several findings: that of the first of PostgreSQL, Redis, a guard, anything else; warnings alone give 0.
pub(super) fn exit_code(findings: &[Finding]) -> u8 {
    let codes = || findings.iter().filter_map(|finding| finding.error);
    let wanted = [exit::POSTGRES, exit::REDIS, exit::GUARD];
    wanted.into_iter().find(|code| codes().any(|other| other == *code)).or(codes().next()).unwrap_or(exit::OK)
}

/// Prints what was found.
pub(super) fn print(facts: &[String], estimates: &[Estimate], findings: &[Finding], as_json: bool, code: u8) {
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let text = if as_json {
        let findings: Vec<_> = findings.iter().map(Finding::value).collect();
        let jobs: Vec<_> = estimates.iter().map(Estimate::value).collect();
        format!("{:#}\n", json!({ "exit_code": code, "facts": facts, "jobs": jobs, "findings": findings }))
    } else {
        let jobs = estimates.iter().map(Estimate::text);
        let facts: String = facts.iter().cloned().chain(jobs).map(|fact| format!("{fact}\n")).collect();
        let findings_text: String = findings.iter().map(Finding::text).collect();
        format!("{facts}{findings_text}{}\n", tally(errors, findings.len() - errors))
    };
    // Errors belong on stderr, where a unit's log shows them, unless a program reads the answer.
    // A closed stream is the reader's decision.
    let _ = if errors > 0 && !as_json {
        std::io::stderr().write_all(text.as_bytes())
    } else {
        std::io::stdout().write_all(text.as_bytes())
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreachable_server_outweighs_a_broken_job() {
        let warning = Finding::warning("", "");
        let broken = Finding::error(&Error::new(ErrorKind::Query, ""));
        let down = Finding::error(&Error::new(ErrorKind::RedisUnreachable, ""));
        assert_eq!(exit_code(std::slice::from_ref(&warning)), exit::OK);
        assert_eq!(exit_code(&[warning, broken.clone()]), exit::JOB_FAILED);
        assert_eq!(exit_code(&[broken, down]), exit::REDIS);
    }
}
