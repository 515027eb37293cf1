//! `warm check`: reads everything, asks both servers, says what is wrong or unwise, changes nothing.
//!
//! ```text
//! config     files and environment: what is wrong there ends every command      ─┐
//! offline    lifetimes against schedules, single keys, URLs, leases              │
//! on_change  whether keys can be written again that are to be                    ├─► findings ─► text or JSON, exit code
//! postgres   each query prepared and planned in a snapshot of its own; account   │
//! history    whether runs can use it, and nobody else                            │
//! redis      memory, eviction, role, rights under each key prefix                │
//! predict    whether Redis tells of misses                                        │
//! invalidate rights to the keys of [invalidate]                                  │
//! changes    the triggers that tell what has changed                             │
//! room       what the jobs write, against what Redis has left                    │
//! rate       the same, against what may be written in a second                  ─┘
//! ```

mod changes;
mod changing;
mod explained;
mod fill;
mod finding;
mod hold;
mod invalidate;
mod offline;
mod on_change;
mod postgres;
mod predict;
mod rate;
mod redis;
mod room;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinError;

use super::{Failure, load, runtime, select};
use crate::cache::Redis;
use crate::cli::Common;
use crate::config::{Diagnostic, Loaded};
use crate::ground::changes::ChangesSettings;
use crate::ground::invalidate::Set;
use crate::ground::job::Job;
use crate::ground::kind::Kind;
use crate::ground::settings::Settings;
use crate::history::{Worry, inspect};
use crate::observe::counted;
use crate::source::Postgres;
use finding::{Finding, exit_code, print};
use room::Estimate;

/// Checks the jobs of these names, all if there are none. Errors give the exit code of the first of: PostgreSQL, Redis, a job; warnings alone give 0.
pub fn run(common: &Common, offline: bool, names: &[String]) -> Result<u8, Failure> {
    let Subject { settings, warnings, jobs, disabled, source, cache } = Subject::new(common, names)?;
    let all = counted(settings.enabled().count() as u64, "job", "jobs");
    let some =
        if names.is_empty() { String::new() } else { format!("{} of ", jobs.iter().filter(|job| job.runs()).count()) };
    let on_demand = jobs.iter().filter(|job| job.on_demand).count() as u64;
    let on_demand = if on_demand > 0 { format!(" and {on_demand} on demand") } else { String::new() };
    let mut said = Said {
        facts: vec![format!("{some}{all}{on_demand} in {}", settings.file.display())],
        findings: warnings.iter().map(Finding::from).collect(),
        ..Said::default()
    };
    said.facts.extend(disabled.iter().filter_map(|job| Some(format!("{}: disabled: {}", job.name, job.disabled()?))));
    said.facts.extend(jobs.iter().filter_map(|job| fill::without_fill_query(job)));
    said.findings.extend(offline::check(&jobs, &source));
    said.findings.extend(on_change::check(&settings, &jobs));
    if !offline {
        // Who asks about jobs alone hears of jobs alone.
        let sets = if names.is_empty() { settings.sets.clone() } else { Vec::new() };
        let changes = settings.changes.as_ref().filter(|_| names.is_empty());
        said.add(ask(&settings, &jobs, sets, changes, source, cache)?);
    }
    let code = exit_code(&said.findings);
    print(&said.facts, &said.estimates, &said.findings, common.json, code);
    Ok(code)
}

/// What is checked, and where.
struct Subject {
    settings: Settings,
    warnings: Vec<Diagnostic>,
    jobs: Vec<Arc<Job>>,
    /// Those that do not run: neither server has to be ready for them.
    disabled: Vec<Arc<Job>>,
    source: Postgres,
    cache: Redis,
}

impl Subject {
    /// Reads all files.
    fn new(common: &Common, names: &[String]) -> Result<Self, Failure> {
        let Loaded { settings, warnings, .. } = load(common)?;
        let (jobs, disabled) = select(&settings, names)?.into_iter().partition(|job| job.disabled().is_none());
        let (source, cache) = (super::postgres(&settings)?, super::redis(&settings)?);
        Ok(Subject { settings, warnings, jobs, disabled, source, cache })
    }
}

/// Asks both servers at the same time, and looks at the history meanwhile.
fn ask(
    settings: &Settings,
    jobs: &[Arc<Job>],
    sets: Vec<Set>,
    changes: Option<&ChangesSettings>,
    source: Postgres,
    cache: Redis,
) -> Result<Said, Failure> {
    let prefixes: Vec<String> = jobs.iter().map(|job| job.key.prefix().to_owned()).collect();
    let kinds: BTreeSet<Kind> = jobs.iter().map(|job| job.key_type.kind()).collect();
    let (kinds, told_by): (Vec<Kind>, _) = (kinds.into_iter().collect(), cache.clone());
    let (worry, from_postgres, from_redis) = runtime()?.block_on(async {
        let from_redis = tokio::task::spawn_blocking(move || {
            let (mut said, inspection) = redis::check(&cache, prefixes, &kinds);
            // A server that is away is told of once.
            if !said.findings.iter().any(Finding::is_error) {
                said.findings.extend(invalidate::check(&cache, &sets));
            }
            (said, inspection)
        });
        let from_redis = async {
            let (mut said, inspection) = from_redis.await?;
            // As above.
            if !said.findings.iter().any(Finding::is_error) {
                let policy = inspection.eviction_policy.as_deref();
                said.findings.extend(predict::check(&told_by, jobs, policy).await);
            }
            Ok((said, inspection))
        };
        let (worry, mut from_postgres, from_redis) =
            tokio::join!(inspect(settings.state.clone()), postgres::check(settings, jobs, &source), from_redis);
        // A server that is away is told of once.
        if let Some(changes) = changes.filter(|_| !from_postgres.findings.iter().any(Finding::is_error)) {
            from_postgres.findings.extend(changes::check(changes, &source).await);
        }
        source.close().await;
        (worry, from_postgres, from_redis)
    });
    let mut said = Said::default();
    said.findings.extend(worry.map(|Worry { message, advice }| Finding::warning(message, advice)));
    said.add(from_postgres);
    let from_redis =
        from_redis.map_err(|error: JoinError| Failure::usage(format!("the check of Redis ended early: {error}")));
    let (from_redis, inspection) = from_redis?;
    said.add(from_redis);
    said.findings.extend(room::check(settings.redis.memory_limit, &inspection, &said.estimates));
    said.findings.extend(rate::check(settings, jobs, &said.estimates));
    Ok(said)
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
