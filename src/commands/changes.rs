//! `warm changes`: what lets the database tell what has changed.

use std::io::Write;

use serde_json::{Value, json};

use super::{Failure, read, runtime};
use crate::cli::{Changes, Common};
use crate::ground::changes::{ChangesSettings, Feed, Slot, Watched};
use crate::ground::error::Error;
use crate::ground::exit;
use crate::ground::show::human_bytes;
use crate::source::Postgres;
use crate::source::changes::{Installation, Installed, Problem, SlotFound, Table, Weight, install, remove};

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
        Ok(found) => print(&text(changes, found, matches!(action, Changes::Remove { .. }))),
        Err(error) => {
            // A closed stream is the reader's decision.
            let advice = error.kind.consequence().advice;
            let _ = writeln!(std::io::stderr(), "error: {error}\n  advice: {advice}");
        }
    }
    Ok(code)
}

async fn installed(postgres: &Postgres, changes: &ChangesSettings) -> Result<Installation, Error> {
    let found = postgres.installation(changes).await?;
    // Nothing is done by halves because of a slip of the finger.
    if has_mistakes(&found) {
        return Ok(found);
    }
    postgres.install_changes(changes).await?;
    postgres.installation(changes).await
}

async fn removed(postgres: &Postgres, changes: &ChangesSettings) -> Result<Installation, Error> {
    postgres.remove_changes(changes).await?;
    postgres.installation(changes).await
}

/// Whether the configuration names what there is not, or the server cannot do it.
fn has_mistakes(found: &Installation) -> bool {
    problems(found).any(|problem| problem.weight == Weight::Bars)
}

fn problems(found: &Installation) -> impl Iterator<Item = &Problem> {
    found.tables.iter().filter_map(|table| table.problem.as_ref()).chain(&found.problems)
}

fn all_is_there(found: &Installation) -> bool {
    found.tables.iter().all(|table| table.state == Installed::Yes)
        && found.unwanted.is_empty()
        && problems(found).all(|problem| problem.weight == Weight::Unwise)
}

fn nothing_is_there(found: &Installation) -> bool {
    let is_there = |table: &Table| !matches!(table.state, Installed::No | Installed::NoTable);
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

fn text(changes: &ChangesSettings, found: &Installation, is_removal: bool) -> String {
    let mut text = format!("{}\n", changes.feed.shown());
    for (watched, table) in changes.tables.iter().zip(&found.tables) {
        let state = if is_removal && table.state == Installed::No { "removed" } else { word(table.state) };
        text += &format!("  {} ({}): {state}\n", watched.name(), sets(watched).join(", "));
    }
    for table in &found.unwanted {
        text += &format!("  {table}: has triggers that nobody wants any more\n");
    }
    text += &slot(changes, found, is_removal);
    if !is_removal {
        for problem in problems(found) {
            text += &format!("  {}: {}\n", problem.what, problem.way_out);
        }
    }
    for other in &found.others {
        text += &format!("  also in this database: the {other}, of another installation or an earlier configuration\n");
    }
    if !is_removal && has_mistakes(found) {
        text += "nothing is installed until that is mended\n";
    } else if !is_removal && !all_is_there(found) {
        text += "`warm changes install` sees to what is missing, outdated, or not wanted any more\n";
    }
    text
}

/// What there is to say of the slot.
fn slot(changes: &ChangesSettings, found: &Installation, is_removal: bool) -> String {
    let Feed::Slot(Slot { name, .. }) = &changes.feed else { return String::new() };
    match &found.slot {
        Some(_) if is_removal => {
            format!("  the slot {name} is still there: run it again with an account that may drop it (REPLICATION)\n")
        }
        Some(SlotFound { kept, status, most, .. }) => {
            let kept = human_bytes(*kept);
            format!("  the server keeps {kept} of its log for the slot ({status}; max_slot_wal_keep_size is {most})\n")
        }
        None if !is_removal && found.tables.iter().any(|table| table.state == Installed::Yes) => {
            "  there is no slot yet: `warm serve` makes it, with an account that may (REPLICATION)\n".to_owned()
        }
        None => String::new(),
    }
}

/// The sets that a table tells of, each once.
fn sets(watched: &Watched) -> Vec<&str> {
    let mut sets = Vec::new();
    for call in &watched.calls {
        if !sets.contains(&call.set.as_str()) {
            sets.push(&call.set);
        }
    }
    sets
}

fn value(changes: &ChangesSettings, found: &Result<Installation, Error>, code: u8) -> Value {
    let error = found.as_ref().err().map(|error| {
        json!({ "kind": format!("{:?}", error.kind), "message": error.message, "advice": error.kind.consequence().advice })
    });
    let installed = found.iter().flat_map(|found| &found.tables);
    let table = |(watched, table): (&Watched, &Table)| json!({ "table": watched.name(), "sets": sets(watched), "state": word(table.state) });
    let tables: Vec<_> = changes.tables.iter().zip(installed).map(table).collect();
    let unwanted: Vec<_> = found.iter().flat_map(|found| &found.unwanted).collect();
    let problems: Vec<_> = found
        .iter()
        .flat_map(problems)
        .map(|problem| json!({ "message": problem.what, "advice": problem.way_out }))
        .collect();
    let others: Vec<_> = found.iter().flat_map(|found| &found.others).collect();
    let slot = found.iter().find_map(|found| found.slot.as_ref());
    let slot = slot.map(|slot| json!({ "kept_bytes": slot.kept, "status": slot.status, "most": slot.most }));
    let (kind, name) = match &changes.feed {
        Feed::Channel(name) => ("channel", name),
        Feed::Slot(slot) => ("slot", &slot.name),
    };
    json!({ "exit_code": code, "feed": kind, "name": name, "tables": tables, "unwanted": unwanted, "problems": problems, "others": others, "slot": slot, "error": error })
}

fn print(text: &str) {
    // A closed standard output is the reader's decision.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
