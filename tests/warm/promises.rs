//! What an answer to `POST /invalidate/{set}` promises: nothing old is told any more, whatever became of the fills that had begun before it.

use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::deletes::{deleting, post};
use crate::reads::{Answer, begin, get};
use crate::serve::Serving;
use crate::support::gate::Gate;
use crate::support::server::wait_for;
use crate::support::world::{CONFIG, World};

const SETS: &str = "[invalidate.slow]\nkeys = ['t:slow:{id}']\n[invalidate.slows]\nkeys = ['t:slow:*']\n";

/// Fills that stand before the gate 7, and those that read a new row before the gate 8.
const SLOW: &str = "fill_query = \"SELECT id, v FROM (SELECT id, v, CASE v WHEN 'new' THEN wait(8) END, wait(7) FROM t WHERE id = :id::int OFFSET 0) AS q\"\nkey = 't:slow:{id}'\nvalue = 'row'";

fn serving(change: impl FnOnce(&mut World)) -> Serving {
    deleting(|world| {
        drop(Gate::shut(&world.database, 7));
        world.config(&format!("{CONFIG}{SETS}"));
        world.job("slow", SLOW);
        change(world);
    })
}

fn value(id: u32, v: &str) -> String {
    format!(r#"{{"id":{id},"v":"{v}"}}"#)
}

/// Begins to delete the key of this number, and returns when it is deleted in Redis.
fn begin_to_delete<'s>(scope: &'s Scope<'s, '_>, serving: &'s Serving, id: u32) -> ScopedJoinHandle<'s, Answer> {
    let unlinked = || serving.world.ask::<String>(&["INFO", "commandstats"]).matches("cmdstat_unlink:").count();
    let _: () = serving.world.ask(&["CONFIG", "RESETSTAT"]);
    let deletion = scope.spawn(move || post(serving, "slow", &format!(r#"{{"id": {id}}}"#)));
    wait_for("the deletion", || (unlinked() > 0).then_some(()));
    deletion
}

/// The sessions whose queries stand before a gate.
fn at_gate(world: &World, gate: u8) -> Vec<String> {
    let pids = world.sql(&format!(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = {gate} AND NOT granted \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    ));
    pids.split_whitespace().map(str::to_owned).collect()
}

/// Ends the query that stands before gate 8, or its session.
fn end_query(world: &World, how: &str) {
    let pids = at_gate(world, 8);
    world.sql(&format!("SELECT {how}({})", pids[0]));
    wait_for("its end", || (!at_gate(world, 8).contains(&pids[0])).then_some(()));
}

/// What is told of the key now: at once, or as soon as anything is.
fn told(serving: &Serving, id: u32) -> String {
    wait_for("an answer", || Some(get(serving, &format!("/keys/t:slow:{id}"))).filter(|answer| answer.status == 200))
        .body
}

#[test]
fn a_row_that_vanishes_while_its_key_is_filled_is_told_to_nobody() {
    let serving = serving(|_| {});
    let world = &serving.world;
    let gate = Gate::shut(&world.database, 7);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| get(&serving, "/keys/t:slow:20"));
        gate.wait_for_query();
        world.sql("DELETE FROM t WHERE id = 20");
        let deletion = begin_to_delete(scope, &serving, 20);
        gate.open();
        assert_eq!(deletion.join().unwrap().status, 200);
        get(&serving, "/keys/t:slow:20").is(404, "nowhere", "no row makes this key\n");
        reader.join().unwrap().is(404, "nowhere", "no row makes this key\n");
        assert_eq!(world.value("t:slow:20"), None);
    });
}

#[test]
fn what_a_fill_could_not_make_sure_of_is_gone_when_it_ends() {
    let serving = serving(|_| {});
    let world = &serving.world;
    let (gate, second) = (Gate::shut(&world.database, 7), Gate::shut(&world.database, 8));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| get(&serving, "/keys/t:slow:30"));
        gate.wait_for_query();
        world.sql("UPDATE t SET v = 'new' WHERE id = 30");
        let deletion = begin_to_delete(scope, &serving, 30);
        gate.open();
        second.wait_for_query();
        assert_eq!(world.value("t:slow:30"), Some(value(30, "v30")));
        end_query(world, "pg_cancel_backend");
        assert_eq!(deletion.join().unwrap().status, 200);
        assert_eq!(world.value("t:slow:30"), None);
        assert_eq!(reader.join().unwrap().status, 503);
        second.open();
        assert_eq!(told(&serving, 30), value(30, "new"));
    });
}

#[test]
fn a_fill_that_is_tried_again_does_not_take_its_own_value_for_that_of_others() {
    let serving = serving(|_| {});
    let world = &serving.world;
    let (gate, second) = (Gate::shut(&world.database, 7), Gate::shut(&world.database, 8));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| get(&serving, "/keys/t:slow:40"));
        gate.wait_for_query();
        world.sql("UPDATE t SET v = 'new' WHERE id = 40");
        let deletion = begin_to_delete(scope, &serving, 40);
        gate.open();
        second.wait_for_query();
        end_query(world, "pg_terminate_backend");
        // So that it may be told at once what it is told without another look.
        wait_for("the next attempt, or an answer", || {
            (reader.is_finished() || !at_gate(world, 8).is_empty()).then_some(())
        });
        second.open();
        assert_eq!(deletion.join().unwrap().status, 200);
        assert_eq!(told(&serving, 40), value(40, "new"));
        reader.join().unwrap().is(200, "database", &value(40, "new"));
    });
}

#[test]
fn a_fill_that_began_before_another_configuration_is_waited_for() {
    let serving = serving(|_| {});
    let world = &serving.world;
    let gate = Gate::shut(&world.database, 7);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| get(&serving, "/keys/t:slow:50"));
        gate.wait_for_query();
        world.config(&format!("{CONFIG}{SETS}[invalidate.later]\nkeys = ['t:later:{{id}}']\n"));
        serving.signal("HUP");
        let later = || Some(post(&serving, "later", r#"{"id": 1}"#)).filter(|answer| answer.status == 200);
        wait_for("the configuration", later);
        world.sql("UPDATE t SET v = 'new' WHERE id = 50");
        let deletion = begin_to_delete(scope, &serving, 50);
        // Who asked later for something else has the answer.
        assert_eq!(post(&serving, "later", r#"{"id": 1}"#).status, 200);
        assert!(!deletion.is_finished(), "the fill may still write");
        gate.open();
        assert_eq!(deletion.join().unwrap().status, 200);
        assert_eq!(told(&serving, 50), value(50, "new"));
        drop(reader.join());
    });
}

#[test]
fn who_waits_for_a_place_to_fill_a_key_is_not_waited_for() {
    // One connection for leases, one that is kept, and one: as there are other jobs, one fill of this job at a time.
    let serving = serving(|world| {
        world.set("WARM_POSTGRES__CONNECTIONS", "3");
        world.job("slow", &SLOW.replace("wait(7)", "wait(id)"));
    });
    let world = &serving.world;
    let (first, second) = (Gate::shut(&world.database, 60), Gate::shut(&world.database, 61));
    let waiting = begin(&serving, "/keys/t:slow:60");
    first.wait_for_query();
    let next = begin(&serving, "/keys/t:slow:61");
    let deletion = std::thread::scope(|scope| {
        let deletion = scope.spawn(|| post(&serving, "slows", ""));
        wait_for("the pass", || world.ask::<String>(&["INFO", "commandstats"]).contains("cmdstat_scan:").then_some(()));
        first.open();
        second.wait_for_query();
        wait_for("the answer", || deletion.is_finished().then_some(()));
        assert_eq!(at_gate(world, 61).len(), 1, "the second one has begun, and is not done");
        deletion.join().unwrap()
    });
    assert_eq!(deletion.status, 200);
    drop((waiting, next));
    second.open();
}

/// Jobs that hold all connections that they can get, until the gate 9 is opened.
fn with_all_connections_in_use(connections: &str) -> (Serving, Gate) {
    let mut gate = None;
    let serving = serving(|world| {
        gate = Some(Gate::shut(&world.database, 9));
        world.set("WARM_POSTGRES__CONNECTIONS", connections);
        let job = std::fs::read_to_string(world.folder.path.join("jobs/job.toml")).unwrap();
        world.job("job", &format!("priority = 9\n{job}"));
        for name in ["a", "b", "c"] {
            world.job(
                name,
                &format!(
                    "schedule = '@yearly'\nquery = 'SELECT 1 AS id, wait(9)'\nkey = 't:{name}:{{id}}'\nvalue = 'row'"
                ),
            );
        }
    });
    wait_for("the jobs", || (!at_gate(&serving.world, 9).is_empty()).then_some(()));
    (serving, gate.unwrap())
}

#[test]
fn runs_leave_one_connection_to_those_who_read() {
    let (serving, gate) = with_all_connections_in_use("4");
    wait_for("the others", || (at_gate(&serving.world, 9).len() == 2).then_some(()));
    get(&serving, "/keys/t:7").is(200, "database", &value(7, "v7"));
    get(&serving, "/keys/t:8").is(200, "database", &value(8, "v8"));
    gate.open();
}

#[test]
fn a_fill_that_waits_for_a_connection_has_not_begun() {
    // Of two, none can be kept.
    let (serving, gate) = with_all_connections_in_use("2");
    let reader = begin(&serving, "/keys/t:slow:70");
    let waits = || get(&serving, "/keys/t:slow:71");
    std::thread::scope(|scope| {
        let other = scope.spawn(waits);
        let begin = Instant::now();
        assert_eq!(post(&serving, "slows", "").status, 200);
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        gate.open();
        drop(other.join());
    });
    assert_eq!(told(&serving, 70), value(70, "v70"));
    drop(reader);
}

#[test]
fn what_may_still_arrive_in_redis_is_waited_for() {
    let serving = serving(|world| world.set("WARM_REDIS__TIMEOUT", "1s"));
    let world = &serving.world;
    let gate = Gate::shut(&world.database, 7);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| get(&serving, "/keys/t:slow:80"));
        gate.wait_for_query();
        world.sql("UPDATE t SET v = 'new' WHERE id = 80");
        world.redis.server.signal("STOP");
        let opened = Instant::now();
        gate.open();
        // It has sent the value, and is told nothing of it.
        assert_eq!(reader.join().unwrap().status, 503);
        world.redis.server.signal("CONT");
        let deleted = || Some(post(&serving, "slow", r#"{"id": 80}"#)).filter(|answer| answer.status == 200);
        wait_for("the deletion", deleted);
        assert!(opened.elapsed() > Duration::from_secs(10), "{:?}: it may have come later", opened.elapsed());
        assert_eq!(told(&serving, 80), value(80, "new"));
    });
}
