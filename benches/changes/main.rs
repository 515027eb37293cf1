//! How long it takes from a commit to the key that it makes stale, and what that costs the database. `benches/changes/run` starts it.
//!
//! ```text
//! storm  updates of single rows at full speed, on four connections: without triggers, with them, and with `warm serve` that listens
//! calm   one update at a time
//! ```
//!
//! Each row has a key, which is there before its row is updated; a second connection to Redis looks which keys are gone. It fails if a key is left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs;
use std::process::{Child, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use redis::Connection;
use sqlx::{AssertSqlSafe, Connection as _, Executor, PgConnection};
use tokio::runtime::Runtime;

use support::postgres::Postgres;
use support::redis::Redis;
use support::server::wait_for;
use support::world::World;

/// How many connections update rows.
const WRITERS: usize = 4;
/// How many updates there are in calm weather.
const CALM: usize = 500;
/// The most keys that are asked for at a time.
const TOGETHER: usize = 200;

const CONFIG: &str = "jobs = 'jobs'\n[ttl]\n't:' = '1h'\n[invalidate.item]\nkeys = ['t:{id}']\n[changes]\nchannel = 'warm_bench'\n[changes.tables]\nitem = ['item id={id}']\n";

fn main() -> ExitCode {
    // Cargo says `--bench` to every benchmark.
    let updates = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10_000);
    let postgres = Postgres::start(&[]);
    let world = World::of(postgres.database(), Redis::start(""));
    world.config(CONFIG);
    world.job("none", "query = 'SELECT 1 AS id WHERE false'\nkey = 't:none:{id}'\nvalue = 'row'\nschedule = '@yearly'");
    world.sql(&format!("CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL); INSERT INTO item SELECT i, 0 FROM generate_series(1, {updates}) i; ANALYZE item"));
    let runtime = Runtime::new().unwrap();
    println!(
        "| {updates} updates on {WRITERS} connections | seconds | updates/s | CPU of PostgreSQL, s | commit to key, median, ms | p99, ms | longest, ms | keys left |\n|---|---:|---:|---:|---:|---:|---:|---:|"
    );
    runtime.block_on(storm("without triggers", &world, updates, false));
    let mut owner = world.program(&["changes", "install"]);
    owner.env("DATABASE_URL", world.database.admin_url()).stdout(Stdio::null());
    assert!(owner.status().unwrap().success());
    runtime.block_on(storm("with triggers, nobody listens", &world, updates, false));
    let service = serve(&world);
    let mut left = runtime.block_on(storm("with triggers and `warm serve`", &world, updates, true));
    left += runtime.block_on(calm(&world));
    drop(service);
    if left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A process that ends with the benchmark.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn serve(world: &World) -> Ends {
    let path = world.folder.path.join("log");
    let log = fs::File::create(&path).unwrap();
    let service = world.program(&["serve"]).env("WARM_LOG", "info").stdout(Stdio::null()).stderr(log).spawn().unwrap();
    // All was deleted by then.
    let says = |text: &str| fs::read_to_string(&path).unwrap().contains(text);
    wait_for("warm serve", || (says("listening for changes") && says("none: done")).then_some(()));
    Ends(service)
}

/// Updates that wait for nothing. Gives the number of keys that are left.
async fn storm(title: &str, world: &World, updates: usize, is_followed: bool) -> usize {
    fill(&mut world.redis.connect(), 1..=updates);
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        writers.push(PgConnection::connect(&world.database.admin_url()).await.unwrap());
    }
    let committed = Mutex::new(Vec::new());
    let (cpu, begin) = (cpu_of_postgres(), Instant::now());
    let (took, times) = std::thread::scope(|scope| {
        let looks = scope.spawn(|| look(&mut world.redis.connect(), &committed, if is_followed { updates } else { 0 }));
        let (committed, runtime) = (&committed, tokio::runtime::Handle::current());
        let work: Vec<_> = writers
            .iter_mut()
            .enumerate()
            .map(|(number, writer)| {
                let runtime = runtime.clone();
                scope.spawn(move || {
                    for id in (1..=updates).skip(number).step_by(WRITERS) {
                        runtime.block_on(update(writer, id));
                        committed.lock().unwrap().push((id, Instant::now()));
                    }
                })
            })
            .collect();
        work.into_iter().for_each(|work| work.join().unwrap());
        (begin.elapsed(), looks.join().unwrap())
    });
    let cpu = cpu_of_postgres() - cpu;
    let left = if is_followed { updates - times.len() } else { 0 };
    let seconds = took.as_secs_f64();
    let latency = if is_followed { shown(times) } else { "| | ".to_owned() };
    println!("| {title} | {seconds:.2} | {:.0} | {cpu:.2} | {latency} | {left} |", updates as f64 / seconds);
    left
}

/// One update after the other, each with time to be followed.
async fn calm(world: &World) -> usize {
    let mut redis = world.redis.connect();
    let mut writer = PgConnection::connect(&world.database.admin_url()).await.unwrap();
    let mut times = Vec::new();
    let mut left = 0;
    for id in 1..=CALM {
        fill(&mut redis, id..=id);
        update(&mut writer, id).await;
        let begin = Instant::now();
        match wait_until_gone(&mut redis, id, begin) {
            Some(took) => times.push(took),
            None => left += 1,
        }
    }
    println!("| {CALM} updates, one after the other | | | | {} | {left} |", shown(times));
    left
}

fn wait_until_gone(redis: &mut Connection, id: usize, begin: Instant) -> Option<Duration> {
    while begin.elapsed() < Duration::from_secs(10) {
        if !redis::cmd("EXISTS").arg(format!("t:{id}")).query::<bool>(redis).unwrap() {
            return Some(begin.elapsed());
        }
    }
    None
}

async fn update(writer: &mut PgConnection, id: usize) {
    let update = format!("UPDATE item SET v = v + 1 WHERE id = {id}");
    writer.execute(sqlx::raw_sql(AssertSqlSafe(update))).await.unwrap();
}

fn fill(redis: &mut Connection, ids: impl Iterator<Item = usize>) {
    let mut pipe = redis::pipe();
    for id in ids {
        pipe.cmd("SET").arg(format!("t:{id}")).arg("x").arg("EX").arg(3600).ignore();
    }
    pipe.exec(redis).unwrap();
}

/// Looks when the keys of committed updates are gone, until so many are, or none has gone for ten seconds.
fn look(redis: &mut Connection, committed: &Mutex<Vec<(usize, Instant)>>, wanted: usize) -> Vec<Duration> {
    let (mut open, mut times, mut moved) = (Vec::new(), Vec::new(), Instant::now());
    while times.len() < wanted && moved.elapsed() < Duration::from_secs(10) {
        open.append(&mut committed.lock().unwrap());
        let asked: Vec<(usize, Instant)> = open.iter().take(TOGETHER).copied().collect();
        if asked.is_empty() {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        let mut pipe = redis::pipe();
        for (id, _) in &asked {
            pipe.cmd("EXISTS").arg(format!("t:{id}"));
        }
        let there: Vec<bool> = pipe.query(redis).unwrap();
        let now = Instant::now();
        let gone: Vec<(usize, Instant)> =
            asked.iter().zip(there).filter(|(_, there)| !there).map(|(asked, _)| *asked).collect();
        if !gone.is_empty() {
            moved = now;
        }
        times.extend(gone.iter().map(|(_, since)| now.duration_since(*since)));
        // The next ones come first next time.
        open.drain(..asked.len());
        open.extend(asked.into_iter().filter(|(id, _)| gone.iter().all(|(other, _)| other != id)));
    }
    times
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| {
        let place = (times.len().saturating_sub(1) as f64 * share) as usize;
        times.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    };
    format!("{:.1} | {:.1} | {:.1}", at(0.5), at(0.99), at(1.0))
}

/// The seconds that all processes of PostgreSQL on this machine have computed.
fn cpu_of_postgres() -> f64 {
    let stats = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        let (name, rest) = stat.rsplit_once(')')?;
        // Fields 14 and 15 of proc(5).
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        name.ends_with("(postgres").then_some(ticks)
    });
    stats.sum::<u64>() as f64 / 100.0
}
