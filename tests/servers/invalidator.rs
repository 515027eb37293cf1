//! Invalidations of many callers at once: how many passes they cost, and when each is answered.

use futures_util::FutureExt;
use futures_util::future::join_all;
use redis::Connection;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use warm::cache::{self, Invalidated};
use warm::ground::error::{Error, ErrorKind};
use warm::ground::invalidate::{Set, Targets, Template};
use warm::runner::Invalidator;

use super::watch::settings;
use crate::support::redis::Redis;
use crate::support::server::{PATIENCE, wait_for};
use crate::support::world::ask;

fn targets(keys: &[&str]) -> Targets {
    let keys = keys.iter().map(|text| Template::key(text).unwrap()).collect();
    Set { name: String::new(), parameters: Vec::new(), keys }.targets(&[]).unwrap()
}

fn invalidator(url: &str) -> Invalidator {
    Invalidator::new(&cache::Redis::new(&settings(url, "")).unwrap())
}

fn server() -> (Redis, Connection) {
    let redis = Redis::start("");
    redis.allow_all_keys();
    let connection = redis.connect();
    (redis, connection)
}

fn fill(connection: &mut Connection, keys: impl Iterator<Item = String>) {
    let mut pipe = redis::pipe();
    keys.for_each(|key| {
        pipe.cmd("SET").arg(key).arg("x");
    });
    pipe.exec(connection).unwrap();
}

fn calls(connection: &mut Connection, command: &str) -> u64 {
    let stats: String = ask(connection, &["INFO", "commandstats"]);
    let line =
        stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls="))?.split(',').next());
    line.map_or(0, |calls| calls.parse().unwrap())
}

#[tokio::test]
async fn a_hundred_callers_share_one_pass_and_each_hears_of_his_own_keys() {
    let (redis, mut connection) = server();
    fill(&mut connection, (0..100).flat_map(|n| [format!("a:{n}:x"), format!("a:{n}:y"), format!("b:{n}")]));
    let _: () = ask(&mut connection, &["CONFIG", "RESETSTAT"]);
    let invalidator = invalidator(&redis.url());
    // All have asked before, on this one thread, anything is begun.
    let callers = (0..100).map(|n| invalidator.invalidate(targets(&[&format!("a:{n}:*"), &format!("b:{n}")])));
    for (n, answer) in join_all(callers).await.into_iter().enumerate() {
        let Invalidated { keys, sample } = answer.unwrap();
        assert_eq!(keys, 3, "{n}: {sample:?}");
        assert!(sample.contains(&format!("b:{n}").into_bytes()));
    }
    assert_eq!(ask::<u64>(&mut connection, &["DBSIZE"]), 0);
    assert_eq!((calls(&mut connection, "scan"), calls(&mut connection, "unlink")), (1, 300));
}

/// A pass that takes two seconds and a half, at the rate that is set, and is under way.
async fn slow_pass(
    redis: &Redis,
    connection: &mut Connection,
) -> (Invalidator, JoinHandle<Result<Invalidated, Error>>) {
    fill(connection, (0..300).map(|n| format!("slow:{n}")));
    let mut settings = settings(&redis.url(), "");
    settings.restraint.keys_per_second = Some(100);
    let invalidator = Invalidator::new(&cache::Redis::new(&settings).unwrap());
    let slow = asked(&invalidator, &["slow:*"]);
    wait_for("the pass", || (ask::<u64>(connection, &["DBSIZE"]) < 300).then_some(()));
    (invalidator, slow)
}

fn asked(invalidator: &Invalidator, keys: &[&str]) -> JoinHandle<Result<Invalidated, Error>> {
    let (invalidator, targets) = (invalidator.clone(), targets(keys));
    tokio::spawn(async move { invalidator.invalidate(targets).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_while_a_pass_is_under_way_is_answered_by_the_next_one() {
    let (redis, mut connection) = server();
    let (invalidator, slow) = slow_pass(&redis, &mut connection).await;
    // The pass under way has seen all keys that there were.
    fill(&mut connection, (0..20).map(|n| format!("a:{n}:x")));
    let later: Vec<_> = (0..20).map(|n| asked(&invalidator, &[&format!("a:{n}:*")])).collect();
    for caller in later {
        assert_eq!(timeout(PATIENCE, caller).await.unwrap().unwrap().unwrap().keys, 1);
    }
    assert_eq!(slow.await.unwrap().unwrap().keys, 300);
    assert_eq!(calls(&mut connection, "scan"), 2, "20 callers share the second pass");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_named_do_not_wait_for_a_pass() {
    let (redis, mut connection) = server();
    let (invalidator, slow) = slow_pass(&redis, &mut connection).await;
    fill(&mut connection, ["quick".to_owned()].into_iter());
    assert_eq!(invalidator.invalidate(targets(&["quick"])).await.unwrap().keys, 1);
    assert!(ask::<u64>(&mut connection, &["DBSIZE"]) > 0, "the pass is under way");
    assert_eq!(slow.await.unwrap().unwrap().keys, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_callers_refusal_is_not_the_others() {
    let (redis, mut connection) = server();
    fill(&mut connection, ["a:1", "b:1", "c:1"].map(str::to_owned).into_iter());
    let _: () = ask(&mut connection, &["ACL", "SETUSER", "warm", "resetkeys", "~a:*", "~c:*"]);
    let invalidator = invalidator(&redis.url());
    let (a, b) = (targets(&["a:*", "c:1"]), targets(&["b:*", "c:1"]));
    let (a, b) = tokio::join!(invalidator.invalidate(a), invalidator.invalidate(b));
    assert!((1..=2).contains(&a.unwrap().keys));
    let Err(Error { kind: ErrorKind::RedisRefused, message, .. }) = b else { panic!("{b:?}") };
    assert!(message.contains("the key b:1"), "{message}");
    assert_eq!(ask::<Vec<String>>(&mut connection, &["KEYS", "*"]), ["b:1"]);
}

#[tokio::test]
async fn who_stops_waiting_stops_nothing_and_the_last_handle_ends_it_all() {
    let (redis, mut connection) = server();
    fill(&mut connection, ["a:1".to_owned()].into_iter());
    let invalidator = invalidator(&redis.url());
    assert!(invalidator.invalidate(targets(&["a:*"])).now_or_never().is_none(), "it waits");
    drop(invalidator);
    let gone = move || wait_for("the key to go", || (ask::<u64>(&mut connection, &["DBSIZE"]) == 0).then_some(()));
    tokio::task::spawn_blocking(gone).await.unwrap();
}
