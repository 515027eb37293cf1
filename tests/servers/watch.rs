//! The watch over Redis: what it notices, how soon, that it notices it once, and what it takes for no loss.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use warm::cache;
use warm::ground::clock::SystemClock;
use warm::ground::settings::RedisSettings;
use warm::ground::watch::{CacheHealth, Link, Loss, Seen};

use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::Redis;
use crate::support::server::{PATIENCE, free_port, wait_for};
use crate::support::world::ask;

const MARKER: &str = "warm:marker";
const EMPTIED: Seen = Seen::Lost(Loss::Emptied);
const RESTARTED: Seen = Seen::Lost(Loss::Restarted);
/// The interval of a watch that is not to take a test's time.
const OFTEN: Duration = Duration::from_millis(50);
/// A second to the next look, and some for a busy machine.
const SOON: Duration = Duration::from_secs(3);
/// Two seconds between two tries.
const RATHER_SOON: Duration = Duration::from_secs(5);

/// How to reach a server, with little patience for one that does not answer.
pub(crate) fn settings(url: &str, prefix: &str) -> RedisSettings {
    RedisSettings {
        url: url.into(),
        origin: String::new(),
        database: None,
        key_prefix: prefix.to_owned(),
        ca_file: None,
        connect_timeout: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        memory_limit: 0.8,
    }
}

/// A watch and what it says.
struct Watch {
    runtime: Runtime,
    watch: cache::Watch,
}

impl Watch {
    /// A watch that has begun, whatever it says about that, and looks often.
    fn begin(url: &str) -> Watch {
        Watch::every(OFTEN, url)
    }

    fn every(interval: Duration, url: &str) -> Watch {
        Watch::with(interval, &settings(url, ""))
    }

    fn with(interval: Duration, settings: &RedisSettings) -> Watch {
        let redis = cache::Redis::new(settings).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Watch { runtime, watch: redis.watch(interval, Arc::new(SystemClock)).unwrap() }
    }

    /// A watch over a server that has been watched before.
    fn over(url: &str) -> Watch {
        Watch::begin(url).settled()
    }

    /// The same, when the beginning has been said, and the marker is there.
    fn settled(mut self) -> Watch {
        self.says(&[Seen::Up]);
        self.looks();
        while let Some(seen) = self.watch.next().now_or_never() {
            assert_eq!(seen, Some(Seen::Cold));
        }
        self
    }

    fn next(&mut self) -> Seen {
        let next = self.runtime.block_on(async { timeout(PATIENCE, self.watch.next()).await });
        next.expect("something is noticed").expect("the watch has not ended")
    }

    /// Fails unless this comes next.
    #[track_caller]
    fn says(&mut self, seen: &[Seen]) {
        let said: Vec<Seen> = seen.iter().map(|_| self.next()).collect();
        assert_eq!(said, seen);
    }

    /// Fails unless it finds the server down next; gives the reason.
    #[track_caller]
    fn says_down(&mut self) -> String {
        match self.next() {
            Seen::Down { reason } => reason,
            other => panic!("{other:?} instead of Down"),
        }
    }

    /// Fails if anything comes until the server has been looked at some more times.
    #[track_caller]
    fn says_no_more(&mut self) {
        self.looks();
        assert_eq!(self.watch.next().now_or_never(), None);
    }

    /// Waits for looks enough for one that has begun by now, and one after it.
    fn looks(&self) {
        for _ in 0..3 {
            let before = self.health().looked;
            wait_for("a look", || (self.health().looked != before).then_some(()));
        }
    }

    fn health(&self) -> CacheHealth {
        self.watch.health().borrow().clone()
    }
}

fn marker(redis: &Redis) -> Option<String> {
    ask(&mut redis.connect(), &["GET", MARKER])
}

fn tell(redis: &Redis, words: &[&str]) {
    let _: redis::Value = ask(&mut redis.connect(), words);
}

#[track_caller]
fn within(limit: Duration, start: Instant) {
    assert!(start.elapsed() < limit, "{:?}", start.elapsed());
}

#[test]
fn a_cache_that_nobody_watched_is_cold_and_one_that_is_watched_is_not() {
    let redis = Redis::start("");
    tell(&redis, &["SET", "foreign", "theirs"]);
    let mut first = Watch::begin(&redis.url());
    first.says(&[Seen::Up, Seen::Cold]);
    let token = wait_for("the marker", || marker(&redis));
    let mut second = Watch::begin(&redis.url());
    second.says(&[Seen::Up]);
    second.says_no_more();
    first.says_no_more();
    assert_eq!(marker(&redis), Some(token));
    let keys: usize = ask(&mut redis.connect(), &["DBSIZE"]);
    assert_eq!(keys, 2, "nothing but the marker was written");

    let health = second.health();
    assert!(matches!(health.link, Link::Up { since } if Some(since) < health.looked), "{health:?}");
    let info: String = ask(&mut redis.connect(), &["INFO"]);
    assert!(info.contains(&format!("run_id:{}", health.run_id.unwrap())));
    assert!(health.used_memory > Some(100_000) && health.max_memory == Some(0));
    assert_eq!((health.lost, health.blind), (None, None));
}

#[test]
fn a_restart_without_data_is_noticed_once() {
    let mut redis = Redis::start("");
    let mut watch = Watch::over(&redis.url());
    redis.server.end();
    let reason = watch.says_down();
    assert!(reason.contains("connection to Redis broke"), "{reason}");
    assert!(matches!(watch.health().link, Link::Down { .. }));
    redis.start_again();
    let start = Instant::now();
    watch.says(&[Seen::Up, RESTARTED]);
    within(RATHER_SOON, start);
    assert_eq!(watch.health().lost.map(|(_, loss)| loss), Some(Loss::Restarted));
    watch.says_no_more();
    assert!(marker(&redis).is_some(), "the next loss will be noticed, too");
}

#[test]
fn a_restart_that_kept_its_data_is_a_loss_too() {
    let mut redis = Redis::start("");
    let mut watch = Watch::over(&redis.url());
    let token = marker(&redis);
    tell(&redis, &["SAVE"]);
    redis.server.end();
    watch.says_down();
    redis.start_again();
    watch.says(&[Seen::Up, RESTARTED]);
    assert!(token.is_some() && marker(&redis) == token, "the data was kept");
    watch.says_no_more();
}

#[test]
fn a_server_that_loads_its_data_is_down_until_it_has() {
    // Slow on purpose, and between the keys it answers others.
    let mut redis = Redis::start("key-load-delay 2000\nloading-process-events-interval-bytes 1024");
    let mut watch = Watch::over(&redis.url());
    tell(&redis, &["EVAL", "for i = 1, 2000 do redis.call('SET', 'key:' .. i, i) end", "0"]);
    tell(&redis, &["SAVE"]);
    let health = watch.watch.health();
    redis.server.end();
    watch.says_down();
    let loading = std::thread::spawn(move || {
        wait_for("loading", || match &health.borrow().link {
            Link::Down { reason, .. } => reason.contains("LOADING").then_some(()),
            _ => None,
        });
    });
    redis.start_again();
    watch.says(&[Seen::Up, RESTARTED]);
    loading.join().unwrap();
}

#[test]
fn an_emptied_server_is_noticed_soon_and_once_by_each_who_watches() {
    let redis = Redis::start("");
    let (mut one, other) = (Watch::over(&redis.url()), Watch::every(cache::WATCH_INTERVAL, &redis.url()));
    let mut other = other.settled();
    for flush in [&["FLUSHALL"][..], &["FLUSHDB", "ASYNC"], &["SWAPDB", "0", "1"]] {
        tell(&redis, flush);
        let start = Instant::now();
        one.says(std::slice::from_ref(&EMPTIED));
        other.says(std::slice::from_ref(&EMPTIED));
        within(SOON, start);
    }
    one.says_no_more();
    other.says_no_more();
}

#[test]
fn many_who_find_the_marker_away_at_once_agree_on_the_next_one() {
    let redis = Redis::start("");
    let begin = |_| Watch::every(Duration::from_millis(1), &redis.url()).settled();
    let mut watches: Vec<Watch> = (0..8).map(begin).collect();
    for _ in 0..30 {
        tell(&redis, &["FLUSHALL"]);
        watches.iter_mut().for_each(|watch| watch.says(std::slice::from_ref(&EMPTIED)));
    }
    watches.iter_mut().for_each(Watch::says_no_more);
}

#[test]
fn each_installation_has_its_own_database_prefix_and_marker() {
    let redis = Redis::start("");
    tell(&redis, &["ACL", "SETUSER", "warm", "~staging:warm:*"]);
    let mut watch = Watch::over(&redis.url());
    let settings = RedisSettings { database: Some(3), ..settings(&redis.url(), "staging:") };
    let mut other = Watch::with(OFTEN, &settings).settled();
    let mut connection = redis.connect();
    let _: () = ask(&mut connection, &["SELECT", "3"]);
    assert_eq!(ask::<Vec<String>>(&mut connection, &["KEYS", "*"]), ["staging:warm:marker"]);
    let _: () = ask(&mut connection, &["FLUSHDB"]);
    other.says(std::slice::from_ref(&EMPTIED));
    watch.says_no_more();
    tell(&redis, &["FLUSHDB"]);
    watch.says(std::slice::from_ref(&EMPTIED));
    other.says_no_more();
}

#[test]
fn a_failover_to_an_empty_server_is_a_loss() {
    let (old, new) = (Redis::start(""), Redis::start(""));
    let proxy = Proxy::before(old.port, &[]);
    let mut watch = Watch::over(&old.tcp_url(proxy.port));
    proxy.lead_to(new.port);
    proxy.cut();
    let start = Instant::now();
    watch.says_down();
    watch.says(&[Seen::Up, RESTARTED]);
    within(RATHER_SOON, start);
    watch.says_no_more();
    assert!(marker(&new).is_some() && marker(&new) != marker(&old));
}

/// As after a failover: the address leads to the new primary, but a connection that is kept is to the old one.
#[test]
fn a_server_that_becomes_a_replica_is_left_for_the_new_primary() {
    let (old, new) = (Redis::start(""), Redis::start(""));
    let proxy = Proxy::before(old.port, &[]);
    let mut watch = Watch::over(&old.tcp_url(proxy.port));
    proxy.lead_to(new.port);
    watch.says_no_more();
    // It keeps what it has, as long as it cannot reach its primary.
    tell(&old, &["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
    let reason = watch.says_down();
    assert!(reason.contains("READONLY"), "{reason}");
    watch.says(&[Seen::Up, RESTARTED]);
}

#[test]
fn a_server_that_stays_a_replica_is_down_once_and_what_it_lost_is_told_when_it_is_up() {
    let (redis, primary) = (Redis::start(""), Redis::start("repl-diskless-sync-delay 0"));
    let proxy = Proxy::before(redis.port, &[]);
    let mut watch = Watch::over(&redis.tcp_url(proxy.port));
    tell(&redis, &["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
    watch.says_down();
    wait_for("the loss of its data", || marker(&redis).is_none().then_some(()));
    let tries = proxy.accepted();
    wait_for("some more tries", || (proxy.accepted() >= tries + 3).then_some(()));
    assert_eq!(watch.watch.next().now_or_never(), None);
    tell(&redis, &["REPLICAOF", "NO", "ONE"]);
    watch.says(&[Seen::Up, EMPTIED]);
    watch.says_no_more();
}

#[test]
fn a_connection_that_is_cut_and_a_network_that_is_down_lose_nothing() {
    let redis = Redis::start("");
    let proxy = Proxy::before(redis.port, &[]);
    let mut watch = Watch::over(&redis.tcp_url(proxy.port));
    let before = watch.health().run_id;
    proxy.cut();
    watch.says_down();
    watch.says(&[Seen::Up]);
    watch.says_no_more();

    proxy.lead_to(free_port());
    proxy.cut();
    watch.says_down();
    let Link::Down { since, .. } = watch.health().link else { panic!("it is down") };
    let tries = proxy.accepted();
    let start = Instant::now();
    wait_for("some more tries", || (proxy.accepted() >= tries + 3).then_some(()));
    assert!(start.elapsed() >= Duration::from_secs(2), "a try a second at most: {:?}", start.elapsed());
    assert!(matches!(watch.health().link, Link::Down { since: still, .. } if still == since), "since then");
    assert_eq!(watch.watch.next().now_or_never(), None, "told once");
    let tries = proxy.accepted();
    proxy.lead_to(redis.port);
    watch.says(&[Seen::Up]);
    watch.says_no_more();
    assert_eq!(proxy.accepted(), tries + 1);
    assert_eq!(watch.health().run_id, before);
}

#[test]
fn a_frozen_server_is_down_and_its_connection_is_dropped() {
    let redis = Redis::start("");
    let proxy = Proxy::before(redis.port, &[]);
    let mut watch = Watch::over(&redis.tcp_url(proxy.port));
    let connections = proxy.accepted();
    redis.server.signal("STOP");
    let start = Instant::now();
    let reason = watch.says_down();
    within(RATHER_SOON, start);
    assert!(reason.contains("did not answer in time"), "{reason}");
    redis.server.signal("CONT");
    watch.says(&[Seen::Up]);
    watch.says_no_more();
    assert!(proxy.accepted() > connections);
}

#[test]
fn an_answer_that_is_cut_or_never_ends_is_no_loss() {
    let redis = Redis::start("");
    let info: String = ask(&mut redis.connect(), &["INFO"]);
    // In what connecting says, in the first look, behind it.
    for at in [3, info.len() + 100, 2 * info.len() + 60] {
        for fault in [Fault::CutAfter(at), Fault::FreezeAfter(at)] {
            let proxy = Proxy::before(redis.port, &[Fault::None, fault]);
            let mut watch = Watch::over(&redis.tcp_url(proxy.port));
            proxy.cut();
            wait_for("a third connection", || {
                (proxy.accepted() == 3 && matches!(watch.health().link, Link::Up { .. })).then_some(())
            });
            while let Some(seen) = watch.watch.next().now_or_never().flatten() {
                assert!(matches!(seen, Seen::Up | Seen::Down { .. }), "{seen:?}");
            }
            watch.says_no_more();
        }
    }
}

/// Writes until the server, which is full, has evicted the marker.
fn evict_marker(redis: &Redis) {
    let mut connection = redis.connect();
    let used: String = ask(&mut connection, &["INFO", "memory"]);
    let used: u64 = used.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().parse().unwrap();
    let limit = (used + (4 << 20)).to_string();
    let policy = ["maxmemory-policy", "allkeys-random", "maxmemory-samples", "1"];
    let _: () = ask(&mut connection, &[&["CONFIG", "SET", "maxmemory", &limit], &policy[..]].concat());
    let value = "x".repeat(1000);
    for number in 0..1_000_000 {
        let mut pipe = redis::pipe();
        for part in 0..100 {
            pipe.cmd("SET").arg(format!("key:{number}:{part}")).arg(&value).ignore();
        }
        let (marker,): (Option<String>,) = pipe.cmd("GET").arg(MARKER).query(&mut connection).unwrap();
        if marker.is_none() {
            return;
        }
    }
    panic!("the marker is still there");
}

#[test]
fn an_evicted_marker_is_no_loss_but_a_full_server_that_is_emptied_is() {
    let redis = Redis::start("");
    let (mut one, other) = (Watch::over(&redis.url()), Watch::every(cache::WATCH_INTERVAL, &redis.url()));
    let mut other = other.settled();
    let token = marker(&redis);
    evict_marker(&redis);
    wait_for("the marker", || marker(&redis));
    one.says_no_more();
    other.says_no_more();
    assert_eq!(marker(&redis), token, "nobody has cause to notice");

    // Evictions and a flush between two looks.
    let mut pipe = redis::pipe();
    for number in 0..100 {
        pipe.cmd("SET").arg(format!("more:{number}")).arg("x".repeat(10_000)).ignore();
    }
    pipe.cmd("FLUSHALL").ignore().exec(&mut redis.connect()).unwrap();
    one.says(std::slice::from_ref(&EMPTIED));
    other.says(std::slice::from_ref(&EMPTIED));
    one.says_no_more();
}

#[test]
fn an_account_that_may_not_ask_for_info_notices_what_it_can() {
    let (old, new) = (Redis::start(""), Redis::start(""));
    for redis in [&old, &new] {
        tell(redis, &["ACL", "SETUSER", "warm", "-info"]);
    }
    let proxy = Proxy::before(old.port, &[]);
    let mut watch = Watch::begin(&old.tcp_url(proxy.port));
    watch.says(&[Seen::Up]);
    let Seen::Blind { reason } = watch.next() else { panic!("it cannot notice everything") };
    assert!(reason.contains("grant +info") && reason.contains("NOPERM"), "{reason}");
    watch.says(&[Seen::Cold]);
    assert_eq!(watch.health().blind.as_ref(), Some(&reason));
    watch.looks();
    tell(&old, &["FLUSHALL"]);
    watch.says(std::slice::from_ref(&EMPTIED));
    watch.says_no_more();
    proxy.lead_to(new.port);
    proxy.cut();
    watch.says_down();
    watch.says(&[Seen::Up, EMPTIED]);
    watch.says_no_more();
    // What is refused goes into Redis' ACL LOG: while connecting and at the first look, and not at each.
    let log: Vec<HashMap<String, redis::Value>> = ask(&mut new.connect(), &["ACL", "LOG"]);
    let counts: Vec<_> = log.iter().map(|entry| entry["count"].clone()).collect();
    assert_eq!(counts, [redis::Value::Int(2)], "{log:?}");
    tell(&new, &["ACL", "SETUSER", "warm", "+info"]);
    proxy.cut();
    watch.says_down();
    watch.says(&[Seen::Up]);
    watch.says_no_more();
    assert_eq!(watch.health().blind, None);
}

#[test]
fn a_marker_that_is_somebody_elses_is_left_alone() {
    let mut redis = Redis::start("");
    tell(&redis, &["LPUSH", MARKER, "theirs"]);
    let mut watch = Watch::begin(&redis.url());
    watch.says(&[Seen::Up]);
    let Seen::Blind { reason } = watch.next() else { panic!("it cannot notice everything") };
    assert!(reason.contains(MARKER) && reason.contains("WRONGTYPE"), "{reason}");
    watch.says_no_more();
    let theirs: Vec<String> = ask(&mut redis.connect(), &["LRANGE", MARKER, "0", "-1"]);
    assert_eq!(theirs, ["theirs"]);
    redis.server.end();
    watch.says_down();
    redis.start_again();
    watch.says(&[Seen::Up, RESTARTED]);
    watch.says_no_more();
    assert!(marker(&redis).is_some() && watch.health().blind.is_none());
}

#[test]
fn a_marker_that_may_not_be_kept_is_said_with_the_way_out() {
    let redis = Redis::start("");
    tell(&redis, &["ACL", "SETUSER", "warm", "resetkeys", "~event:*"]);
    let mut watch = Watch::begin(&redis.url());
    watch.says(&[Seen::Up]);
    let Seen::Blind { reason } = watch.next() else { panic!("it cannot notice everything") };
    assert!(reason.contains(MARKER) && reason.contains("config/redis-acl.conf"), "{reason}");
    watch.says_no_more();
    assert_eq!(marker(&redis), None);
}

#[test]
fn the_marker_dies_some_day_and_not_while_it_is_watched() {
    let redis = Redis::start("");
    let proxy = Proxy::before(redis.port, &[]);
    let watch = Watch::over(&redis.tcp_url(proxy.port));
    let life = || ask::<i64>(&mut redis.connect(), &["PTTL", MARKER]);
    let week = 7 * 24 * 3_600_000;
    assert!((week - 60_000..=week).contains(&life()), "{}", life());
    tell(&redis, &["PEXPIRE", MARKER, "60000"]);
    proxy.cut();
    wait_for("a new life", || (life() > week - 60_000).then_some(()));
    drop(watch);
}

#[test]
fn a_server_that_refuses_us_is_down_and_seldom_tried() {
    let redis = Redis::start("");
    let proxy = Proxy::before(redis.port, &[]);
    let mut watch = Watch::begin(&format!("redis://warm:wrong@127.0.0.1:{}", proxy.port));
    let reason = watch.says_down();
    assert!(reason.contains("rejects the user name or the password"), "{reason}");
    tell(&redis, &["ACL", "SETUSER", "warm", ">wrong"]);
    let start = Instant::now();
    watch.says(&[Seen::Up, Seen::Cold]);
    assert!(start.elapsed() > Duration::from_secs(5) && proxy.accepted() == 2, "{:?}", start.elapsed());
}

#[test]
fn a_watch_ends_when_it_is_dropped() {
    let redis = Redis::start("");
    let watch = Watch::over(&redis.url());
    let clients = || {
        let list: String = ask(&mut redis.connect(), &["CLIENT", "LIST"]);
        list.matches("user=warm").count()
    };
    wait_for("one watch", || (clients() == 1).then_some(()));
    let start = Instant::now();
    drop(watch);
    wait_for("no watch", || (clients() == 0).then_some(()));
    within(SOON, start);
    // One that cannot reach its server ends as well.
    let proxy = Proxy::before(free_port(), &[]);
    let watch = Watch::begin(&redis.tcp_url(proxy.port));
    wait_for("some tries", || (proxy.accepted() >= 2).then_some(()));
    let health = watch.watch.health();
    drop(watch);
    wait_for("the end", || health.has_changed().is_err().then_some(()));
}
