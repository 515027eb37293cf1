//! For how long nobody has read keys.

use std::sync::Arc;
use std::time::Duration;

use warm::cache;

use super::watch::settings;
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use crate::support::world::ask;

#[tokio::test(flavor = "multi_thread")]
async fn to_ask_for_it_is_no_access_and_no_miss() {
    let redis = Redis::start("notify-keyspace-events Em");
    redis.allow_all_keys();
    let client = cache::Redis::new(&settings(&redis.url(), "p:")).unwrap();
    let mut connection = redis.connect();
    let _: () = ask(&mut connection, &["SET", "p:t:1", "x"]);
    let mut subscribed = redis.connect();
    let mut misses = subscribed.as_pubsub();
    misses.subscribe("__keyevent@0__:keymiss").unwrap();
    misses.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let keys: Vec<Arc<[u8]>> = ["t:1", "t:2"].map(|key| Arc::from(key.as_bytes())).to_vec();
    let first = client.idle(keys.clone()).await.unwrap();
    assert_eq!(first[1], None);
    let runtime = tokio::runtime::Handle::current();
    let idle = || tokio::task::block_in_place(|| runtime.block_on(client.idle(keys.clone()))).unwrap()[0].unwrap();
    wait_for("it has been asked for two seconds, and is idle for as long", || {
        (idle() >= Duration::from_secs(2)).then_some(())
    });
    let _: String = ask(&mut connection, &["GET", "p:t:1"]);
    assert!(idle() < Duration::from_secs(2));
    assert!(misses.get_message().unwrap_err().is_timeout(), "nobody hears of a miss");
}
