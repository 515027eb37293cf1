//! Those who ask `warm serve` for keys and spoil it for others, on purpose or not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use crate::reads::{ask, begin, get, serving, with_slow_fills};
use crate::serve::Serving;
use crate::support::gate::Gate;
use crate::support::server::wait_for;

/// Puts a string of so many bytes there, as the application might.
fn put(serving: &Serving, key: &str, bytes: usize) {
    let _: i64 = serving.world.ask(&["SETRANGE", key, &(bytes - 1).to_string(), "x"]);
}

#[test]
fn what_is_longer_than_the_job_allows_is_not_fetched() {
    let serving = serving(|world| world.set("WARM_SERVE__LEVEL1_TTL", "0s"));
    put(&serving, "t:77", 60_000_000);
    put(&serving, "t:78", 1 << 20);
    let _: () = serving.world.ask(&["SET", "t:79", ""]);
    for _ in 0..6 {
        let answer = get(&serving, "/keys/t:77");
        assert_eq!((answer.status, answer.head.contains("retry-after")), (409, false), "{}", answer.head);
        assert!(answer.body.starts_with("the value in Redis is longer than max_value allows"), "{}", answer.body);
    }
    assert_eq!(get(&serving, "/keys/t:78").body.len(), 1 << 20);
    get(&serving, "/keys/t:79").is(200, "redis", "");
    let sent = serving.world.ask::<String>(&["INFO", "stats"]);
    let sent = sent.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:")).unwrap();
    assert!(sent.trim().parse::<u64>().unwrap() < 20_000_000, "{sent}");
}

#[test]
fn who_does_not_take_large_answers_fills_no_memory() {
    let serving = serving(|world| {
        world.job("big", "fill_query = 'SELECT 0 AS id WHERE :id::int < 0'\nkey = 't:big:{id}'\nvalue = 'row'\nguard.max_value = '60MiB'");
    });
    (1..=3).for_each(|id| put(&serving, &format!("t:big:{id}"), 30 << 20));
    let slow = |id: u32| {
        let mut stream = begin(&serving, &format!("/keys/t:big:{id}"));
        stream.read_exact(&mut [0; 16]).unwrap();
        stream
    };
    // The same one twice is in memory once.
    let taken = [slow(1), slow(2), slow(2)];
    for _ in 0..5 {
        let answer = get(&serving, "/keys/t:big:3");
        assert_eq!((answer.status, answer.head.contains("retry-after: 1")), (503, true), "{}", answer.head);
        assert_eq!(answer.body, "too many answers wait to be taken\n");
    }
    get(&serving, "/keys/t:1").is(200, "redis", r#"{"id":1,"v":"v1"}"#);
    drop(taken);
    let third = wait_for("room", || Some(get(&serving, "/keys/t:big:3")).filter(|answer| answer.status == 200));
    assert_eq!(third.body.len(), 30 << 20);
}

#[test]
fn no_page_in_a_browser_asks_over_an_address() {
    let serving = serving(|world| world.set("WARM_SERVE__KEYS_LISTEN", "127.0.0.1:0"));
    serving.wait_until_it_says("giving the values of keys at http://127.0.0.1:");
    let log = serving.log();
    let address = log.split("giving the values of keys at http://").nth(1).unwrap().split("/keys/").next().unwrap();
    let get = |more: &str| {
        let stream = TcpStream::connect(address).unwrap();
        ask(stream, &format!("GET /keys/t:7 HTTP/1.1\r\nHost: {address}{more}"))
    };
    for more in [
        "Origin: http://evil.example",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site",
    ] {
        let answer = get(&format!("\r\n{more}"));
        assert_eq!(answer.status, 403, "{more}: {}", answer.body);
    }
    assert_eq!(serving.world.value("t:7"), None, "nothing was filled");
    for more in ["", "\r\nSec-Fetch-Site: none", "\r\nSec-Fetch-Site: same-origin"] {
        let answer = get(more);
        assert!(answer.status == 200 && answer.head.contains("x-content-type-options: nosniff"), "{}", answer.head);
    }
}

#[test]
fn who_owes_the_rest_of_a_request_makes_room_for_who_asks() {
    let serving = serving(|world| {
        world.set("WARM_SERVE__KEYS_INVALIDATE", "true");
        let config = "jobs = \"jobs\"\n[ttl]\n\"t:\" = \"10m\"\n[invalidate.one]\nkeys = ['t:{id}']\n";
        world.config(config);
    });
    let path = serving.world.folder.path.join("keys.sock");
    let post = |body: &str| {
        let mut stream = UnixStream::connect(&path).unwrap();
        let head = "POST /invalidate/one HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9";
        write!(stream, "{head}\r\n\r\n{body}").unwrap();
        stream
    };
    let half: Vec<_> = (0..1024).map(|_| post("{\"id\":")).collect();
    assert_eq!(get(&serving, "/keys/t:1").status, 200);
    // One had to go, and none has waited for its body long enough to be told so.
    let read: Vec<usize> = half.iter().filter_map(read_now).collect();
    assert_eq!(read, [0]);
    drop(half);
    let mut whole = post("{\"id\": 1}");
    let mut answer = [0; 12];
    whole.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

/// How many bytes have come, if it is not still open without any.
fn read_now(mut one: &UnixStream) -> Option<usize> {
    one.set_nonblocking(true).unwrap();
    one.read(&mut [0; 4096]).ok()
}

#[test]
fn who_still_waits_when_the_service_ends_is_told_so() {
    let serving = with_slow_fills();
    let gate = Gate::shut(&serving.world.database, 7);
    let mut first = begin(&serving, "/keys/t:slow:1");
    gate.wait_for_query();
    let idle = UnixStream::connect(serving.world.folder.path.join("keys.sock")).unwrap();
    serving.signal("TERM");
    let mut text = String::new();
    first.read_to_string(&mut text).unwrap();
    let answer = crate::reads::parse(&text);
    assert_eq!((answer.status, answer.head.contains("retry-after: 1")), (503, true), "{text}");
    assert_eq!(answer.body, "the service has ended\n");
    drop((idle, gate));
}

#[test]
fn what_cannot_be_kept_is_not_asked_for_again_and_again() {
    let serving = serving(|world| {
        drop(Gate::shut(&world.database, 7));
        world.set("WARM_SERVE__LEVEL1_TTL", "60s");
        world.set("WARM_LIMITS__KEY_LENGTH", "100");
        let fill = "SELECT id, repeat(v, 1000) AS v FROM t WHERE id = :id AND wait(7)";
        world.job(
            "big",
            &format!("fill_query = '{fill}'\nkey = 't:big:{{id}}'\nvalue = 'row'\nguard.max_value = '1KiB'"),
        );
        let fill = "SELECT id, v::int AS n FROM t WHERE id = :id AND wait(7)";
        world.job("bad", &format!("fill_query = '{fill}'\nkey = 't:bad:{{id}}'\nvalue = 'row'"));
        world.job(
            "any",
            "fill_query = 'SELECT :id::text AS id FROM t WHERE wait(7)'\nkey = 't:any:{id}'\nvalue = 'rows'",
        );
    });
    let refused = |path: &str, words: &str| {
        let answer = get(&serving, path);
        assert_eq!((answer.status, answer.head.contains("retry-after")), (409, false), "{}", answer.body);
        assert!(answer.body.starts_with(words), "{}", answer.body);
    };
    let all = || {
        refused("/keys/t:big:3", "the value is larger than max_value\n");
        refused("/keys/t:bad:3", "invalid input syntax for type integer: \"v3\"");
        refused(&format!("/keys/t:any:{}", "x".repeat(99)), "the key is 105 bytes long, more than key_length = 100");
    };
    refused(&format!("/keys/t:any:{}", "x".repeat(99)), "the key is 105 bytes long");
    all();
    // A query would stand there now.
    let gate = Gate::shut(&serving.world.database, 7);
    all();
    let used = serving.world.ask::<String>(&["INFO", "memory"]);
    let used: u64 = used.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap();
    let _: () = serving.world.ask(&["CONFIG", "SET", "maxmemory", &used.to_string()]);
    for _ in 0..3 {
        let answer = get(&serving, "/keys/t:any:7");
        assert_eq!((answer.status, answer.head.contains("retry-after: 1")), (503, true), "{}", answer.body);
        assert!(answer.body.starts_with("no room for 1 key: "), "{}", answer.body);
    }
    get(&serving, "/keys/t:1").is(200, "redis", r#"{"id":1,"v":"v1"}"#);
    let _: () = serving.world.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    gate.open();
    assert_eq!(get(&serving, "/keys/t:any:7").status, 200);
}
