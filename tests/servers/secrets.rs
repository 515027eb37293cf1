//! Where URLs come from, and that they go nowhere.

use std::fs;

use crate::support::server::wait_for;
use crate::support::world::{CONFIG, World};
use crate::support::{postgres, redis};

fn world() -> World {
    let world = World::new();
    world.job("job", "query = 'SELECT 1 AS x'\nkey = 't:x'\nvalue = 'rows'");
    world
}

/// Writes a file into the test's folder and gives its path.
fn file(world: &World, name: &str, text: &str) -> String {
    let path = world.folder.path.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[track_caller]
fn writes(world: &World) {
    let _: () = world.ask(&["FLUSHALL"]);
    world.warm(&["--now"]).exits(0).says("wrote 1 key");
    assert_eq!(world.keys(), ["t:x"]);
}

#[test]
fn urls_come_from_files_credentials_and_the_configuration() {
    let mut world = world();
    let (database, cache) = (world.database.url(), world.redis.url());
    world.unset("DATABASE_URL");
    world.unset("REDIS_URL");

    let (database_file, cache_file) = (file(&world, "a", &format!("{database}\n")), file(&world, "b", &cache));
    world.set("DATABASE_URL_FILE", &database_file);
    world.set("REDIS_URL_FILE", &cache_file);
    writes(&world);
    world.unset("DATABASE_URL_FILE");
    world.unset("REDIS_URL_FILE");

    file(&world, "credentials/database_url", &database);
    file(&world, "credentials/redis_url", &cache);
    let credentials = world.folder.path.join("credentials").display().to_string();
    world.set("CREDENTIALS_DIRECTORY", &credentials);
    writes(&world);
    world.unset("CREDENTIALS_DIRECTORY");

    world.config(&format!("{CONFIG}[postgres]\nurl = '{database}'\n[redis]\nurl = '{cache}'\n"));
    writes(&world);
    world.config(&format!("{CONFIG}[postgres]\nurl_file = 'a'\n[redis]\nurl_file = 'b'\n"));
    writes(&world);

    world.set("WARM_POSTGRES__URL", &database);
    world.set("WARM_REDIS__URL", &cache);
    world.set("DATABASE_URL", "postgres://nobody@localhost:1/nothing");
    world.set("REDIS_URL", "redis://localhost:1");
    writes(&world);
}

#[test]
fn the_environment_outweighs_credentials_and_these_the_configuration() {
    let mut world = world();
    let good = world.database.url();
    let bad = "postgres://nobody@localhost:1/nothing";
    world.set("WARM_POSTGRES__CONNECT_TIMEOUT", "10ms");
    world.config(&format!("{CONFIG}[postgres]\nurl = '{bad}'\n"));
    file(&world, "credentials/database_url", bad);
    let credentials = world.folder.path.join("credentials").display().to_string();
    world.set("CREDENTIALS_DIRECTORY", &credentials);
    writes_with(&mut world, &good);
    world.unset("DATABASE_URL");
    world.warm(&["--now"]).exits(3);
    file(&world, "credentials/database_url", &good);
    world.set("WARM_POSTGRES__CONNECT_TIMEOUT", "10s");
    writes(&world);
}

fn writes_with(world: &mut World, url: &str) {
    world.set("DATABASE_URL", url);
    world.set("WARM_POSTGRES__CONNECT_TIMEOUT", "10s");
    writes(world);
    world.set("WARM_POSTGRES__CONNECT_TIMEOUT", "10ms");
}

#[test]
fn a_file_that_is_missing_or_holds_no_url_is_named_and_not_shown() {
    let mut world = world();
    world.unset("DATABASE_URL");
    world.set("DATABASE_URL_FILE", "/nonexistent/url");
    world.warm(&["--now"]).exits(2).says("/nonexistent/url").says("$DATABASE_URL_FILE");
    let path = file(&world, "password", "hunter2-s3cret");
    world.set("DATABASE_URL_FILE", &path);
    let ran = world.warm(&["--now"]).exits(2).says(&path).says("it begins with one of postgres://");
    assert!(!ran.all().contains("hunter2"), "{}", ran.all());
}

#[test]
fn the_most_talkative_log_holds_no_secret() {
    let mut world = world();
    // Of libraries, too.
    world.set("WARM_LOG", "trace,warm=trace");
    // `Ran::of` looks for the passwords in all that is said.
    world.warm(&["--now"]).exits(0);
    world.warm(&["--now", "--json"]).exits(0);
    world.warm(&["check"]).exits(0);
    world.warm(&["check", "--json"]).exits(0);
    world.warm(&["list"]).exits(0);
    let (database, cache) = (world.database.tcp_url(1), world.redis.tcp_url(1));
    world.set("WARM_POSTGRES__CONNECT_TIMEOUT", "10ms");
    world.set("WARM_REDIS__CONNECT_TIMEOUT", "10ms");
    world.set("DATABASE_URL", &database);
    world.warm(&["--now"]).exits(3);
    world.warm(&["check"]).exits(3);
    world.set("REDIS_URL", &cache);
    world.warm(&["--now"]).exits(4);
    for malformed in ["postgres://warm:hunter2@h:port/x", "postgres://warm:hunter2@[::1/x"] {
        world.set("DATABASE_URL", malformed);
        let ran = world.warm(&["--now"]).exits(2);
        assert!(!ran.all().contains("hunter2"), "{}", ran.all());
    }
}

#[test]
fn no_secret_stands_on_the_command_line() {
    let world = world();
    world.job("job", "query = 'SELECT pg_sleep(1)::text AS x'\nkey = 't:x'\nvalue = 'rows'");
    let mut child = world.start(&["--now"]);
    let line = wait_for("the program's start", || {
        let line = fs::read_to_string(format!("/proc/{}/cmdline", child.id())).ok()?;
        line.contains("--now").then_some(line)
    });
    assert!(!line.contains(postgres::PASSWORD_IN_URL) && !line.contains(redis::PASSWORD), "{line}");
    child.wait().unwrap();
}

#[test]
fn what_a_url_asks_for_is_done_or_refused_and_never_passed_over() {
    let mut world = world();
    let (database, cache) = (world.database.url(), world.redis.tcp_url(world.redis.port));
    world.set("REDIS_URL", &format!("{cache}?db=3"));
    world.warm(&["--now"]).exits(2).says("a parameter `db`").says("redis://host:6379/3");
    world.set("REDIS_URL", &cache);
    world.set("DATABASE_URL", &format!("{database}&options=-csearch_path%3Dother"));
    world.warm(&["--now"]).exits(2).says("`options` in the PostgreSQL URL cannot be honoured").says("schema=");
    world.set("DATABASE_URL", "postgres://u:12/hunter2@127.0.0.1:1/x");
    let ran = world.warm(&["--now"]).exits(2).says("percent-encode");
    assert!(!ran.all().contains("hunter2"), "{}", ran.all());
    assert_eq!(world.keys(), [""; 0]);
}
