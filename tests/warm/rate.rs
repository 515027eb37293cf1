//! However many jobs there are, Redis gets no more of them than the operator allows.

use std::process::Command;
use std::time::{Duration, Instant};

use redis::Connection;

use crate::support::server::wait_for;
use crate::support::world::{Ran, World};

/// What may come at once, in keys.
const BURST: usize = 64;

/// How late a loaded machine may be with what was in time when it was sent. Whatever is late comes closer to what follows it.
const LATE: f64 = 1.0;

/// A job that writes so many keys of a kind.
fn job(world: &World, name: &str, keys: usize, fields: &str) {
    let query = format!("SELECT n AS id, md5(n::text) AS x FROM generate_series(1, {keys}) n");
    world.job(name, &format!("query = '''{query}'''\nkey = 't:{name}:{{id}}'\nvalue = 'row'\n{fields}"));
}

/// Everything that Redis is asked for from now on.
struct Monitor(Connection);

impl Monitor {
    fn new(world: &World) -> Self {
        let mut connection = world.redis.connect();
        redis::cmd("MONITOR").exec(&mut connection).unwrap();
        Monitor(connection)
    }

    /// The keys of jobs in each command until now, with its time in seconds.
    fn keys(mut self, world: &World) -> Vec<(f64, usize)> {
        let _: String = world.ask(&["ECHO", "the end"]);
        let mut commands = Vec::new();
        loop {
            let line: String = redis::from_redis_value(self.0.recv_response().unwrap()).unwrap();
            if line.ends_with("\"the end\"") {
                return commands;
            }
            let (time, command) = line.split_once(' ').unwrap();
            // What a script does is shown, too.
            if !command.contains(" lua]") && command.contains("\"t:") {
                commands.push((time.parse().unwrap(), command.matches("\"t:").count()));
            }
        }
    }
}

/// Fails unless in each window there are no more keys than the burst and what the rate allows. Returns how many there are in all.
#[track_caller]
fn keeps_to(rate: usize, commands: &[(f64, usize)]) -> usize {
    for (first, (begin, _)) in commands.iter().enumerate() {
        let mut count = 0;
        for (end, keys) in &commands[first..] {
            count += keys;
            let allowed = BURST as f64 + rate as f64 * (end - begin + LATE);
            assert!(count as f64 <= allowed, "{count} keys in {} s at {rate} a second", end - begin);
        }
    }
    commands.iter().map(|(_, keys)| keys).sum()
}

#[test]
fn writing_keeps_to_so_many_keys_a_second_and_all_are_verified() {
    let mut world = World::new();
    job(&world, "job", 500, "");
    world.set("WARM_REDIS__KEYS_PER_SECOND", "200");
    let (monitor, start) = (Monitor::new(&world), Instant::now());
    let report = world.warm(&["--now", "--json"]).exits(0).json();
    let took = start.elapsed();
    let report = &report["jobs"][0];
    assert_eq!((&report["keys"], &report["unconfirmed"]), (&500.into(), &0.into()), "{report:#}");
    let keys = keeps_to(200, &monitor.keys(&world));
    assert!((1..=500).all(|id| world.ask::<i64>(&["PTTL", &format!("t:job:{id}")]) > 300_000));
    assert!(keys >= 1000, "each is written and confirmed: {keys}");
    assert!(took >= Duration::from_secs((keys - BURST) as u64) / 200, "{took:?}");
    assert!(report["held_back"]["rate_ms"].as_f64().unwrap() > 3000.0, "{report:#}");
}

#[test]
fn jobs_share_one_rate_whatever_each_of_them_writes() {
    let world = World::new();
    world.config("jobs = 'jobs'\n[redis]\nkeys_per_second = 200\n[ttl]\n't:' = '10m'\n");
    for name in ["a", "b", "c"] {
        job(&world, name, 250, "verify = 'none'");
    }
    let (monitor, start) = (Monitor::new(&world), Instant::now());
    let ran = world.warm(&["--now"]).exits(0).says("to keep to its rate");
    let took = start.elapsed();
    assert_eq!(ran.out.matches("wrote 250 keys").count(), 3, "{}", ran.all());
    assert_eq!(keeps_to(200, &monitor.keys(&world)), 750);
    assert!(took >= Duration::from_secs(750 - BURST as u64) / 200, "{took:?}");
    assert_eq!(world.keys().iter().filter(|key| key.starts_with("t:")).count(), 750);
}

#[test]
fn a_second_look_at_a_key_counts_like_the_first() {
    let mut world = World::new();
    job(&world, "job", 200, "verify = 'none'");
    world.warm(&["--now"]).exits(0);
    world.set("WARM_REDIS__KEYS_PER_SECOND", "100");
    let (monitor, start) = (Monitor::new(&world), Instant::now());
    // What type it has, and then whether it dies.
    world.warm(&["--now", "--dry-run"]).exits(0).says("would write 200 keys");
    let took = start.elapsed();
    let keys: usize = monitor.keys(&world).iter().map(|(_, keys)| keys).sum();
    assert_eq!(keys, 400);
    // A batch that has its place already does not wait for the second look of the one before it, but all after that do.
    assert!(took >= Duration::from_secs(400 - 3 * BURST as u64) / 100, "{took:?}");
}

#[test]
fn a_value_of_many_seconds_worth_passes_and_is_paid_for() {
    let mut world = World::new();
    world.job("job", "query = '''SELECT n AS id, repeat('x', 400000) AS x FROM generate_series(1, 3) n'''\nkey = 't:{id}'\nvalue = 'column:x'\nverify = 'none'");
    world.set("WARM_REDIS__BYTES_PER_SECOND", "256KiB");
    let start = Instant::now();
    world.warm(&["--now"]).exits(0).says("wrote 3 keys");
    // The first one goes at once, each other one when the one before it is paid for.
    assert!(start.elapsed().as_secs_f64() >= 800_000.0 / 262_144.0, "{:?}", start.elapsed());
    for key in ["t:1", "t:2", "t:3"] {
        assert_eq!(world.value(key).unwrap().len(), 400_000, "{key}");
    }
}

/// A job whose second value has to wait for a quarter of a minute.
fn waits_for_long(world: &mut World, fields: &str) {
    world.job("job", &format!("query = '''SELECT n AS id, repeat('x', 1000000) AS x FROM generate_series(1, 9) n'''\nkey = 't:{{id}}'\nvalue = 'column:x'\n{fields}"));
    world.set("WARM_REDIS__BYTES_PER_SECOND", "64KiB");
}

#[test]
fn a_run_that_waits_for_its_turn_is_stopped_at_once() {
    let mut world = World::new();
    waits_for_long(&mut world, "");
    let child = world.start(&["--now"]);
    wait_for("the first value", || world.value("t:1"));
    let start = Instant::now();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    Ran::of(child.wait_with_output().unwrap()).exits(143).says("stopped by a signal");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn a_run_that_is_out_of_time_says_what_has_held_it_back() {
    let mut world = World::new();
    waits_for_long(&mut world, "timeout = '1s'");
    world
        .warm(&["--now"])
        .exits(1)
        .says("the job did not end within its timeout of 1s; it was held back for")
        .says("to keep to keys_per_second or bytes_per_second in [redis]");
}

#[test]
fn a_statement_that_is_out_of_time_says_what_has_held_it_back() {
    let mut world = World::new();
    // More than fits into the buffers between PostgreSQL and the writer.
    world.job("job", "query = '''SELECT n AS id, repeat('x', 500000) AS x FROM generate_series(1, 200) n'''\nkey = 't:{id}'\nvalue = 'column:x'\nverify = 'none'");
    world.set("WARM_POSTGRES__STATEMENT_TIMEOUT", "2s");
    world.set("WARM_REDIS__BYTES_PER_SECOND", "100KiB");
    world
        .warm(&["--now"])
        .exits(1)
        .says("statement timeout")
        .says("; it was held back for")
        .says("raise statement_timeout in [postgres], or read in parts (partition_by)");
}
