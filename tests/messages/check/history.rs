//! The run history: whether runs will be able to use it, and nobody else, found without touching it.

use std::fs::{self, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::runtime::Runtime;

use super::{findings, job, said, world};
use crate::files::compare;
use crate::support::server::is_root;
use crate::support::world::{Ran, World};

fn with_a_job() -> World {
    let world = world();
    world.job("things", &job("SELECT id FROM thing", "t:{id}", ""));
    world
}

fn file(world: &World) -> PathBuf {
    world.state().join("history.sqlite")
}

fn connect(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    Runtime::new().unwrap().block_on(SqliteConnection::connect_with(&options)).unwrap()
}

fn run(connection: &mut SqliteConnection, sql: &'static str) {
    Runtime::new().unwrap().block_on(sqlx::raw_sql(sql).execute(connection)).unwrap();
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Everything in a folder: name, when it was changed, a hash of its bytes.
fn content(folder: &Path) -> Vec<(PathBuf, i64, u64)> {
    let hash = |path: &Path| {
        let mut hasher = DefaultHasher::new();
        fs::read(path).unwrap_or_default().hash(&mut hasher);
        hasher.finish()
    };
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        entries.map(|path| (path.clone(), path.metadata().unwrap().mtime_nsec(), hash(&path))).collect();
    found.sort();
    found
}

/// The check of somebody whom permissions bind, though he may be root.
fn bound(world: &World) -> Ran {
    let wrapper: &[&str] =
        if is_root() { &["setpriv", "--bounding-set=-dac_override,-dac_read_search"] } else { &["env"] };
    let program = world.program(&[]);
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).args([env!("CARGO_BIN_EXE_warm"), "check"]).current_dir(&world.folder.path).env_clear();
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ran::of(command.output().unwrap())
}

/// What a check says, which must not change anything.
#[track_caller]
fn checked(world: &World) -> String {
    let before = (world.state().exists(), content(&world.state()));
    let ran = bound(world).exits(0);
    assert_eq!((world.state().exists(), content(&world.state())), before, "{}", ran.all());
    findings(&said(world, &ran)).replace(&world.folder.path.display().to_string(), "FOLDER")
}

#[test]
fn a_history_that_runs_cannot_use_is_found_before_they_try() {
    let mut text = String::new();
    let mut case = |title: &str, prepare: &dyn Fn(&mut World)| {
        let mut world = with_a_job();
        prepare(&mut world);
        text += &format!("━━━ {title}\n{}\n\n", checked(&world));
        // The folder has to go when the test ends.
        allow(&world.folder.path, 0o755);
    };
    let ran = |world: &World| drop(world.warm(&["--now"]).exits(0));
    let made = |world: &World, write: &dyn Fn(&Path)| {
        fs::create_dir(world.state()).unwrap();
        allow(&world.state(), 0o700);
        write(&file(world));
    };
    case("none yet", &|_| ());
    case("a good one", &|world| ran(world));
    case("no folder is known", &|world| world.unset("STATE_DIRECTORY"));
    case("a file in the folder's place", &|world| fs::write(world.state(), "").unwrap());
    case("a file above it", &|world| {
        let above = world.folder.path.join("warm.toml/state").display().to_string();
        world.set("STATE_DIRECTORY", &above);
    });
    case("a folder that cannot be made", &|world| {
        let deep = world.state().join("a/b").display().to_string();
        world.set("STATE_DIRECTORY", &deep);
        allow(&world.folder.path, 0o555);
    });
    case("a folder that may not be written to", &|world| {
        ran(world);
        allow(&world.state(), 0o500);
    });
    case("a file that may not be written to", &|world| {
        ran(world);
        allow(&file(world), 0o400);
    });
    case("a folder in the file's place", &|world| made(world, &|file| fs::create_dir(file).unwrap()));
    case("an empty file", &|world| made(world, &|file| fs::write(file, "").unwrap()));
    case("of a newer version", &|world| {
        ran(world);
        run(&mut connect(&file(world)), "PRAGMA user_version = 7");
    });
    case("another program's", &|world| made(world, &|file| run(&mut connect(file), "CREATE TABLE precious (x)")));
    case("garbage", &|world| made(world, &|file| fs::write(file, "no database\n".repeat(999)).unwrap()));
    case("damaged where nobody looks at once", &|world| {
        ran(world);
        let mut bytes = fs::read(file(world)).unwrap();
        bytes[4096..].fill(0xa5);
        fs::write(file(world), bytes).unwrap();
    });
    compare("check_history", &text);
}

#[test]
fn a_history_that_others_may_change_or_read_is_warned_about() {
    let world = with_a_job();
    world.warm(&["--now"]).exits(0);
    let mut text = String::new();
    for (folder, file_mode) in
        [(0o755, 0o600), (0o770, 0o660), (0o700, 0o666), (0o1777, 0o600), (0o755, 0o606), (0o711, 0o604)]
    {
        allow(&file(&world), file_mode);
        allow(&world.state(), folder);
        text += &format!("━━━ {folder:o} {file_mode:o}\n{}\n\n", checked(&world));
    }
    compare("check_history_access", &text);
}

#[test]
fn what_a_killed_run_left_unfinished_is_no_damage_and_stays_for_the_next_one() {
    let world = with_a_job();
    world.warm(&["--now"]).exits(0);
    let mut connection = connect(&file(&world));
    // Little room, so that changes reach the file before their transaction ends.
    run(
        &mut connection,
        "PRAGMA cache_size = 1; CREATE TABLE filler (x); INSERT INTO filler VALUES (zeroblob(200000))",
    );
    run(&mut connection, "BEGIN IMMEDIATE; UPDATE filler SET x = randomblob(200000); UPDATE run SET job = 'never'");
    let copy = world.folder.path.join("copy");
    fs::create_dir(&copy).unwrap();
    allow(&copy, 0o700);
    for name in ["history.sqlite", "history.sqlite-journal"] {
        fs::copy(world.state().join(name), copy.join(name)).unwrap();
    }
    Runtime::new().unwrap().block_on(connection.close()).unwrap();
    fs::remove_dir_all(world.state()).unwrap();
    fs::rename(&copy, world.state()).unwrap();
    assert!(fs::metadata(world.state().join("history.sqlite-journal")).unwrap().len() > 0);
    assert!(checked(&world).starts_with("0 errors, 0 warnings"));
    assert_eq!(world.warm(&["--now"]).exits(0).err, "", "and the next one takes it back");
    assert!(checked(&world).starts_with("0 errors, 0 warnings"));
}

#[test]
fn without_servers_the_history_is_not_looked_at_either() {
    let mut world = with_a_job();
    world.unset("STATE_DIRECTORY");
    world.warm(&["check"]).exits(0).says("the run history cannot be used");
    assert!(!world.warm(&["check", "--offline"]).exits(0).all().contains("history"));
}
