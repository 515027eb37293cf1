//! What `warm serve` says over HTTP: how it is, whatever is down.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::history::ask as history;
use super::serve::Serving;
use crate::support::server::wait_for;
use crate::support::world::{CONFIG, World};

/// Comes due once a year.
const SELDOM: &str =
    "schedule = '@yearly'\nquery = 'SELECT n AS id FROM generate_series(1, 3) n'\nkey = 't:s:{id}'\nvalue = 'row'";

/// A world whose service listens at a port that the kernel chooses.
fn listening() -> World {
    let mut world = World::new();
    world.set("WARM_SERVE__LISTEN", "127.0.0.1:0");
    world.job("seldom", SELDOM);
    world
}

/// Where the service listens.
pub(crate) fn address(serving: &Serving) -> String {
    serving.wait_until_it_says("listening on 127.0.0.1:");
    let log = serving.log();
    let (_, rest) = log.split_once("listening on ").unwrap();
    rest.split(": ").next().unwrap().to_owned()
}

/// The status and the text of the answer to these bytes.
fn ask(address: &str, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // A server that has said enough may close before everything is sent.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let Some((head, text)) = answer.split_once("\r\n\r\n") else { return (0, answer) };
    (head.split(' ').nth(1).unwrap().parse().unwrap(), text.to_owned())
}

pub(crate) fn get(address: &str, path: &str) -> (u16, String) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: warm\r\n\r\n"))
}

pub(crate) fn wait_for_line(address: &str, line: &str) {
    wait_for(line, || get(address, "/metrics").1.lines().any(|other| other == line).then_some(()));
}

#[test]
fn it_tells_over_http_how_it_is() {
    let mut serving = Serving::of(listening());
    let address = address(&serving);
    wait_for("readiness", || (get(&address, "/readyz") == (200, "ok\n".to_owned())).then_some(()));
    assert_eq!(get(&address, "/healthz"), (200, "ok\n".to_owned()));
    wait_for_line(&address, "warm_runs_total{job=\"seldom\",outcome=\"ok\"} 1");
    wait_for_line(&address, "warm_keys_written_total{job=\"seldom\"} 3");
    wait_for_line(&address, "warm_redis_up 1");
    wait_for("the last success", || {
        get(&address, "/metrics").1.contains("warm_last_success_timestamp_seconds{job=\"seldom\"}").then_some(())
    });
    let (_, metrics) = get(&address, "/metrics");
    assert!(metrics.contains("warm_next_start_timestamp_seconds{job=\"seldom\"}"), "{metrics}");
    serving.world.redis.server.end();
    wait_for("Redis to be missed", || (get(&address, "/readyz").0 == 503).then_some(()));
    assert!(get(&address, "/readyz").1.starts_with("Redis is away: "), "{:?}", get(&address, "/readyz"));
    assert_eq!(get(&address, "/healthz").0, 200, "that is no reason to be restarted");
    serving.world.redis.start_again();
    serving.world.redis.allow_all_keys();
    wait_for_line(&address, "warm_redis_losses_total{loss=\"restarted\"} 1");
    serving.world.job("new", &SELDOM.replace("t:s:", "t:new:"));
    std::fs::remove_file(serving.world.folder.path.join("jobs/seldom.toml")).unwrap();
    wait_for_line(&address, "warm_runs_total{job=\"new\",outcome=\"ok\"} 1");
    let (_, metrics) = get(&address, "/metrics");
    assert!(!metrics.contains("seldom") && metrics.contains("warm_reloads_total{outcome=\"ok\"} 1"), "{metrics}");
    assert_eq!(serving.end().1, Some(0));
    assert!(TcpStream::connect(&address).is_err(), "nobody listens any more");
}

#[test]
fn it_tells_why_redis_is_away_now_and_not_why_it_went() {
    let serving = Serving::of(listening());
    let (world, address) = (&serving.world, address(&serving));
    wait_for("readiness", || (get(&address, "/readyz") == (200, "ok\n".to_owned())).then_some(()));
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "off"]);
    let _: i64 = world.ask(&["CLIENT", "KILL", "USER", "warm"]);
    let present = wait_for("the present reason", || {
        Some(get(&address, "/readyz").1).filter(|text| text.contains("rejects the user name or the password"))
    });
    assert!(present.contains("socket (database 0); advice: check user and password of REDIS_URL"), "{present}");
    serving.wait_until_it_says(present.trim_start_matches("Redis is away: ").lines().next().unwrap());
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "on"]);
    wait_for("readiness", || (get(&address, "/readyz") == (200, "ok\n".to_owned())).then_some(()));
    assert!(serving.log().contains("until it is back: the connection to Redis broke"), "{}", serving.log());
    assert_eq!(serving.end().1, Some(0));
}

#[test]
fn strange_clients_are_held_off() {
    let serving = Serving::of(listening());
    let address = address(&serving);
    assert_eq!(ask(&address, "POST /metrics HTTP/1.1\r\nHost: warm\r\nContent-Length: 3\r\n\r\nabc").0, 405);
    assert_eq!(get(&address, "/").0, 404);
    assert_eq!(ask(&address, "HEAD /healthz HTTP/1.1\r\nHost: warm\r\n\r\n"), (200, String::new()));
    assert_eq!(ask(&address, "nonsense\r\n\r\n").0, 400);
    let long = format!("GET /healthz HTTP/1.1\r\nHost: warm\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    assert_eq!(ask(&address, &long).0, 431);
    // As many as want to hold the door, and say nothing: each is let go after a while.
    let silent: Vec<_> = (0..40).map(|_| TcpStream::connect(&address).unwrap()).collect();
    assert_eq!(get(&address, "/healthz").0, 200);
    drop(silent);
    let silent = TcpStream::connect(&address).unwrap();
    assert_eq!(serving.end().1, Some(0), "it does not wait for those who say nothing");
    drop(silent);
}

#[test]
fn those_who_ask_nothing_make_nobody_wait() {
    let serving = Serving::of(listening());
    let address = address(&serving);
    let idle = |number: usize| {
        let mut stream = TcpStream::connect(&address).unwrap();
        // Some begin to ask, and do not get on with it.
        if number.is_multiple_of(3) {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nX: ").unwrap();
        }
        stream
    };
    let start = Instant::now();
    let idle: Vec<_> = (0..200).map(idle).collect();
    assert_eq!(get(&address, "/healthz"), (200, "ok\n".to_owned()));
    assert!(start.elapsed() < Duration::from_secs(2), "it took {:?}", start.elapsed());
    // One who is alone has a second.
    let mut last = TcpStream::connect(&address).unwrap();
    last.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    assert_eq!(last.read(&mut [0]).unwrap(), 0, "it is let go");
    drop(idle);
}

#[test]
fn a_place_that_is_taken_is_an_error_with_a_way_out() {
    let mut world = listening();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    world.set("WARM_SERVE__LISTEN", &address.to_string());
    let ran = world.warm(&["serve"]).exits(1).says(&format!("cannot listen on {address} for /healthz"));
    let ran = ran.says("in use (os error 98); end what listens there, or ");
    ran.says("say in [serve] of warm.toml `listen = \"127.0.0.1:");
    let beside = |step: u16| format!("127.0.0.1:{}", address.port() ^ step);
    world.warm(&["serve"]).exits(1).says(&format!("`listen = \"{}\"`", beside(1)));
    world.set("WARM_SERVE__KEYS_LISTEN", &beside(1));
    world.warm(&["serve"]).exits(1).says(&format!("`listen = \"{}\"`", beside(2)));
    world.unset("WARM_SERVE__KEYS_LISTEN");
    assert_eq!(world.warm(&["serve", "--json"]).exits(1).json()["exit_code"], 1);
    assert_eq!(world.value("t:s:1"), None, "nothing was done");
}

#[test]
fn a_service_that_runs_already_is_told_from_others() {
    let mut serving = Serving::of(listening());
    let address = address(&serving);
    let already = format!("; `warm serve` runs here already (process {}): end it, or say in [serve]", serving.pid());
    serving.world.set("WARM_SERVE__LISTEN", &address);
    wait_for("what it says of itself", || serving.world.warm(&["serve"]).exits(1).err.contains(&already).then_some(()));
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    serving.world.set("WARM_SERVE__LISTEN", &other.local_addr().unwrap().to_string());
    serving.world.warm(&["serve"]).exits(1).says("; end what listens there, or");
}

#[test]
fn where_it_listens_is_an_address_or_none() {
    let mut world = listening();
    world.set("WARM_SERVE__LISTEN", "localhost");
    world
        .warm(&["list"])
        .exits(2)
        .says("`serve.listen` must be an address with a port, such as \"127.0.0.1:19276\", or \"none\"");
    world.set("WARM_SERVE__LISTEN", "[::1]:80");
    world.warm(&["list"]).exits(0);
}

#[test]
fn a_job_that_does_not_succeed_for_too_long_is_stale() {
    let mut world = listening();
    world.config(&format!("{CONFIG}[defaults]\nmax_age = '2s'\n"));
    world.sql("CREATE TABLE works (id int)");
    world.sql("INSERT INTO works VALUES (1); GRANT SELECT ON works TO PUBLIC");
    let often =
        "schedule = '* * * * * *'\nretries = 0\nquery = 'SELECT id FROM works'\nkey = 't:o:{id}'\nvalue = 'row'";
    world.job("often", often);
    world.job("seldom", &format!("{SELDOM}\nmax_age = '1d'"));
    world.set("WARM_LOG", "info");
    let serving = Serving::of(world);
    let address = address(&serving);
    wait_for("readiness", || (get(&address, "/readyz").0 == 200).then_some(()));
    wait_for_line(&address, "warm_job_max_age_seconds{job=\"often\"} 2.0");
    wait_for_line(&address, "warm_job_stale{job=\"often\"} 0");
    serving.world.sql("ALTER TABLE works RENAME TO broken");
    wait_for("unreadiness", || (get(&address, "/readyz").0 == 503).then_some(()));
    let (_, reasons) = get(&address, "/readyz");
    let expected = "often: stale: its last success was ";
    assert!(reasons.starts_with(expected) && reasons.ends_with(" ago, max_age is 2s\n"), "{reasons}");
    wait_for_line(&address, "warm_job_stale{job=\"often\"} 1");
    wait_for_line(&address, "warm_job_stale{job=\"seldom\"} 0");
    serving.world.sql("ALTER TABLE broken RENAME TO works");
    wait_for("readiness", || (get(&address, "/readyz").0 == 200).then_some(()));
    let (_, _, log) = serving.end();
    for said in ["often: stale: its last success was ", "often: no longer stale"] {
        assert_eq!(log.matches(said).count(), 1, "{log}");
    }
}

#[test]
fn a_job_that_never_succeeded_has_its_time_also_over_a_restart() {
    let world = listening();
    let broken = "query = 'SELECT nothing'\nkey = 't:n:{nothing}'\nvalue = 'row'\nmax_age = '3s'";
    world.job("never", &format!("schedule = '@yearly'\n{broken}"));
    let serving = Serving::of(world);
    let here = address(&serving);
    serving.wait_until_it_says("never: failed");
    wait_for("readiness while there is time", || (get(&here, "/readyz").0 == 200).then_some(()));
    let words = "never: stale: no success is known for longer than its max_age of 3s\n";
    wait_for("the end of its time", || (get(&here, "/readyz") == (503, words.to_owned())).then_some(()));
    let (world, _, log) = serving.end();
    assert_eq!(log.matches("never: stale: ").count(), 1, "{log}");
    let serving = Serving::of(world);
    // It has been known since its first run, which is in the history.
    serving.wait_until_it_says("never: stale: no success is known");
    serving.end();
}

#[test]
fn only_a_run_of_everything_is_a_success() {
    let world = World::new();
    world.job("seldom", SELDOM);
    let successes = || {
        let table = "SELECT name FROM sqlite_schema WHERE name = 'success'";
        history(&world.state().join("history.sqlite"), table).len()
    };
    world.warm(&["--now", "--missing"]).exits(0);
    world.warm(&["--now", "--dry-run"]).exits(0);
    assert_eq!(successes(), 0);
    world.warm(&["--now"]).exits(0);
    assert_eq!(successes(), 1);
}
