//! While something else makes Redis slow, a run gives way, and afterwards it goes on as if nothing had been.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use crate::support::world::{Ran, World};

/// Keys of one batch.
const BATCH: u64 = 64;

fn world() -> World {
    World::of(Postgres::shared().database(), Redis::start("enable-debug-command yes"))
}

fn job(world: &World, rows: usize, fields: &str) {
    let query = format!("SELECT n AS id, md5(n::text) AS x FROM generate_series(1, {rows}) n");
    world.job("job", &format!("query = '''{query}'''\nkey = 't:{{id}}'\nvalue = 'row'\n{fields}"));
}

/// Two other clients of the same Redis, whose commands take long. One at least waits at any time, so that there are no gaps between them.
struct Hog {
    commands: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Hog {
    /// Each takes so many seconds.
    fn start(world: &World, seconds: &str) -> Hog {
        let (commands, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let client = || {
            let (mut connection, seconds) = (world.redis.connect(), seconds.to_owned());
            let (count, end) = (Arc::clone(&commands), Arc::clone(&ended));
            std::thread::spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    redis::cmd("DEBUG").arg("SLEEP").arg(&seconds).exec(&mut connection).unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let threads = vec![client(), client()];
        Hog { commands, ended, threads }
    }

    /// How many commands have ended.
    fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// How many keys there are.
fn keys(world: &World) -> u64 {
    world.ask(&["DBSIZE"])
}

#[test]
fn a_run_gives_way_while_redis_is_slow_and_goes_on_afterwards() {
    const ROWS: usize = 50_000;
    let world = world();
    job(&world, ROWS, "verify = 'none'");
    let hog = Hog::start(&world, "0.05");
    let child = world.start(&["--now", "--json"]);
    wait_for("the first keys", || (keys(&world) > 0).then_some(()));
    // Some batches are in flight, and some slow answers are needed to see that there is no end of it.
    let begun = hog.commands();
    wait_for("slow answers", || (hog.commands() >= begun + 20).then_some(()));
    let (before, first) = (keys(&world), hog.commands());
    wait_for("more of them", || (hog.commands() >= first + 60).then_some(()));
    let (written, commands) = (keys(&world) - before, hog.commands() - first);
    assert!(written > 0, "it goes on");
    // Without a pause there would be a batch at least for each of their commands.
    assert!(written < commands * BATCH / 4, "{written} keys between {commands} commands of the other client");
    drop(hog);
    // As slowly as before, it would take minutes.
    let left = ROWS as u64 - keys(&world);
    assert!(left > 30_000, "{left}");
    wait_for("the rest", || (keys(&world) >= ROWS as u64).then_some(()));
    let ran = Ran::of(child.wait_with_output().unwrap()).exits(0);
    let report = &ran.json()["jobs"][0];
    assert_eq!(report["keys"], ROWS, "{report:#}");
    assert!(report["held_back"]["latency_ms"].as_f64().unwrap() > 1000.0, "{report:#}");
    assert_eq!(report["held_back"]["rate_ms"], 0.0, "{report:#}");
    assert_eq!(ran.err.matches("Redis is busy (it took ").count(), 1, "{}", ran.all());
}

#[test]
fn what_is_verified_is_confirmed_first_while_redis_is_slow() {
    let world = world();
    job(&world, 1000, "");
    let hog = Hog::start(&world, "0.03");
    // On a machine that is slow itself, the hog may not get its turn while so few keys are written.
    let report = wait_for("a run that Redis is slow for", || {
        let _: () = world.ask(&["FLUSHDB"]);
        let report = world.warm(&["--now", "--json"]).exits(0).json()["jobs"][0].clone();
        (report["held_back"]["latency_ms"].as_f64().unwrap() > 0.0).then_some(report)
    });
    drop(hog);
    assert_eq!((&report["keys"], &report["unconfirmed"]), (&1000.into(), &0.into()), "{report:#}");
    assert!((1..=1000).all(|id| world.ask::<i64>(&["PTTL", &format!("t:{id}")]) > 300_000));
}

#[test]
fn who_wants_no_pauses_gets_none() {
    let mut world = world();
    job(&world, 2000, "verify = 'none'");
    world.set("WARM_REDIS__LATENCY_LIMIT", "none");
    let hog = Hog::start(&world, "0.05");
    let ran = world.warm(&["--now", "--json"]).exits(0);
    drop(hog);
    let report = &ran.json()["jobs"][0];
    assert_eq!((&report["keys"], &report["held_back"]["latency_ms"]), (&2000.into(), &0.0.into()), "{report:#}");
    assert!(!ran.err.contains("Redis is busy"), "{}", ran.all());
}

#[test]
fn a_run_that_pauses_is_stopped_like_any_other() {
    let world = world();
    job(&world, 50_000, "");
    let hog = Hog::start(&world, "0.2");
    let child = world.start(&["--now"]);
    wait_for("the first keys", || (keys(&world) > 0).then_some(()));
    let begun = hog.commands();
    wait_for("pauses", || (hog.commands() >= begun + 12).then_some(()));
    let start = Instant::now();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    Ran::of(child.wait_with_output().unwrap()).exits(143).says("stopped by a signal").says("since Redis was busy");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}
