//! Redis fails: what stays, what is said, which code.

use std::time::{Duration, Instant};

use crate::support::gate::Gate;
use crate::support::postgres::Postgres;
use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use crate::support::world::{Ran, World, ask};

/// Ten thousand rows, each with another value.
const MANY: &str =
    "query = '''SELECT n AS id, md5(n::text) AS x FROM generate_series(1, 10000) n'''\nkey = 't:{id}'\nvalue = 'row'\n";

/// So many bytes from the server on, it answers to entries; before that it has told about itself (`INFO`).
const ANSWERS: usize = 8000;

/// Fails unless each of the keys of [`MANY`] that are there holds its own value.
#[track_caller]
fn each_value_is_its_own(world: &World) -> usize {
    let mut connection = world.redis.connect();
    let keys: Vec<String> = ask(&mut connection, &["KEYS", "t:*"]);
    for key in &keys {
        let id = key.strip_prefix("t:").unwrap();
        let value: String = ask(&mut connection, &["GET", key]);
        let (prefix, suffix) = (format!("{{\"id\":{id},\"x\":\""), "\"}");
        assert!(
            value.starts_with(&prefix) && value.ends_with(suffix) && value.len() == prefix.len() + 34,
            "{key}: {value}"
        );
    }
    keys.len()
}

#[test]
fn a_cache_that_is_down_costs_the_database_nothing() {
    let mut world = World::new();
    world.job("job", MANY);
    let postgres = Proxy::before(world.database.port, &[]);
    world.set("DATABASE_URL", &world.database.tcp_url(postgres.port));
    world.set("REDIS_URL", &world.redis.tcp_url(crate::support::server::free_port()));
    world.set("WARM_REDIS__CONNECT_TIMEOUT", "2500ms");
    let start = Instant::now();
    world.warm(&["--now"]).exits(4).says("no connection to Redis at 127.0.0.1").says("check that Redis runs");
    assert!((1.0..4.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
    assert_eq!(postgres.accepted(), 0);
}

#[test]
fn a_wrong_password_is_tried_once() {
    let mut world = World::new();
    world.job("job", MANY);
    let proxy = Proxy::before(world.redis.port, &[]);
    world.set("REDIS_URL", &format!("redis://warm:wrong-s3cret@127.0.0.1:{}", proxy.port));
    let ran = world
        .warm(&["--now"])
        .exits(4)
        .says("Redis rejects the user name or the password")
        .says("check user and password of REDIS_URL");
    assert!(!ran.all().contains("wrong-s3cret"), "{}", ran.all());
    assert_eq!(proxy.accepted(), 1, "{}", ran.all());
    world.set("REDIS_URL", &format!("redis://127.0.0.1:{}", proxy.port));
    let _: () = world.ask(&["ACL", "SETUSER", "default", ">x"]);
    world.warm(&["--now"]).exits(4).says("NOAUTH");
}

#[test]
fn a_connection_that_is_cut_anywhere_is_made_good() {
    let mut world = World::new();
    world.job("job", MANY);
    for cut in [0, 3, 500, ANSWERS, ANSWERS + 1, ANSWERS + 2, ANSWERS + 3, ANSWERS + 4, 20_000, 40_001, 49_999] {
        for warm in [false, true] {
            let proxy = Proxy::before(world.redis.port, &[Fault::CutAfter(cut)]);
            world.set("REDIS_URL", &world.redis.tcp_url(proxy.port));
            if !warm {
                let _: () = world.ask(&["FLUSHALL"]);
            }
            let ran = world.warm(&["--now"]).exits(0);
            assert!(
                ran.out.contains("wrote 10000 keys") || ran.out.contains("retries"),
                "cut after {cut}: {}",
                ran.all()
            );
            assert_eq!(each_value_is_its_own(&world), 10_000, "cut after {cut}");
            assert!(proxy.accepted() >= 2 || warm, "the fault struck");
        }
    }
}

#[test]
fn an_answer_that_makes_no_sense_is_matched_to_no_key() {
    let mut world = World::new();
    world.job("job", MANY);
    for at in [ANSWERS, ANSWERS + 1, ANSWERS + 2, ANSWERS + 3, ANSWERS + 4, 30_000] {
        let _: () = world.ask(&["FLUSHALL"]);
        let proxy = Proxy::before(world.redis.port, &[Fault::Corrupt(at)]);
        world.set("REDIS_URL", &world.redis.tcp_url(proxy.port));
        world.warm(&["--now"]).exits(0).says("wrote 10000 keys");
        assert_eq!(each_value_is_its_own(&world), 10_000);
        assert!(proxy.accepted() >= 2, "the fault struck");
    }
}

#[test]
fn a_connection_that_freezes_is_dropped_and_its_work_done_again() {
    let mut world = World::new();
    world.job("job", MANY);
    world.set("WARM_REDIS__TIMEOUT", "500ms");
    let proxy = Proxy::before(world.redis.port, &[Fault::FreezeAfter(20_000)]);
    world.set("REDIS_URL", &world.redis.tcp_url(proxy.port));
    world.warm(&["--now"]).exits(0).says("wrote 10000 keys");
    assert_eq!(each_value_is_its_own(&world), 10_000);
    assert_eq!(proxy.accepted(), 2);
}

#[test]
fn a_server_that_stays_frozen_is_given_up() {
    let mut world = World::new();
    world.job("job", MANY);
    world.set("WARM_REDIS__TIMEOUT", "300ms");
    world.set("WARM_REDIS__CONNECT_TIMEOUT", "1500ms");
    world.redis.server.signal("STOP");
    let start = Instant::now();
    world.warm(&["--now"]).exits(4).says("no connection to Redis");
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    world.redis.server.signal("CONT");
}

#[test]
fn a_server_that_comes_back_empty_in_mid_run_is_filled_from_the_start() {
    let mut world = World::new();
    // Half of the rows come at once, the others when the gate is open.
    let gate = Gate::shut(&world.database, 1);
    world.job(
        "job",
        "query = '''SELECT n AS id, md5(n::text) AS x FROM generate_series(1, 10000) n WHERE n <> 5000 OR wait(1)'''\nkey = 't:{id}'\nvalue = 'row'",
    );
    let child = world.start(&["--now"]);
    gate.wait_for_query();
    wait_for("the first keys", || (!world.keys().is_empty()).then_some(()));
    world.redis.server.end();
    world.redis.start_again();
    world.redis.allow_all_keys();
    gate.open();
    let ran = Ran::of(child.wait_with_output().unwrap()).exits(0);
    assert!(ran.err.contains("Redis was restarted in the middle of the run"), "{}", ran.all());
    assert!(ran.out.contains("wrote 10000 keys") && ran.out.contains("1 retry"), "{}", ran.all());
    assert_eq!(each_value_is_its_own(&world), 10_000);
}

#[test]
fn a_full_server_stops_the_job_and_loses_nothing() {
    let world = World::of(Postgres::shared().database(), Redis::start(""));
    world.job("job", &MANY.replace("md5(n::text)", "repeat(md5(n::text), 20)"));
    let old = "old".repeat(300);
    let _: () = world.ask(&["SET", "t:9999", &old, "PX", "100000"]);
    let _: () = world.ask(&["SET", "foreign", "theirs"]);
    // New keys are refused by the memory guard; a value that takes the place of another gets as far as Redis' own refusal.
    let _: () = world.ask(&["CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction"]);
    let report = world.warm(&["--now", "--json"]).exits(5).json();
    let job = &report["jobs"][0];
    assert_eq!(job["error"]["kind"], "RedisFull");
    assert_eq!(job["keys"].as_u64().unwrap() + 2, world.keys().len() as u64, "{report:#}");
    assert_eq!(world.value("t:9999").as_deref(), Some(&*old));
    assert_eq!(world.value("foreign").as_deref(), Some("theirs"));
}

#[test]
fn a_replica_is_not_written_to() {
    let mut world = World::new();
    world.job("job", MANY);
    let primary = Redis::start("");
    let _: String = world.ask(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
    world.set("WARM_REDIS__CONNECT_TIMEOUT", "2s");
    world.warm(&["--now"]).exits(4).says("READONLY");
}

#[test]
fn too_many_clients_are_waited_out() {
    let mut world = World::new();
    world.job("job", MANY);
    world.set("WARM_REDIS__CONNECT_TIMEOUT", "20s");
    let mut admin = world.redis.connect();
    let _: () = ask(&mut admin, &["CONFIG", "SET", "maxclients", "1"]);
    let child = world.start(&["--now"]);
    wait_for("a refused client", || {
        let info: String = ask(&mut admin, &["INFO", "stats"]);
        (!info.contains("rejected_connections:0")).then_some(())
    });
    let _: () = ask(&mut admin, &["CONFIG", "SET", "maxclients", "100"]);
    Ran::of(child.wait_with_output().unwrap()).exits(0).says("wrote 10000 keys");
}

#[test]
fn a_busy_server_is_waited_out() {
    let mut world = World::new();
    world.job("job", MANY);
    world.set("WARM_REDIS__CONNECT_TIMEOUT", "20s");
    let mut admin = world.redis.connect();
    let _: () = ask(&mut admin, &["CONFIG", "SET", "busy-reply-threshold", "50"]);
    let socket = world.redis.socket();
    let endless = std::thread::spawn(move || {
        let mut connection = redis::Client::open(format!("unix://{socket}")).unwrap().get_connection().unwrap();
        redis::cmd("EVAL").arg("while true do end").arg(0).exec(&mut connection).unwrap_err();
    });
    wait_for("a busy server", || redis::cmd("PING").exec(&mut admin).err());
    let child = world.start(&["--now"]);
    // It has to meet the busy server before that is freed.
    wait_for("a second client", || {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", child.id())).ok()?;
        let sockets = fds
            .flatten()
            .filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket")));
        (sockets.count() > 0).then_some(())
    });
    let _: () = ask(&mut admin, &["SCRIPT", "KILL"]);
    endless.join().unwrap();
    Ran::of(child.wait_with_output().unwrap()).exits(0).says("wrote 10000 keys");
}

#[test]
fn a_slow_server_does_not_keep_a_job_beyond_its_timeout_or_a_signal() {
    let mut world = World::new();
    world.job("job", &format!("{MANY}timeout = '1s'"));
    let faults = [Fault::Slow(100), Fault::Slow(100)];
    let proxy = Proxy::before(world.redis.port, &faults);
    world.set("REDIS_URL", &world.redis.tcp_url(proxy.port));
    let start = Instant::now();
    let report = world.warm(&["--now", "--json"]).exits(1).json();
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert_eq!(report["jobs"][0]["error"]["kind"], "JobTimeout");
    let written = report["jobs"][0]["keys"].as_u64().unwrap();
    assert_eq!(written, each_value_is_its_own(&world) as u64, "and the count is true");

    world.job("job", MANY);
    let child = world.start(&["--now"]);
    wait_for("the middle of the job", || (proxy.accepted() == 2).then_some(()));
    let start = Instant::now();
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    Ran::of(child.wait_with_output().unwrap()).exits(143);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn a_server_that_freezes_in_mid_run_is_given_up_once() {
    let mut world = World::new();
    world.job("job", &format!("{MANY}timeout = '2s'"));
    world.set("WARM_REDIS__TIMEOUT", "2s");
    world.set("WARM_REDIS__CONNECT_TIMEOUT", "2s");
    let frozen = [Fault::FreezeAfter(ANSWERS), Fault::FreezeAfter(0), Fault::FreezeAfter(0), Fault::FreezeAfter(0)];
    let proxy = Proxy::before(world.redis.port, &frozen);
    world.set("REDIS_URL", &world.redis.tcp_url(proxy.port));
    let start = Instant::now();
    let ran = world.warm(&["--now"]);
    assert!(matches!(ran.code, 1 | 4), "{}", ran.all());
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}: {}", start.elapsed(), ran.all());
}

#[test]
fn a_server_that_dies_while_a_stopped_run_waits_for_it_is_no_panic() {
    let mut world = World::new();
    world.job(
        "job",
        "query = 'SELECT n AS id FROM generate_series(1, 50) n WHERE wait(1)'\nkey = 't:{id}'\nvalue = 'row'",
    );
    world.set("WARM_REDIS__CONNECT_TIMEOUT", "100ms");
    let gate = Gate::shut(&world.database, 1);
    let child = world.start(&["--now"]);
    gate.wait_for_query();
    world.redis.server.signal("STOP");
    gate.open();
    // What is written now is not answered.
    std::thread::sleep(Duration::from_millis(300));
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    // Well within the two seconds in which a stopped run may still write.
    std::thread::sleep(Duration::from_millis(300));
    world.redis.server.signal("KILL");
    Ran::of(child.wait_with_output().unwrap()).exits(143).says("stopped by a signal");
}

#[test]
fn a_redis_whose_answer_trickles_in_does_not_outlast_the_jobs_timeout() {
    let mut world = World::new();
    world.job("job", &format!("{MANY}timeout = '2s'\nretries = 0"));
    // Each read is answered in time, and the whole never.
    let proxy = Proxy::before(world.redis.port, &[Fault::Trickle(ANSWERS)]);
    world.set("REDIS_URL", &world.redis.tcp_url(proxy.port));
    let start = Instant::now();
    world.warm(&["--now"]).exits(1).says("the job did not end within its timeout of 2s");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[test]
fn connections_that_break_before_they_are_of_use_are_given_up() {
    let mut world = World::new();
    world.job("job", &format!("{MANY}retries = 0"));
    let info: String = world.ask(&["INFO"]);
    // The first one lasts until there is something to send again, all others only until the scripts are loaded.
    let mut faults = vec![Fault::CutAfter(info.len() + 120); 50];
    faults[0] = Fault::CutAfter(info.len() + 500);
    let proxy = Proxy::before(world.redis.port, &faults);
    world.set("REDIS_URL", &world.redis.tcp_url(proxy.port));
    let start = Instant::now();
    world.warm(&["--now"]).exits(4);
    assert!(proxy.accepted() < 20 && start.elapsed() < Duration::from_secs(30), "{} connections", proxy.accepted());
}
