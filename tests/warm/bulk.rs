//! Large results: memory does not grow with them, and others on the machine go first.

use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use crate::support::world::{Ran, World};

/// The most memory that a run may have in use: what a small container has.
const MOST: u64 = 64 << 10;

fn world(rows: u32, fields: &str) -> World {
    with_job(World::new(), rows, fields)
}

fn with_job(mut world: World, rows: u32, fields: &str) -> World {
    world.set("WARM_POSTGRES__STATEMENT_TIMEOUT", "10m");
    world.job(
        "job",
        &format!("query = 'SELECT n AS id, n % 7 AS x FROM generate_series(1, {rows}) n'\nkey = 't:{{id}}'\nvalue = 'row'\ntimeout = '10m'\n{fields}"),
    );
    world
}

/// Runs to the end; the most memory that was in use at any time, in KiB.
fn most_memory(mut child: Child) -> (u64, Ran) {
    let mut most = 0;
    // The kernel remembers the most until the process is gone.
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        most = most.max(peak.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(20));
    }
    (most, Ran::of(child.wait_with_output().unwrap()))
}

fn memory_stays_bounded(rows: u32, fields: &str) {
    // In a cluster of its own: where others commit, each key is remembered until it is read again, in 24 bytes.
    let postgres = Postgres::start(&[]);
    let world = with_job(World::of(postgres.database(), Redis::start("")), rows, fields);
    let (most, ran) = most_memory(world.start(&["--now"]));
    ran.exits(0).says(&format!("wrote {rows} keys"));
    assert!((1 << 10..MOST).contains(&most), "{most} KiB for {rows} rows");
}

#[test]
fn a_million_rows_take_no_more_memory_than_a_small_container_has() {
    memory_stays_bounded(1_000_000, "ttl = '30m'");
}

#[test]
fn nor_do_five_million() {
    // Redis is to forget most of them meanwhile.
    memory_stays_bounded(5_000_000, "ttl = '1s'\nverify = 'none'");
}

/// What the kernel says about the process' threads: policy (sched(7)) and niceness of each.
fn scheduling(child: &Child) -> Vec<(u32, i32)> {
    let threads = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let of_thread = |path: std::path::PathBuf| {
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        // The name stands between parentheses, and may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some((fields.get(38)?.parse().ok()?, fields.get(16)?.parse().ok()?))
    };
    threads.filter_map(|thread| of_thread(thread.unwrap().path())).collect()
}

#[test]
fn threads_do_not_interrupt_others_unless_somebody_chose_another_policy() {
    const BATCH: u32 = 3;
    const IDLE: u32 = 5;
    for (chosen, policy, niceness) in
        [(&["nice", "-n", "0"][..], BATCH, 0), (&["nice", "-n", "7"], BATCH, 7), (&["chrt", "--idle", "0"], IDLE, 0)]
    {
        let world = World::new();
        world.job("job", "query = 'SELECT pg_sleep(60)::text AS x'\nkey = 't:1'\nvalue = 'rows'");
        let own = world.program(&["--now"]);
        let mut command = Command::new(chosen[0]);
        command
            .args(&chosen[1..])
            .arg(own.get_program())
            .args(own.get_args())
            .current_dir(own.get_current_dir().unwrap());
        command.env_clear().envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        wait_for("the query", || {
            let sleeping =
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
            (world.sql(sleeping) == "1").then_some(())
        });
        let threads = scheduling(&child);
        let inherited = niceness + own_niceness();
        assert!(threads.len() > 2 && threads.iter().all(|of| *of == (policy, inherited)), "{chosen:?}: {threads:?}");
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        Ran::of(child.wait_with_output().unwrap()).exits(143);
    }
}

fn own_niceness() -> i32 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
}

/// How often Redis ran a command so far.
fn calls(world: &World, command: &str) -> u64 {
    let stats: String = world.ask(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[test]
fn a_full_cache_is_asked_once_for_each_key_and_an_empty_one_too() {
    const ROWS: u64 = 20_000;
    for verify in ["", "verify = 'none'"] {
        let world = world(u32::try_from(ROWS).unwrap(), verify);
        for (cache, expected) in [("empty", "set|nx"), ("full", "evalsha")] {
            let _: () = world.ask(&["CONFIG", "RESETSTAT"]);
            world.warm(&["--now"]).exits(0).says("wrote 20000 keys");
            // Confirming takes a script for many keys.
            let (set, scripts) = (calls(&world, "set"), calls(&world, "evalsha"));
            match expected {
                "evalsha" => assert!((ROWS..ROWS + ROWS / 10).contains(&scripts), "{cache}: {scripts} scripts"),
                _ => assert!(set >= ROWS && scripts < ROWS / 10, "{cache}: {set} SET, {scripts} scripts"),
            }
        }
    }
}
