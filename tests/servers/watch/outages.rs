//! A server that does not answer, or refuses: down, tried again, and back without a loss.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use warm::ground::watch::{Link, Seen};

use super::{EMPTIED, RATHER_SOON, RESTARTED, SOON, Watch, marker, tell, within};
use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::Redis;
use crate::support::server::{free_port, wait_for};
use crate::support::world::ask;

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
    let mut reasons = vec![watch.says_down()];
    let Link::Down { since, .. } = watch.health().link else { panic!("it is down") };
    let tries = proxy.accepted();
    let start = Instant::now();
    wait_for("some more tries", || (proxy.accepted() >= tries + 3).then_some(()));
    assert!(start.elapsed() >= Duration::from_secs(2), "a try a second at most: {:?}", start.elapsed());
    assert!(matches!(watch.health().link, Link::Down { since: still, .. } if still == since), "since then");
    while let Some(seen) = watch.watch.next().now_or_never().flatten() {
        let Seen::Down { reason, again } = seen else { panic!("{seen:?}") };
        assert!(again || !reasons.contains(&reason), "told once: {reason}");
        reasons.push(reason);
    }
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

#[test]
fn a_server_that_refuses_us_is_down_and_its_consent_is_noticed_soon() {
    let redis = Redis::start("");
    let proxy = Proxy::before(redis.port, &[]);
    let mut watch = Watch::begin(&format!("redis://warm:wrong@127.0.0.1:{}", proxy.port));
    let reason = watch.says_down();
    assert!(reason.contains("rejects the user name or the password"), "{reason}");
    assert!(
        reason.contains(&format!(", at 127.0.0.1:{} (database 0); advice: check user and", proxy.port)),
        "{reason}"
    );
    let start = Instant::now();
    wait_for("some more tries", || (proxy.accepted() >= 3).then_some(()));
    assert!(start.elapsed() > Duration::from_secs(3), "a try every two seconds: {:?}", start.elapsed());
    tell(&redis, &["ACL", "SETUSER", "warm", ">wrong"]);
    let start = Instant::now();
    watch.says(&[Seen::Up, Seen::Cold]);
    within(RATHER_SOON, start);
}

/// As when it comes back with another password: nobody should look for a server that does not run.
#[test]
fn another_reason_is_told_and_one_that_comes_back_is_no_news() {
    let redis = Redis::start("");
    let proxy = Proxy::before(redis.port, &[]);
    let mut watch = Watch::over(&redis.tcp_url(proxy.port));
    let wait_for_reason = |watch: &mut Watch, text: &str| loop {
        match watch.next() {
            Seen::Down { reason, again } if reason.contains(text) => break again,
            Seen::Down { .. } => {}
            other => panic!("{other:?} instead of Down"),
        }
    };
    proxy.lead_to(free_port());
    proxy.cut();
    assert!(!wait_for_reason(&mut watch, "connection to Redis broke"));
    let since = watch.health().link;
    tell(&redis, &["ACL", "SETUSER", "warm", "off"]);
    proxy.lead_to(redis.port);
    assert!(!wait_for_reason(&mut watch, "rejects the user name or the password"));
    assert!(
        !matches!((since, watch.health().link), (Link::Down { since: a, .. }, Link::Down { since: b, .. }) if a != b)
    );
    proxy.lead_to(free_port());
    wait_for_reason(&mut watch, "connection to Redis broke");
    proxy.lead_to(redis.port);
    assert!(wait_for_reason(&mut watch, "rejects the user name or the password"), "it was told before");
    tell(&redis, &["ACL", "SETUSER", "warm", "on"]);
    watch.says(&[Seen::Up]);
    watch.says_no_more();
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
