//! `warm changes`: the triggers by which the database tells what has changed.

use std::io::Write;

use serde_json::{Value, json};

use super::{Failure, read, runtime};
use crate::cli::{Changes, Common};
use crate::ground::changes::{ChangesSettings, Watched};
use crate::ground::error::Error;
use crate::ground::exit;
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
    let postgres = super::postgres(&settings)?;
    let (found, is_good): (_, fn(&Triggers) -> bool) = match action {
        Changes::Install { print: true } => {
            print(&install(changes, postgres.target().schema()));
            return Ok(exit::OK);
        }
        Changes::Remove { print: true } => {
            print(&remove(changes));
            return Ok(exit::OK);
        }
        Changes::Status => (runtime()?.block_on(postgres.triggers(changes)), all_is_there),
        Changes::Install { .. } => (runtime()?.block_on(installed(&postgres, changes)), all_is_there),
        Changes::Remove { .. } => (runtime()?.block_on(removed(&postgres, changes)), nothing_is_there),
    };
    let code = match &found {
        Ok(found) if is_good(found) => exit::OK,
        Ok(_) => exit::JOB_FAILED,
        Err(error) => error.kind.consequence().exit,
    };
    match &found {
        _ if common.json => print(&format!("{:#}\n", value(changes, &found, code))),
        Ok(found) => print(&text(changes, found)),
        Err(error) => {
            // A closed stream is the reader's decision.
            let _ = writeln!(std::io::stderr(), "error: {error}\n  advice: {}", error.kind.consequence().advice);
        }
    }
    Ok(code)
}

async fn installed(postgres: &Postgres, changes: &ChangesSettings) -> Result<Triggers, Error> {
    let found = postgres.triggers(changes).await?;
    // Nothing is done by halves because of a slip of the finger.
    if found.tables.contains(&Installed::NoTable) {
        return Ok(found);
    }
    postgres.install_triggers(changes).await?;
    postgres.triggers(changes).await
}

async fn removed(postgres: &Postgres, changes: &ChangesSettings) -> Result<Triggers, Error> {
    postgres.remove_triggers(changes).await?;
    postgres.triggers(changes).await
}

fn all_is_there(found: &Triggers) -> bool {
    found.tables.iter().all(|table| *table == Installed::Yes) && found.unwanted.is_empty()
}

fn nothing_is_there(found: &Triggers) -> bool {
    found.tables.iter().all(|table| matches!(table, Installed::No | Installed::NoTable)) && found.unwanted.is_empty()
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
        text += &format!("  {} ({}): {}\n", watched.name(), sets(watched).join(", "), word(*installed));
    }
    for table in &found.unwanted {
        text += &format!("  {table}: has triggers that nobody wants any more\n");
    }
    if found.tables.contains(&Installed::NoTable) {
        text += "nothing is installed while [changes.tables] names a table that this account does not find\n";
    } else if !all_is_there(found) {
        text += "`warm changes install` installs what is missing, and removes what nobody wants\n";
    }
    text
}

/// The sets that a table tells of.
fn sets(watched: &Watched) -> Vec<&str> {
    watched.calls.iter().map(|call| call.set.as_str()).collect()
}

fn value(changes: &ChangesSettings, found: &Result<Triggers, Error>, code: u8) -> Value {
    let error = found.as_ref().err().map(|error| {
        json!({ "kind": format!("{:?}", error.kind), "message": error.message, "advice": error.kind.consequence().advice })
    });
    let installed = found.iter().flat_map(|found| &found.tables);
    let table = |(watched, installed): (&Watched, &Installed)| json!({ "table": watched.name(), "sets": sets(watched), "triggers": word(*installed) });
    let tables: Vec<_> = changes.tables.iter().zip(installed).map(table).collect();
    let unwanted: Vec<_> = found.iter().flat_map(|found| &found.unwanted).collect();
    json!({ "exit_code": code, "channel": changes.channel, "tables": tables, "unwanted": unwanted, "error": error })
}

fn print(text: &str) {
    // A closed standard output is the reader's decision.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
