//! What is set up, and what happens to it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::application::{LISTS, ROWS, TABLES};
use crate::service::Service;
use crate::support::postgres::Postgres;
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::server::{free_port, wait_for};
use crate::support::world::{World, ask};

/// Runs out of these every second or two.
const JOBS: [(&str, &str); 5] = [
    (
        "requeried",
        "schedule = '* * * * * *'\nsweep = true\nquery = 'SELECT id, v FROM requeried'\nkey = 't:requeried:{id}'\nvalue = 'row'",
    ),
    (
        "versioned",
        "schedule = '* * * * * *'\nverify = { version = 'v' }\nquery = 'SELECT id, v FROM versioned'\nkey = 't:versioned:{id}'\nvalue = 'row'",
    ),
    (
        "lists",
        "schedule = '@yearly'\nrefresh_ahead = true\nttl = '4s'\nquery = 'SELECT id, v FROM requeried WHERE id % 10 = :rest::int ORDER BY id'\nkey = 't:list:{rest}'\nvalue = 'rows'\nfor_each.rest = ['0','1','2','3','4','5','6','7','8','9']",
    ),
    (
        "slow",
        "schedule = '*/2 * * * * *'\noverlap = 'replace'\nquery = 'SELECT n AS id, pg_sleep(0.03)::text AS x FROM generate_series(1, 50) n'\nkey = 't:slow:{id}'\nvalue = 'row'\nverify = 'none'",
    ),
    (
        "fails",
        "schedule = '* * * * * *'\nquery = 'SELECT 1 / (n - n) AS x FROM generate_series(1, 1) n'\nkey = 't:fails'\nvalue = 'rows'",
    ),
];

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    RedisKilled,
    RedisFlushed,
    RedisFrozen,
    RedisCut,
    PostgresRestarted,
    PostgresCut,
    SessionsEnded,
    ServiceFrozen,
    OtherKilled,
    Reload,
    BrokenFile,
}

impl Fault {
    pub(crate) const ALL: [Fault; 11] = [
        Fault::RedisKilled,
        Fault::RedisFlushed,
        Fault::RedisFrozen,
        Fault::RedisCut,
        Fault::PostgresRestarted,
        Fault::PostgresCut,
        Fault::SessionsEnded,
        Fault::ServiceFrozen,
        Fault::OtherKilled,
        Fault::Reload,
        Fault::BrokenFile,
    ];

    pub(crate) fn empties_the_cache(self) -> bool {
        matches!(self, Fault::RedisKilled | Fault::RedisFlushed)
    }
}

pub(crate) struct Soak {
    pub(crate) world: World,
    pub(crate) first: Service,
    second: Service,
    postgres: Postgres,
    /// The ways to both servers.
    to_postgres: Proxy,
    to_redis: Proxy,
    listen: String,
    happened: BTreeMap<Fault, u32>,
    refills: Vec<Duration>,
}

impl Soak {
    pub(crate) fn start() -> Soak {
        let postgres = Postgres::start(&[]);
        let mut world = World::of(postgres.database(), Redis::start(""));
        for table in TABLES {
            world.sql(&format!(
                "CREATE TABLE {table} AS SELECT n AS id, 1::bigint AS v FROM generate_series(1, {ROWS}) n;
                 ALTER TABLE {table} ADD PRIMARY KEY (id); GRANT SELECT ON {table} TO warm"
            ));
        }
        JOBS.iter().for_each(|(name, text)| world.job(name, text));
        let (to_postgres, to_redis) = (Proxy::before(postgres.port, &[]), Proxy::before(world.redis.port, &[]));
        world.set("DATABASE_URL", &world.database.tcp_url(to_postgres.port));
        world.set("REDIS_URL", &world.redis.tcp_url(to_redis.port));
        world.set("WARM_REDIS__TIMEOUT", "2s");
        let listen = format!("127.0.0.1:{}", free_port());
        let first = Service::start(&world, "first", &listen);
        let second = Service::start(&world, "second", "none");
        let (happened, refills) = (BTreeMap::new(), Vec::new());
        Soak { world, first, second, postgres, to_postgres, to_redis, listen, happened, refills }
    }

    /// Lets it happen. If that empties the cache, it has to be full again in time.
    pub(crate) fn bring(&mut self, fault: Fault, refill: Duration) {
        *self.happened.entry(fault).or_default() += 1;
        let while_ = || sleep(Duration::from_millis(fastrand::u64(0..4000)));
        match fault {
            Fault::RedisKilled => {
                self.world.redis.server.signal("KILL");
                self.to_redis.cut();
                self.world.redis.server.end();
                sleep(Duration::from_millis(fastrand::u64(0..2000)));
                self.world.redis.start_again();
                self.world.redis.allow_all_keys();
            }
            Fault::RedisFlushed => self.world.ask(&["FLUSHALL"]),
            Fault::RedisFrozen => {
                self.world.redis.server.signal("STOP");
                while_();
                self.world.redis.server.signal("CONT");
            }
            Fault::RedisCut => self.to_redis.cut(),
            Fault::PostgresRestarted => {
                // The application has a session there; what is restarted is what warm sees.
                self.end_sessions();
                self.to_postgres.lead_to(free_port());
                self.to_postgres.cut();
                while_();
                self.to_postgres.lead_to(self.postgres.port);
            }
            Fault::PostgresCut => self.to_postgres.cut(),
            Fault::SessionsEnded => self.end_sessions(),
            Fault::ServiceFrozen => {
                self.first.signal("STOP");
                while_();
                self.first.signal("CONT");
            }
            Fault::OtherKilled => {
                self.second.kill();
                self.second = Service::start(&self.world, "second", "none");
            }
            Fault::Reload => {
                let (name, text) = JOBS[fastrand::usize(0..JOBS.len())];
                self.world.job(name, &format!("priority = {}\n{text}", fastrand::u32(0..100)));
                self.first.signal("HUP");
            }
            Fault::BrokenFile => {
                self.world.job("broken", "query = ");
                self.first.signal("HUP");
                while_();
                std::fs::remove_file(self.world.folder.path.join("jobs/broken.toml")).unwrap();
            }
        }
        if fault.empties_the_cache() {
            let took = self.wait_until_full(refill);
            self.refills.push(took);
        }
    }

    fn end_sessions(&self) {
        self.world.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'warm'");
    }

    /// Waits until all keys are there, and says how long that took.
    pub(crate) fn wait_until_full(&self, most: Duration) -> Duration {
        let rows = TABLES.iter().flat_map(|table| (1..=ROWS).map(move |id| format!("t:{table}:{id}")));
        let lists = (0..LISTS).map(|list| format!("t:list:{list}"));
        let keys: Vec<String> = rows.chain(lists).chain((1..=50).map(|id| format!("t:slow:{id}"))).collect();
        let words: Vec<&str> = std::iter::once("EXISTS").chain(keys.iter().map(String::as_str)).collect();
        let (mut connection, start) = (self.world.redis.connect(), Instant::now());
        loop {
            let there: usize = ask(&mut connection, &words);
            if there == keys.len() {
                return start.elapsed();
            }
            let words = self.first.last_words();
            assert!(start.elapsed() < most, "{there} of {} keys after {:?}:\n{words}", keys.len(), start.elapsed());
            sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn report(&self) -> String {
        let faults: Vec<String> = self.happened.iter().map(|(fault, times)| format!("{fault:?} {times}")).collect();
        let mut refills = self.refills.clone();
        refills.sort_unstable();
        let [median, most] = [refills.len() / 2, refills.len().saturating_sub(1)]
            .map(|at| refills.get(at).map_or(0.0, Duration::as_secs_f64));
        let full = format!("full again after {median:.1} s (median), {most:.1} s (most)");
        format!("{}; {full}\n{}", faults.join(", "), self.runs().join("\n"))
    }

    /// How the first machine's runs have ended.
    fn runs(&self) -> Vec<String> {
        let mut stream = TcpStream::connect(&self.listen).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let interesting = |line: &&str| line.starts_with("warm_runs_total") || line.starts_with("warm_redis_losses");
        text.lines().filter(interesting).map(str::to_owned).collect()
    }

    /// Each good job has run, and the broken one has failed, over and over; none has panicked. What the other machine had the lease of until now has its turn soon.
    pub(crate) fn has_worked(&self) {
        wait_for("runs of each job", || Self::idle_jobs(&self.runs()).is_empty().then_some(()));
        let runs = self.runs();
        let panicked = runs.iter().any(|line| line.contains("\"Panic\""));
        assert!(!panicked, "{runs:#?}\n{}", self.first.words_about("Panic"));
        assert_eq!(Self::idle_jobs(&runs), [""; 0], "{runs:#?}");
    }

    /// The jobs that have not ended more than once as they should.
    fn idle_jobs(runs: &[String]) -> Vec<&'static str> {
        let jobs = [("requeried", "ok"), ("versioned", "ok"), ("lists", "ok"), ("slow", "ok"), ("fails", "Data")];
        let is_idle = |(job, outcome): &(&str, &str)| {
            let label = format!("{{job=\"{job}\",outcome=\"{outcome}\"}} ");
            let count = runs.iter().find_map(|line| line.split_once(&*label)?.1.parse::<u64>().ok());
            count.is_none_or(|count| count <= 1)
        };
        jobs.into_iter().filter(is_idle).map(|(job, _)| job).collect()
    }

    /// Ends both machines, after which nothing in the cache is stale for longer than a value lives that nobody has confirmed.
    pub(crate) fn end(self) {
        self.first.end();
        self.second.end();
        let start = Instant::now();
        while let Some(stale) = stale(&self.world) {
            assert!(start.elapsed() < Duration::from_secs(20), "{stale}");
            sleep(Duration::from_millis(200));
        }
    }
}

/// A key that holds what its row does not.
fn stale(world: &World) -> Option<String> {
    let mut connection = world.redis.connect();
    for table in TABLES {
        for line in world.sql(&format!("SELECT id, v FROM {table}")).lines() {
            let (id, v) = line.split_once('|').unwrap();
            let value: Option<String> = ask(&mut connection, &["GET", &format!("t:{table}:{id}")]);
            let right = format!("{{\"id\":{id},\"v\":\"{v}\"}}");
            if value.as_ref().is_some_and(|value| *value != right) {
                return Some(format!("t:{table}:{id} is {value:?}, and the row {right}"));
            }
        }
    }
    None
}
