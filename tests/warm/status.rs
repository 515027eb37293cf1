//! `warm status`: how jobs, service and servers are, whatever is down.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::health::address;
use super::instances::elsewhere;
use super::serve::{Ends, SELDOM, Serving};
use super::terminal::at_terminal;
use crate::support::server::wait_for;
use crate::support::world::World;

fn listening() -> World {
    let mut world = World::new();
    world.set("WARM_SERVE__LISTEN", "127.0.0.1:0");
    world.job("seldom", SELDOM);
    world
}

#[test]
fn it_tells_how_runs_went_and_changes_nothing() {
    let mut world = World::new();
    world.job("good", &format!("{SELDOM}\nmax_age = '1d'"));
    let ran = world.warm(&["status"]).exits(0).says("good: no success known, 0 of 0 runs ended well, next run 2");
    let ran = ran.says("whether warm serve runs is not known").says("Redis 7.").says("PostgreSQL 1");
    assert_eq!(ran.err, "");
    assert!(!world.state().exists() && world.keys().is_empty(), "it begins no history, and writes no key");
    world.warm(&["--now"]).exits(0);
    world.warm(&["--now"]).exits(0);
    world.warm(&["status"]).exits(0).says(" ago), 3 keys then, last run 2").says("ok, 2 of 2 runs ended well");
    world.job("good", &SELDOM.replace("SELECT n", "SELECT nothing"));
    world.warm(&["--now"]).exits(1);
    let ran = world.warm(&["status"]).exits(1).says(" ago), 3 keys then, 2 of 3 runs ended well");
    ran.says("last run failed 2").says(": Query: ").says("nothing");
    world.job("good", SELDOM);
    world.job("new", &SELDOM.replace("t:s:", "t:n:"));
    world.warm(&["--now", "good"]).exits(0);
    world.warm(&["status"]).exits(0).says("3 of 4 runs ended well").says("last failure 2").says("new: no success");
    let status = world.warm(&["status", "--json", "good"]).exits(0).json();
    let [job] = &status["jobs"].as_array().unwrap()[..] else { panic!("{status}") };
    assert_eq!((job["succeeded"].as_u64(), job["failed"].as_u64(), job["keys"].as_u64()), (Some(3), Some(1), Some(3)));
    assert!(job["age_seconds"].as_f64().unwrap() < 120.0, "{status}");
    assert_eq!((&job["last_failure"]["kind"], &status["service"]["state"]), (&"Query".into(), &"unknown".into()));
    world.warm(&["status", "god"]).exits(2).says("did you mean `good`?");
    world.warm(&["pause", "new"]).exits(0);
    world.warm(&["status", "new"]).exits(0).says("paused until 2");
    let ran = at_terminal(&world, "status").says("LAST SUCCESS").says("warm serve");
    assert!(ran.out.lines().any(|line| line.contains("good") && line.contains("3 of 4 runs")), "{}", ran.out);
    // Without a state folder nothing is known of runs, and that is said; all else is.
    world.unset("STATE_DIRECTORY");
    world.warm(&["status"]).exits(0).says("good: no success known").says("Redis 7.").says("no folder is known for it");
}

#[test]
fn a_job_that_is_stale_gives_1_and_another_one_does_not() {
    let world = World::new();
    world.job("old", &format!("{SELDOM}\nmax_age = '1s'"));
    world.job("young", &format!("{}\nmax_age = '1d'", SELDOM.replace("t:s:", "t:y:")));
    world.warm(&["--now"]).exits(0);
    let old = wait_for("its age", || Some(world.warm(&["status"])).filter(|ran| ran.code == 1));
    old.says("old: last success 2").says("stale: its last success was ").says(" ago, max_age is 1s");
    world.warm(&["status", "young"]).exits(0);
    assert_eq!(world.warm(&["status", "old", "--json"]).exits(1).json()["jobs"][0]["stale"], true);
}

#[test]
fn it_tells_whether_the_service_is_there() {
    let serving = Serving::of(listening());
    let there = address(&serving);
    wait_for("the first run", || serving.world.value("t:s:3"));
    // Where it listens is the kernel's choice, which another process does not know: but it sees the lock.
    serving.world.warm(&["status"]).exits(0).says("warm serve runs: it does not answer at 127.0.0.1:0");
    let (mut world, ..) = serving.end();
    world.warm(&["status"]).exits(0).says("warm serve does not run here: it does not answer at 127.0.0.1:0");
    world.set("WARM_SERVE__LISTEN", &there);
    let serving = Serving::of(world);
    serving.wait_until_it_says("listening on");
    wait_for("the service", || {
        let status = serving.world.warm(&["status"]).exits(0);
        status.out.contains(&format!("warm serve runs, and listens on {there}")).then_some(())
    });
    serving.signal("STOP");
    let stuck = serving.world.warm(&["status"]).exits(1);
    stuck.says(&format!("warm serve is stuck: it does not answer at {there}: no answer within 3s"));
    serving.signal("CONT");
    let (mut world, ..) = serving.end();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    world.set("WARM_SERVE__LISTEN", "none");
    world.warm(&["status"]).exits(0).says("warm serve does not run here\n");
    let serving = Serving::of(world);
    serving.wait_until_it_says("Redis answers");
    serving.world.warm(&["status"]).exits(0).says("warm serve runs\n");
    drop(other);
    serving.end();
}

#[test]
fn whatever_is_down_the_rest_is_told() {
    let mut serving = Serving::of(listening());
    // Keys are there before the run has ended.
    wait_for("the first run", || serving.world.warm(&["status"]).out.contains("1 of 1 run").then_some(()));
    serving.world.redis.server.end();
    let ran = serving.world.warm(&["status"]).exits(4).says("Redis is away: no connection to Redis at ");
    ran.says("seldom: last success 2").says("3 keys then").says("1 of 1 run ended well").says("PostgreSQL 1");
    serving.world.redis.start_again();
    serving.world.redis.allow_all_keys();
    serving.world.set("DATABASE_URL", "postgres://nobody:hunter2@127.0.0.1:1/nothing?sslmode=disable");
    let ran = serving.world.warm(&["status"]).exits(3).says("PostgreSQL is away: ");
    let ran = ran.says("seldom: ").says("Redis 7.").says("warm serve runs");
    assert!(!ran.all().contains("hunter2"), "{}", ran.all());
    serving.world.redis.server.end();
    let both = serving.world.warm(&["status", "--json"]).exits(4);
    assert_eq!(
        (both.json()["redis"]["up"].clone(), both.json()["postgres"]["up"].clone()),
        (false.into(), false.into())
    );
    assert!(!both.all().contains("hunter2"), "{}", both.all());
}

#[test]
fn it_tells_which_machine_runs_a_job() {
    let slow = "schedule = '@yearly'\nquery = 'SELECT n AS id, pg_sleep(30)::text AS x FROM generate_series(1, 3) n'\nkey = 't:{id}'\nvalue = 'row'";
    let mut world = World::new();
    world.job("slow", slow);
    let other = Ends(world.start(&["--due"]));
    elsewhere(&mut world);
    let status = wait_for("the lease", || {
        Some(world.warm(&["status", "--json"]).exits(0).json()).filter(|status| !status["jobs"][0]["held_by"].is_null())
    });
    assert_eq!(status["jobs"][0]["held_by"]["application"], "warm", "{status}");
    world.warm(&["status"]).exits(0).says("slow: no success known").says("run now by the PostgreSQL session ");
    drop(other);
    wait_for("the end of the lease", || {
        world.warm(&["status"]).exits(0).out.contains("run now").then_some(()).xor(Some(()))
    });
}

#[test]
fn a_start_that_is_due_when_a_pause_ends_or_waits_for_its_splay_then_is_the_next_one() {
    let world = World::new();
    // Of 30 s its share is 8.349 s.
    world.job("event-lists", &SELDOM.replace("@yearly", "@hourly"));
    let hour = DateTime::from_timestamp((Utc::now().timestamp() / 3600 + 2) * 3600, 0).unwrap();
    for (after, next) in [(0, 0), (8, 0), (9, 1)] {
        let until = show(hour + TimeDelta::seconds(after));
        world.warm(&["pause", "--until", &until]).exits(0);
        let due = hour + TimeDelta::hours(next);
        let status = world.warm(&["status", "--json"]).exits(0).json();
        assert_eq!(status["jobs"][0]["next"], show(due + TimeDelta::seconds(8)), "{after} s after the hour");
        let from = show(hour - TimeDelta::minutes(30));
        let listed = world.warm(&["list", "--json", "--next", "2", "--from", &from]).exits(0).json();
        assert_eq!(listed["jobs"][0]["next"], show(due), "{after} s after the hour");
        let notes = [0, 1].map(|n| listed["jobs"][0]["next_runs"][n]["note"].as_str());
        let begins_not = notes.map(|note| note.is_some_and(|note| note.starts_with("does not begin: paused until 2")));
        assert_eq!(begins_not, [next == 1, false], "{listed}");
    }
    world.warm(&["list", "--next", "1"]).exits(0).says("(does not begin: paused until ");
    at_terminal(&world, "list --next 1").says("does not begin: paused until ");
}

fn show(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[test]
fn a_pipe_in_the_place_of_the_lock_holds_nobody_up() {
    let serving = Serving::of(listening());
    wait_for("the lock", || lock(&serving.world));
    let (world, ..) = serving.end();
    let lock = lock(&world).unwrap();
    fs::remove_file(&lock).unwrap();
    assert!(Command::new("mkfifo").arg(&lock).status().unwrap().success());
    let start = Instant::now();
    world.warm(&["status"]).says("Redis 7.");
    let serving = Serving::of(world);
    serving.wait_until_it_says("Redis answers");
    assert!(start.elapsed() < Duration::from_secs(60), "nobody waits for a reader");
    assert_eq!(serving.end().1, Some(0));
}

/// The file that says that the service runs.
fn lock(world: &World) -> Option<PathBuf> {
    let mut entries = fs::read_dir(world.state()).ok()?.flatten().map(|entry| entry.path());
    entries.find(|path| path.extension().is_some_and(|extension| extension == "lock"))
}
