//! `refresh_ahead`: keys are written again before they die.
//!
//! Each query gives another value, so that whoever looks at the keys all the time counts the queries; PostgreSQL counts them, too, as scans of the
//! table `thing`, but tells only when the session has ended. Nothing is verified here: other tests commit to the same cluster, after which rows are read again.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sqlx::Row;

use super::history::ask as history;
use super::instances::elsewhere;
use super::serve::{Ends, Serving};
use crate::support::gate::Gate;
use crate::support::server::wait_for;
use crate::support::world::{World, ask};

const LIFE: f64 = 8.0;
/// Ten lists, whose combinations come in another order each time.
const LISTS: &str = "schedule = '@yearly'\nrefresh_ahead = true\nttl = '8s'\nverify = 'none'\n\
    query = 'SELECT *, clock_timestamp()::text AS t FROM thing WHERE state = :state'\nkey = 't:{state}'\nvalue = 'rows'\n\
    for_each.state = { query = 'SELECT state FROM state ORDER BY random()' }\n";
const STATES: u64 = 10;

fn world(job: &str) -> World {
    let world = World::new();
    world.sql(
        "CREATE TABLE thing AS SELECT n AS id, chr(96 + n) AS state FROM generate_series(1, 10) n;
         CREATE TABLE state AS SELECT state FROM thing;
         GRANT SELECT ON thing, state TO PUBLIC;
         ALTER TABLE thing SET (autovacuum_enabled = off)",
    );
    world.job("job", job);
    world
}

/// How many queries there have been, of sessions that have ended.
fn queries(world: &World) -> u64 {
    world.sql("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'thing'").parse().unwrap()
}

fn there(world: &World) -> u64 {
    let keys: Vec<String> = world.ask(&["KEYS", "t:*"]);
    keys.len() as u64
}

/// Looks at the keys all the time, for so long: none may be away. How many values they have had, but for the first ones.
fn always_there(world: &World, seconds: f64) -> u64 {
    let mut connection = world.redis.connect();
    let names: Vec<String> = ('a'..='j').map(|state| format!("t:{state}")).collect();
    let words: Vec<&str> = std::iter::once("MGET").chain(names.iter().map(String::as_str)).collect();
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let (mut seen, mut looks) = (HashSet::new(), 0);
    while Instant::now() < end {
        let values: Vec<Option<String>> = ask(&mut connection, &words);
        assert!(values.iter().all(Option::is_some), "after {looks} looks: {values:?}");
        seen.extend(values);
        looks += 1;
        sleep(Duration::from_millis(10));
    }
    assert!(looks > 100, "{looks}");
    seen.len() as u64 - STATES
}

/// Whether these are no more than 1.3 times the least number of queries in so many seconds.
fn few(queries: u64, seconds: f64) -> bool {
    (STATES..=(1.3 * STATES as f64 * seconds / LIFE) as u64).contains(&queries)
}

fn filled(world: &World) {
    wait_for("the first run", || (there(world) == STATES).then_some(()));
}

#[test]
fn keys_are_always_there_at_little_more_than_the_least_number_of_queries() {
    let world = world(LISTS);
    let before = queries(&world);
    let serving = Serving::of(world);
    filled(&serving.world);
    let refreshed = always_there(&serving.world, 24.0);
    assert!(few(refreshed, 24.0), "{refreshed}");
    let (world, code, log) = serving.end();
    let all = queries(&world) - before;
    // Some may have been refreshed since the last look.
    assert!((refreshed + STATES..=refreshed + STATES + 3).contains(&all), "{all} queries, {refreshed} new values");
    assert_eq!((code, log.matches("job: ").count()), (Some(0), 2), "one run, and no word of refreshes:\n{log}");
}

#[test]
fn machines_share_the_work_and_one_that_dies_is_not_missed() {
    let mut world = world(LISTS);
    let mut other = Ends(world.start(&["serve"]));
    filled(&world);
    elsewhere(&mut world);
    let serving = Serving::of(world);
    let refreshed = always_there(&serving.world, 15.0);
    assert!(few(refreshed, 15.0), "{refreshed}");
    other.0.kill().unwrap();
    other.0.wait().unwrap();
    always_there(&serving.world, 9.0);
    assert_eq!(serving.end().1, Some(0));
}

#[test]
fn a_restart_asks_for_nothing_that_is_fresh_and_a_refill_for_everything() {
    let world = world(&LISTS.replace("8s", "10m"));
    let before = queries(&world);
    let serving = Serving::of(world);
    filled(&serving.world);
    let (world, ..) = serving.end();
    assert_eq!(queries(&world) - before, STATES);
    world.job("other", "query = 'SELECT 1 AS x'\nkey = 't:other'\nvalue = 'rows'\nttl = '1h'\npriority = -1");
    let serving = Serving::of(world);
    wait_for("the other job", || serving.world.value("t:other"));
    let (world, ..) = serving.end();
    assert_eq!(queries(&world) - before, STATES, "all is known to be fresh");
    let serving = Serving::telling("info,warm=debug", world);
    serving.wait_until_it_says("job: refreshed");
    serving.wait_until_it_says("Redis answers");
    let _: () = serving.world.ask(&["FLUSHALL"]);
    wait_for("the lists and the other", || (there(&serving.world) == STATES + 1).then_some(()));
    let (world, ..) = serving.end();
    assert_eq!(queries(&world) - before, 2 * STATES);
}

#[test]
fn a_job_that_sweeps_is_refreshed_as_a_whole() {
    let job = "schedule = '@yearly'\nrefresh_ahead = true\nttl = '8s'\nsweep = true\nquery = 'SELECT * FROM thing WHERE state = :state'\n\
        key = 't:{state}:{id}'\nvalue = 'row'\nfor_each.state = { query = 'SELECT state FROM state' }\n";
    let serving = Serving::of(world(job));
    filled(&serving.world);
    serving.world.sql("DELETE FROM thing WHERE id = 3");
    wait_for("a refresh that sweeps", || (serving.world.value("t:c:3").is_none()).then_some(()));
    assert_eq!(there(&serving.world), STATES - 1);
    let (world, ..) = serving.end();
    // What begins now finds everything fresh: it has read nothing, and so it knows nothing of any key.
    let serving = Serving::of(world);
    let looked = Instant::now();
    while looked.elapsed() < Duration::from_secs(12) {
        assert_eq!(there(&serving.world), STATES - 1);
        sleep(Duration::from_millis(50));
    }
    let (world, _, log) = serving.end();
    assert!(!log.contains("ERROR"), "{log}");
    let rows = "SELECT DISTINCT rows FROM run WHERE \"trigger\" = 'refresh-ahead'";
    let rows: Vec<i64> = history(&world.state().join("history.sqlite"), rows).iter().map(|row| row.get(0)).collect();
    assert_eq!(rows, [9], "all rows, each time");
}

#[test]
fn a_refresh_of_some_combinations_is_no_success_and_one_of_everything_is() {
    let world = world(&format!("max_age = '5s'\n{LISTS}"));
    let one = "schedule = '@yearly'\nrefresh_ahead = true\nttl = '4s'\nmax_age = '5s'\nverify = 'none'\n\
        query = 'SELECT clock_timestamp()::text AS t'\nkey = 't:one'\nvalue = 'rows'\n";
    world.job("one", one);
    let serving = Serving::of(world);
    wait_for("the first run", || (there(&serving.world) == STATES + 1).then_some(()));
    serving.wait_until_it_says("job: stale: its last success was 5s ago");
    always_there(&serving.world, 8.0);
    let (_, _, log) = serving.end();
    assert!(!log.contains("job: no longer stale") && !log.contains("one: stale"), "{log}");
}

/// Does the work while rows change, forty times in a second.
fn while_rows_change<T>(world: &World, change: &str, work: impl FnOnce() -> T) -> T {
    struct Ended<'a>(&'a AtomicBool);
    impl Drop for Ended<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ended = Ended(&stop);
        scope.spawn(|| {
            let mut application = world.database.session();
            while !stop.load(Ordering::Relaxed) {
                application.say(change);
                sleep(Duration::from_millis(25));
            }
        });
        work()
    })
}

/// Looks at a key for so long: how often, and how often it was there.
fn looks(world: &World, key: &str, seconds: u64) -> (u32, u32) {
    let mut connection = world.redis.connect();
    let (end, mut looks, mut there) = (Instant::now() + Duration::from_secs(seconds), 0, 0);
    while Instant::now() < end {
        there += ask::<u32>(&mut connection, &["EXISTS", key]);
        looks += 1;
        sleep(Duration::from_millis(10));
    }
    (looks, there)
}

const HOT: &str = "schedule = '@yearly'\nrefresh_ahead = true\nttl = '8s'\nkey = 't:{id}'\nvalue = 'row'\n\
    query = 'SELECT h.id, h.v FROM hot h, (SELECT pg_sleep(0.06)) s'\n";

fn hot(job: &str) -> World {
    let world = World::new();
    world.sql("CREATE TABLE hot AS SELECT n AS id, 0 AS v FROM generate_series(1, 3) n; GRANT SELECT ON hot TO PUBLIC");
    world.job("job", job);
    world
}

fn refreshes(world: &World) -> i64 {
    let count = "SELECT count(*) FROM run WHERE \"trigger\" = 'refresh-ahead'";
    history(&world.state().join("history.sqlite"), count)[0].get(0)
}

#[test]
fn a_row_that_changes_all_the_time_is_there_all_the_same() {
    let serving = Serving::of(hot(HOT));
    let (looks, there) = while_rows_change(&serving.world, "UPDATE hot SET v = v + 1 WHERE id = 1;", || {
        wait_for("the first run", || serving.world.value("t:1"));
        looks(&serving.world, "t:1", 20)
    });
    let (world, code, log) = serving.end();
    assert!(looks > 500 && there * 100 > looks * 98, "there at {there} of {looks} looks:\n{log}");
    // Its values live for four seconds.
    assert!((4..=8).contains(&refreshes(&world)), "{} refreshes", refreshes(&world));
    let said = log.lines().filter(|line| line.contains("left to die")).count();
    assert_eq!((code, said), (Some(0), 1), "it is said once:\n{log}");
}

#[test]
fn a_value_that_had_to_be_removed_is_read_again_within_seconds() {
    let job =
        HOT.replace("8s", "5m").replace("FROM hot h, (SELECT pg_sleep(0.06)) s", "FROM hot h WHERE id <> 1 OR wait(1)");
    let world = hot(&format!("{job}verify = {{ version = 'v' }}\n"));
    let gate = Gate::shut(&world.database, 1);
    let serving = Serving::of(world);
    gate.wait_for_query();
    serving.world.sql("UPDATE hot SET v = 1");
    gate.open();
    for key in ["t:1", "t:2", "t:3"] {
        // A value that is verified lives for long.
        wait_for(key, || (serving.world.ask::<i64>(&["PTTL", key]) > 60_000).then_some(()));
    }
    let (_, code, log) = serving.end();
    assert_eq!((code, log.matches("job: ").count()), (Some(0), 2), "{log}");
}

#[test]
fn a_query_that_takes_longer_than_its_keys_live_is_run_all_the_same() {
    let world = World::new();
    let slow = "schedule = '@yearly'\nrefresh_ahead = true\nttl = '1s'\nverify = 'none'\n\
        query = 'SELECT clock_timestamp()::text AS t FROM pg_sleep(1.2)'\nkey = 't:slow'\nvalue = 'rows'\n";
    world.job("slow", slow);
    let serving = Serving::of(world);
    let mut seen = HashSet::new();
    wait_for("the fourth value", || {
        seen.extend(serving.world.value("t:slow"));
        (seen.len() == 4).then_some(())
    });
    let (_, code, log) = serving.end();
    assert_eq!((code, log.matches("slow: refreshing took 1s").count()), (Some(0), 1), "it is said once:\n{log}");
    assert!(log.contains("too long for keys that live for 1s"), "{log}");
}
