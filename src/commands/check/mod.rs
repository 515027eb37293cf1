//! `warm check`: reads everything, asks both servers, says what is wrong or unwise, changes nothing.
//!
//! ```text
//! config     files and environment: what is wrong there ends every command      ─┐
//! offline    lifetimes against schedules, URLs                                   ├─► findings ─► text or JSON, exit code
//! postgres   each query prepared and planned in a snapshot of its own; account   │
//! redis      memory, eviction, role, rights under each key prefix                │
//! room       what the jobs write, against what Redis has left                   ─┘
//! ```

mod finding;
mod offline;
mod postgres;
mod redis;
mod room;

use super::{Failure, What, load, runtime};
use crate::cli::Common;
use crate::config::Loaded;
use crate::ground::settings::Settings;
use crate::observe::counted;
use finding::{Finding, exit_code, print};
use room::Estimate;

/// Runs the checks. Errors give the exit code of the first of: PostgreSQL, Redis, a job; warnings alone give 0.
pub fn run(common: &Common, offline: bool) -> Result<u8, Failure> {
    let Loaded { settings, warnings, .. } = match load(common) {
        Ok(loaded) => loaded,
        Err(failure) if common.json => return Ok(print_failure(&failure)),
        Err(failure) => return Err(failure),
    };
    let jobs = counted(settings.jobs.len() as u64, "job", "jobs");
    let mut said = Said {
        facts: vec![format!("{jobs} in {}", settings.file.display())],
        findings: warnings.iter().map(Finding::from).collect(),
        ..Said::default()
    };
    let (source, cache) = match (super::postgres(&settings), super::redis(&settings)) {
        (Ok(source), Ok(cache)) => (source, cache),
        (Err(failure), _) | (_, Err(failure)) if common.json => return Ok(print_failure(&failure)),
        (Err(failure), _) | (_, Err(failure)) => return Err(failure),
    };
    said.findings.extend(offline::check(&settings, &source));
    if !offline {
        said.add(ask(&settings, source, cache)?);
    }
    let code = exit_code(&said.findings);
    print(&said.facts, &said.estimates, &said.findings, common.json, code);
    Ok(code)
}

/// Asks both servers at the same time.
fn ask(settings: &Settings, source: crate::source::Postgres, cache: crate::cache::Redis) -> Result<Said, Failure> {
    let prefixes: Vec<String> = settings.jobs.iter().map(|job| job.key.prefix().to_owned()).collect();
    let (mut said, from_redis) = runtime()?.block_on(async {
        let from_redis = tokio::task::spawn_blocking(move || redis::check(&cache, prefixes));
        let from_postgres = postgres::check(settings, &source).await;
        source.close().await;
        (from_postgres, from_redis.await)
    });
    let from_redis = from_redis.map_err(|error| Failure::usage(format!("the check of Redis ended early: {error}")));
    let (from_redis, inspection) = from_redis?;
    said.add(from_redis);
    said.findings.extend(room::check(settings.redis.memory_limit, &inspection, &said.estimates));
    Ok(said)
}

/// For programs: what keeps every command from starting.
fn print_failure(failure: &Failure) -> u8 {
    let findings: Vec<Finding> = match &failure.what {
        What::Diagnostics(diagnostics) => diagnostics.0.iter().map(Finding::from).collect(),
        What::Message(message) => vec![Finding::from(&crate::config::Diagnostic::error(message))],
    };
    print(&[], &[], &findings, true, failure.code);
    failure.code
}

/// What was learned.
#[derive(Debug, Default)]
struct Said {
    facts: Vec<String>,
    findings: Vec<Finding>,
    estimates: Vec<Estimate>,
}

impl Said {
    fn add(&mut self, other: Said) {
        self.facts.extend(other.facts);
        self.findings.extend(other.findings);
        self.estimates.extend(other.estimates);
    }
}
