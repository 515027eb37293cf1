//! The key by which an emptied cache is noticed, and what is done without it.

use std::collections::HashMap;
use std::time::Duration;

use warm::ground::watch::{Link, Seen};

use super::{EMPTIED, MARKER, RESTARTED, Watch, marker, tell};
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use crate::support::world::ask;

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
