//! `docs/json.md` names every field that a command gives with `--json`, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use warm::ground::error::TABLE;

use super::history::ask as history;
use super::serve::Ends;
use crate::support::postgres::Postgres;
use crate::support::server::wait_for;
use crate::support::world::{CONFIG, World};

/// What the page says.
fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md")).unwrap()
}

/// The fields in the table below a heading of the page.
fn documented(heading: &str) -> BTreeSet<String> {
    let page = page();
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect(heading);
    let section = section.split("\n## ").next().unwrap();
    let table = section.split("\n\n").find(|part| part.trim_start().starts_with("| field |")).expect(heading);
    table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned)).collect()
}

/// The paths of all fields of an object, in the page's notation.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                // A list is named by its members.
                if !value.is_array() {
                    found.insert(path.clone());
                }
                fields(value, &path, found);
            }
        }
        Value::Array(members) => {
            found.insert(format!("{path}[]"));
            members.iter().for_each(|member| fields(member, &format!("{path}[]"), found));
        }
        _ => {}
    }
}

/// Fails unless what these commands give has the fields that are documented.
#[track_caller]
fn agrees(world: &World, heading: &str, commands: &[&[&str]]) {
    let mut found = BTreeSet::new();
    for arguments in commands {
        fields(&world.warm(arguments).json(), "", &mut found);
    }
    let mut wanted = documented(heading);
    // Those of slots have a test of their own.
    wanted.retain(|field| !is_of_slot(field));
    assert_eq!(found, wanted, "{heading}");
}

/// What is there only while changes come through a slot.
fn is_of_slot(field: &str) -> bool {
    field.starts_with("changes.") || field.starts_with("slot.")
}

#[test]
fn what_is_said_of_slots_agrees_as_well() {
    let postgres = Postgres::start(&super::slot::SETTINGS);
    let serving = super::slot::following(&postgres, |world| world.set("WARM_SERVE__LISTEN", "127.0.0.1:0"));
    for (heading, arguments) in
        [("`warm status`", &["status", "--json"][..]), ("`warm changes`", &["changes", "status", "--json"])]
    {
        let mut found = BTreeSet::new();
        fields(&serving.world.warm(arguments).json(), "", &mut found);
        found.retain(|field| is_of_slot(field));
        let documented: BTreeSet<_> = documented(heading).into_iter().filter(|field| is_of_slot(field)).collect();
        assert!(!documented.is_empty() && found == documented, "{heading}: {found:?}");
    }
    let told = "changes (slot warm_test): heard; nothing waits to be deleted; done up to 0/";
    let status = wait_for("it is told", || Some(serving.world.warm(&["status"])).filter(|ran| ran.out.contains(told)));
    status.says("all was taken for changed 1 time since it began");
}

#[test]
fn the_page_names_every_field_and_no_other() {
    let world = World::new();
    world.job(
        "good",
        "query = 'SELECT 1 AS id'\nkey = 't:{id}'\nvalue = 'row'\npartition_by = { column = 'id', parts = 2 }\ncompress = 'zstd'",
    );
    world.job("disabled", "query = 'SELECT 1 AS id'\nkey = 't:disabled:{id}'\nvalue = 'row'\nencrypt = true");
    world.job("broken", "query = 'SELECT nothing'\nkey = 't:broken:{nothing}'\nvalue = 'row'");
    agrees(&world, "`warm --now` and `warm --due`", &[&["--now", "--json"]]);
    agrees(&world, "`warm --now` and `warm --due`", &[&["--now", "--dry-run", "--json"]]);
    agrees(&world, "`warm check`", &[&["check", "--json"]]);
    agrees(&world, "`warm list`", &[&["list", "--json"]]);
    status_agrees(&world);
    keys_agree();
    world.config(&format!("{CONFIG}[invalidate.all]\nkeys = ['t:*']\n"));
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "-unlink"]);
    let (shown, refused) = (&["invalidate", "all", "--dry-run", "--json"], &["invalidate", "all", "--json"]);
    agrees(&world, "`warm invalidate NAME`", &[shown, refused]);
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "+unlink"]);
    agrees(&world, "`warm invalidate`", &[&["invalidate", "--json"]]);
    changes_agree(&world);
    world.config(CONFIG);
    agrees(&world, "`warm pause` and `warm resume`", &[&["pause", "--json"]]);
    agrees(&world, "`warm pause` and `warm resume`", &[&["resume", "--json"]]);

    // What keeps a command from starting has the check's fields, all but those of jobs.
    let mut short = documented("`warm check`");
    short.retain(|field| !field.starts_with("jobs[]."));
    world.job("bad", "key = 't:bad'\n");
    for arguments in [&["--now", "--json"][..], &["check", "--json"], &["list", "--json"], &["--json", "nonsense"]] {
        let mut found = BTreeSet::new();
        fields(&world.warm(arguments).exits(2).json(), "", &mut found);
        assert_eq!(found, short, "{arguments:?}");
    }
}

/// The same for `warm changes`, with a table that is not wanted any more, and an account that may not install.
fn changes_agree(world: &World) {
    let sets = "[invalidate.all]\nkeys = ['t:*']\n[changes]\nchannel = 'warm'\n";
    world.sql("CREATE TABLE t (id int); CREATE TABLE u (id int)");
    world.config(&format!("{CONFIG}{sets}[changes.tables]\nt = ['all']\n"));
    let file = world.folder.path.join("install.sql");
    std::fs::write(&file, world.warm(&["changes", "install", "--print"]).exits(0).out).unwrap();
    world.database.psql(&["-f", file.to_str().unwrap()]);
    world.config(&format!("{CONFIG}{sets}[changes.tables]\nu = ['all']\n"));
    agrees(world, "`warm changes`", &[&["changes", "status", "--json"], &["changes", "install", "--json"]]);
}

/// The same for the commands about single keys. A finding is documented once.
fn keys_agree() {
    let world = World::new();
    world.job("good", "query = 'SELECT 1 AS id'\nkey = 't:{id}'\nvalue = 'row'");
    world.job("sealed", "query = 'SELECT 1 AS id'\nkey = 't:sealed:{id}'\nvalue = 'row'\nencrypt = true");
    agrees(&world, "`warm fill`", &[&["fill", "t:1", "--json"]]);
    let _: () = world.ask(&["SET", "t:1", "{}"]);
    agrees(&world, "`warm show`", &[&["show", "t:1", "--plan", "--json"]]);
    let mut found = BTreeSet::new();
    world.job("disabled", "query = 'SELECT 1 AS id'\nkey = 't:disabled:{id}'\nvalue = 'row'\nencrypt = true");
    fields(&world.warm(&["diff", "--json"]).json(), "", &mut found);
    let _: () = world.ask(&["DEL", "t:1"]);
    fields(&world.warm(&["diff", "--repair", "--json"]).json(), "", &mut found);
    found.retain(|field| !field.starts_with("jobs[].findings[].") && !field.starts_with("jobs[].before_repair."));
    assert_eq!(found, documented("`warm diff`"));
}

/// The same for `warm status`, while a job runs, and after a refresh that has failed.
fn status_agrees(world: &World) {
    world.warm(&["--now"]).exits(1);
    let refresh = "INSERT INTO run SELECT id + 1, installation, job, definition, 'refresh-ahead', started, ended, \
                   attempts, rows, written, left_alone, bytes, outcome, message FROM run WHERE outcome <> 'ok' AND id = \
                   (SELECT max(id) FROM run)";
    world.job("broken", "query = 'SELECT nothing'\nkey = 't:broken:{nothing}'\nvalue = 'row'\npriority = -1");
    world.warm(&["--now", "broken"]).exits(1);
    history(&world.state().join("history.sqlite"), refresh);
    world.job("slow", "query = 'SELECT 1 AS id, pg_sleep(60)::text AS x'\nkey = 't:slow:{id}'\nvalue = 'row'");
    let running = Ends(world.start(&["--due"]));
    wait_for("the lease", || world.warm(&["status"]).out.contains("run now by").then_some(()));
    world.config(&format!("{CONFIG}[targets]\nquery = '1s'\n"));
    agrees(world, "`warm status`", &[&["status", "--json"]]);
    let _: String = world.ask(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
    let _: Option<String> = world.ask(&["GET", "t:1"]);
    let _: String = world.ask(&["ACL", "SETUSER", "warm", "-object|idletime"]);
    agrees(world, "`warm stats`", &[&["stats", "--watch", "1s", "--json"]]);
    let _: String = world.ask(&["ACL", "SETUSER", "warm", "+object|idletime"]);
    drop(running);
    std::fs::remove_file(world.folder.path.join("jobs/slow.toml")).unwrap();
}

#[test]
fn the_page_names_every_kind_of_error_with_its_exit_code() {
    let page = page();
    for row in TABLE {
        let line = page.lines().find(|line| line.starts_with(&format!("| {} | `", row.exit))).unwrap();
        assert!(
            line.contains(&format!("`{:?}`", row.kind)),
            "{:?} is not among those of exit code {}",
            row.kind,
            row.exit
        );
    }
}
