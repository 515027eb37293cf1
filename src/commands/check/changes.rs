//! Whether the database tells what has changed, where that is to be followed. What is missing keeps no job from running: so it is a warning.

use super::Finding;
use crate::ground::changes::{ChangesSettings, Feed};
use crate::source::Postgres;
use crate::source::changes::Installed;

/// Looks for what tells of all tables.
pub(super) async fn check(changes: &ChangesSettings, source: &Postgres) -> Vec<Finding> {
    let found = match source.installation(changes).await {
        Ok(found) => found,
        Err(error) => return vec![Finding::error(&error)],
    };
    let mut findings = Vec::new();
    if let Feed::Slot(slot) = &changes.feed {
        if let Some(lacks) = found.lacks {
            let way_out = "run `warm changes install` with an account that owns the tables";
            findings.push(Finding::warning(
                format!("not all changes come through the slot {}: {lacks}", slot.name),
                way_out,
            ));
        }
        return findings;
    }
    for (watched, installed) in changes.tables.iter().zip(&found.tables) {
        let message = match installed {
            Installed::Yes => continue,
            Installed::NoTable => {
                let message = format!("there is no table `{}`, which [changes.tables] names", watched.name());
                findings.push(Finding::warning(
                    message,
                    "correct its name there; names are taken letter by letter, as \"Event\"",
                ));
                continue;
            }
            Installed::No => {
                format!("nothing tells that rows of `{}` have changed: its triggers are missing", watched.name())
            }
            Installed::Outdated => {
                format!("the triggers of `{}` are not those of the configuration, or are switched off", watched.name())
            }
        };
        findings.push(Finding::warning(message, "run `warm changes install` with an account that owns the table"));
    }
    for table in &found.unwanted {
        let message =
            format!("the table {table} has triggers for the {} that no configuration wants", changes.feed.shown());
        findings.push(Finding::warning(
            message,
            "run `warm changes install`, which removes them, with an account that owns the table",
        ));
    }
    findings
}
