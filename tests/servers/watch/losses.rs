//! What is a loss, and what is not; how soon, and that each is told once.

use std::time::Instant;

use warm::cache;
use warm::ground::settings::RedisSettings;
use warm::ground::watch::{Link, Loss, Seen};

use super::{EMPTIED, MARKER, OFTEN, RATHER_SOON, RESTARTED, SOON, Watch, marker, settings, tell, within};
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use crate::support::world::ask;

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
