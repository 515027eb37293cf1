//! Several machines fill one cache: each has a state of its own, and all have the same servers.

use std::fs;
use std::process::{Child, Command};

use sqlx::Row;

use super::history::ask;
use super::serve::Serving;
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
fn what_the_other_one_serves_is_no_run_of_this_one() {
    let often = "schedule = '* * * * * *'\nsplay = '0s'\nquery = 'SELECT 1 AS x'\nkey = 't:x'\nvalue = 'rows'";
    let serving = Serving::start(&[("job", often)]);
    serving.wait_until_it_says("job: done");
    // The test is the other machine, and serves each start before it is due.
    wait_for("starts that the other one has served", || {
        let next = (chrono::Utc::now().timestamp() + 1) * 1000;
        let _: () = serving.world.ask(&["SET", "warm:served:job", &next.to_string()]);
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
