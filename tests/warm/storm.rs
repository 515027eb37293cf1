//! Ten thousand changes at full speed, while connections are cut, the service is stopped and killed, and the database crashes: no key is left that is stale.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::changes::as_owner;
use crate::serve::Serving;
use crate::slot::SETTINGS;
use crate::support::postgres::{Database, Postgres};
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use crate::support::world::{CONFIG, World};

const ROWS: usize = 10_000;
const WRITERS: usize = 4;
/// How many rows a writer updates before it asks for the next ones, each in a transaction of its own.
const TOGETHER: usize = 100;
/// Rows that nobody updates.
const QUIET: usize = 200;
/// It writes nothing: all keys are ours.
const JOB: &str =
    "schedule = '@yearly'\ncatch_up = 'none'\nquery = 'SELECT 1 AS id WHERE false'\nkey = 't:none:{id}'\nvalue = 'row'";

fn world(postgres: &Postgres, feed: &str) -> World {
    let mut world = World::of(postgres.database(), Redis::start(""));
    world.sql(&format!(
        "ALTER ROLE warm REPLICATION; CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL);
         INSERT INTO item SELECT i, 0 FROM generate_series(1, {}) i",
        ROWS + QUIET
    ));
    world.config(&format!("{CONFIG}[invalidate.item]\nkeys = ['t:{{id}}']\n[changes]\n{feed}\n[changes.tables]\nitem = ['item id={{id}}']\n"));
    world.job("none", JOB);
    as_owner(&mut world, &["changes", "install"]).exits(0);
    world
}

fn serve(world: World) -> Serving {
    let serving = Serving::of(world);
    serving.wait_until_it_says(" changes ");
    serving
}

/// All rows have their keys.
fn fill(world: &World) {
    let mut all = vec!["MSET".to_owned()];
    (1..=ROWS + QUIET).for_each(|id| all.extend([format!("t:{id}"), "x".to_owned()]));
    let _: () = world.ask(&all.iter().map(String::as_str).collect::<Vec<_>>());
}

fn left(world: &World, ids: impl Iterator<Item = usize>) -> usize {
    let mut all = vec!["EXISTS".to_owned()];
    all.extend(ids.map(|id| format!("t:{id}")));
    world.ask(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Updates each row once, whatever happens to the database meanwhile; `trouble` gets how many are updated, and makes it.
fn storm(database: &Database, trouble: impl FnOnce(&dyn Fn(usize))) {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                loop {
                    let first = next.fetch_add(TOGETHER, Ordering::SeqCst) + 1;
                    if first > ROWS {
                        return;
                    }
                    let update = format!(
                        "DO $$ BEGIN FOR i IN {first}..{} LOOP UPDATE item SET v = v + 1 WHERE id = i; COMMIT; END LOOP; END $$",
                        first + TOGETHER - 1
                    );
                    // Where the database went away, some are updated twice.
                    wait_for("the updates", || database.try_sql(&update).ok());
                    done.fetch_add(TOGETHER, Ordering::SeqCst);
                }
            });
        }
        let until = |wanted: usize| wait_for("the storm", || (done.load(Ordering::SeqCst) >= wanted).then_some(()));
        trouble(&until);
    });
}

/// Waits until no key of an updated row is there; longer than others wait, since nobody connects again at once.
#[track_caller]
fn nothing_is_stale(world: &World) {
    let begin = Instant::now();
    while left(world, 1..=ROWS) > 0 {
        assert!(begin.elapsed() < Duration::from_secs(60), "{} keys are left", left(world, 1..=ROWS));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn cut(database: &Database) {
    wait_for("a connection is cut", || {
        let cut = "SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity WHERE usename = 'warm' AND datname = current_database()";
        database.try_sql(cut).ok().filter(|cut| cut == "t")
    });
}

#[test]
fn through_a_slot_each_change_is_heard_and_nothing_else_is_touched() {
    let mut postgres = Postgres::start(&SETTINGS);
    let serving = serve(world(&postgres, "slot = 'warm_storm'"));
    let noted = serving.world.state().join("changes-warm_storm");
    wait_for("that all was deleted at the start", || noted.exists().then_some(()));
    fill(&serving.world);
    let database = postgres.named(&serving.world.database.name);
    let mut serving = Some(serving);
    storm(&database, |until| {
        let service = serving.take().unwrap();
        until(1000);
        cut(&database);
        until(2500);
        service.signal("STOP");
        until(4000);
        service.signal("CONT");
        until(5000);
        service.signal("KILL");
        let (there, ..) = service.end();
        until(6000);
        let service = Serving::of(there);
        postgres.server.end();
        postgres.start_again();
        until(8000);
        cut(&database);
        serving = Some(service);
    });
    let serving = serving.unwrap();
    nothing_is_stale(&serving.world);
    assert!(!serving.log().contains("may have been missed"), "{}", serving.log());
    assert_eq!(left(&serving.world, ROWS + 1..=ROWS + QUIET), QUIET, "those did not change");
}

#[test]
fn on_a_channel_nothing_is_left_that_may_be_stale() {
    let mut postgres = Postgres::start(&[]);
    let serving = serve(world(&postgres, "channel = 'warm_storm'"));
    serving.wait_until_it_says("none: done");
    fill(&serving.world);
    let database = postgres.named(&serving.world.database.name);
    storm(&database, |until| {
        until(1000);
        cut(&database);
        until(3000);
        serving.signal("STOP");
        until(5000);
        serving.signal("CONT");
        until(6000);
        postgres.server.end();
        postgres.start_again();
        until(8000);
        cut(&database);
    });
    nothing_is_stale(&serving.world);
}
