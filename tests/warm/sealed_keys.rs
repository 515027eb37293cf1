//! Single keys of jobs whose values are compressed or encrypted: compared by what they hold, and nothing of it shown.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::sealed::{NEW, OLD, bytes, job, opened, world, write_keys};
use crate::serve::Serving;
use crate::support::world::World;

const BOTH: &str = "encrypt = true\ncompress = { with = 'zstd', above = '0' }";

/// Rows that are written as the job says.
fn written(more: &str) -> World {
    let world = world();
    world.sql("CREATE TABLE t AS SELECT n AS id, 'hunter' || repeat(n::text, 60) AS v FROM generate_series(1, 20) n; GRANT SELECT ON t TO PUBLIC");
    set(&world, more);
    world.warm(&["--now"]).exits(0).says("wrote 20 keys");
    world
}

fn set(world: &World, more: &str) {
    world.job("job", &job("SELECT id, v FROM t", "row", more));
}

const SAME: &str = "job: 20 keys as in the database\n";
const SEALED_OTHERWISE: &str = "job: 20 keys as in the database (20 of them sealed in another way)\n";

#[test]
fn what_is_sealed_in_another_way_and_holds_the_same_is_no_drift() {
    let mut world = written(BOTH);
    world.set("WARM_REDIS__KEY_PREFIX", "app:");
    world.warm(&["--now"]).exits(0);
    world.warm(&["diff"]).exits(0).says(SAME);
    write_keys(&world, &format!("{NEW}\n{OLD}\n"));
    let before = bytes(&world, "app:t:1");
    world.warm(&["diff"]).exits(0).says(SEALED_OTHERWISE);
    let report = world.warm(&["diff", "--json"]).exits(0).json();
    let keys = &report["jobs"][0]["keys"];
    assert_eq!((&keys["same"], &keys["sealed_otherwise"], &keys["stale"]), (&20.into(), &20.into(), &0.into()));
    world.warm(&["show", "t:7"]).exits(0).says("makes the same value, sealed in another way");
    for compress in
        ["{ with = 'gzip', above = '0' }", "{ with = 'lz4', above = '0' }", "{ with = 'zstd', above = '1KiB' }"]
    {
        set(&world, &format!("encrypt = true\ncompress = {compress}"));
        world.warm(&["diff", "--repair"]).exits(0).says(SEALED_OTHERWISE);
    }
    assert_eq!(bytes(&world, "app:t:1"), before, "there is nothing to repair");
    world.warm(&["--now"]).exits(0);
    world.warm(&["diff"]).exits(0).says(SAME);
}

#[test]
fn of_what_is_encrypted_a_difference_is_named_and_not_shown() {
    let world = written(BOTH);
    world.sql("UPDATE t SET v = 'hunterchanged' WHERE id = 3");
    write_keys(&world, &format!("{NEW}\n{OLD}\n"));
    let _: () = world.ask(&["SET", "t:4", &format!(r#"{{"id":4,"v":"hunter{}"}}"#, "4".repeat(60)), "EX", "99"]);
    let _: i64 = world.ask(&["COPY", "t:6", "t:5", "REPLACE"]);
    let ran = world
        .warm(&["diff"])
        .exits(1)
        .says("17 keys as in the database (17 of them sealed in another way), 1 stale, 2 of another shape\n")
        .says("t:3  stale: in v, at byte 19 of what was encrypted\n")
        .says("t:4  another shape: it is not encrypted\n")
        .says("t:5  another shape: it was changed, or belongs to another key of Redis");
    assert!(!ran.all().contains("hunter"), "{}", ran.all());
    let ran = world.warm(&["show", "t:3", "--json"]).exits(1);
    assert!(!ran.all().contains("hunter"), "{}", ran.all());
    let report = ran.json();
    let finding = &report["findings"][0];
    assert_eq!((&finding["member"], &finding["at"]), (&"v".into(), &19.into()));
    assert!(finding["expected"].is_null() && finding["found"].is_null() && finding["reason"].is_null());
    let report = world.warm(&["show", "t:4", "--json"]).exits(1).json();
    assert_eq!(
        (&report["findings"][0]["kind"], &report["findings"][0]["reason"]),
        (&"other_shape".into(), &"it is not encrypted".into())
    );
    world.warm(&["show", "t:4"]).exits(1).says("makes another value than the one in Redis: it is not encrypted");
    // A key that nobody has any more.
    write_keys(&world, NEW);
    let gone = "t:1  another shape: it is encrypted with the key `old`, which is not among those of [encryption]";
    world.warm(&["diff"]).exits(1).says("0 keys as in the database, 20 of another shape").says(gone);
    world
        .warm(&["diff", "--repair"])
        .exits(0)
        .says("20 keys as in the database (before the repair: 20 of another shape)");
    assert!(opened(&world, "t:3").contains("hunterchanged"));
}

#[test]
fn what_is_only_compressed_is_compared_as_it_is_read() {
    let world = written("compress = { with = 'gzip', above = '0' }");
    world.sql("UPDATE t SET v = 'hunterchanged' WHERE id = 3");
    // As the application caches it by itself.
    let _: () = world.ask(&["SET", "t:4", &format!(r#"{{"id":4,"v":"hunter{}"}}"#, "4".repeat(60)), "EX", "99"]);
    let _: () = world.ask(&["SET", "t:5", &format!(r#"{{"v":"hunter{}","id":5}}"#, "5".repeat(60)), "EX", "99"]);
    world
        .warm(&["diff"])
        .exits(1)
        .says("18 keys as in the database (1 of them sealed in another way), 1 stale, 1 of another shape\n")
        .says("t:3  stale: in v, at byte 19: should be `…,\"v\":\"hunterchanged\"}`, is `…,\"v\":\"hunter3333")
        .says("t:5  another shape: `v` stands where `id` should; first difference at byte 2: should be `{\"id\":5");
}

#[test]
fn single_keys_are_filled_and_given_as_they_are_sealed() {
    let mut world = world();
    world.sql("CREATE TABLE t AS SELECT n AS id, 'hunter' || n AS v FROM generate_series(1, 20) n; GRANT SELECT ON t TO PUBLIC");
    world.job(
        "job",
        &job(
            "SELECT id, v FROM t WHERE id < 3",
            "row",
            &format!("{BOTH}\nschedule = '@yearly'\nfill_query = 'SELECT id, v FROM t WHERE id = :id'"),
        ),
    );
    world.warm(&["fill", "t:7"]).exits(0).says("t:7: written");
    assert!(bytes(&world, "t:7").starts_with(b"\xd7wrm\x01\x03old"));
    assert_eq!(opened(&world, "t:7"), r#"{"id":7,"v":"hunter7"}"#);
    world.warm(&["fill", "t:7"]).exits(0).says("unchanged");
    world.warm(&["show", "t:7"]).exits(0).says("makes the same value\n");
    world.set("WARM_SERVE__KEYS_SOCKET", &world.folder.path.join("keys.sock").display().to_string());
    let serving = Serving::of(world);
    serving.wait_until_it_says("job: done");
    for (key, from) in [("t:8", "database"), ("t:8", "level1"), ("t:1", "redis"), ("t:7", "redis")] {
        let (head, body) = get(&serving.world, key);
        assert!(head.contains(&format!("x-warm-from: {from}")), "{head}");
        assert_eq!(body, bytes(&serving.world, key));
        assert!(body.starts_with(b"\xd7wrm\x01\x03old"));
    }
}

/// What `warm serve` answers.
fn get(world: &World, key: &str) -> (String, Vec<u8>) {
    let mut stream = UnixStream::connect(world.folder.path.join("keys.sock")).unwrap();
    write!(stream, "GET /keys/{key} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    (String::from_utf8_lossy(&all[..end]).to_lowercase(), all[end + 4..].to_vec())
}

#[test]
fn a_job_without_a_key_to_encrypt_with_fills_shows_and_gives_nothing() {
    let mut world = World::new();
    world.job("plain", "query = 'SELECT 1 AS id'\nkey = 't:plain:{id}'\nvalue = 'row'\nschedule = '@yearly'");
    world.job(
        "secret",
        "query = 'SELECT 1 AS id'\nkey = 't:secret:{id}'\nvalue = 'row'\nencrypt = true\nschedule = '@yearly'",
    );
    world.warm(&["--now"]).exits(0);
    let why = "the job `secret` is disabled: encrypt = true, and no key is configured ([encryption] in warm.toml)";
    for command in [
        &["fill", "t:secret:1"][..],
        &["fill", "t:plain:1", "t:secret:1"],
        &["show", "t:secret:1"],
        &["diff", "secret"],
    ] {
        assert_eq!(world.warm(command).exits(2).says(why).out, "", "{command:?}");
    }
    let told = "plain: 1 key as in the database\nsecret: not compared: disabled: encrypt = true";
    world.warm(&["diff"]).exits(0).says(told);
    let report = world.warm(&["diff", "--json"]).exits(0).json();
    assert_eq!((report["jobs"].as_array().unwrap().len(), &report["disabled"][0]["job"]), (1, &"secret".into()));
    assert_eq!(world.value("t:secret:1"), None);
    world.set("WARM_SERVE__KEYS_SOCKET", &world.folder.path.join("keys.sock").display().to_string());
    let serving = Serving::of(world);
    serving.wait_until_it_says("plain: done");
    let _: () = serving.world.ask(&["SET", "t:secret:2", "\u{1}", "EX", "99"]);
    for key in ["t:secret:1", "t:secret:2"] {
        let (head, body) = get(&serving.world, key);
        assert!(head.starts_with("http/1.1 409"), "{head}");
        assert_eq!(String::from_utf8(body).unwrap(), format!("{why}\n"));
    }
}

#[test]
fn what_the_server_says_about_rows_that_are_encrypted_is_told_to_nobody() {
    let mut world = world();
    world.sql("CREATE TABLE t AS SELECT 7 AS id, 'hunter@example.com' AS v; GRANT SELECT ON t TO PUBLIC");
    let failing = |more: &str| {
        let fill = "fill_query = 'SELECT id, v::int AS n FROM t WHERE id = :id::int'";
        world
            .job("job", &job("SELECT id, v::int AS n FROM t", "row", &format!("{fill}\nschedule = '@yearly'\n{more}")));
    };
    failing("encrypt = false");
    world.warm(&["--now"]).exits(1).says("hunter");
    for guard in ["", "guard.min_rows = 1"] {
        failing(&format!("encrypt = true\n{guard}"));
        for command in [&["--now"][..], &["--now", "--json"], &["fill", "t:7"], &["show", "t:7", "--json"], &["diff"]] {
            let ran = world.warm(command).exits(1).says("which the job encrypts; its log has them (SQLSTATE 22P02)");
            assert!(!ran.all().contains("hunter"), "{}", ran.all());
        }
    }
    let kept = world.warm(&["status"]).says("(SQLSTATE 22P02)");
    assert!(!kept.all().contains("hunter"), "{}", kept.all());
    // What is wrong with the query itself is no secret.
    world.job("job", &job("SELECT id, w FROM t", "row", "encrypt = true"));
    world.warm(&["--now"]).exits(1).says("column \"w\" does not exist");
    failing("encrypt = true");
    world.set("WARM_SERVE__KEYS_SOCKET", &world.folder.path.join("keys.sock").display().to_string());
    let serving = Serving::of(world);
    serving.wait_until_it_says("giving the values of keys");
    let (_, body) = get(&serving.world, "t:7");
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("SQLSTATE 22P02") && !body.contains("hunter"), "{body}");
    assert!(!serving.log().contains("hunter"));
}
