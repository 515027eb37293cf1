//! Deleting through `warm serve`: who may, what is answered, and that nobody is told anything old afterwards.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::health::{address, wait_for_line};
use crate::reads::{Answer, get, parse, serving};
use crate::serve::Serving;
use crate::support::gate::Gate;
use crate::support::server::wait_for;
use crate::support::world::{CONFIG, World};

const SETS: &str = "[invalidate.one]\nkeys = ['t:{id}']\n[invalidate.some]\nkeys = ['t:{start}*']\nthen = ['all']\n[invalidate.all]\nkeys = ['u:*']\n";

pub(crate) fn deleting(change: impl FnOnce(&mut World)) -> Serving {
    serving(|world| {
        world.config(&format!("{CONFIG}{SETS}"));
        world.set("WARM_SERVE__KEYS_INVALIDATE", "true");
        world.set("WARM_SERVE__LEVEL1_TTL", "60s");
        world.set("WARM_REDIS__CONNECT_TIMEOUT", "1s");
        change(world);
    })
}

fn request(set: &str, body: &str, more: &str) -> String {
    let length = body.len();
    format!(
        "POST /invalidate/{set} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{more}Connection: close\r\n\r\n{body}"
    )
}

const JSON: &str = "Content-Type: application/json; charset=utf-8\r\n";

fn send(serving: &Serving, request: &str) -> Answer {
    ask(UnixStream::connect(serving.world.folder.path.join("keys.sock")).unwrap(), request)
}

/// Sends a whole request. A server that has heard enough may close before all of it is sent.
fn ask(mut stream: impl Read + Write, request: &str) -> Answer {
    let _ = stream.write_all(request.as_bytes());
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    parse(&text)
}

pub(crate) fn post(serving: &Serving, set: &str, body: &str) -> Answer {
    send(serving, &request(set, body, JSON))
}

impl Answer {
    /// How many keys were deleted.
    #[track_caller]
    fn keys(&self) -> u64 {
        assert_eq!(self.status, 200, "{}", self.body);
        let report: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert!(report["milliseconds"].as_f64().is_some() && self.head.contains("application/json"), "{}", self.head);
        report["keys"].as_u64().unwrap()
    }

    #[track_caller]
    fn refuses(&self, status: u16, words: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert!(self.body.contains(words), "{}", self.body);
    }
}

fn fill(world: &World, keys: impl Iterator<Item = String>) {
    let mut pipe = redis::pipe();
    keys.for_each(|key| {
        pipe.cmd("SET").arg(key).arg("x").arg("EX").arg(300);
    });
    pipe.exec(&mut world.redis.connect()).unwrap();
}

fn scans(world: &World) -> u64 {
    let stats: String = world.ask(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_scan:calls=")?.split(',').next());
    line.map_or(0, |calls| calls.parse().unwrap())
}

#[test]
fn what_is_asked_for_is_deleted_and_anything_else_is_said_to_be_wrong() {
    let serving = deleting(|_| {});
    let world = &serving.world;
    fill(world, ["t:a b", "t:yes", "u:1", "u:2"].map(str::to_owned).into_iter());
    assert_eq!(post(&serving, "one", r#"{"id": "a b"}"#).keys(), 1);
    assert_eq!(post(&serving, "one", r#"{"id": 3}"#).keys(), 1);
    assert_eq!(post(&serving, "some", r#"{"start": "y"}"#).keys(), 3);
    assert_eq!(post(&serving, "all", "").keys(), 0);
    assert_eq!((world.value("t:3"), world.value("t:2").is_some(), world.value("u:1")), (None, true, None));
    for (set, body, status, words) in [
        ("som", r#"{"id": 1}"#, 404, "there is no set `som`; did you mean `some`?"),
        ("", r#"{"id": 1}"#, 404, "the sets are one, some, all"),
        ("one", "", 400, "one: `id` is missing; it is called `one id=…`"),
        ("one", r#"{"id": ""}"#, 400, "`id` is empty, which would delete keys of others"),
        ("one", r#"{"id": 1, "x": 2}"#, 400, "it has no parameter `x`"),
        ("one", r#"{"id": [1]}"#, 400, "`id` must be a string, a whole number or a boolean, not [1]"),
        ("one", "id=1", 400, "this is no JSON object, such as {\"id\": 42}"),
        ("one", &format!(r#"{{"id": "{}"}}"#, "x".repeat(64 << 10)), 413, "the body is longer than 64 KiB"),
    ] {
        post(&serving, set, body).refuses(status, words);
    }
    let send = |request: &str| send(&serving, request);
    send(&request("one", "id=1", "Content-Type: application/x-www-form-urlencoded\r\n"))
        .refuses(415, "application/json");
    send(&request("one", "{\"id\": 1}", "")).refuses(415, "application/json");
    send(&request("one", "{\"id\": 1}", &format!("{JSON}Origin: http://localhost\r\n"))).refuses(403, "Origin");
    let other = get(&serving, "/invalidate/one");
    other.refuses(405, "there is POST /invalidate/{set}");
    assert!(other.head.contains("allow: post"), "{}", other.head);
    assert!(world.value("t:1").is_some());
}

#[test]
fn what_cannot_be_deleted_is_said_to_be_left() {
    let serving = deleting(|_| {});
    let _: () = serving.world.ask(&["ACL", "SETUSER", "warm", "-unlink"]);
    post(&serving, "one", r#"{"id": 1}"#).refuses(500, "not everything was deleted: ");
    serving.wait_until_it_says("not everything of the set one was deleted for who asked for it");
    serving.world.redis.server.signal("KILL");
    for (set, body) in [("one", r#"{"id": 1}"#), ("some", r#"{"start": "x"}"#)] {
        let away = post(&serving, set, body);
        away.refuses(503, "not everything was deleted: no connection to Redis");
        assert!(away.head.contains("retry-after: 1"), "{}", away.head);
    }
}

#[test]
fn nothing_is_deleted_unless_it_is_allowed() {
    let serving = serving(|world| world.config(&format!("{CONFIG}{SETS}")));
    post(&serving, "one", r#"{"id": 1}"#).refuses(404, "`keys_invalidate = true` in [serve] would allow it");
    assert!(serving.world.value("t:1").is_some());
    serving
        .world
        .config(&format!("{CONFIG}[invalidate.later]\nkeys = ['t:{{id}}']\n[serve]\nkeys_invalidate = true\n"));
    serving.signal("HUP");
    wait_for("the permission", || Some(post(&serving, "later", r#"{"id": 1}"#)).filter(|answer| answer.status == 200));
    assert_eq!(serving.world.value("t:1"), None);
    post(&serving, "one", r#"{"id": 2}"#).refuses(404, "the sets are later");
}

#[test]
fn over_an_address_only_who_names_it_as_one_may_delete() {
    let serving = deleting(|world| world.set("WARM_SERVE__KEYS_LISTEN", "127.0.0.1:0"));
    let place = "giving the values of keys at http://";
    serving.wait_until_it_says(&format!("{place}127.0.0.1:"));
    let log = serving.log();
    let address = log.split(place).nth(1).unwrap().split("/keys/").next().unwrap();
    let post = |host: &str| {
        let request = request("one", "{\"id\": 1}", JSON).replace("Host: x", &format!("Host: {host}"));
        ask(TcpStream::connect(address).unwrap(), &request)
    };
    post("evil.example").refuses(403, "must have one Host, an address or localhost");
    assert!(serving.world.value("t:1").is_some());
    assert_eq!(post("localhost").keys(), 1);
}

#[test]
fn two_hundred_at_once_share_few_passes() {
    let serving = deleting(|world| world.set("WARM_SERVE__LISTEN", "127.0.0.1:0"));
    let world = &serving.world;
    fill(world, (0..200).flat_map(|n| [format!("t:{n:03}:a"), format!("t:{n:03}:b")]));
    // So many that a pass takes longer than it takes to ask.
    fill(world, (0..100_000).map(|n| format!("other:{n}")));
    let _: () = world.ask(&["CONFIG", "RESETSTAT"]);
    assert_eq!(post(&serving, "some", r#"{"start": "none"}"#).keys(), 0);
    let pass = scans(world);
    let _: () = world.ask(&["CONFIG", "RESETSTAT"]);
    let start = Barrier::new(200);
    let keys: u64 = std::thread::scope(|scope| {
        let (serving, start) = (&serving, &start);
        let ask_once = |n: u64| {
            start.wait();
            post(serving, "some", &format!(r#"{{"start": "{n:03}:"}}"#)).keys()
        };
        let threads: Vec<_> = (0..200).map(|n| scope.spawn(move || ask_once(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(keys, 400, "each hears of his own");
    let passes = scans(world) as f64 / pass as f64;
    assert!((0.9..=6.0).contains(&passes), "{passes} passes of {pass} steps");
    let address = address(&serving);
    wait_for_line(&address, "warm_invalidated_keys_total{set=\"some\"} 400");
    wait_for_line(&address, "warm_invalidated_keys_total{set=\"one\"} 0");
    wait_for_line(&address, "warm_invalidations_total{outcome=\"ok\"} 201");
    post(&serving, "none", "").refuses(404, "there is no set");
    wait_for_line(&address, "warm_invalidations_total{outcome=\"refused\"} 1");
}

#[test]
fn what_is_kept_in_memory_is_forgotten_by_name_and_by_pattern() {
    let serving = deleting(|_| {});
    let world = &serving.world;
    for id in [1, 2, 21, 3] {
        get(&serving, &format!("/keys/t:{id}"));
        assert_eq!(get(&serving, &format!("/keys/t:{id}")).from(), "level1");
    }
    get(&serving, "/keys/t:6001").is(404, "nowhere", "no row makes this key\n");
    world.sql("UPDATE t SET v = 'new' WHERE id < 100; INSERT INTO t VALUES (6001, 'new')");
    post(&serving, "one", r#"{"id": 1}"#).keys();
    get(&serving, "/keys/t:1").is(200, "database", r#"{"id":1,"v":"new"}"#);
    get(&serving, "/keys/t:2").is(200, "level1", r#"{"id":2,"v":"v2"}"#);
    assert_eq!(post(&serving, "some", r#"{"start": 2}"#).keys(), 2);
    get(&serving, "/keys/t:2").is(200, "database", r#"{"id":2,"v":"new"}"#);
    get(&serving, "/keys/t:21").is(200, "database", r#"{"id":21,"v":"new"}"#);
    get(&serving, "/keys/t:3").is(200, "level1", r#"{"id":3,"v":"v3"}"#);
    post(&serving, "one", r#"{"id": 6001}"#).keys();
    get(&serving, "/keys/t:6001").is(200, "database", r#"{"id":6001,"v":"new"}"#);
}

/// Lets the others end, however this one does.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Changes a row again and again, deletes its key, and reads it, while others read it all the time. Returns how often something old was read.
fn races(serving: &Serving, id: u32, (set, body): (&str, &str)) -> u64 {
    let done = AtomicBool::new(false);
    let path = format!("/keys/t:{id}");
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    get(serving, &path);
                }
            });
        }
        let _end = Ends(&done);
        let mut old = 0;
        for round in 0..100 {
            serving.world.sql(&format!("UPDATE t SET v = 'r{round}' WHERE id = {id}"));
            post(serving, set, body).keys();
            let answer = wait_for("an answer", || Some(get(serving, &path)).filter(|answer| answer.status == 200));
            old += u64::from(answer.body != format!(r#"{{"id":{id},"v":"r{round}"}}"#));
        }
        old
    })
}

#[test]
fn whoever_has_deleted_reads_nothing_old_however_many_read_meanwhile() {
    let serving = deleting(|_| {});
    assert_eq!(races(&serving, 700, ("one", r#"{"id": 700}"#)), 0, "by name");
    assert_eq!(races(&serving, 800, ("some", r#"{"start": "80"}"#)), 0, "by pattern");
}

#[test]
fn a_fill_that_began_before_is_waited_for() {
    let serving = deleting(|world| {
        world.set("WARM_SERVE__LEVEL1_TTL", "60s");
        drop(Gate::shut(&world.database, 7));
        world.job("slow", "schedule = '@yearly'\nquery = 'SELECT 0 AS id, 0 AS v'\nkey = 't:slow:{id}'\nvalue = 'row'\nfill_query = 'SELECT id, v::int FROM (SELECT id, substr(v, 2) AS v, wait(7) FROM t WHERE id = :id::int OFFSET 0) AS q'");
    });
    let world = &serving.world;
    let gate = Gate::shut(&world.database, 7);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| get(&serving, "/keys/t:slow:50"));
        gate.wait_for_query();
        // The statement has its snapshot, and will bring the old value home.
        world.sql("UPDATE t SET v = 'v51' WHERE id = 50");
        let deletion = scope.spawn(|| post(&serving, "some", r#"{"start": "slow:5"}"#).keys());
        wait_for("the pass", || (scans(world) > 0).then_some(()));
        assert!(!deletion.is_finished(), "the fill may still write");
        gate.open();
        deletion.join().unwrap();
        // Who asked before may have been told either.
        assert_eq!(reader.join().unwrap().status, 200);
        assert_eq!(get(&serving, "/keys/t:slow:50").body, r#"{"id":50,"v":51}"#);
    });
}

#[test]
fn a_pass_that_is_under_way_does_not_hold_up_the_end() {
    let serving = deleting(|world| world.set("WARM_REDIS__KEYS_PER_SECOND", "100"));
    let path = serving.world.folder.path.join("keys.sock");
    fill(&serving.world, (0..3000).map(|n| format!("u:{n}")));
    let deletion = std::thread::spawn(move || ask(UnixStream::connect(path).unwrap(), &request("all", "", JSON)));
    wait_for("the pass", || serving.world.ask::<u64>(&["DBSIZE"]).le(&2990).then_some(()));
    let begin = Instant::now();
    let (world, code, log) = serving.end();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(code, Some(0), "{log}");
    deletion.join().unwrap().refuses(503, "the process ended before all was deleted: keys may be left");
    assert!(world.ask::<u64>(&["DBSIZE"]) > 1500);
}
