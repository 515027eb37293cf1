//! Reading through `warm serve`: from its memory, from Redis, from the database.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use crate::health;
use crate::serve::Serving;
use crate::support::gate::Gate;
use crate::support::server::wait_for;
use crate::support::world::World;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); GRANT SELECT ON t TO PUBLIC;
    INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 5000) i; ANALYZE t";

/// The first three rows, one key each, and any other for who asks.
const JOB: &str = "schedule = '@yearly'\nquery = 'SELECT id, v FROM t ORDER BY id LIMIT 3'\nfill_query = 'SELECT id, v FROM t WHERE id = :id'\nkey = 't:{id}'\nvalue = 'row'";

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) fn serving(change: impl FnOnce(&mut World)) -> Serving {
    let mut world = World::new();
    world.sql(TABLE);
    world.job("job", JOB);
    world.set("WARM_SERVE__KEYS_SOCKET", &world.folder.path.join("keys.sock").display().to_string());
    change(&mut world);
    let serving = Serving::of(world);
    serving.wait_until_it_says("job: done");
    serving
}

pub(crate) fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

pub(crate) fn ask(mut stream: impl Read + Write, request: &str) -> Answer {
    write!(stream, "{request}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    parse(&text)
}

pub(crate) fn get(serving: &Serving, path: &str) -> Answer {
    let stream = UnixStream::connect(serving.world.folder.path.join("keys.sock")).unwrap();
    ask(stream, &format!("GET {path} HTTP/1.1\r\nHost: x"))
}

impl Answer {
    /// From which level it came.
    pub(crate) fn from(&self) -> &str {
        let line = self.head.lines().find_map(|line| line.strip_prefix("x-warm-from: "));
        line.unwrap_or("nowhere")
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16, from: &str, body: &str) {
        assert_eq!((self.status, self.from(), self.body.as_str()), (status, from, body), "{}", self.head);
    }
}

#[test]
fn a_value_comes_from_the_nearest_level_that_has_it() {
    let serving = serving(|world| world.set("WARM_SERVE__LEVEL1_TTL", "60s"));
    get(&serving, "/keys/t:7").is(200, "database", r#"{"id":7,"v":"v7"}"#);
    assert_eq!(serving.world.value("t:7").as_deref(), Some(r#"{"id":7,"v":"v7"}"#));
    assert!(serving.world.ask::<i64>(&["PTTL", "t:7"]) > 500_000, "it is verified");
    let again = get(&serving, "/keys/t:7");
    again.is(200, "level1", r#"{"id":7,"v":"v7"}"#);
    assert!(
        again.head.contains("x-warm-ttl-ms: 59") && again.head.contains("cache-control: no-store"),
        "{}",
        again.head
    );
    get(&serving, "/keys/t:1").is(200, "redis", r#"{"id":1,"v":"v1"}"#);
    get(&serving, "/keys/t:9999").is(404, "nowhere", "no row makes this key\n");
    assert_eq!(serving.world.value("t:9999"), None);
}

#[test]
fn a_thousand_who_ask_for_a_missing_key_make_one_query() {
    let serving = serving(|world| world.set("WARM_SERVE__LEVEL1_TTL", "60s"));
    let scans = || serving.world.sql("SELECT coalesce(sum(idx_scan), 0) FROM pg_stat_user_tables WHERE relname = 't'");
    // What the first run did has been counted when it does not change any more.
    let count = || scans().trim().parse::<u64>().unwrap();
    get(&serving, "/keys/t:8").is(200, "database", r#"{"id":8,"v":"v8"}"#);
    let before = wait_for("the count of one query", || Some(count()).filter(|count| *count > 0));
    let start = Arc::new(Barrier::new(1000));
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let ask_once = || {
            let stream = UnixStream::connect(serving.world.folder.path.join("keys.sock")).unwrap();
            start.wait();
            ask(stream, "GET /keys/t:4711 HTTP/1.1\r\nHost: x")
        };
        let threads: Vec<_> = (0..1000).map(|_| scope.spawn(ask_once)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == r#"{"id":4711,"v":"v4711"}"#));
    assert_eq!(answers.iter().filter(|answer| answer.from() == "database").count(), 1);
    // A further query is counted after them.
    get(&serving, "/keys/t:9").is(200, "database", r#"{"id":9,"v":"v9"}"#);
    let after = wait_for("the count of the last query", || Some(count()).filter(|count| *count >= before + 2));
    assert_eq!(after, before + 2);
}

/// One with a further job, whose fills stand before the gate 7.
pub(crate) fn with_slow_fills() -> Serving {
    serving(|world| {
        drop(Gate::shut(&world.database, 7));
        world.job("slow", "schedule = '@yearly'\nquery = 'SELECT 0 AS id, 0 AS v'\nkey = 't:slow:{id}'\nvalue = 'row'\nfill_query = 'SELECT id, v::int FROM (SELECT id, substr(v, 2) AS v, wait(7) FROM t WHERE id = :id::int OFFSET 0) AS q'");
    })
}

/// Asks, and does not wait for the answer.
pub(crate) fn begin(serving: &Serving, path: &str) -> UnixStream {
    let mut stream = UnixStream::connect(serving.world.folder.path.join("keys.sock")).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream
}

/// What has been answered, if anything has.
fn answer_now(mut stream: &UnixStream) -> Option<Answer> {
    stream.set_nonblocking(true).unwrap();
    let mut text = [0; 4096];
    let length = stream.read(&mut text).ok()?;
    Some(parse(std::str::from_utf8(&text[..length]).unwrap()))
}

fn open_files(serving: &Serving) -> usize {
    fs::read_dir(format!("/proc/{}/fd", serving.pid())).unwrap().count()
}

#[test]
fn what_nobody_waits_for_any_more_is_not_filled() {
    let serving = with_slow_fills();
    let gate = Gate::shut(&serving.world.database, 7);
    let first = begin(&serving, "/keys/t:slow:1");
    gate.wait_for_query();
    let before = open_files(&serving);
    (100..300).for_each(|id| drop(begin(&serving, &format!("/keys/t:slow:{id}"))));
    wait_for("their end", || (open_files(&serving) <= before).then_some(()));
    std::thread::scope(|scope| {
        // A fill that hangs for longer than some seconds keeps others from asking: on a machine that is as slow as that, it asks again.
        let answer = || Some(get(&serving, "/keys/t:slow:4000")).filter(|answer| answer.status == 200);
        let last = scope.spawn(move || wait_for("an answer", answer));
        gate.open();
        last.join().unwrap();
    });
    let filled = serving.world.keys().into_iter().filter(|key| key.starts_with("t:slow:")).count();
    // The first of those who left may have begun.
    assert!(filled <= 8, "{filled}");
    drop(first);
}

#[test]
fn who_would_wait_too_long_is_told_so_and_other_jobs_have_a_place() {
    let serving = with_slow_fills();
    let gate = Gate::shut(&serving.world.database, 7);
    let first = begin(&serving, "/keys/t:slow:1");
    gate.wait_for_query();
    let waiting: Vec<_> = (2..=300).map(|id| begin(&serving, &format!("/keys/t:slow:{id}"))).collect();
    let refused = wait_for("the refusal", || waiting.iter().find_map(answer_now));
    assert_eq!((refused.status, refused.head.contains("retry-after: 1")), (503, true));
    assert_eq!(refused.body, "256 other keys of the job `slow` wait to be filled already\n");
    get(&serving, "/keys/t:7").is(200, "database", r#"{"id":7,"v":"v7"}"#);
    drop((first, waiting));
    gate.open();
}

#[test]
fn a_fill_that_has_begun_is_for_all_who_ask_although_the_first_leaves() {
    let serving = with_slow_fills();
    let gate = Gate::shut(&serving.world.database, 7);
    let first = begin(&serving, "/keys/t:slow:5");
    gate.wait_for_query();
    let before = open_files(&serving);
    drop(first);
    wait_for("its end", || (open_files(&serving) < before).then_some(()));
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..5).map(|_| scope.spawn(|| get(&serving, "/keys/t:slow:5"))).collect();
        wait_for("the others", || (open_files(&serving) >= before + 4).then_some(()));
        gate.open();
        for other in others {
            other.join().unwrap().is(200, "level1", r#"{"id":5,"v":5}"#);
        }
    });
}

#[test]
fn who_asks_nothing_makes_room_for_who_asks() {
    let serving = serving(|_| {});
    let mut used = begin(&serving, "/keys/t:1");
    assert!(used.read(&mut [0; 4096]).unwrap() > 0);
    let path = serving.world.folder.path.join("keys.sock");
    let silent: Vec<_> = (0..1023).map(|_| UnixStream::connect(&path).unwrap()).collect();
    let begin = Instant::now();
    assert_eq!(get(&serving, "/keys/t:1").status, 200);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    // One that was idle had to go, and no other.
    let is_closed = |one: &UnixStream| {
        one.set_nonblocking(true).unwrap();
        matches!((&*one).read(&mut [0; 4096]), Ok(0))
    };
    wait_for("the one that made room", || silent.iter().chain([&used]).any(is_closed).then_some(()));
    assert_eq!(silent.iter().chain([&used]).filter(|one| is_closed(one)).count(), 1);
}

#[test]
fn only_keys_of_jobs_are_given_and_only_strings() {
    let serving = serving(|world| world.set("WARM_SERVE__LEVEL1_TTL", "0s"));
    let world = &serving.world;
    let _: () = world.ask(&["SET", "session:1", "secret"]);
    get(&serving, "/keys/session:1").is(404, "nowhere", "it is a key of no job\n");
    get(&serving, "/keys/warm:marker").is(404, "nowhere", "it is a key of no job\n");
    get(&serving, "/keys").is(404, "nowhere", "there is GET /keys/{key}, and POST /invalidate/{set}\n");
    let _: () = world.ask(&["LPUSH", "t:list", "x"]);
    get(&serving, "/keys/t:list").is(409, "nowhere", "the key holds another type than a string\n");
    // What the application wrote itself is given, too.
    let _: () = world.ask(&["SET", "t:Lagos: é", "own", "EX", "99"]);
    get(&serving, "/keys/t:Lagos:%20%C3%A9").is(200, "redis", "own");
    let stream = UnixStream::connect(world.folder.path.join("keys.sock")).unwrap();
    let refused = ask(stream, "DELETE /keys/t:1 HTTP/1.1\r\nHost: x");
    assert_eq!((refused.status, refused.head.contains("allow: get, head")), (405, true));
    let stream = UnixStream::connect(world.folder.path.join("keys.sock")).unwrap();
    ask(stream, "HEAD /keys/t:1 HTTP/1.1\r\nHost: x").is(200, "redis", "");
}

#[test]
fn a_key_that_is_no_string_is_neither_given_nor_filled() {
    let serving = serving(|world| {
        world.job("other", "schedule = '@yearly'\nquery = 'SELECT id FROM t WHERE id = :id'\nfor_each.id = [1]\nkey = 't:list:{id}'\nvalue = 'rows'\ntype = 'list'\nmode = 'missing'");
        let _: () = world.ask(&["SET", "t:list:1", "x"]);
        world.set("WARM_SERVE__LISTEN", "127.0.0.1:0");
    });
    let words = "keys of the job `other` are lists, and only strings are given here; ask Redis for them\n";
    get(&serving, "/keys/t:list:1").is(409, "nowhere", words);
    get(&serving, "/keys/t:list:2").is(409, "nowhere", words);
    assert_eq!(serving.world.ask::<i64>(&["EXISTS", "t:list:2"]), 0);
    serving
        .wait_until_it_says("the key t:list:1 of the job other was asked for and could not be given: keys of the job");
    let log = serving.log();
    let line = log.lines().find(|line| line.contains("the key t:list:1")).unwrap();
    assert!(line.contains("ask Redis for them") && !line.contains("advice"), "{line}");
    let (_, metrics) = health::get(&health::address(&serving), "/metrics");
    assert!(metrics.contains("warm_reads_total{from=\"refused\"} 2\n"), "{metrics}");
    assert!(metrics.contains("warm_reads_total{from=\"failed\"} 0\n"), "{metrics}");
}

#[test]
fn what_is_kept_in_memory_is_seen_to_be_old_before_long() {
    let serving = serving(|_| {});
    get(&serving, "/keys/t:1").is(200, "redis", r#"{"id":1,"v":"v1"}"#);
    let _: () = serving.world.ask(&["SET", "t:1", "new", "EX", "99"]);
    get(&serving, "/keys/t:1").is(200, "level1", r#"{"id":1,"v":"v1"}"#);
    wait_for("the new value", || Some(get(&serving, "/keys/t:1")).filter(|answer| answer.body == "new"));
    // What dies in Redis dies here as well, and so does what was not there.
    get(&serving, "/keys/t:6000").is(404, "nowhere", "no row makes this key\n");
    serving.world.sql("INSERT INTO t VALUES (6000, 'late')");
    wait_for("the new row", || Some(get(&serving, "/keys/t:6000")).filter(|answer| answer.status == 200));
}

#[test]
fn without_redis_nobody_asks_the_database() {
    let serving = serving(|_| {});
    serving.world.redis.server.signal("KILL");
    let answer = get(&serving, "/keys/t:77");
    assert_eq!((answer.status, answer.head.contains("retry-after: 1")), (503, true), "{}", answer.body);
    serving.wait_until_it_says("the key t:77 of the job job was asked for and could not be given: ");
    serving.wait_until_it_says("; advice: check that Redis runs");
}

#[test]
fn who_does_not_answer_is_asked_once_a_second_and_the_others_are_told_at_once() {
    let serving = serving(|world| world.set("WARM_REDIS__TIMEOUT", "1s"));
    let redis = &serving.world.redis.server;
    redis.signal("STOP");
    let begin = Instant::now();
    (0..100).for_each(|id| assert_eq!(get(&serving, &format!("/keys/t:{}", 100 + id)).status, 503));
    // Each by itself would wait for a second, or two.
    assert!(begin.elapsed() < Duration::from_secs(50), "{:?}", begin.elapsed());
    redis.signal("CONT");
    wait_for("the answer", || Some(get(&serving, "/keys/t:100")).filter(|answer| answer.status == 200));
}

#[test]
fn a_database_that_hangs_is_noticed_while_others_wait_and_keeps_no_value_back_that_is_there() {
    let serving = with_slow_fills();
    let gate = Gate::shut(&serving.world.database, 7);
    let first = begin(&serving, "/keys/t:slow:1");
    gate.wait_for_query();
    let hangs = "PostgreSQL, asked for keys of the job `slow`, has not answered for ";
    let id = std::cell::Cell::new(1000);
    // One a second waits, and is given up here; the next one is told.
    wait_for("the breaker", || {
        let waiting: Vec<_> = (0..2).map(|n| begin(&serving, &format!("/keys/t:slow:{}", id.get() + n))).collect();
        id.set(id.get() + 2);
        std::thread::sleep(Duration::from_millis(50));
        waiting.iter().find_map(answer_now).filter(|answer| answer.body.starts_with(hangs))
    });
    serving.world.ask::<()>(&["SET", "t:slow:2", "there", "EX", "100"]);
    get(&serving, "/keys/t:slow:2").is(200, "redis", "there");
    get(&serving, "/keys/t:8").is(200, "database", r#"{"id":8,"v":"v8"}"#);
    gate.open();
    wait_for("the next answer", || Some(get(&serving, "/keys/t:slow:9")).filter(|answer| answer.status == 200));
    drop(first);
}

#[test]
fn an_address_answers_only_who_names_it_as_one() {
    let serving = serving(|world| world.set("WARM_SERVE__KEYS_LISTEN", "127.0.0.1:0"));
    serving.wait_until_it_says("giving the values of keys at http://127.0.0.1:");
    let log = serving.log();
    let address = log.split("giving the values of keys at http://").nth(1).unwrap().split("/keys/").next().unwrap();
    let get =
        |host: &str| ask(TcpStream::connect(address).unwrap(), &format!("GET /keys/t:1 HTTP/1.1\r\nHost: {host}"));
    for host in [address, "localhost", "localhost:19277", "[::1]:19277"] {
        assert_eq!(get(host).status, 200, "{host}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example:80", ""] {
        assert_eq!(get(host).status, 403, "{host}");
    }
    for request in [
        "GET http://evil.example/keys/t:1 HTTP/1.1\r\nHost: localhost",
        "GET /keys/t:1 HTTP/1.1\r\nHost: localhost\r\nHost: evil.example",
    ] {
        assert_eq!(ask(TcpStream::connect(address).unwrap(), request).status, 403, "{request}");
    }
}

#[test]
fn a_socket_that_nobody_uses_any_more_is_replaced_and_no_other_file() {
    let serving = serving(|world| world.set("WARM_SERVE__KEYS_SOCKET_MODE", "0600"));
    let path = serving.world.folder.path.join("keys.sock");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let taken = serving.world.warm(&["serve"]).exits(1);
    taken.says("cannot listen on").says("end what listens there, or change `keys_socket` in [serve] of warm.toml");
    get(&serving, "/keys/t:1").is(200, "redis", r#"{"id":1,"v":"v1"}"#);
    serving.signal("KILL");
    wait_for("its end", || UnixStream::connect(&path).is_err().then_some(()));
    assert!(path.exists());
    let Serving { world, .. } = serving;
    let again = Serving::of(world);
    again.wait_until_it_says("giving the values of keys");
    get(&again, "/keys/t:1").is(200, "redis", r#"{"id":1,"v":"v1"}"#);
    let (world, code, _) = again.end();
    assert_eq!((code, path.exists()), (Some(0), false));
    fs::write(&path, "a file").unwrap();
    world.warm(&["serve"]).exits(1).says("cannot listen on");
    assert_eq!(fs::read_to_string(&path).unwrap(), "a file");
}

#[test]
fn another_configuration_gives_other_keys() {
    let serving = serving(|_| {});
    get(&serving, "/keys/u:7").is(404, "nowhere", "it is a key of no job\n");
    let config = serving.world.folder.path.join("warm.toml");
    fs::write(&config, "jobs = \"jobs\"\n[ttl]\n\"t:\" = \"10m\"\n\"u:\" = \"5m\"\n").unwrap();
    serving.world.job("other", &JOB.replace("t:{id}", "u:{id}"));
    serving.signal("HUP");
    serving.wait_until_it_says("other: done");
    get(&serving, "/keys/u:7").is(200, "database", r#"{"id":7,"v":"v7"}"#);
}
