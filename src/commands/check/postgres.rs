//! What PostgreSQL says about the jobs: each query is prepared and planned, none is run but those of `[for_each]`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::SecondsFormat;
use tokio::time::timeout;

use super::explained::Explained;
use super::fill::{check_fill, check_on_demand};
use super::offline::wants_leases;
use super::room::planned;
use super::{Estimate, Finding, Said, changing, hold};
use crate::ground::clock::{Clock, SystemClock, to_millis};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::job::{Job, OnBadRow, Parameter, Partition, Values};
use crate::ground::settings::Settings;
use crate::ground::sql::quote_identifier;
use crate::observe::counted;
use crate::runner::{Keys, Plan, Prepared, prepare};
use crate::source::{Argument, Barrier, Postgres, Snapshot};

/// The most values of a list that are tried. Each costs a round trip.
const TRIED: usize = 1000;

/// How long a second transaction is waited for.
const SECOND: Duration = Duration::from_secs(3);

/// Checks the account and these of the configured jobs.
pub(super) async fn check(settings: &Settings, jobs: &[Arc<Job>], source: &Postgres) -> Said {
    let mut said = Said::default();
    if let Err(error) = account(settings, jobs, source, &mut said).await {
        // Without a connection no job can be looked at.
        said.findings.push(Finding::error(&error));
        return said;
    }
    for job in jobs {
        // One snapshot each: an error ends a transaction.
        if let Err(error) = check_job(settings, source, job, &mut said).await {
            said.findings.push(Finding::error_of(job, &error));
        }
    }
    said
}

async fn account(settings: &Settings, jobs: &[Arc<Job>], source: &Postgres, said: &mut Said) -> Result<(), Error> {
    let mut snapshot = source.snapshot().await?;
    let account = snapshot.account().await?;
    let standby = if account.standby { ", a standby" } else { "" };
    let connections = counted(source.connections() as u64, "connection", "connections");
    said.facts.push(format!(
        "PostgreSQL {} at {}{standby}, as {}, with at most {connections}",
        account.version,
        source.target().describe(),
        account.name
    ));
    hold::check(source, &mut snapshot, said).await?;
    if let Some((named, server)) = settings.postgres.primary.as_ref().zip(source.primary()) {
        let finding = match account.standby {
            true => primary(&mut snapshot, server, said).await,
            false => Some(unneeded_primary(source)),
        };
        said.findings.extend(finding.map(|finding| finding.at(&named.origin)));
    }
    if wants_leases(jobs) {
        said.findings.extend(second_connection(source).await);
    }
    snapshot.finish().await?;
    let advice = "use a role that may only read: config/postgres-role.sql makes one";
    if account.superuser {
        let message = format!("the PostgreSQL account `{}` is a superuser", account.name);
        said.findings.push(Finding::warning(message, advice));
    } else if account.writes {
        let message = format!("the PostgreSQL account `{}` may write to tables", account.name);
        said.findings.push(Finding::warning(message, advice));
    }
    Ok(())
}

/// Opens a transaction beside the one that is open, as a lease is held while rows are read: a pooler may let it wait for the other one's end. What it
/// says otherwise, the jobs' own transactions find out.
async fn second_connection(source: &Postgres) -> Option<Finding> {
    // With a primary, leases are held there.
    if !source.has_room_for_leases() || source.primary().is_some() {
        return None;
    }
    if let Ok(second) = timeout(SECOND, source.snapshot_if_free()).await {
        if let Ok(Some(second)) = second {
            // It has served its purpose, whatever is said of its end.
            let _ = second.finish().await;
        }
        return None;
    }
    let message = format!(
        "a second transaction does not begin within {} s while one is open: a pooler before PostgreSQL has no more server connections for this account, or all are taken; while a lease is held, queries would wait in vain",
        SECOND.as_secs()
    );
    let advice = "let the pool have more server connections than machines that run warm (default_pool_size in PgBouncer), or name PostgreSQL itself in DATABASE_URL";
    Some(Finding::warning(message, advice))
}

/// Asks the primary what a run asks it: whether the standby follows it, and has come as far.
async fn primary(standby: &mut Snapshot, server: &Postgres, said: &mut Said) -> Option<Finding> {
    match standby.renew(Barrier::default()).await {
        Err(error) if error.kind == ErrorKind::Definition => {
            Some(Finding::error(&error).advise("name the server that is written to, and that this standby follows"))
        }
        Err(error) => Some(Finding::error(&error)),
        Ok(doubt) => {
            said.facts.push(format!("its primary at {}", server.target().describe()));
            let advice = "let it catch up: what runs write meanwhile cannot be verified, and dies soon";
            doubt.map(|reason| Finding::warning(reason, advice))
        }
    }
}

fn unneeded_primary(source: &Postgres) -> Finding {
    let server = source.target().describe();
    let message = format!("a primary is named, but PostgreSQL at {server} is no standby: nobody ever asks the primary");
    Finding::warning(message, "remove it; or, if a standby is to be read, name that one in DATABASE_URL")
}

async fn check_job(settings: &Settings, source: &Postgres, job: &Job, said: &mut Said) -> Result<(), Error> {
    let mut snapshot = source.snapshot().await?;
    if job.on_demand {
        check_on_demand(settings, job, &mut snapshot).await?;
        return snapshot.finish().await;
    }
    let prepared = prepare(job, &mut snapshot).await?;
    let rivals = settings.key_space().rivals(&job.name);
    let columns = prepared.statement.columns();
    let mut keys = Keys::new(job, columns, &prepared.key_columns, rivals, settings.limits.key_length)?;
    let now = to_millis(SystemClock.now()).to_rfc3339_opts(SecondsFormat::Millis, true);
    let plan = Plan::new(job, &prepared.statement, &mut snapshot, &now, settings.limits.combinations).await?;
    check_fill(job, &prepared, &mut snapshot).await?;
    for name in &prepared.key_columns {
        if let Some(problem) = nullable(snapshot.never_null(&prepared.statement, name).await?) {
            let then = match job.on_bad_row {
                OnBadRow::Fail => "fails the job",
                OnBadRow::Skip => "is left out",
            };
            let message = format!("column `{name}` of the key {problem}; a row in which it is NULL {then}");
            let advice = format!("if it can be NULL, leave such rows out: WHERE {} IS NOT NULL", quoted(name));
            said.findings.push(Finding::warning_of(job, message, advice));
        }
    }
    if plan.is_empty() {
        let message = "[for_each] gives no value, so that nothing would be run";
        said.findings.push(Finding::warning_of(job, message, "check the query of [for_each]"));
        return snapshot.finish().await;
    }
    said.findings.extend(uncut(job, &plan));
    plan_with_each_value(job, &prepared, &plan, &mut snapshot).await?;
    estimate(job, &prepared, &plan, &mut snapshot, said).await?;
    for index in 0..plan.len() {
        let combination = plan.combination(index);
        if let Err(reason) = keys.known_beforehand(&plan, combination) {
            let error = Error::new(ErrorKind::Definition, format!("no key can be made: {reason}"));
            return Err(with_values(job, error, |name| combination.argument(name)));
        }
    }
    snapshot.finish().await
}

/// Warns about a query that cannot be cut into as many parts as the job wants.
fn uncut(job: &Job, plan: &Plan) -> Option<Finding> {
    let Partition { column, parts, at } = job.partition.as_ref()?;
    if plan.parts() > 1 {
        return None;
    }
    let message = format!(
        "partition_by wants {parts} parts, but PostgreSQL has no histogram of the column `{column}`, so that the query is read in one: either its table was never analyzed, or it has too few different values to cut at"
    );
    let advice = "ANALYZE its table, or name another column, one with many different values; there are histograms of a table's own columns only, not of a view's or of expressions";
    Some(Finding::warning_of(job, message, advice).at(at))
}

/// Has the query planned with some combinations: for how much the job writes, and what it calls.
async fn estimate(
    job: &Job,
    prepared: &Prepared,
    plan: &Plan,
    snapshot: &mut Snapshot,
    said: &mut Said,
) -> Result<(), Error> {
    // Where the format has the server make the values, the query is another one.
    let original = snapshot.prepare(&job.query).await?;
    let mut plans = Vec::new();
    for index in planned(plan.combinations()) {
        let combination = plan.first_part(index);
        let value = |name: &str| combination.argument(name);
        let plan = snapshot.explain(&original, value).await.map_err(|error| with_values(job, error, value))?;
        plans.push(Explained::parse(&plan));
    }
    let tables: BTreeSet<_> = plans.iter().flat_map(Explained::tables).collect();
    let never_analyzed = snapshot.never_analyzed(&Vec::from_iter(tables)).await?;
    let estimate = Estimate::new(job, prepared, plan, original.columns(), &plans);
    said.estimates.extend(estimate.map(|estimate| estimate.without_statistics_of(never_analyzed)));
    match plans.first() {
        Some(first) => changing::check(job, first, snapshot, said).await,
        None => Ok(()),
    }
}

/// Has the query planned, which shows whether the account may read what it reads and whether each value of a list suits its parameter's type: the
/// first value of each list, then the second of each, and so on.
async fn plan_with_each_value(
    job: &Job,
    prepared: &Prepared,
    plan: &Plan,
    snapshot: &mut Snapshot,
) -> Result<(), Error> {
    let lists: Vec<(&str, &[String])> = job
        .for_each
        .iter()
        .filter(|parameter| !prepared.statement.takes_list(&parameter.name))
        .filter_map(|parameter| match &parameter.values {
            Values::List(values) => Some((parameter.name.as_str(), values.as_slice())),
            Values::Query(_) => None,
        })
        .collect();
    let first = plan.combination(0);
    let rounds = lists.iter().map(|(_, values)| values.len()).max().unwrap_or(1).min(TRIED);
    for round in 0..rounds {
        let listed = |name: &str| {
            let (_, values) = lists.iter().find(|(other, _)| *other == name)?;
            values.get(round % values.len()).map(|value| Argument::Text(value.clone()))
        };
        let value = |name: &str| listed(name).or_else(|| first.argument(name));
        let plan = match snapshot.explain(&prepared.statement, value).await {
            Ok(plan) => plan,
            Err(error) => return Err(with_values(job, snapshot.blame(error, &prepared.statement, value).await, value)),
        };
        if let Some(writes) = Explained::parse(&plan).changes() {
            let message = format!("the query does not only read: its plan has `{writes}`");
            return Err(Error::new(ErrorKind::Query, message).at_line(job.query.line(0)));
        }
    }
    Ok(())
}

/// An error about a value of `[for_each]` says with which values it came.
fn with_values(job: &Job, error: Error, value: impl Fn(&str) -> Option<Argument>) -> Error {
    // A right that lacks has nothing to do with values.
    if !matches!(error.kind, ErrorKind::Query | ErrorKind::Data | ErrorKind::NoValue | ErrorKind::Definition)
        || job.for_each.is_empty()
    {
        return error;
    }
    let shown = job.for_each.iter().filter_map(|Parameter { name, .. }| {
        let value = match value(name)? {
            Argument::Text(text) => shortened(&text),
            Argument::List(list) => shortened(&format!("[{}]", list.join(", "))),
            Argument::Nothing => return None,
        };
        Some(format!(":{name} = {value}"))
    });
    let message = format!("with {}: {}", shown.collect::<Vec<_>>().join(", "), error.message);
    Error { message, ..error }
}

fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn nullable(never_null: Option<bool>) -> Option<&'static str> {
    match never_null {
        Some(true) => None,
        Some(false) => Some("may be NULL as its table is defined"),
        None => Some("may be NULL for all that the catalog tells"),
    }
}

/// A column's name as SQL takes it.
pub(super) fn quoted(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if plain { name.to_owned() } else { quote_identifier(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_only_where_they_must() {
        assert_eq!(quoted("owner_id2"), "owner_id2");
        assert_eq!(quoted("ownerId"), "\"ownerId\"");
        assert_eq!(quoted("2nd\""), "\"2nd\"\"\"");
    }
}
