//! `warm changes`: what lets the database tell what has changed.

use std::io::Write;

use serde_json::{Value, json};

use super::{Failure, read, runtime};
use crate::cli::{Changes, Common};
use crate::ground::changes::{ChangesSettings, Feed, Watched};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::exit;
use crate::ground::show::human_bytes;
use crate::source::Postgres;
use crate::source::changes::{Installation, Installed, SlotFound, install, remove};

/// Installs, removes or shows.
pub fn run(common: &Common, action: &Changes) -> Result<u8, Failure> {
    let settings = read(common)?.loaded.settings;
    let Some(changes) = &settings.changes else {
        let file = settings.file.display();
        return Err(Failure::usage(format!(
            "changes are not followed: [changes] in {file} would say how (docs/changes.md)"
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
    let (found, is_good): (_, fn(&Installation) -> bool) = match action {
        Changes::Install { print: true } => {
            print(&install(changes, postgres.target().schema()));
            return Ok(exit::OK);
        }
        Changes::Remove { print: true } => {
            print(&remove(changes));
            return Ok(exit::OK);
        }
        Changes::Status => (runtime()?.block_on(postgres.installation(changes)), all_is_there),
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
            // What the statements themselves refuse says what to do. A closed stream is the reader's decision.
            let advice = (error.kind != ErrorKind::Definition).then(|| error.kind.consequence().advice);
            let advice = advice.map(|advice| format!("  advice: {advice}\n")).unwrap_or_default();
            let _ = write!(std::io::stderr(), "error: {error}\n{advice}");
        }
    }
    Ok(code)
}

async fn installed(postgres: &Postgres, changes: &ChangesSettings) -> Result<Installation, Error> {
    let found = postgres.installation(changes).await?;
    // Nothing is done by halves because of a slip of the finger.
    if found.tables.contains(&Installed::NoTable) {
        return Ok(found);
    }
    postgres.install_changes(changes).await?;
    postgres.installation(changes).await
}

async fn removed(postgres: &Postgres, changes: &ChangesSettings) -> Result<Installation, Error> {
    postgres.remove_changes(changes).await?;
    postgres.installation(changes).await
}

fn all_is_there(found: &Installation) -> bool {
    found.tables.iter().all(|table| *table == Installed::Yes) && found.unwanted.is_empty() && found.lacks.is_none()
}

fn nothing_is_there(found: &Installation) -> bool {
    let is_there = |table: &Installed| !matches!(table, Installed::No | Installed::NoTable);
    !found.tables.iter().any(is_there) && found.unwanted.is_empty() && found.slot.is_none()
}

fn word(installed: Installed) -> &'static str {
    match installed {
        Installed::Yes => "installed",
        Installed::Outdated => "outdated",
        Installed::No => "missing",
        Installed::NoTable => "no such table",
    }
}

fn text(changes: &ChangesSettings, found: &Installation) -> String {
    let mut text = format!("{}\n", changes.feed.shown());
    for (watched, installed) in changes.tables.iter().zip(&found.tables) {
        text += &format!("  {} ({}): {}\n", watched.name(), sets(watched).join(", "), word(*installed));
    }
    for table in &found.unwanted {
        text += &format!("  {table}: has triggers that nobody wants any more\n");
    }
    match (&changes.feed, &found.slot) {
        (Feed::Slot(_), Some(SlotFound { kept, status, most })) => {
            let kept = human_bytes(*kept);
            text += &format!(
                "  the server keeps {kept} of its log for the slot ({status}; max_slot_wal_keep_size is {most})\n"
            );
        }
        (Feed::Slot(_), None) if found.tables.contains(&Installed::Yes) => {
            text += "  there is no slot yet: `warm serve` makes it, with an account that may (REPLICATION)\n";
        }
        _ => {}
    }
    if let Some(lacks) = found.lacks.as_ref().filter(|_| found.tables.contains(&Installed::Outdated)) {
        text += &format!("  {lacks}\n");
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

fn value(changes: &ChangesSettings, found: &Result<Installation, Error>, code: u8) -> Value {
    let error = found.as_ref().err().map(|error| {
        json!({ "kind": format!("{:?}", error.kind), "message": error.message, "advice": error.kind.consequence().advice })
    });
    let installed = found.iter().flat_map(|found| &found.tables);
    let table = |(watched, installed): (&Watched, &Installed)| json!({ "table": watched.name(), "sets": sets(watched), "state": word(*installed) });
    let tables: Vec<_> = changes.tables.iter().zip(installed).map(table).collect();
    let unwanted: Vec<_> = found.iter().flat_map(|found| &found.unwanted).collect();
    let slot = found.iter().find_map(|found| found.slot.as_ref());
    let slot = slot.map(|slot| json!({ "kept_bytes": slot.kept, "status": slot.status, "most": slot.most }));
    let (kind, name) = match &changes.feed {
        Feed::Channel(name) => ("channel", name),
        Feed::Slot(slot) => ("slot", &slot.name),
    };
    json!({ "exit_code": code, "feed": kind, "name": name, "tables": tables, "unwanted": unwanted, "slot": slot, "error": error })
}

fn print(text: &str) {
    // A closed standard output is the reader's decision.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
