//! Several machines fill one cache: each has a state of its own, and all have the same servers.

use std::fs;
use std::process::{Child, Command};

use sqlx::Row;

use super::history::ask;
use super::serve::{Ends, Serving};
use crate::support::server::wait_for;
use crate::support::world::{Ran, World};

const HANGS: &str = "schedule = '@yearly'\nquery = 'SELECT n AS id, CASE WHEN n = 500 THEN pg_sleep(60)::text END AS x FROM generate_series(1, 1000) n'\nkey = 't:{id}'\nvalue = 'row'";
const QUICK: &str =
    "schedule = '@yearly'\nquery = 'SELECT n AS id FROM generate_series(1, 3) n'\nkey = 't:{id}'\nvalue = 'row'";

/// One machine is in the middle of a run.
fn busy() -> (World, Child) {
    let world = World::new();
    world.job("job", HANGS);
    let child = world.start(&["--due"]);
    wait_for("the middle of the query", || (world.ask::<u64>(&["DBSIZE"]) > 100).then_some(()));
    (world, child)
}

/// From now on another machine: it has seen nothing yet.
pub(crate) fn elsewhere(world: &mut World) {
    let state = world.folder.path.join("elsewhere");
    fs::create_dir_all(&state).unwrap();
    world.set("STATE_DIRECTORY", &state.display().to_string());
}

#[test]
fn two_machines_do_not_serve_the_same_time() {
    let mut world = World::new();
    world.job("job", QUICK);
    world.warm(&["--due"]).exits(0).says("job: wrote 3 keys");
    elsewhere(&mut world);
    assert_eq!(world.warm(&["--due"]).exits(0).out, "", "the other one has served it");
}

#[test]
fn jobs_of_one_name_that_write_other_keys_are_not_the_same_job() {
    let mut world = World::new();
    world.job("job", HANGS);
    let mut child = world.start(&["--due"]);
    wait_for("the middle of the query", || (world.ask::<u64>(&["DBSIZE"]) > 100).then_some(()));
    elsewhere(&mut world);
    // Neither its lease nor what it has served is anything to the other one.
    let other = QUICK.replace("t:{id}", "t:other:{id}");
    world.job("job", &other);
    world.warm(&["--due"]).exits(0).says("job: wrote 3 keys");
    child.kill().unwrap();
    child.wait().unwrap();
    world.job("job", &other.replace("other", "third"));
    world.set("STATE_DIRECTORY", &world.folder.path.display().to_string());
    world.warm(&["--due"]).exits(0).says("job: wrote 3 keys");
}

#[test]
fn a_lost_cache_is_filled_by_one_of_several_machines() {
    let slow = "schedule = '@yearly'\nquery = 'SELECT n AS id, pg_sleep(0.02)::text AS x FROM generate_series(1, 50) n'\nkey = 't:{id}'\nvalue = 'row'\nverify = 'none'";
    let mut world = World::new();
    world.job("job", slow);
    world.set("WARM_LOG", "info");
    let log = fs::File::create(world.folder.path.join("first")).unwrap();
    let mut first = Ends(world.program(&["serve"]).stderr(log).spawn().unwrap());
    let full = |world: &World| world.ask::<Vec<String>>(&["KEYS", "t:*"]).len() == 50;
    wait_for("the first run", || full(&world).then_some(()));
    elsewhere(&mut world);
    let mut serving = Serving::of(world);
    serving.wait_until_it_says("Redis answers");
    let both =
        |serving: &Serving| fs::read_to_string(serving.world.folder.path.join("first")).unwrap() + &serving.log();
    let left_alone = |serving: &Serving| both(serving).matches("another instance has served").count();
    let before = left_alone(&serving);
    let _: () = serving.world.ask(&["FLUSHALL"]);
    wait_for("the cache to be full", || full(&serving.world).then_some(()));
    wait_for("the other one to see it", || (left_alone(&serving) > before).then_some(()));
    assert_eq!(both(&serving).matches("job: done").count(), 2, "{}", both(&serving));
    // Nothing of what it had is there after a restart.
    serving.world.redis.server.signal("KILL");
    serving.world.redis.server.end();
    serving.world.redis.start_again();
    serving.world.redis.allow_all_keys();
    wait_for("the cache to be full", || full(&serving.world).then_some(()));
    wait_for("the other one to see it", || (left_alone(&serving) > before + 1).then_some(()));
    assert_eq!(both(&serving).matches("job: done").count(), 3, "{}", both(&serving));
    first.0.kill().unwrap();
    assert_eq!(serving.end().1, Some(0));
}

#[test]
fn what_the_other_one_serves_is_no_run_of_this_one() {
    let often = "schedule = '* * * * * *'\nsplay = '0s'\nquery = 'SELECT 1 AS x'\nkey = 't:x'\nvalue = 'rows'";
    let serving = Serving::start(&[("job", often)]);
    serving.wait_until_it_says("job: done");
    // The test is the other machine, and serves each start before it is due.
    let mark = wait_for("the mark", || serving.world.ask::<Vec<String>>(&["KEYS", "warm:served:job:*"]).pop());
    wait_for("starts that the other one has served", || {
        let next = (chrono::Utc::now().timestamp() + 1) * 1000;
        let _: () = serving.world.ask(&["SET", &mark, &next.to_string()]);
        (serving.log().matches("job: no run for").count() > 1).then_some(())
    });
    let (world, code, log) = serving.end();
    assert_eq!(code, Some(0), "{log}");
    let ask = |sql| ask(&world.state().join("history.sqlite"), sql);
    let [row] = &ask("SELECT reason, count FROM passed WHERE reason = 'elsewhere'")[..] else { panic!("{log}") };
    assert!(row.get::<i64, _>("count") > 1, "{log}");
    let outcomes: Vec<String> = ask("SELECT DISTINCT outcome FROM run").iter().map(|row| row.get(0)).collect();
    assert_eq!(outcomes, ["ok"]);
}

#[test]
fn a_job_is_run_by_one_machine_at_a_time() {
    let (mut world, child) = busy();
    elsewhere(&mut world);
    world.warm(&["--due"]).exits(6).says("another instance runs it: the PostgreSQL session");
    world.job("job", &format!("{QUICK}\noverlap = 'allow'"));
    world.warm(&["--due"]).exits(0).says("wrote 3 keys");
    world.warm(&["--now"]).exits(0).says("wrote 3 keys");
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    Ran::of(child.wait_with_output().unwrap()).exits(143);
}

#[test]
fn a_machine_that_dies_is_followed_at_once() {
    let (mut world, mut child) = busy();
    elsewhere(&mut world);
    world.job("job", QUICK);
    let serving = Serving::of(world);
    serving.wait_until_it_says("another instance runs it");
    child.kill().unwrap();
    child.wait().unwrap();
    serving.wait_until_it_says("job: done");
    assert_eq!(serving.end().1, Some(0));
}
