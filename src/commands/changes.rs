//! `warm changes`: the triggers by which the database tells what has changed.

use std::io::Write;

use serde_json::json;

use super::{Failure, read, runtime};
use crate::cli::{Changes, Common};
use crate::ground::changes::{ChangesSettings, Watched};
use crate::ground::error::Error;
use crate::ground::exit;
use crate::ground::settings::Settings;
use crate::source::Postgres;
use crate::source::changes::{Installed, Triggers, install, remove};

/// Installs, removes or shows.
pub fn run(common: &Common, action: &Changes) -> Result<u8, Failure> {
    let settings = read(common)?.loaded.settings;
    let Some(changes) = &settings.changes else {
        let file = settings.file.display();
        return Err(Failure::usage(format!(
            "changes are not followed: [changes] in {file} would say on which channel (docs/changes.md)"
        )));
    };
    let is_install = matches!(action, Changes::Install { .. });
    if is_install && changes.tables.is_empty() {
        let file = settings.file.display();
        return Err(Failure::usage(format!(
            "no table is named in [changes.tables] of {file}: there is nothing to install"
        )));
    }
    match action {
        Changes::Install { print: true } => print(&install(changes)),
        Changes::Remove { print: true } => print(&remove(changes)),
        Changes::Status => return ask(&settings, common.json, async |postgres| postgres.triggers(changes).await),
        Changes::Install { .. } => {
            return ask(&settings, common.json, async |postgres| {
                let found = postgres.triggers(changes).await?;
                // Nothing is done by halves because of a slip of the finger.
                if !found.tables.contains(&Installed::NoTable) {
                    postgres.install_triggers(changes).await?;
                }
                postgres.triggers(changes).await
            });
        }
        Changes::Remove { .. } => {
            let postgres = postgres(&settings)?;
            let removed = runtime()?.block_on(postgres.remove_triggers(changes));
            if let Err(error) = removed {
                return Ok(failed(&error, common.json));
            }
            if common.json {
                print(&format!("{:#}\n", json!({ "channel": changes.channel, "removed": true })));
            } else {
                print(&format!("no trigger of the channel {} is left\n", changes.channel));
            }
        }
    }
    Ok(exit::OK)
}

fn postgres(settings: &Settings) -> Result<Postgres, Failure> {
    Postgres::new(&settings.postgres).map_err(|error| Failure::usage(error.to_string()))
}

/// Says what is there after the work is done.
fn ask(
    settings: &Settings,
    as_json: bool,
    work: impl AsyncFnOnce(&Postgres) -> Result<Triggers, Error>,
) -> Result<u8, Failure> {
    let postgres = postgres(settings)?;
    match (runtime()?.block_on(work(&postgres)), &settings.changes) {
        (Ok(found), Some(changes)) => {
            print(&if as_json { value(changes, &found) } else { text(changes, &found) });
            let all = found.tables.iter().all(|table| *table == Installed::Yes) && found.unwanted.is_empty();
            Ok(if all { exit::OK } else { exit::JOB_FAILED })
        }
        (Err(error), _) => Ok(failed(&error, as_json)),
        (Ok(_), None) => Ok(exit::OK),
    }
}

fn word(installed: Installed) -> &'static str {
    match installed {
        Installed::Yes => "installed",
        Installed::Outdated => "outdated",
        Installed::No => "missing",
        Installed::NoTable => "no such table",
    }
}

fn text(changes: &ChangesSettings, found: &Triggers) -> String {
    let mut text = format!("channel {}\n", changes.channel);
    for (watched, installed) in changes.tables.iter().zip(&found.tables) {
        text += &format!("  {}: {}\n", tells(watched), word(*installed));
    }
    for table in &found.unwanted {
        text += &format!("  {table}: has triggers that nobody wants any more\n");
    }
    if found.tables.contains(&Installed::NoTable) {
        text += "nothing is installed while [changes.tables] names a table that this account does not find\n";
    } else if found.tables.iter().any(|table| *table != Installed::Yes) || !found.unwanted.is_empty() {
        text += "`warm changes install` sets this right\n";
    }
    text
}

/// A table, and the sets that it tells of.
fn tells(watched: &Watched) -> String {
    let sets: Vec<_> = watched.calls.iter().map(|call| call.set.as_str()).collect();
    format!("{} ({})", watched.name(), sets.join(", "))
}

fn value(changes: &ChangesSettings, found: &Triggers) -> String {
    let tables: Vec<_> = changes
        .tables
        .iter()
        .zip(&found.tables)
        .map(|(watched, installed)| {
            let sets: Vec<_> = watched.calls.iter().map(|call| call.set.as_str()).collect();
            json!({ "table": watched.name(), "sets": sets, "triggers": word(*installed) })
        })
        .collect();
    format!("{:#}\n", json!({ "channel": changes.channel, "tables": tables, "unwanted": found.unwanted }))
}

fn failed(error: &Error, as_json: bool) -> u8 {
    let consequence = error.kind.consequence();
    if as_json {
        let error =
            json!({ "kind": format!("{:?}", error.kind), "message": error.message, "advice": consequence.advice });
        print(&format!("{:#}\n", json!({ "exit_code": consequence.exit, "error": error })));
    } else {
        // A closed stream is the reader's decision.
        let _ = writeln!(std::io::stderr(), "error: {error}\n  advice: {}", consequence.advice);
    }
    consequence.exit
}

fn print(text: &str) {
    // A closed standard output is the reader's decision.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
