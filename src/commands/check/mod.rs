//! `warm check`: reads everything, asks both servers, says what is wrong or unwise, changes nothing.

mod offline;
mod postgres;
mod redis;

use std::io::Write;

use serde_json::json;

use super::{Failure, load, runtime};
use crate::cli::Common;
use crate::ground::error::Error;
use crate::ground::exit;
use crate::ground::job::Job;

/// Something that the operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// The exit code that it asks for; `None` for a warning.
    error: Option<u8>,
    /// The job that it concerns.
    job: Option<String>,
    message: String,
    advice: String,
}

impl Finding {
    fn warning(job: Option<&str>, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding { error: None, job: job.map(str::to_owned), message: message.into(), advice: advice.into() }
    }

    fn error(job: Option<&str>, error: &Error) -> Self {
        let consequence = error.kind.consequence();
        Finding {
            error: Some(consequence.exit),
            job: job.map(str::to_owned),
            message: error.message.clone(),
            advice: consequence.advice.to_owned(),
        }
    }

    fn of_job(job: &Job, error: &Error) -> Self {
        let message = format!("{} ({})", error.message, error.place(&job.file));
        Finding { message, ..Finding::error(Some(&job.name), error) }
    }

    fn label(&self) -> &'static str {
        if self.error.is_some() { "error" } else { "warning" }
    }
}

/// Runs the checks. Errors give the exit code of the first of: PostgreSQL, Redis, a job; warnings alone give 0.
pub fn run(common: &Common, offline: bool) -> Result<u8, Failure> {
    let loaded = load(common)?;
    let settings = &loaded.settings;
    let mut findings: Vec<Finding> =
        loaded.warnings.iter().map(|warning| Finding::warning(None, warning.one_line(), "")).collect();
    findings.extend(offline::check(settings));
    let mut facts = vec![format!("{} jobs in {}", settings.jobs.len(), settings.file.display())];
    if !offline {
        let source = super::postgres(settings)?;
        let cache = super::redis(settings)?;
        let (from_postgres, from_redis) = runtime()?.block_on(async {
            let from_redis = tokio::task::spawn_blocking({
                let prefixes: Vec<String> = settings.jobs.iter().map(|job| job.key.prefix().to_owned()).collect();
                move || redis::check(&cache, &prefixes)
            });
            let from_postgres = postgres::check(settings, &source).await;
            source.close().await;
            (from_postgres, from_redis.await)
        });
        facts.extend(from_postgres.facts);
        findings.extend(from_postgres.findings);
        let from_redis =
            from_redis.map_err(|error| Failure::usage(format!("the check of Redis ended early: {error}")))?;
        facts.extend(from_redis.facts);
        findings.extend(from_redis.findings);
    }
    let code = exit_code(&findings);
    print(common, &facts, &findings, code);
    Ok(code)
}

/// What one server said.
#[derive(Debug, Default)]
struct Said {
    facts: Vec<String>,
    findings: Vec<Finding>,
}

fn exit_code(findings: &[Finding]) -> u8 {
    let codes = || findings.iter().filter_map(|finding| finding.error);
    let wanted = [exit::POSTGRES, exit::REDIS, exit::GUARD];
    wanted.into_iter().find(|code| codes().any(|other| other == *code)).or(codes().next()).unwrap_or(exit::OK)
}

fn print(common: &Common, facts: &[String], findings: &[Finding], code: u8) {
    let errors = findings.iter().filter(|finding| finding.error.is_some()).count();
    let warnings = findings.len() - errors;
    let mut text = String::new();
    if common.json {
        let list: Vec<_> = findings
            .iter()
            .map(|f| json!({ "severity": f.label(), "job": f.job, "message": f.message, "advice": f.advice }))
            .collect();
        text = format!("{:#}\n", json!({ "exit_code": code, "facts": facts, "findings": list }));
    } else {
        for fact in facts {
            text += &format!("{fact}\n");
        }
        for finding in findings {
            let job = finding.job.as_ref().map(|job| format!("{job}: ")).unwrap_or_default();
            text += &format!("{}: {job}{}\n", finding.label(), finding.message);
            if !finding.advice.is_empty() {
                text += &format!("  advice: {}\n", finding.advice);
            }
        }
        text += &format!("{errors} errors, {warnings} warnings\n");
    }
    // Errors belong on stderr, where a unit's log shows them, unless a program reads the answer.
    // A closed stream is the reader's decision.
    let _ = if errors > 0 && !common.json {
        std::io::stderr().write_all(text.as_bytes())
    } else {
        std::io::stdout().write_all(text.as_bytes())
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::error::ErrorKind;

    #[test]
    fn an_unreachable_server_outweighs_a_broken_job() {
        let warning = Finding::warning(None, "", "");
        let broken = Finding::error(Some("job"), &Error::new(ErrorKind::Query, ""));
        let down = Finding::error(None, &Error::new(ErrorKind::RedisUnreachable, ""));
        assert_eq!(exit_code(std::slice::from_ref(&warning)), exit::OK);
        assert_eq!(exit_code(&[warning.clone(), broken.clone()]), exit::JOB_FAILED);
        assert_eq!(exit_code(&[broken, down]), exit::REDIS);
    }
}
