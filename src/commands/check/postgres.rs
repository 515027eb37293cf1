//! What PostgreSQL says about the jobs: each query is prepared and planned, none is run but those of `[for_each]`.

use chrono::SecondsFormat;

use super::{Finding, Said};
use crate::ground::clock::{Clock, SystemClock, to_millis};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::job::Job;
use crate::ground::settings::Settings;
use crate::runner::{Keys, Plan, prepare};
use crate::source::Postgres;

/// Checks account and jobs.
pub(super) async fn check(settings: &Settings, source: &Postgres) -> Said {
    let mut said = Said::default();
    for name in &source.target().unknown {
        let message = format!("the PostgreSQL URL has a parameter `{name}` that nobody knows; it is ignored");
        said.findings.push(Finding::warning(None, message, "remove it, or correct its spelling"));
    }
    if let Err(error) = account(source, &mut said).await {
        // Without a connection no job can be looked at.
        said.findings.push(Finding::error(None, &error));
        return said;
    }
    for job in &settings.jobs {
        // One snapshot each: an error ends a transaction.
        if let Err(error) = check_job(settings, source, job, &mut said).await {
            said.findings.push(Finding::of_job(job, &error));
        }
    }
    said
}

async fn account(source: &Postgres, said: &mut Said) -> Result<(), Error> {
    let mut snapshot = source.snapshot().await?;
    let account = snapshot.account().await?;
    snapshot.finish().await?;
    let standby = if account.standby { ", a standby" } else { "" };
    said.facts.push(format!(
        "PostgreSQL {} at {}{standby}, as {}, with at most {} connections",
        account.version,
        source.target().describe(),
        account.name,
        source.connections()
    ));
    let advice = "use a role that may only read: config/postgres-role.sql makes one";
    if account.superuser {
        let message = format!("the PostgreSQL account `{}` is a superuser", account.name);
        said.findings.push(Finding::warning(None, message, advice));
    } else if account.writes {
        let message = format!("the PostgreSQL account `{}` may write to tables", account.name);
        said.findings.push(Finding::warning(None, message, advice));
    }
    Ok(())
}

async fn check_job(settings: &Settings, source: &Postgres, job: &Job, said: &mut Said) -> Result<(), Error> {
    let mut snapshot = source.snapshot().await?;
    let prepared = prepare(job, &mut snapshot).await?;
    let columns = prepared.statement.columns();
    let rivals = settings.key_space().rivals(&job.name);
    let mut keys = Keys::new(job, columns, &prepared.key_columns, rivals, settings.limits.key_length)?;
    let now = to_millis(SystemClock.now()).to_rfc3339_opts(SecondsFormat::Millis, true);
    let plan = Plan::new(job, &prepared.statement, &mut snapshot, &now, settings.limits.combinations).await?;
    for name in &prepared.key_columns {
        if let Some(problem) = nullable(snapshot.never_null(&prepared.statement, name).await?) {
            let message = format!("column `{name}` of the key {problem}; a row in which it is NULL fails the job");
            said.findings.push(Finding::warning(
                Some(&job.name),
                message,
                format!("add `WHERE {name} IS NOT NULL` if it can happen"),
            ));
        }
    }
    if plan.is_empty() {
        let message = "[for_each] gives no value, so that nothing would be run";
        said.findings.push(Finding::warning(Some(&job.name), message, "check the query of [for_each]"));
        return snapshot.finish().await;
    }
    let first = plan.combination(0);
    snapshot.explain(&prepared.statement, |name| first.argument(name)).await?;
    for index in 0..plan.len() {
        if let Err(reason) = keys.known_beforehand(&plan, plan.combination(index)) {
            return Err(Error::new(ErrorKind::Definition, format!("a value of [for_each] can make no key: {reason}")));
        }
    }
    snapshot.finish().await
}

fn nullable(never_null: Option<bool>) -> Option<&'static str> {
    match never_null {
        Some(true) => None,
        Some(false) => Some("may be NULL as its table is defined"),
        None => Some("may be NULL for all that the catalog tells"),
    }
}
