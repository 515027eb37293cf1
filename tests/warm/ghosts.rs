//! Writes of a runner that was stopped, killed or given up on: they overwrite nothing newer, and what they leave behind dies soon.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use warm::source::LOST_AFTER;

use super::instances::elsewhere;
use super::serve::Serving;
use crate::support::gate::Gate;
use crate::support::proxy::Proxy;
use crate::support::server::wait_for;
use crate::support::world::{Ran, World, ask};

/// The lifetime of the keys. Half of it is as long as an unconfirmed value may live.
const TTL: Duration = Duration::from_secs(10);
const PROVISIONAL: Duration = Duration::from_secs(5);

const ROWS: usize = 2000;

/// Rows, and a job whose query passes two gates: row 1 waits at the first one, the last row at the second.
fn world() -> World {
    let world = World::new();
    world.sql(&format!(
        "CREATE TABLE items AS SELECT n AS id, 'old ' || repeat(md5(n::text), 3) AS payload FROM generate_series(1, {ROWS}) n"
    ));
    world.job(
        "job",
        &format!(
            "query = 'SELECT id, payload FROM items WHERE (id <> 1 OR wait(1)) AND (id <> {ROWS} OR wait(2))'\nkey = 't:{{id}}'\nvalue = 'column:payload'\nttl = '{}s'",
            TTL.as_secs()
        ),
    );
    world
}

/// Starts a run whose snapshot is taken when this returns, and which has not seen a row.
fn started(world: &World) -> (Child, Gate) {
    started_as(world, "--now")
}

fn started_as(world: &World, command: &str) -> (Child, Gate) {
    let gate = Gate::shut(&world.database, 1);
    let child = world.start(&[command]);
    gate.wait_for_query();
    (child, gate)
}

fn signal(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// The application changes every row, and then writes the odd keys and deletes the even ones.
fn application_changes_everything(world: &World) {
    world.sql("UPDATE items SET payload = 'new ' || id");
    let mut pipe = redis::pipe();
    for id in 1..=ROWS {
        match id % 2 {
            1 => pipe.set_ex(format!("t:{id}"), format!("new {id}"), 600).ignore(),
            _ => pipe.del(format!("t:{id}")).ignore(),
        };
    }
    pipe.exec(&mut world.redis.connect()).unwrap();
}

/// Whether all that the application has written is there.
fn what_the_application_wrote_is_there(world: &World) -> bool {
    let keys: Vec<String> = (1..=ROWS).step_by(2).map(|id| format!("t:{id}")).collect();
    let values: Vec<Option<String>> = redis::cmd("MGET").arg(&keys).query(&mut world.redis.connect()).unwrap();
    values.iter().zip((1..=ROWS).step_by(2)).all(|(value, id)| value.as_deref() == Some(&format!("new {id}")))
}

/// The keys that hold what no row holds, with the milliseconds that they have left to live.
fn stale(world: &World) -> Vec<(String, i64)> {
    let mut connection = world.redis.connect();
    let keys: Vec<String> = ask(&mut connection, &["KEYS", "t:*"]);
    let outdated = |key: &String| {
        let id = key.strip_prefix("t:").unwrap();
        let value: Option<String> = ask(&mut connection, &["GET", key]);
        let life: i64 = ask(&mut connection, &["PTTL", key]);
        value.is_some_and(|value| value != format!("new {id}")).then(|| (key.clone(), life))
    };
    keys.iter().filter_map(outdated).collect()
}

/// Whatever is outdated is about to die, and does.
#[track_caller]
fn nothing_stale_remains(world: &World) {
    let stays: Vec<_> = stale(world).into_iter().filter(|(_, life)| *life > PROVISIONAL.as_millis() as i64).collect();
    assert!(stays.is_empty(), "{} stale keys, such as {:?}", stays.len(), stays[0]);
    wait_for("the end of outdated values", || stale(world).is_empty().then_some(()));
}

#[test]
fn a_runner_that_is_stopped_between_reading_and_writing_overwrites_nothing_newer() {
    let world = world();
    let (mut child, gate) = started(&world);
    signal(&child, "STOP");
    application_changes_everything(&world);
    gate.open();
    signal(&child, "CONT");
    while child.try_wait().unwrap().is_none() {
        assert!(what_the_application_wrote_is_there(&world));
    }
    Ran::of(child.wait_with_output().unwrap()).exits(0);
    assert!(what_the_application_wrote_is_there(&world));
    nothing_stale_remains(&world);
}

#[test]
fn a_runner_that_is_stopped_for_longer_than_its_writes_may_live_brings_nothing_back() {
    let world = world();
    let middle = Gate::shut(&world.database, 2);
    let (mut child, gate) = started(&world);
    gate.open();
    wait_for("the first keys", || (!world.keys().is_empty()).then_some(()));
    signal(&child, "STOP");
    application_changes_everything(&world);
    std::thread::sleep(PROVISIONAL);
    middle.open();
    signal(&child, "CONT");
    while child.try_wait().unwrap().is_none() {
        assert!(what_the_application_wrote_is_there(&world));
    }
    assert!(what_the_application_wrote_is_there(&world));
    nothing_stale_remains(&world);
}

#[test]
fn a_machine_that_freezes_is_followed_by_another_and_does_no_harm_when_it_thaws() {
    let mut world = world();
    let (mut frozen, gate) = started_as(&world, "--due");
    signal(&frozen, "STOP");
    application_changes_everything(&world);
    gate.open();
    elsewhere(&mut world);
    let (serving, start) = (Serving::of(world), Instant::now());
    serving.wait_until_it_says("another instance runs it");
    while !serving.log().contains("job: done") {
        assert!(start.elapsed() < LOST_AFTER + Duration::from_secs(15), "{}", serving.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(serving.world.keys().iter().filter(|key| key.starts_with("t:")).count(), ROWS);
    signal(&frozen, "CONT");
    while frozen.try_wait().unwrap().is_none() {
        assert!(what_the_application_wrote_is_there(&serving.world));
    }
    nothing_stale_remains(&serving.world);
    assert_eq!(serving.end().1, Some(0));
}

#[test]
fn what_a_runner_has_not_confirmed_when_it_is_killed_dies_soon() {
    let world = world();
    let _middle = Gate::shut(&world.database, 2);
    let (mut child, gate) = started(&world);
    application_changes_everything(&world);
    gate.open();
    wait_for("outdated values", || (!stale(&world).is_empty()).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(what_the_application_wrote_is_there(&world));
    nothing_stale_remains(&world);
}

/// Redis hears of the writes of a run when that was given up, so long after it.
fn redis_was_frozen(beyond: Duration) -> World {
    let mut world = world();
    world.set("WARM_REDIS__TIMEOUT", "500ms");
    world.set("WARM_REDIS__CONNECT_TIMEOUT", "1s");
    let (child, gate) = started(&world);
    application_changes_everything(&world);
    world.redis.server.signal("STOP");
    gate.open();
    Ran::of(child.wait_with_output().unwrap()).exits(4);
    std::thread::sleep(beyond);
    world.redis.server.signal("CONT");
    no_client_is_left(&world);
    world
}

/// All that clients have sent before their end has been done.
fn no_client_is_left(world: &World) {
    wait_for("the end of the runner's connections", || {
        let clients: String = world.ask(&["CLIENT", "LIST"]);
        (!clients.contains("user=warm")).then_some(())
    });
}

#[test]
fn what_reaches_a_frozen_redis_after_its_runner_gave_up_dies_soon() {
    let world = redis_was_frozen(Duration::ZERO);
    assert!(what_the_application_wrote_is_there(&world));
    nothing_stale_remains(&world);
}

#[test]
fn what_reaches_a_frozen_redis_when_it_should_be_dead_writes_and_deletes_nothing() {
    let world = redis_was_frozen(PROVISIONAL);
    assert!(what_the_application_wrote_is_there(&world));
    assert_eq!(stale(&world), []);
}

#[test]
fn a_write_that_was_sent_again_and_arrives_after_that_dies_soon() {
    let mut world = world();
    world.set("WARM_REDIS__TIMEOUT", "500ms");
    let proxy = Proxy::before(world.redis.port, &[]);
    world.set("REDIS_URL", &world.redis.tcp_url(proxy.port));
    let (child, gate) = started(&world);
    proxy.hold();
    gate.open();
    Ran::of(child.wait_with_output().unwrap()).exits(0).says("wrote 2000 keys");
    assert!(proxy.accepted() >= 2, "the first connection was given up");
    application_changes_everything(&world);
    proxy.release();
    no_client_is_left(&world);
    assert!(what_the_application_wrote_is_there(&world));
    nothing_stale_remains(&world);
}
