//! The run history: what is recorded, and that nothing about it ever fails a run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{Connection, Row, SqliteConnection};

use crate::serve::Serving;
use crate::support::server::{is_root, wait_for};
use crate::support::world::{Ran, World};
use crate::support::{postgres, redis};

const JOB: &str =
    "query = '''SELECT n AS id, 'x' AS \"x.y\" FROM generate_series(1, 3) n'''\nkey = 't:{id}'\nvalue = 'row'";
const FILE: &str = "history.sqlite";

fn world() -> World {
    let world = World::new();
    world.job("job", JOB);
    world
}

fn file(world: &World) -> PathBuf {
    world.state().join(FILE)
}

/// Runs SQL in a history.
pub(crate) fn ask(file: &Path, sql: &'static str) -> Vec<SqliteRow> {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let options = SqliteConnectOptions::new().filename(file);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        rows
    })
}

/// The outcomes of all runs that are recorded.
fn outcomes(world: &World) -> Vec<String> {
    ask(&file(world), "SELECT outcome FROM run ORDER BY id").iter().map(|row| row.get(0)).collect()
}

/// Runs the job, which has to be well, and returns the one warning.
#[track_caller]
fn warned(world: &World) -> String {
    warning(world, world.warm(&["--now"]))
}

#[track_caller]
fn warning(world: &World, ran: Ran) -> String {
    let ran = ran.exits(0).says("wrote 3 keys");
    let [line] = &ran.err.lines().collect::<Vec<_>>()[..] else { panic!("{}", ran.all()) };
    let (_, text) = line.split_once("WARN ").unwrap_or_else(|| panic!("{line}"));
    text.replace(&world.folder.path.display().to_string(), "FOLDER")
}

/// Files of the state folder that were moved aside.
fn aside(world: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(world.state()).unwrap().map(|entry| entry.unwrap().path());
    let names = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    entries.filter(|path| names(path).contains(".broken-") && !names(path).ends_with("-journal")).collect()
}

#[test]
fn a_run_is_recorded_with_what_it_did() {
    let world = world();
    let _: () = world.ask(&["SET", "t:2", "of the application"]);
    let before = chrono::Utc::now().timestamp_millis();
    let ran = world.warm(&["--now"]).exits(0).says("wrote 2 keys");
    assert_eq!(ran.err, "");
    let after = chrono::Utc::now().timestamp_millis();
    let [run] = &ask(&file(&world), "SELECT * FROM run")[..] else { panic!() };
    let text = |name: &str| run.get::<Option<String>, _>(name);
    let number = |name: &str| run.get::<i64, _>(name);
    assert_eq!((text("job").as_deref(), text("trigger").as_deref()), (Some("job"), Some("manual")));
    assert_eq!((text("outcome").as_deref(), text("message")), (Some("ok"), None));
    assert!(before <= number("started") && number("started") <= number("ended") && number("ended") <= after);
    let counts = ["attempts", "rows", "written", "left_alone"].map(number);
    assert_eq!(counts, [1, 3, 2, 1]);
    let json = "t:1{\"id\":1,\"x\":{\"y\":\"x\"}}";
    assert_eq!(number("bytes"), 2 * i64::try_from(json.len()).unwrap());
    let [good] = &ask(&file(&world), "SELECT rows, columns FROM good")[..] else { panic!() };
    assert_eq!(good.get::<i64, _>(0), 3);
    assert_eq!(good.get::<String, _>(1), r#"[["id","integer"],["x.y","text"]]"#);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&world.state()), mode(&file(&world))), (0o700, 0o600));
}

#[test]
fn starts_without_a_run_are_recorded_with_their_reason() {
    let world = World::new();
    let often =
        "schedule = '* * * * * *'\nsplay = '0s'\nquery = 'SELECT 1 AS x FROM pg_sleep(4)'\nkey = 't:x'\nvalue = 'rows'";
    world.job("slow", often);
    let serving = Serving::of(world);
    // The log says it before it is written.
    wait_for("skipped starts", || (serving.log().matches("overlap is").count() >= 3).then_some(()));
    let (world, code, log) = serving.end();
    assert_eq!(code, Some(0), "{log}");
    let [row] = &ask(&file(&world), "SELECT * FROM passed WHERE reason = 'overlap'")[..] else { panic!("{log}") };
    let number = |name: &str| row.get::<i64, _>(name);
    assert_eq!(row.get::<String, _>("job"), "slow");
    assert!(number("count") >= 3 && number("since") < number("due"), "{log}");
    assert!(number("due") <= number("time") && number("due") % 1000 == 0, "{log}");
}

#[test]
fn a_failed_run_is_recorded_and_is_no_measure() {
    let world = world();
    world.warm(&["--now"]).exits(0);
    world.job("job", "query = 'SELECT nothing AS id'\nkey = 't:{id}'\nvalue = 'row'");
    world.warm(&["--now"]).exits(1);
    assert_eq!(outcomes(&world), ["ok", "Query"]);
    let [run] = &ask(&file(&world), "SELECT message FROM run WHERE outcome = 'Query'")[..] else { panic!() };
    assert!(run.get::<String, _>(0).contains("column \"nothing\" does not exist"));
    assert_eq!(ask(&file(&world), "SELECT 1 FROM good").len(), 1);
}

#[test]
fn what_looks_at_a_part_is_no_measure_and_what_only_looks_is_not_recorded() {
    let world = world();
    world.warm(&["--now", "--dry-run"]).exits(0);
    world.warm(&["check"]).exits(0);
    assert!(!world.state().exists(), "nothing is begun");
    world.warm(&["--now", "--missing"]).exits(0);
    assert_eq!(outcomes(&world), ["ok"]);
    assert_eq!(ask(&file(&world), "SELECT 1 FROM good").len(), 0);
}

#[test]
fn the_columns_are_those_of_the_query_with_the_fields_of_row_types() {
    let world = World::new();
    world.sql("CREATE TABLE event (id int, tags text[]); CREATE DOMAIN row_of AS event; INSERT INTO event VALUES (1, '{a}'); GRANT SELECT ON event TO PUBLIC");
    world.job("job", "query = 'SELECT e.id, e, array[e] AS list, array[e::row_of] AS d FROM event e'\nkey = 't:{id}'\nvalue = 'row'\nformat = 'postgres'");
    world.warm(&["--now"]).exits(0);
    let [good] = &ask(&file(&world), "SELECT columns FROM good")[..] else { panic!() };
    let event = "event(id integer, tags text[])";
    assert_eq!(
        good.get::<String, _>(0),
        format!(r#"[["id","integer"],["e","{event}"],["list","{event}[]"],["d","row_of over {event}[]"]]"#)
    );
}

#[test]
fn configurations_and_servers_are_kept_apart() {
    let mut world = world();
    world.warm(&["--now"]).exits(0);
    world.set("WARM_REDIS__KEY_PREFIX", "other:");
    world.warm(&["--now"]).exits(0);
    world.set("WARM_CONFIG", "./jobs/../warm.toml");
    world.warm(&["--now"]).exits(0);
    let rows = ask(&file(&world), "SELECT count(*) FROM run GROUP BY installation ORDER BY 1");
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i64>>(), [1, 2]);
    let rows = ask(&file(&world), "SELECT DISTINCT definition FROM run");
    assert_eq!(rows.len(), 1);
}

#[test]
fn the_state_folder_is_where_the_first_of_several_says() {
    let mut world = world();
    let folder = world.folder.path.clone();
    world.unset("STATE_DIRECTORY");
    let none = warned(&world);
    assert_eq!(
        none,
        "the run history cannot be used, runs go on without it: no folder is known for it; set one of `state` in the configuration, $STATE_DIRECTORY, $XDG_STATE_HOME or $HOME"
    );
    let is_used = |world: &World, place: &str| {
        assert_eq!(world.warm(&["--now"]).exits(0).err, "");
        assert!(folder.join(place).join(FILE).exists(), "{place}");
    };
    let home = folder.join("home").display().to_string();
    world.set("HOME", &home);
    is_used(&world, "home/.local/state/warm");
    world.set("XDG_STATE_HOME", &format!("{home}/xdg"));
    is_used(&world, "home/xdg/warm");
    world.set("STATE_DIRECTORY", &format!("{home}/a:{home}/b"));
    is_used(&world, "home/a");
    world.config(&format!("state = 'home/own'\n{}", crate::support::world::CONFIG));
    is_used(&world, "home/own");
    world.set("WARM_STATE", "file:x?mode=ro");
    is_used(&world, "file:x?mode=ro");
}

#[test]
fn a_damaged_file_is_moved_aside_and_a_new_one_begun() {
    let whole = world();
    whole.warm(&["--now"]).exits(0);
    let whole = fs::read(file(&whole)).unwrap();
    let mut scribbled = whole.clone();
    scribbled[4096..].fill(0xa5);
    let garbage = b"this is no database at all\n".repeat(400);
    for (name, content, reason) in [
        ("torn", &whole[..whole.len() / 2], "database disk image is malformed"),
        ("torn in the first page", &whole[..700], "database disk image is malformed"),
        ("scribbled", &scribbled[..], "database disk image is malformed"),
        ("garbage", &garbage, "file is not a database"),
    ] {
        let world = world();
        fs::create_dir(world.state()).unwrap();
        fs::write(file(&world), content).unwrap();
        fs::write(world.state().join("history.sqlite-journal"), "").unwrap();
        let said = warned(&world);
        let [moved] = &aside(&world)[..] else { panic!("{name}: {:?}", aside(&world)) };
        let moved = moved.file_name().unwrap().to_str().unwrap();
        let expected = format!(
            "the run history FOLDER/state/history.sqlite was damaged ({reason}); it was moved to {moved}, and a new one is begun"
        );
        assert_eq!(said, expected, "{name}");
        assert_eq!(fs::read(world.state().join(moved)).unwrap(), content, "{name}");
        assert!(world.state().join(format!("{moved}-journal")).exists(), "{name}: the journal goes with it");
        assert_eq!(world.warm(&["--now"]).exits(0).err, "", "{name}");
        assert_eq!(outcomes(&world), ["ok", "ok"], "{name}");
    }
}

#[test]
fn an_empty_file_is_begun_anew() {
    let world = world();
    fs::create_dir(world.state()).unwrap();
    fs::write(file(&world), "").unwrap();
    assert_eq!(warned(&world), "the run history FOLDER/state/history.sqlite was empty; it is begun anew");
    assert_eq!((outcomes(&world), aside(&world)), (vec!["ok".to_owned()], vec![]));
}

/// What makes the history unusable, the warning for it, and that the file is left as it is.
#[test]
fn what_cannot_be_used_is_left_alone_and_runs_go_on() {
    let unusable = |prepare: &dyn Fn(&World), reason: &str| {
        let world = world();
        world.job("another", &JOB.replace("'t:", "'t:another:"));
        prepare(&world);
        let ran = world.warm(&["--now"]).exits(0);
        let said = warning(&world, ran);
        assert_eq!(said, format!("the run history cannot be used, runs go on without it: FOLDER/{reason}"));
        world
    };
    unusable(&|world| fs::write(world.state(), "").unwrap(), "state: File exists");
    let made = |world: &World| fs::create_dir(world.state()).unwrap();
    unusable(
        &|world| {
            made(world);
            fs::create_dir(file(world)).unwrap();
        },
        "state/history.sqlite: this is no regular file",
    );
    let pipe = |world: &World| {
        made(world);
        assert!(Command::new("mkfifo").arg(file(world)).status().unwrap().success());
    };
    unusable(&pipe, "state/history.sqlite: this is no regular file");
    let foreign = |world: &World| {
        made(world);
        fs::write(file(world), "").unwrap();
        ask(&file(world), "CREATE TABLE precious (x)");
    };
    let world = unusable(&foreign, "state/history.sqlite: this is another program's database");
    assert_eq!(ask(&file(&world), "SELECT 1 FROM precious").len(), 0);
    let newer = |world: &World| {
        world.warm(&["--now"]).exits(0);
        ask(&file(world), "PRAGMA user_version = 7");
    };
    let reason = "state/history.sqlite: it was written by another version of warm (format 7, not 1)";
    let world = unusable(&newer, reason);
    assert_eq!(outcomes(&world).len(), 2);
}

#[test]
fn a_lock_that_stays_is_waited_for_and_then_left_alone() {
    let world = world();
    world.warm(&["--now"]).exits(0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let options = SqliteConnectOptions::new().filename(file(&world));
    let mut holder = runtime.block_on(SqliteConnection::connect_with(&options)).unwrap();
    runtime.block_on(sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut holder)).unwrap();
    let locked = warned(&world);
    assert_eq!(
        locked,
        "the run history cannot be used, runs go on without it: FOLDER/state/history.sqlite: database is locked"
    );
    runtime.block_on(sqlx::raw_sql("ROLLBACK").execute(&mut holder)).unwrap();
    assert_eq!(world.warm(&["--now"]).exits(0).err, "");
    assert_eq!((outcomes(&world).len(), aside(&world).len()), (2, 0));
}

/// The program after some commands of a shell, in which `$S` is the state folder.
fn after(world: &World, wrapper: &[&str], commands: &str) -> Ran {
    let program = world.program(&[]);
    let script = format!("{commands}; exec {} --now", env!("CARGO_BIN_EXE_warm"));
    let (first, rest) = wrapper.split_first().unwrap();
    let mut shell = Command::new(first);
    shell.args(rest).args(["sh", "-ec", &script]).current_dir(&world.folder.path).env_clear();
    shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("S", world.state());
    Ran::of(shell.output().unwrap())
}

#[test]
fn a_disk_without_room_takes_nothing_away() {
    let world = world();
    fs::create_dir(world.state()).unwrap();
    // A limit on the length of files is a full disk for everybody, root or not; with its signal ignored it is an error of the write.
    let said = warning(&world, after(&world, &["env"], "trap '' XFSZ; ulimit -f 4"));
    assert!(said.contains("FOLDER/state/history.sqlite: "), "{said}");
    assert_eq!(world.warm(&["--now"]).exits(0).err.matches("WARN").count(), 1, "it was left empty");
    assert_eq!((outcomes(&world).len(), aside(&world).len()), (1, 0));
    let said = warning(&world, after(&world, &["env"], "trap '' XFSZ; ulimit -f 0"));
    assert!(said.contains("FOLDER/state/history.sqlite: "), "{said}");
    assert_eq!(world.warm(&["--now"]).exits(0).err, "");
    assert_eq!((outcomes(&world).len(), aside(&world).len()), (2, 0), "what was recorded is there");
}

#[test]
fn a_full_file_system_and_one_that_is_read_only_take_nothing_away() {
    let world = world();
    if !is_root() {
        // Whom permissions bind needs no file system for it; the disk without room has a test of its own.
        world.warm(&["--now"]).exits(0);
        fs::set_permissions(file(&world), fs::Permissions::from_mode(0o400)).unwrap();
        assert!(warned(&world).ends_with("attempt to write a readonly database"));
        return;
    }
    fs::create_dir(world.state()).unwrap();
    // In a mount namespace of its own, which ends with the program.
    let may_mount = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "none", "/mnt"]).status();
    if !may_mount.is_ok_and(|status| status.success()) {
        eprintln!(
            "this root may not mount: the limit on the length of files, in another test, has to stand for the full disk"
        );
        return;
    }
    let mounted = |commands: &str| {
        after(&world, &["unshare", "--mount"], &format!("mount -t tmpfs -o size=16k none $S; {commands}"))
    };
    let full = warning(&world, mounted("true"));
    assert!(full.ends_with("state/history.sqlite: database or disk is full"), "{full}");
    let read_only = warning(&world, mounted("mount -o remount,ro $S"));
    assert!(read_only.ends_with("state/history.sqlite: Read-only file system"), "{read_only}");
}

#[test]
fn a_damaged_file_that_was_moved_is_told_of_also_if_no_other_can_be_begun() {
    let world = world();
    fs::create_dir(world.state()).unwrap();
    fs::write(file(&world), "no database".repeat(999)).unwrap();
    let said = warning(&world, after(&world, &["env"], "trap '' XFSZ; ulimit -f 0"));
    assert!(said.contains("it was moved to history.sqlite.broken-") && said.contains("cannot be used"), "{said}");
    assert_eq!(aside(&world).len(), 1);
}

#[test]
fn several_processes_at_once_all_record() {
    let world = world();
    world.job("another", &JOB.replace("'t:", "'t:another:"));
    let children: Vec<_> = (0..6).map(|_| world.start(&["--now"])).collect();
    for child in children {
        assert_eq!(Ran::of(child.wait_with_output().unwrap()).exits(0).err, "");
    }
    assert_eq!(outcomes(&world), ["ok"; 12]);
    let rows = ask(&file(&world), "PRAGMA integrity_check");
    assert_eq!(rows[0].get::<String, _>(0), "ok");
}

#[test]
fn several_processes_at_once_replace_a_damaged_file_once() {
    let world = world();
    fs::create_dir(world.state()).unwrap();
    fs::write(file(&world), "no database".repeat(999)).unwrap();
    let children: Vec<_> = (0..6).map(|_| world.start(&["--now"])).collect();
    let warnings: Vec<String> =
        children.into_iter().map(|child| Ran::of(child.wait_with_output().unwrap()).exits(0).err).collect();
    assert_eq!(warnings.iter().filter(|warning| warning.contains("moved to")).count(), 1, "{warnings:#?}");
    assert_eq!((outcomes(&world).len(), aside(&world).len()), (6, 1));
}

#[test]
fn killed_at_any_instant_it_leaves_a_whole_file() {
    let world = world();
    world.warm(&["--now"]).exits(0);
    for _ in 0..20 {
        let mut child = world.start(&["--now"]);
        let (before, journal) = (outcomes(&world).len(), world.state().join("history.sqlite-journal"));
        crate::support::server::wait_for("a transaction", || {
            (journal.exists() || outcomes(&world).len() > before || child.try_wait().unwrap().is_some()).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(world.warm(&["--now"]).exits(0).err, "");
    assert_eq!(ask(&file(&world), "PRAGMA integrity_check")[0].get::<String, _>(0), "ok");
}

#[test]
fn no_password_ever_stands_in_it() {
    let mut world = world();
    let (database, cache) = (world.database.url(), world.redis.url());
    world.warm(&["--now"]).exits(0);
    world.set("DATABASE_URL", &database.replace(postgres::PASSWORD_IN_URL, &format!("{}x", postgres::PASSWORD_IN_URL)));
    world.warm(&["--now"]).exits(3);
    world.set("DATABASE_URL", &database);
    world.set("REDIS_URL", &cache.replace(redis::PASSWORD, &format!("{}x", redis::PASSWORD)));
    world.warm(&["--now"]).exits(4);
    assert_eq!(outcomes(&world), ["ok", "PostgresRefused", "RedisRefused"]);
    let content = fs::read(file(&world)).unwrap();
    for secret in [postgres::PASSWORD, postgres::PASSWORD_IN_URL, redis::PASSWORD] {
        assert!(!content.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[test]
fn what_the_documentation_asks_a_history_is_answered_from_its_first_run_on() {
    let world = world();
    world.warm(&["--now"]).exits(0);
    let documentation = include_str!("../../docs/configuration.md");
    let (_, rest) = documentation.split_once("```sql\n").unwrap();
    let (statements, _) = rest.split_once("```").unwrap();
    let rows: Vec<usize> = statements.lines().map(|statement| ask(&file(&world), statement).len()).collect();
    assert_eq!(rows, [1, 0], "a run, and no start without one");
}
