//! Whether the database tells what has changed, where that is to be followed. What is missing keeps no job from running: so it is a warning.

use super::Finding;
use crate::ground::changes::{ChangesSettings, Feed};
use crate::source::Postgres;

/// Looks for what tells of all tables.
pub(super) async fn check(changes: &ChangesSettings, source: &Postgres) -> Vec<Finding> {
    let found = match source.installation(changes).await {
        Ok(found) => found,
        Err(error) => return vec![Finding::error(&error)],
    };
    let problems = found.tables.into_iter().filter_map(|table| table.problem).chain(found.problems);
    let mut findings: Vec<_> =
        problems.map(|problem| Finding::warning(format!("changes: {}", problem.what), problem.way_out)).collect();
    for table in &found.unwanted {
        findings.push(Finding::warning(
            format!("the table {table} has triggers for the {} that no configuration wants", changes.feed.shown()),
            "run `warm changes install`, which removes them, with an account that owns the table",
        ));
    }
    if let (Feed::Slot(slot), false) = (&changes.feed, found.account_may_read) {
        findings.push(Finding::warning(
            format!("changes: the account may read no replication slot, as warm serve is to read {}", slot.name),
            "as a superuser: ALTER ROLE … REPLICATION (docs/changes.md says what that lets the account do)",
        ));
    }
    findings
}
