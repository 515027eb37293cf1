//! What `warm invalidate` says.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::{Value, json};

use crate::cache::Invalidated;
use crate::ground::error::Error;
use crate::ground::exit;
use crate::ground::invalidate::Set;
use crate::ground::settings::Settings;
use crate::ground::show::visible;
use crate::observe::counted;

/// What was done.
pub(super) struct Done {
    /// How many changes were named.
    pub(super) changes: u64,
    pub(super) dry_run: bool,
    pub(super) took: Duration,
    pub(super) result: Result<Invalidated, Error>,
}

impl Done {
    pub(super) fn exit_code(&self) -> u8 {
        self.result.as_ref().map_or_else(|error| error.kind.consequence().exit, |_| exit::OK)
    }

    fn text(&self) -> String {
        let (verb, error) = (if self.dry_run { "would delete" } else { "deleted" }, self.result.as_ref().err());
        if let Some(error) = error {
            let state = if self.dry_run { "" } else { "not everything was deleted: " };
            return format!("error: {state}{error}\n  advice: {}\n", error.kind.consequence().advice);
        }
        let done = self.done();
        let time = match self.took.as_secs_f64() {
            seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
            seconds => format!("{seconds:.2} s"),
        };
        let mut text = format!("{verb} {} in {time}\n", counted(done.keys, "key", "keys"));
        if self.dry_run {
            // A key may hold anything: it is made visible.
            sample(&done).iter().for_each(|key| text += &format!("  {}\n", visible(key)));
            match done.keys.saturating_sub(done.sample.len() as u64) {
                0 => {}
                more => text += &format!("  and {more} more\n"),
            }
        }
        text
    }

    fn value(&self) -> Value {
        let error = self.result.as_ref().err().map(|error| {
            json!({ "kind": format!("{:?}", error.kind), "message": error.message, "advice": error.kind.consequence().advice })
        });
        let done = self.done();
        json!({
            "dry_run": self.dry_run,
            "exit_code": self.exit_code(),
            "changes": self.changes,
            "keys": done.keys,
            "sample": sample(&done),
            "milliseconds": self.took.as_secs_f64() * 1e3,
            "error": error,
        })
    }

    fn done(&self) -> Invalidated {
        self.result.as_ref().ok().cloned().unwrap_or_default()
    }
}

fn sample(done: &Invalidated) -> Vec<String> {
    done.sample.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
}

/// Says what was done: on standard output, or if it failed and no program reads, on standard error.
pub(super) fn print(done: &Done, as_json: bool) {
    // A closed stream is the reader's decision.
    let _ = match (as_json, &done.result) {
        (true, _) => std::io::stdout().write_all(format!("{:#}\n", done.value()).as_bytes()),
        (false, Ok(_)) => std::io::stdout().write_all(done.text().as_bytes()),
        (false, Err(_)) => std::io::stderr().write_all(done.text().as_bytes()),
    };
}

/// Lists the sets.
pub(super) fn list(settings: &Settings, as_json: bool) {
    let sets = &settings.sets;
    let text = if as_json {
        format!("{:#}\n", json!({ "sets": sets.iter().map(set_value).collect::<Vec<_>>() }))
    } else if sets.is_empty() {
        format!("there is no set in {}: a table [invalidate.NAME] makes one\n", settings.file.display())
    } else if std::io::stdout().is_terminal() {
        table(sets)
    } else {
        sets.iter().map(|set| format!("{}: deletes {}\n", set.usage(), keys(set).join(", "))).collect()
    };
    // A closed standard output is the reader's decision.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn table(sets: &[Set]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["SET", "PARAMETERS", "KEYS"]);
    for set in sets {
        table.add_row([set.name.clone(), set.parameters.join(", "), keys(set).join("\n")]);
    }
    format!("{table}\n")
}

fn set_value(set: &Set) -> Value {
    json!({ "set": set.name, "parameters": set.parameters, "keys": keys(set) })
}

fn keys(set: &Set) -> Vec<String> {
    set.keys.iter().map(ToString::to_string).collect()
}
