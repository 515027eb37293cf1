//! How the database would find the rows of a job.

use chrono::SecondsFormat;

use super::Runner;
use super::plan::Plan;
use super::prepare::prepare;
use crate::ground::clock::to_millis;
use crate::ground::error::Error;
use crate::ground::job::Job;

impl Runner {
    /// PostgreSQL's plan for the query of a job's first combination, line by line (`EXPLAIN`): the query itself is not run.
    ///
    /// # Errors
    /// As a run of the job.
    pub async fn explain(&self, job: &Job) -> Result<Vec<String>, Error> {
        let mut snapshot = self.source.snapshot().await?;
        let prepared = prepare(job, &mut snapshot).await?;
        let now = to_millis(self.clock.now()).to_rfc3339_opts(SecondsFormat::Millis, true);
        let plan = Plan::new(job, &prepared.statement, &mut snapshot, &now, self.limits.combinations).await?;
        let combination = plan.combination(0);
        let lines = snapshot.explain_in_lines(&prepared.statement, |name| combination.argument(name)).await?;
        snapshot.finish().await?;
        Ok(lines)
    }
}
