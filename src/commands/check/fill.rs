//! Whether single keys of a job can be filled, and would be as the job fills them.

use crate::ground::error::{Error, ErrorKind};
use crate::ground::history::NamedType;
use crate::ground::job::Job;
use crate::ground::settings::Settings;
use crate::runner::{Keys, Prepared, prepare, same_columns};
use crate::source::Snapshot;

/// A job that fills single keys only: its query, columns and key.
///
/// # Errors
/// What the server says about the query; what does not fit.
pub(super) async fn check_on_demand(settings: &Settings, job: &Job, snapshot: &mut Snapshot) -> Result<(), Error> {
    let job = job.for_any_key();
    let prepared = prepare(&job, snapshot).await?;
    let rivals = settings.key_space().rivals(&job.name);
    Keys::new(&job, prepared.statement.columns(), &prepared.key_columns, rivals, settings.limits.key_length)?;
    Ok(())
}

/// That there is no `fill_query` where one is needed: no mistake, for nobody may want to fill single keys.
pub(super) fn without_fill_query(job: &Job) -> Option<String> {
    let Job { name, file, .. } = job;
    let why = job.lacks_fill_query()?;
    Some(format!(
        "{name}: single keys cannot be filled, and `warm diff` compares only those that the query gives: {why}; at {}",
        file.display()
    ))
}

/// Whether the `fill_query` gives what the job's query gives.
///
/// # Errors
/// What the server says about it; other columns than those of the job's query.
pub(super) async fn check_fill(job: &Job, prepared: &Prepared, snapshot: &mut Snapshot) -> Result<(), Error> {
    let Some(sql) = &job.fill_query else { return Ok(()) };
    let statement = snapshot.prepare(sql).await?;
    let columns: Vec<_> = statement.columns().iter().map(NamedType::from).collect();
    let differ = |message| Error::new(ErrorKind::Definition, message).at_line(sql.line(0));
    same_columns(&prepared.columns, &columns).map_err(differ)
}
