//! `warm pause` and `warm resume`, and all who have to know of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::health::{address, get, wait_for_line};
use super::serve::{EVERY_SECOND, SELDOM, Serving};
use crate::support::server::wait_for;
use crate::support::world::World;

/// How many starts the service has passed over for that reason.
fn passed(address: &str) -> u64 {
    let (_, metrics) = get(address, "/metrics");
    let name = "warm_starts_passed_total{job=\"often\",reason=\"paused\"} ";
    metrics.lines().find_map(|line| line.strip_prefix(name)?.parse().ok()).unwrap_or(0)
}

fn world() -> World {
    let mut world = World::new();
    world.set("WARM_SERVE__LISTEN", "127.0.0.1:0");
    world.job("often", EVERY_SECOND);
    world.job("seldom", SELDOM);
    world
}

#[test]
fn a_paused_job_begins_nothing_until_it_is_resumed() {
    let serving = Serving::of(world());
    let (world, address) = (&serving.world, address(&serving));
    wait_for("the first runs", || world.value("t:1").and(world.value("t:s:1")));
    wait_for_line(&address, "warm_job_paused{job=\"often\"} 0");
    world.warm(&["pause", "often", "--for", "1h"]).exits(0).says("often: paused until 2").says(" (1h)\n");
    wait_for_line(&address, "warm_job_paused{job=\"often\"} 1");
    wait_for_line(&address, "warm_job_paused{job=\"seldom\"} 0");
    wait_for("starts that are passed over", || (passed(&address) >= 2).then_some(()));
    let value = world.value("t:1");
    wait_for("more of them", || (passed(&address) >= 4).then_some(()));
    assert_eq!(world.value("t:1"), value);
    world.warm(&["list"]).exits(0).says(" (paused until 2");
    // Whoever asks for a run gets it.
    world.warm(&["--now", "often"]).exits(0);
    assert_ne!(world.value("t:1"), value);
    let _: () = world.ask(&["FLUSHALL"]);
    wait_for("a refill of the other job", || world.value("t:s:1"));
    let so_far = passed(&address);
    wait_for("more of them", || (passed(&address) > so_far).then_some(()));
    assert_eq!(world.value("t:1"), None, "a lost cache is no reason");
    world.warm(&["resume", "often"]).exits(0).says("often: goes on; it was paused until 2");
    wait_for("what was lost", || world.value("t:1"));
    wait_for_line(&address, "warm_job_paused{job=\"often\"} 0");
    world.warm(&["resume"]).exits(0).says("often: was not paused\nseldom: was not paused\n");
    let (_, _, log) = serving.end();
    for said in ["often: paused until ", "often: goes on after its pause"] {
        assert_eq!(log.matches(said).count(), 1, "{log}");
    }
    assert!(!log.contains("seldom: paused"), "{log}");
}

#[test]
fn the_service_manager_is_told_what_is_paused() {
    let mut world = World::new();
    world.job("seldom", SELDOM);
    let socket = world.folder.path.join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    world.set("NOTIFY_SOCKET", &socket.display().to_string());
    world.warm(&["pause"]).exits(0);
    let serving = Serving::of(world);
    let mut told = vec![0; 4096];
    let mut next = || {
        let length = manager.recv(&mut told).unwrap();
        String::from_utf8(told[..length].to_vec()).unwrap()
    };
    let status = std::iter::repeat_with(&mut next).find(|told| told.starts_with("STATUS=")).unwrap();
    let expected = "STATUS=waiting for the end of a pause; paused: seldom (until 2";
    assert!(status.starts_with(expected), "{status}");
    serving.world.warm(&["resume"]).exits(0);
    std::iter::repeat_with(&mut next).find(|told| told.starts_with("STATUS=next: seldom at 2")).unwrap();
    serving.end();
}

#[test]
fn a_pause_outlives_the_service_and_ends_by_itself() {
    let mut world = World::new();
    world.job("seldom", SELDOM);
    world.job("other", &SELDOM.replace("t:s:", "t:o:"));
    world.warm(&["pause", "--for", "4s"]).exits(0).says("other: paused until 2").says("seldom: paused until 2");
    let mode = fs::metadata(world.state().join("paused.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "the service may be another user");
    world.set("WARM_LOG", "info");
    world.warm(&["--due"]).exits(0).says("seldom: paused until 2");
    assert_eq!((world.value("t:s:1"), world.value("t:o:1")), (None, None));
    world.warm(&["resume", "other"]).exits(0);
    let serving = Serving::of(world);
    wait_for("the job that is not paused", || serving.world.value("t:o:1"));
    assert!(serving.log().contains("seldom: paused until"), "{}", serving.log());
    wait_for("the end of the pause", || serving.world.value("t:s:1"));
    let (world, code, log) = serving.end();
    let (before, after) = log.split_once("seldom: goes on after its pause").expect(&log);
    assert!(code == Some(0) && !before.contains("seldom: started") && after.contains("seldom: done"), "{log}");
    // What is over stands there until somebody writes again.
    world.warm(&["resume"]).exits(0).says("seldom: was not paused");
    assert!(!world.state().join("paused.toml").exists());
}

#[test]
fn a_run_that_is_under_way_is_left_to_finish() {
    let slow = "schedule = '@yearly'\nquery = 'SELECT n AS id, pg_sleep(0.02)::text AS x FROM generate_series(1, 300) n'\nkey = 't:{id}'\nvalue = 'row'\nverify = 'none'";
    let serving = Serving::start(&[("slow", slow)]);
    serving.wait_until_it_says("slow: started");
    serving.world.warm(&["pause", "slow"]).exits(0).says(" (1h)");
    serving.wait_until_it_says("slow: paused until");
    assert!(!serving.log().contains("slow: done"), "too late: {}", serving.log());
    serving.wait_until_it_says("slow: done");
    serving.end();
}

#[test]
fn a_paused_job_is_not_refreshed_ahead() {
    let job = "schedule = '@yearly'\nrefresh_ahead = true\nttl = '3s'\nverify = 'none'\n\
        query = 'SELECT clock_timestamp()::text AS t'\nkey = 't:one'\nvalue = 'rows'\n";
    let serving = Serving::start(&[("job", job)]);
    let first = wait_for("the first run", || serving.world.value("t:one"));
    wait_for("a refresh", || serving.world.value("t:one").filter(|value| *value != first));
    serving.world.warm(&["pause"]).exits(0);
    serving.wait_until_it_says("job: paused until");
    wait_for("the death of the key", || serving.world.value("t:one").is_none().then_some(()));
    serving.world.warm(&["resume"]).exits(0);
    wait_for("the next refresh", || serving.world.value("t:one"));
    serving.end();
}

#[test]
fn a_damaged_file_pauses_nothing_and_is_said() {
    let world = World::new();
    world.job("seldom", SELDOM);
    world.warm(&["pause"]).exits(0);
    fs::write(world.state().join("paused.toml"), "[[paused]]\njob = ").unwrap();
    let serving = Serving::of(world);
    wait_for("the run", || serving.world.value("t:s:1"));
    let (world, _, log) = serving.end();
    assert!(log.contains("no job is taken for paused: ") && log.contains("paused.toml"), "{log}");
    world.warm(&["list"]).exits(0).says("no job is taken for paused: ");
    world.warm(&["pause"]).exits(0).says("is damaged: ").says("seldom: paused until");
    world.warm(&["pause", "--until", "2020-01-01T00:00:00Z"]).exits(2).says("2020-01-01T00:00:00Z has passed");
    world.warm(&["resume"]).exits(0).says("seldom: goes on");
}

#[test]
fn what_is_wrong_with_a_job_file_keeps_nobody_from_looking_and_pausing() {
    let serving = Serving::of(world());
    let world = &serving.world;
    wait_for("the first runs", || world.warm(&["status", "seldom"]).out.contains("1 of 1 run").then_some(()));
    world.job("often", &EVERY_SECOND.replace("value = ", "vlaue = "));
    serving.wait_until_it_says("the one before stays");
    let ran =
        world.warm(&["status"]).exits(2).says("seldom: last success 2").says("warm serve runs").says("PostgreSQL 1");
    assert!(ran.err.contains("jobs/often.toml:4:1") && !ran.out.contains("often"), "{}", ran.all());
    let status = world.warm(&["status", "--json", "often"]).exits(2).json();
    assert_eq!((&status["exit_code"], status["jobs"].as_array().unwrap().len()), (&2.into(), 0));
    world.warm(&["pause", "often"]).exits(0).says("often: paused until 2").says("unknown field `vlaue`");
    serving.wait_until_it_says("often: paused until ");
    world.warm(&["resume"]).exits(0).says("seldom: was not paused\noften: goes on; it was paused until 2");
    world.warm(&["pause"]).exits(0).says("seldom: paused until 2").says("often: paused until 2");
    world.warm(&["pause", "oftn"]).exits(2).says("did you mean `often`?");
    // Nothing runs for which all would have to be right.
    for command in ["list", "--now", "--due"] {
        assert_eq!(world.warm(&[command]).exits(2).out, "");
    }
    world.config("jobs = ");
    for command in ["status", "pause", "resume"] {
        assert_eq!(world.warm(&[command]).exits(2).out, "", "where anything is, is not known");
    }
    assert_eq!(serving.end().1, Some(0));
}
