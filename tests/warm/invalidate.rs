//! `warm invalidate`: what a change has made stale is deleted, all of it, and nothing else.

use std::io::Write;
use std::process::Stdio;

use redis::Connection;

use crate::support::proxy::{Fault, Proxy};
use crate::support::world::{Ran, World, ask};

/// Sets with a key of each kind.
const SETS: &str = r#"
jobs = "jobs"
[ttl]
"t:" = "10m"
[invalidate.event]
keys = ["t:event:{id}", "t:list:*", "t:analytics:{id}"]
[invalidate.ticket]
keys = ["t:ticket:{id}", "t:of:{userId}:*:end", "t:by:{eventId}:{id}"]
then = ["event id={eventId}"]
"#;

fn world() -> World {
    let world = World::new();
    world.config(SETS);
    world.job("job", "query = 'SELECT 1 AS id'\nkey = 't:{id}'\nvalue = 'row'");
    world
}

/// Writes a string at each of the keys.
fn fill<K: AsRef<str>>(world: &World, keys: impl IntoIterator<Item = K>) {
    let mut pipe = redis::pipe();
    keys.into_iter().for_each(|key| {
        pipe.cmd("SET").arg(key.as_ref()).arg("x");
    });
    pipe.exec(&mut world.redis.connect()).unwrap();
}

/// How often Redis was sent the command.
fn calls(world: &World, command: &str) -> u64 {
    let stats: String = world.ask(&["INFO", "commandstats"]);
    let line =
        stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls="))?.split(',').next());
    line.map_or(0, |calls| calls.parse().unwrap())
}

/// Runs the program with this text on its standard input.
fn with_input(world: &World, arguments: &[&str], input: &[u8]) -> Ran {
    let mut child =
        world.program(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    Ran::of(child.wait_with_output().unwrap())
}

#[test]
fn a_set_is_deleted_with_what_follows_from_it_and_nothing_else_is() {
    let world = world();
    let stale = [
        "t:ticket:1",
        "t:of:2:a:end",
        "t:of:2::end",
        "t:by:3:1",
        "t:event:3",
        "t:list:",
        "t:list:state:Cross River:é",
        "t:analytics:3",
    ];
    let others =
        ["t:ticket:12", "t:of:2:end", "t:of:22:a:end", "t:of:2:a:ends", "t:event:33", "t:lis", "xt:list:a", "other"];
    fill(&world, stale.iter().chain(&others));
    world.warm(&["invalidate", "ticket", "userId=2", "id=1", "eventId=3"]).exits(0).says("deleted 8 keys in");
    let mut left = others.map(str::to_owned);
    left.sort();
    assert_eq!(world.keys(), left);
    world.warm(&["invalidate", "ticket", "userId=2", "id=1", "eventId=3"]).exits(0).says("deleted 0 keys in");
    assert_eq!(world.keys(), left);
}

#[test]
fn keys_of_any_type_and_writer_are_deleted_but_none_of_our_own() {
    let world = world();
    world.config("jobs = 'jobs'\n[ttl]\n't:' = '10m'\n[invalidate.all]\nkeys = ['t:*', 'w*']\n[invalidate.one]\nkeys = ['w{x}', 'w{x}:*']\n");
    world.warm(&["--now"]).exits(0);
    let _: i64 = world.ask(&["RPUSH", "t:list", "a"]);
    let _: i64 = world.ask(&["HSET", "t:hash", "a", "b"]);
    let _: String = world.ask(&["XADD", "t:stream", "*", "a", "b"]);
    fill(&world, ["t:forever", "warm", "warmth", "warm:marker", "warm:served:x"]);
    world.warm(&["invalidate", "all"]).exits(0).says("deleted 7 keys in");
    assert_eq!(world.keys(), ["warm:marker", "warm:served:x"]);
    let said = world.warm(&["invalidate", "one", "x=arm:served"]).exits(2);
    assert!(said.err.contains("the key `warm:served` belongs to warm itself"), "{}", said.all());
    assert_eq!(world.keys().len(), 2);
}

#[test]
fn what_means_something_to_redis_is_literal_in_values_and_in_the_prefix() {
    let mut world = world();
    fill(
        &world,
        [
            "[p]*t:of:*:a:end",
            "[p]*t:of:1:a:end",
            "pt:of:*:a:end",
            "[p]*t:list:?",
            "[p]xt:list:?",
            "t:list:?",
            "[p]*t:event:*",
            "[p]*t:event:1",
        ],
    );
    world.set("WARM_REDIS__KEY_PREFIX", "[p]*");
    world.warm(&["invalidate", "ticket", "userId=*", "id=?", "eventId=*"]).exits(0).says("deleted 3 keys in");
    assert_eq!(world.keys(), ["[p]*t:event:1", "[p]*t:of:1:a:end", "[p]xt:list:?", "pt:of:*:a:end", "t:list:?"]);
}

#[test]
fn the_configured_database_is_the_one_that_is_meant() {
    let mut world = world();
    fill(&world, ["t:event:1"]);
    let mut third: Connection = world.redis.connect();
    let _: () = ask(&mut third, &["SELECT", "3"]);
    let _: () = ask(&mut third, &["MSET", "t:event:1", "x", "t:list:a", "x"]);
    world.set("WARM_REDIS__DATABASE", "3");
    world.warm(&["invalidate", "event", "id=1"]).exits(0).says("deleted 2 keys in");
    assert_eq!(ask::<u64>(&mut third, &["DBSIZE"]), 0);
    assert_eq!(world.keys(), ["t:event:1"]);
}

#[test]
fn many_keys_go_in_one_pass_by_small_steps_without_keys_or_del() {
    let world = world();
    fill(&world, (0..20_000).map(|n| if n % 2 == 0 { format!("t:list:{n}") } else { format!("t:other:{n}") }));
    let _: () = world.ask(&["CONFIG", "RESETSTAT"]);
    world.warm(&["invalidate", "event", "id=1"]).exits(0).says("deleted 10000 keys in");
    assert_eq!(world.ask::<u64>(&["DBSIZE"]), 10_000);
    assert_eq!((calls(&world, "keys"), calls(&world, "del"), calls(&world, "flushall")), (0, 0, 0));
    assert_eq!(calls(&world, "unlink"), 10_002, "each key by a command of its own");
    // The table of 20,000 keys has 32,768 places, and shrinks on the way.
    assert!((20..=120).contains(&calls(&world, "scan")), "{}", calls(&world, "scan"));
}

#[test]
fn a_dry_run_shows_each_key_once_and_deletes_nothing() {
    let world = world();
    world.config(&SETS.replace("\"t:analytics:{id}\"", "\"t:list:{id}\""));
    let keys: Vec<String> = (0..3000).map(|n| format!("t:list:{n}")).collect();
    fill(&world, &keys);
    fill(&world, ["t:event:7", "t:list:\u{1b}[2J"]);
    let ran = world.warm(&["invalidate", "event", "id=7", "--dry-run"]).exits(0);
    // `t:list:7` is named, and matches as well.
    let all = ran.says("would delete 3002 keys in").says("\n  t:event:7\n  t:list:7\n").says("\n  and 2997 more\n");
    assert_eq!(all.out.lines().count(), 7, "{}", all.all());
    assert_eq!(world.ask::<u64>(&["DBSIZE"]), 3002);
    let report = world.warm(&["invalidate", "event", "id=x", "--dry-run", "--json"]).exits(0).json();
    assert_eq!((&report["dry_run"], &report["keys"], &report["exit_code"]), (&true.into(), &3001.into(), &0.into()));
    assert_eq!(report["sample"].as_array().unwrap().len(), 5);
    let _: () = world.ask(&["FLUSHALL"]);
    fill(&world, ["t:list:\u{1b}[2J"]);
    let ran = world.warm(&["invalidate", "event", "id=x", "--dry-run"]).exits(0).says("\n  t:list:\\u{1b}[2J\n");
    assert!(!ran.out.contains('\u{1b}'), "{}", ran.all());
}

#[test]
fn all_lines_of_standard_input_share_one_pass() {
    let world = world();
    fill(
        &world,
        ["t:event:1", "t:event:2", "t:list:a", "t:ticket:a b", "t:of:u:x:end", "t:event:9", "t:by:9:a b", "t:event:3"],
    );
    let input =
        b"event id=1\n\nevent id=2\r\n{\"ticket\": {\"id\": \"a b\", \"userId\": \"u\", \"eventId\": 9}}\nevent id=1\n";
    let _: () = world.ask(&["CONFIG", "RESETSTAT"]);
    let report = with_input(&world, &["invalidate", "--stdin", "--json"], input).exits(0).json();
    assert_eq!((&report["changes"], &report["keys"]), (&4.into(), &7.into()), "{report:#}");
    assert_eq!(calls(&world, "scan"), 1);
    assert_eq!(world.keys(), ["t:event:3"]);
    let report = with_input(&world, &["invalidate", "--stdin", "--json"], b"\n").exits(0).json();
    assert_eq!((&report["changes"], &report["keys"]), (&0.into(), &0.into()), "nothing to do is no mistake");
}

#[test]
fn a_line_without_values_means_all_keys_of_its_set_and_a_star_of_the_shell_means_nothing() {
    let world = world();
    fill(&world, ["t:event:1", "t:event:x y", "t:events", "t:ticket:1"]);
    world.warm(&["invalidate", "event", "*"]).exits(2).says("`*` is no param=value");
    with_input(&world, &["invalidate", "--stdin"], b"event *\n").exits(0);
    assert_eq!(world.keys(), ["t:events", "t:ticket:1"]);
}

#[test]
fn one_wrong_line_and_nothing_is_deleted() {
    let world = world();
    fill(&world, ["t:event:1", "t:list:a"]);
    let ran =
        with_input(&world, &["invalidate", "--stdin"], b"event id=1\nevnt id=1\nevent id=\n{\"event\": 1}\n").exits(2);
    let ran = ran
        .says("line 2: there is no set `evnt`; did you mean `event`?")
        .says("line 3: event: `id` is empty")
        .says("line 4: ");
    assert!(ran.says("3 errors").out.is_empty());
    with_input(&world, &["invalidate", "--stdin"], b"event id=\xff\n").exits(2).says("standard input cannot be read");
    assert_eq!(world.keys().len(), 2);
}

#[test]
fn a_pass_that_breaks_off_is_begun_again_and_given_up_when_it_always_does() {
    let mut world = world();
    let fill_again = |world: &World| fill(world, (0..5000).map(|n| format!("t:list:{n}")));
    for cut in [0, 500, 8000, 20_000, 60_000] {
        fill_again(&world);
        // One connection is for what is named, one for the pass.
        let proxy = Proxy::before(world.redis.port, &[Fault::CutAfter(cut); 2]);
        world.set("REDIS_URL", &world.redis.tcp_url(proxy.port));
        world.warm(&["invalidate", "event", "id=1"]).exits(0);
        assert_eq!(world.keys(), [""; 0], "cut after {cut}");
        assert!(proxy.accepted() >= 3, "the fault struck");
    }
    fill_again(&world);
    let proxy = Proxy::before(world.redis.port, &[Fault::CutAfter(20_000); 20]);
    world.set("REDIS_URL", &world.redis.tcp_url(proxy.port));
    let ran = world.warm(&["invalidate", "event", "id=1"]).exits(4).says("not everything was deleted: ");
    assert!(ran.says("keys may be left").says("check that Redis runs").out.is_empty());
    let report = world.warm(&["invalidate", "event", "id=1", "--json"]).json();
    assert_eq!((&report["exit_code"], &report["error"]["kind"]), (&4.into(), &"RedisUnreachable".into()), "{report:#}");
}

#[test]
fn a_redis_that_is_not_there_is_exit_code_4() {
    let mut world = world();
    world.set("REDIS_URL", &world.redis.tcp_url(crate::support::server::free_port()));
    world.set("WARM_REDIS__CONNECT_TIMEOUT", "1s");
    world.warm(&["invalidate", "event", "id=1"]).exits(4).says("no connection to Redis").says("check that Redis runs");
}

#[test]
fn a_right_that_is_missing_is_said_and_what_may_be_deleted_is() {
    let world = world();
    fill(&world, ["t:event:1", "t:list:a", "t:analytics:1"]);
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "resetkeys", "~t:event:*", "%W~t:list:*"]);
    let ran = world.warm(&["invalidate", "event", "id=1"]).exits(4).says("NOPERM").says("the key t:analytics:1");
    ran.says("config/redis-acl.conf");
    assert_eq!(world.keys(), ["t:analytics:1"]);
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "~*", "-scan"]);
    fill(&world, ["t:list:a"]);
    world.warm(&["invalidate", "event", "id=1"]).exits(4).says("'scan' command");
    assert_eq!(world.keys(), ["t:list:a"], "what could be named is gone");
}

#[test]
fn deleting_keeps_to_the_rate_that_the_operator_sets() {
    let mut world = world();
    fill(&world, (0..300).map(|n| format!("t:list:{n}")));
    world.set("WARM_REDIS__KEYS_PER_SECOND", "100");
    let report = world.warm(&["invalidate", "event", "id=1", "--json"]).exits(0).json();
    assert_eq!(report["keys"], 300);
    // A full batch comes at once, and so may what is named.
    assert!(report["milliseconds"].as_f64().unwrap() >= (300.0 - 64.0) / 100.0 * 1e3 * 0.9, "{report:#}");
}

#[test]
fn a_job_file_that_is_wrong_keeps_no_key_stale() {
    let world = world();
    world.job("bad", "query = 1");
    fill(&world, ["t:event:1"]);
    let ran = world.warm(&["invalidate", "event", "id=1"]).exits(0).says("deleted 1 key in");
    assert_eq!(ran.err, "", "`warm check` says it");
}

#[test]
fn the_platforms_sets_are_allowed_to_the_least_account_which_reads_none_that_no_job_has() {
    let world = World::platform();
    let stale = [
        "ticket:1",
        "ticket:user:2",
        "ticket:user:2:page:1",
        "ticket:event:3:tier:VIP",
        "event:3",
        "event:list:state:Lagos",
        "analytics:3",
    ];
    let more = ["user:2", "payment:user:2:last", "leaderboard:referral:top100", "leaderboard:referral:month"];
    fill(&world, stale.iter().chain(&more).chain(&["ticket:event:4", "payment:9", "session:1", "user:9"]));
    for change in [&["ticket", "id=1", "userId=2", "eventId=3"][..], &["user", "id=2"], &["referral"]] {
        world.warm(&[&["invalidate", "--dry-run"], change].concat()).exits(0);
        world.warm(&[&["invalidate"], change].concat()).exits(0);
    }
    assert_eq!(world.keys(), ["payment:9", "session:1", "ticket:event:4", "user:9"]);
    let mut warm = redis::Client::open(world.redis.url()).unwrap().get_connection().unwrap();
    let read = redis::cmd("GET").arg("user:9").query::<String>(&mut warm).unwrap_err();
    assert_eq!(read.code(), Some("NOPERM"));
}

#[test]
fn two_values_for_one_parameter_are_a_mistake_in_json_too() {
    let world = world();
    fill(&world, ["t:event:1", "t:event:2"]);
    with_input(&world, &["invalidate", "--stdin"], b"{\"event\": {\"id\": 1, \"id\": 2}}\n").exits(2);
    assert_eq!(world.keys(), ["t:event:1", "t:event:2"]);
}
