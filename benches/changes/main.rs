//! How long it takes from a commit to the key that it makes stale, and what that costs the database. `benches/changes/run` starts it.
//!
//! ```text
//! storm  updates of single rows at full speed, on four connections: without anything, with triggers, with `warm serve` that listens, and with one that reads a slot
//! calm   one update at a time, at odd moments; for the slot also while another table is written as fast as one connection can
//! ```
//!
//! Each row has a key, which is there before its row is updated; a second connection to Redis looks which keys are gone. It fails if a key is left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs;
use std::process::{Child, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
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
const CALM: usize = 200;
/// The same while another table is written.
const BUSY: usize = 30;
/// The most keys that are asked for at a time.
const TOGETHER: usize = 200;

const CONFIG: &str = "jobs = 'jobs'\n[ttl]\n't:' = '1h'\n[invalidate.item]\nkeys = ['t:{id}']\n[changes.tables]\nitem = ['item id={id}']\n";
const CHANNEL: &str = "[changes]\nchannel = 'warm_bench'\n";
const SLOT: &str = "[changes]\nslot = 'warm_bench'\n";

fn main() -> ExitCode {
    // Cargo says `--bench` to every benchmark.
    let updates = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10_000);
    let postgres = Postgres::start(&["wal_level=logical", "max_slot_wal_keep_size=4GB"]);
    let world = World::of(postgres.database(), Redis::start(""));
    world.config(&format!("{CONFIG}{CHANNEL}"));
    world.job("none", "query = 'SELECT 1 AS id WHERE false'\nkey = 't:none:{id}'\nvalue = 'row'\nschedule = '@yearly'");
    world.sql(&format!("ALTER ROLE warm REPLICATION; CREATE TABLE noise (x text); CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL); INSERT INTO item SELECT i, 0 FROM generate_series(1, {updates}) i; ANALYZE item"));
    let runtime = Runtime::new().unwrap();
    println!(
        "| {updates} updates on {WRITERS} connections | seconds | updates/s | CPU of PostgreSQL, s | commit to key, median, ms | p99, ms | longest, ms | keys left |\n|---|---:|---:|---:|---:|---:|---:|---:|"
    );
    runtime.block_on(storm("neither triggers nor a slot", &world, updates, false));
    as_owner(&world, "install");
    runtime.block_on(storm("with triggers, nobody listens", &world, updates, false));
    let service = serve(&world);
    let mut left = runtime.block_on(storm("with triggers and `warm serve`", &world, updates, true));
    left += runtime.block_on(calm("", &world, CALM));
    drop(service);
    as_owner(&world, "remove");
    world.config(&format!("{CONFIG}{SLOT}"));
    as_owner(&world, "install");
    let service = serve(&world);
    left += runtime.block_on(storm("with a slot and `warm serve`", &world, updates, true));
    left += runtime.block_on(calm(" (slot)", &world, CALM));
    let (noise, cpu, begin) = (Noise::begin(&world), cpu_of_postgres(), Instant::now());
    left += runtime.block_on(calm(" (slot), another table written meanwhile", &world, BUSY));
    let with_slot = (cpu_of_postgres() - cpu) / begin.elapsed().as_secs_f64();
    drop(service);
    // What a process has computed is counted as long as it is there: the one that read the slot has to be gone before.
    std::thread::sleep(Duration::from_secs(2));
    let (cpu, begin) = (cpu_of_postgres(), Instant::now());
    std::thread::sleep(Duration::from_secs(10));
    let without = (cpu_of_postgres() - cpu) / begin.elapsed().as_secs_f64();
    let megabytes = noise.end();
    println!(
        "\nThe other table: {megabytes:.0} MB of log a second; CPU of PostgreSQL meanwhile {with_slot:.2} s a second, {without:.2} without `warm serve`."
    );
    as_owner(&world, "remove");
    if left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `warm changes`, for who owns the table.
fn as_owner(world: &World, action: &str) {
    let mut owner = world.program(&["changes", action]);
    owner.env("DATABASE_URL", world.database.admin_url()).stdout(Stdio::null());
    assert!(owner.status().unwrap().success());
}

/// Another table, which is written as fast as one connection can.
struct Noise {
    goes_on: Arc<AtomicBool>,
    writer: std::thread::JoinHandle<f64>,
}

impl Noise {
    fn begin(world: &World) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        let (url, on) = (world.database.admin_url(), Arc::clone(&goes_on));
        let writer = std::thread::spawn(move || Runtime::new().unwrap().block_on(Noise::write(&url, &on)));
        Noise { goes_on, writer }
    }

    /// Gives the megabytes of log a second.
    async fn write(url: &str, goes_on: &AtomicBool) -> f64 {
        let mut writer = PgConnection::connect(url).await.unwrap();
        let position = "SELECT (pg_current_wal_lsn() - '0/0')::float8";
        let before: f64 = sqlx::query_scalar(position).fetch_one(&mut writer).await.unwrap();
        let begin = Instant::now();
        while goes_on.load(Ordering::SeqCst) {
            let write = "INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 100)";
            writer.execute(sqlx::raw_sql(write)).await.unwrap();
        }
        let after: f64 = sqlx::query_scalar(position).fetch_one(&mut writer).await.unwrap();
        (after - before) / 1e6 / begin.elapsed().as_secs_f64()
    }

    fn end(self) -> f64 {
        self.goes_on.store(false, Ordering::SeqCst);
        self.writer.join().unwrap()
    }
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
    wait_for("warm serve", || (says(" changes ") && says("none: done")).then_some(()));
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
async fn calm(title: &str, world: &World, updates: usize) -> usize {
    let mut redis = world.redis.connect();
    let mut writer = PgConnection::connect(&world.database.admin_url()).await.unwrap();
    let mut times = Vec::new();
    let mut left = 0;
    for id in 1..=updates {
        fill(&mut redis, id..=id);
        // At odd moments of whoever polls.
        tokio::time::sleep(Duration::from_micros(fastrand::u64(0..100_000))).await;
        update(&mut writer, id).await;
        let begin = Instant::now();
        match wait_until_gone(&mut redis, id, begin) {
            Some(took) => times.push(took),
            None => left += 1,
        }
    }
    println!("| {updates} updates, one after the other{title} | | | | {} | {left} |", shown(times));
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
