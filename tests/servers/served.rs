//! What was served last, as all hosts see it.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use warm::cache::{self, Epoch};
use warm::ground::error::ErrorKind;

use super::watch::settings;
use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::Redis;
use crate::support::server::{free_port, wait_for};
use crate::support::world::ask;

fn at(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap()
}

/// In the year 2128: no mark of these tests is later.
const FAR: i64 = 5_000_000_000_000;

fn client(redis: &Redis) -> cache::Redis {
    cache::Redis::new(&settings(&redis.url(), "")).unwrap()
}

fn names(jobs: &[&str]) -> Vec<String> {
    jobs.iter().map(|job| (*job).to_owned()).collect()
}

async fn served(client: &cache::Redis, job: &str) -> Option<DateTime<Utc>> {
    client.served(names(&[job])).await.unwrap()[0].map(|served| served.due)
}

#[tokio::test]
async fn marks_move_forward_only() {
    let redis = Redis::start("");
    let client = client(&redis);
    assert_eq!(client.served(Vec::new()).await, Ok(Vec::new()));
    assert_eq!(client.served(names(&["a", "b"])).await, Ok(vec![None, None]));
    // 999999… has fewer digits than 1000000…: numbers are compared, not text.
    for (due, stands) in
        [(999_999_999_999, 999_999_999_999), (1_000_000_000_000, 1_000_000_000_000), (5, 1_000_000_000_000)]
    {
        client.serve("a", at(due), at(FAR), &Epoch::default()).await.unwrap();
        let both = client.served(names(&["b", "a"])).await.unwrap();
        assert_eq!(
            both.iter().map(|served| served.map(|served| served.due)).collect::<Vec<_>>(),
            [None, Some(at(stands))]
        );
    }
    let future = at(4_102_444_800_000);
    client.serve("a", future, at(FAR), &Epoch::default()).await.unwrap();
    assert_eq!(served(&client, "a").await, Some(future), "the year 2100 is given as it stands");
    client.serve("a", at(9), at(10), &Epoch::default()).await.unwrap();
    assert_eq!(served(&client, "a").await, Some(at(9)), "what no clock that is right can have written gives way");
    let year = 400 * 24 * 3_600_000_i64;
    let life: i64 = ask(&mut redis.connect(), &["PTTL", "warm:served:a"]);
    assert!((year - 60_000..=year).contains(&life), "{life}");
    let value: String = ask(&mut redis.connect(), &["GET", "warm:served:a"]);
    assert_eq!(value, "9");
}

#[tokio::test]
async fn what_a_server_has_loaded_was_not_served_since_its_start() {
    let mut redis = Redis::start("appendonly yes\nappendfsync always");
    let since_start = async |redis: &Redis| client(redis).served(names(&["a"])).await.unwrap()[0].unwrap().since_start;
    client(&redis).serve("a", at(7), at(FAR), &Epoch::default()).await.unwrap();
    // Redis tells its age in whole seconds.
    wait_for("its first second", || {
        ask::<String>(&mut redis.connect(), &["INFO", "server"]).contains("uptime_in_seconds:1").then_some(())
    });
    client(&redis).serve("a", at(7), at(FAR), &Epoch::default()).await.unwrap();
    assert!(since_start(&redis).await, "it has been served again");
    redis.server.end();
    redis.start_again();
    assert_eq!(served(&client(&redis), "a").await, Some(at(7)));
    assert!(!since_start(&redis).await);
}

#[tokio::test]
async fn a_run_that_began_before_a_loss_leaves_no_mark_behind_it() {
    let mut redis = Redis::start("appendonly yes\nappendfsync always");
    let token = |redis: &Redis, text: &str| ask::<()>(&mut redis.connect(), &["SET", "warm:marker", text]);
    token(&redis, "one");
    let (served_before, epoch) = client(&redis).served_now("a").await.unwrap();
    assert_eq!(served_before, None);
    let serve = async |redis: &Redis| {
        client(redis).serve("a", at(7), at(FAR), &epoch).await.unwrap();
        served(&client(redis), "a").await
    };
    // Emptied, and nobody has noticed; emptied, and somebody has.
    let _: () = ask(&mut redis.connect(), &["FLUSHALL"]);
    assert_eq!(serve(&redis).await, None);
    token(&redis, "two");
    assert_eq!(serve(&redis).await, None);
    token(&redis, "one");
    assert_eq!(serve(&redis).await, Some(at(7)), "as if nothing had been");
    let _: () = ask(&mut redis.connect(), &["DEL", "warm:served:a"]);
    redis.server.end();
    redis.start_again();
    assert_eq!(serve(&redis).await, None, "what is there was loaded, and may be old");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_of_many_at_once_stands() {
    let redis = Redis::start("");
    let mut order: Vec<i64> = (0..40).collect();
    fastrand::shuffle(&mut order);
    let tasks: Vec<_> = order
        .into_iter()
        .map(|due| {
            let client = client(&redis);
            tokio::spawn(
                async move { client.serve("a", at(1_700_000_000_000 + due), at(FAR), &Epoch::default()).await },
            )
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(served(&client(&redis), "a").await, Some(at(1_700_000_000_039)));
}

#[tokio::test]
async fn what_is_no_number_is_unknown_and_overwritten() {
    let redis = Redis::start("");
    let client = client(&redis);
    let due = at(1_700_000_000_000);
    for garbage in [
        "",
        "soon",
        "1e15",
        "0x7fffffffffff",
        " 1800000000000",
        "-5",
        "1800000000000.5",
        "1800000000000\n",
        "9999999999999999",
    ] {
        let _: () = ask(&mut redis.connect(), &["SET", "warm:served:a", garbage]);
        assert_eq!(served(&client, "a").await, None, "{garbage:?}");
        client.serve("a", due, at(FAR), &Epoch::default()).await.unwrap();
        assert_eq!(served(&client, "a").await, Some(due), "{garbage:?}");
    }
    let _: () = ask(&mut redis.connect(), &["SET", "warm:served:a", "999999999999999"]);
    client.serve("a", due, at(999_999_999_999_999), &Epoch::default()).await.unwrap();
    assert_eq!(served(&client, "a").await, Some(at(999_999_999_999_999)), "the latest mark that there can be");
}

#[tokio::test]
async fn a_value_of_another_type_is_left_alone() {
    let redis = Redis::start("");
    let client = client(&redis);
    let _: () = ask(&mut redis.connect(), &["LPUSH", "warm:served:a", "1"]);
    client.serve("b", at(7), at(FAR), &Epoch::default()).await.unwrap();
    assert_eq!([served(&client, "a").await, served(&client, "b").await], [None, Some(at(7))]);
    let error = client.serve("a", at(7), at(FAR), &Epoch::default()).await.unwrap_err();
    assert!(error.kind == ErrorKind::RedisRefused && error.message.contains("warm:served:a"), "{error}");
    let ty: String = ask(&mut redis.connect(), &["TYPE", "warm:served:a"]);
    assert_eq!(ty, "list");
}

#[tokio::test]
async fn installations_are_kept_apart_by_their_prefix() {
    let redis = Redis::start("");
    let _: () = ask(&mut redis.connect(), &["ACL", "SETUSER", "warm", "resetkeys", "~staging:warm:*"]);
    let staging = cache::Redis::new(&settings(&redis.url(), "staging:")).unwrap();
    staging.serve("a", at(7), at(FAR), &Epoch::default()).await.unwrap();
    assert_eq!(served(&staging, "a").await, Some(at(7)));
    let keys: Vec<String> = ask(&mut redis.connect(), &["KEYS", "*"]);
    assert_eq!(keys, ["staging:warm:served:a"]);
    // Whoever may not ask runs his jobs without an answer, and is told that nobody will know of it.
    let other = client(&redis);
    assert_eq!(served(&other, "a").await, None);
    let error = other.serve("a", at(7), at(FAR), &Epoch::default()).await.unwrap_err();
    assert!(error.kind == ErrorKind::RedisRefused && error.message.contains("NOPERM"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_down_or_frozen_is_an_error_in_bounded_time() {
    let redis = Redis::start("");
    let frozen = Proxy::before(redis.port, &[Fault::FreezeAfter(0); 9]);
    for port in [free_port(), frozen.port] {
        let client = cache::Redis::new(&settings(&redis.tcp_url(port), "")).unwrap();
        let start = Instant::now();
        for error in [
            client.served(names(&["a"])).await.unwrap_err(),
            client.serve("a", at(7), at(FAR), &Epoch::default()).await.unwrap_err(),
        ] {
            assert_eq!(error.kind, ErrorKind::RedisUnreachable, "{error}");
        }
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    }
}
