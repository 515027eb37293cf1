//! `compress` and `encrypt`: what then stands in Redis, who can read it, and that all else is as it is without.

use std::fs;
use std::path::PathBuf;

use crate::freshness::{end, on_busy};
use crate::serve::Serving;
use crate::support::gate::Gate;
use crate::support::postgres::PASSWORD;
use crate::support::readers::readers;
use crate::support::server::wait_for;
use crate::support::world::{CONFIG, World};

pub(crate) const OLD: &str = "old AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
pub(crate) const NEW: &str = "new AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

/// With `encrypt`, and a file with this key.
pub(crate) fn world() -> World {
    let world = World::new();
    write_keys(&world, OLD);
    world.config(&format!("{CONFIG}[encryption]\nkeys_file = 'keys'\n"));
    world
}

pub(crate) fn write_keys(world: &World, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let file = world.folder.path.join("keys");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

pub(crate) fn job(query: &str, value: &str, more: &str) -> String {
    format!("query = '''{query}'''\nkey = 't:{{id}}'\nvalue = '{value}'\n{more}\n")
}

pub(crate) fn bytes(world: &World, key: &str) -> Vec<u8> {
    world.ask(&["GET", key])
}

/// The value at a key, by `warm`'s own way back.
pub(crate) fn opened(world: &World, key: &str) -> String {
    let [node, _] = readers();
    let value = node.open(Some(&world.folder.path.join("keys")), key, &bytes(world, key));
    String::from_utf8(value.unwrap_or_else(|error| panic!("{key}: {error}"))).unwrap()
}

#[test]
fn no_reader_takes_a_part_of_a_compressed_value_for_all_of_it() {
    let world = world();
    for name in ["zstd", "lz4", "gzip"] {
        let query =
            "SELECT 1 AS id, string_agg(md5(n::text), ',') || repeat('x', 200000) AS v FROM generate_series(1, 400) n";
        let text = job(query, "column:v", &format!("compress = '{name}'"));
        world.job(name, &text.replace("t:{id}", &format!("t:{name}:{{id}}")));
    }
    world.warm(&["--now"]).exits(0);
    let expected =
        world.sql("SELECT string_agg(md5(n::text), ',') || repeat('x', 200000) FROM generate_series(1, 400) n");
    for reader in readers() {
        for name in ["zstd", "lz4", "gzip"] {
            let key = format!("t:{name}:1");
            let whole = bytes(&world, &key);
            let open = |value: &[u8]| reader.open(None, &key, value);
            assert!(open(&whole).is_ok_and(|value| value == expected.as_bytes()), "{}: {name}", reader.name);
            let length = whole.len();
            for cut in [length - 1, length - 4, length - 9, length / 2, 6] {
                assert!(open(&whole[..cut]).is_err(), "{}: {name}, {cut} of {length} bytes", reader.name);
            }
            for behind in [&b"\0"[..], b"x", &[0; 300]] {
                assert!(open(&[&whole, behind].concat()).is_err(), "{}: {name}, behind it {behind:?}", reader.name);
            }
        }
    }
    // Nor does `warm diff`.
    let half = bytes(&world, "t:lz4:1");
    let mut connection = world.redis.connect();
    let set = |value: &[u8], connection: &mut redis::Connection| {
        redis::cmd("SET").arg("t:lz4:1").arg(value).arg("EX").arg(99).exec(connection).unwrap();
    };
    set(&half[..half.len() - 4], &mut connection);
    world.warm(&["diff", "lz4"]).exits(1).says("1 of another shape");
    set(&[&half[..], b"junk"].concat(), &mut connection);
    world.warm(&["diff", "lz4"]).exits(1).says("1 of another shape");
}

#[test]
fn both_readers_read_every_form_and_refuse_what_is_not_what_was_written() {
    let mut world = world();
    world.set("WARM_REDIS__KEY_PREFIX", "app:");
    let keys = world.folder.path.join("keys");
    let url = format!("redis://127.0.0.1:{}", world.redis.port);
    let long = "repeat('Òwàmbẹ̀ {\"id\": 1},', 9000)";
    let expected = world.sql(&format!("SELECT {long}"));
    let magic = [
        ("zstd", &b"\x28\xb5\x2f\xfd"[..]),
        ("lz4", b"\x04\x22\x4d\x18"),
        ("gzip", b"\x1f\x8b"),
        ("none", "Ò".as_bytes()),
    ];
    for (name, _) in magic {
        let compress = if name == "none" { String::new() } else { format!("compress = '{name}'") };
        for encrypt in [true, false] {
            let query =
                format!("SELECT 'long' AS id, {long} AS v UNION ALL SELECT 'short', 'v' UNION ALL SELECT 'empty', ''");
            let job = job(&query, "column:v", &format!("{compress}\nencrypt = {encrypt}"));
            world.job(&format!("{name}-{encrypt}"), &job.replace("t:{id}", &format!("t:{name}:{encrypt}:{{id}}")));
        }
    }
    world.warm(&["--now"]).exits(0);
    for (name, magic) in magic {
        assert!(bytes(&world, &format!("app:t:{name}:false:long")).starts_with(magic), "{name}");
        assert!(bytes(&world, &format!("app:t:{name}:true:long")).starts_with(b"\xd7wrm\x01\x03old"), "{name}");
        assert_eq!(bytes(&world, &format!("app:t:{name}:false:short")), b"v", "{name}");
    }
    let moved: i64 = world.ask(&["COPY", "app:t:none:true:long", "app:t:moved"]);
    assert_eq!(moved, 1);
    for reader in readers() {
        let read = |key: &str| {
            let value =
                reader.read(&url, Some(&keys), key).unwrap_or_else(|error| panic!("{}, {key}: {error}", reader.name));
            String::from_utf8(value).unwrap()
        };
        for (name, _) in magic {
            assert!(read(&format!("app:t:{name}:true:long")) == expected, "{}, {name}, encrypted", reader.name);
            assert!(read(&format!("app:t:{name}:false:long")) == expected, "{}, {name}", reader.name);
        }
        assert_eq!(
            (read("app:t:none:true:short"), read("app:t:zstd:true:empty")),
            ("v".to_owned(), String::new()),
            "{}",
            reader.name
        );
        reader.read(&url, Some(&keys), "app:t:moved").unwrap_err();
        reader.read(&url, Some(&keys), "app:t:absent").unwrap_err();
        let refused = |read: Result<Vec<u8>, String>, why: &str| {
            let error = read.unwrap_err();
            assert!(error.contains(why) && error.lines().count() == 1, "{}: {error}", reader.name);
        };
        refused(reader.read(&url, Some(&keys), "app:t:absent"), "there is no key app:t:absent in Redis");
        let not_given = "it is encrypted with the key \"old\", which was not given (--keys FILE)";
        refused(reader.read(&url, None, "app:t:none:true:short"), not_given);
        let mut changed = bytes(&world, "app:t:none:true:short");
        *changed.last_mut().unwrap() ^= 1;
        let open = |value: &[u8]| reader.open(Some(&keys), "app:t:none:true:short", value);
        refused(
            open(&changed),
            "the value was changed, belongs to another key of Redis, or its key has another secret",
        );
        refused(open(&changed[..4]), "version none is not known");
        refused(open(b"\xd7wrm\x02"), "version 02 is not known");
        for cut in [5, 8, 20] {
            refused(open(&changed[..cut]), "the value is too short");
        }
        for broken in [&b"\x28\xb5\x2f\xfdbroken"[..], b"\x1f\x8bbroken"] {
            refused(open(broken), "the value cannot be decompressed: ");
        }
    }
}

#[test]
fn both_readers_take_the_urls_that_warm_takes_and_wait_for_nobody_who_is_away() {
    let world = World::new();
    world.job("job", &job("SELECT 1 AS id", "row", ""));
    world.warm(&["--now"]).exits(0);
    let copied: i64 = world.ask(&["COPY", "t:1", "t:2", "DB", "1"]);
    assert_eq!(copied, 1);
    let socket = world.redis.socket();
    // A password that has to be escaped.
    let _: () = world.ask(&["ACL", "SETUSER", "warm", ">a&b%+é"]);
    let account = format!("unix://{socket}?db=0&user=warm&pass=a%26b%25%2B%C3%A9");
    let other_database = format!("redis+unix://{socket}?db=1");
    for reader in readers() {
        for (url, key) in [(&world.redis.url(), "t:1"), (&account, "t:1"), (&other_database, "t:2")] {
            let value = reader.read(url, None, key).unwrap_or_else(|error| panic!("{}, {url}: {error}", reader.name));
            assert_eq!(value, br#"{"id":1}"#, "{}, {url}", reader.name);
        }
        let says = |url: Option<&str>, what: &str| {
            let error = reader.ask(url, "t:1").unwrap_err();
            assert!(error.contains(what) && error.lines().count() == 1, "{}: {error}", reader.name);
        };
        says(Some(&format!("unix://{socket}?user=warm&pass=wrong")), "cannot ask Redis: ");
        says(None, "REDIS_URL is not set");
    }
    world.redis.server.signal("STOP");
    for reader in readers() {
        let error = reader.read(&account, None, "t:1").unwrap_err();
        assert!(error.contains("cannot ask Redis: ") && error.lines().count() == 1, "{}: {error}", reader.name);
    }
    world.redis.server.signal("KILL");
    for reader in readers() {
        let error = reader.read(&account, None, "t:1").unwrap_err();
        assert!(error.contains("; REDIS_URL says where it is"), "{}: {error}", reader.name);
    }
}

#[test]
fn a_value_that_has_not_changed_is_renewed_and_a_new_key_takes_over() {
    let world = world();
    world.sql("CREATE TABLE t AS SELECT n AS id, repeat(md5(n::text), 100) AS v FROM generate_series(1, 20) n; GRANT SELECT ON t TO PUBLIC");
    world.job("job", &job("SELECT id, v FROM t", "row", "encrypt = true\ncompress = 'zstd'"));
    world.warm(&["--now"]).exits(0).says("wrote 20 keys");
    let before = bytes(&world, "t:1");
    assert!(before.starts_with(b"\xd7wrm\x01\x03old") && before.len() < 1000, "{}", before.len());
    world.warm(&["--now"]).exits(0).says("20 of them unchanged");
    assert_eq!(bytes(&world, "t:1"), before);
    let plain = opened(&world, "t:1");
    // The new key is known to readers before it is written with.
    write_keys(&world, &format!("{OLD}\n{NEW}\n"));
    world.warm(&["--now"]).exits(0).says("20 of them unchanged");
    write_keys(&world, &format!("# 2026-12\n{NEW}\n\n{OLD}\n"));
    assert_eq!(opened(&world, "t:1"), plain, "the old key is still there to read with");
    let ran = world.warm(&["--now"]).exits(0).says("wrote 20 keys");
    assert!(!ran.out.contains("unchanged"), "{}", ran.out);
    for n in 1..=20 {
        assert!(bytes(&world, &format!("t:{n}")).starts_with(b"\xd7wrm\x01\x03new"));
    }
    write_keys(&world, NEW);
    assert_eq!(opened(&world, "t:1"), plain);
    let [node, python] = readers();
    for reader in [node, python] {
        let error = reader.open(Some(&world.folder.path.join("keys")), "t:1", &before).unwrap_err();
        assert!(error.contains("it is encrypted with the key \"old\""), "{error}");
    }
}

#[test]
fn what_changes_while_it_is_read_is_set_right() {
    for verify in ["'requery'", "{ version = 'version' }"] {
        let world = world();
        world.sql("CREATE TABLE t AS SELECT n AS id, 1 AS version, 'old' AS v FROM generate_series(1, 3) n; GRANT SELECT ON t TO PUBLIC");
        let query = "SELECT id, version, v FROM t WHERE id < 3 OR wait(1) ORDER BY id";
        world.job(
            "job",
            &job(
                query,
                "column:v",
                &format!("encrypt = true\ncompress = {{ with = 'gzip', above = '1' }}\nverify = {verify}"),
            ),
        );
        let gate = Gate::shut(&world.database, 1);
        let child = world.start(&["--now"]);
        gate.wait_for_query();
        world.sql("UPDATE t SET v = 'new', version = 2 WHERE id = 1");
        gate.open();
        let ran = end(child).exits(0).says("wrote 3 keys");
        assert_eq!(opened(&world, "t:2"), "old");
        match verify {
            "'requery'" => assert_eq!(opened(&world, "t:1"), "new", "{}", ran.out),
            _ => assert!(ran.says("1 changed meanwhile and removed").code == 0 && world.value("t:1").is_none()),
        }
        assert!(world.ask::<i64>(&["PTTL", "t:2"]) > 500_000, "it is verified");
    }
}

#[test]
fn on_a_busy_database_arrays_and_pages_are_read_again_and_found_equal() {
    let world = world();
    world.sql("CREATE TABLE t AS SELECT n % 7 AS g, n AS id, repeat(md5(n::text), 5) AS v FROM generate_series(1, 2000) n; GRANT SELECT ON t TO PUBLIC");
    let array = |key: &str, more: &str| {
        let sealed = "encrypt = true\ncompress = 'zstd'";
        format!("query = 'SELECT g, id, v FROM t ORDER BY id'\nkey = '{key}'\nvalue = 'rows'\n{sealed}\n{more}\n")
    };
    world.job("lists", &array("t:list:{g}", ""));
    world.job("pages", &array("t:page:{g}:{page}", "paginate = 20"));
    let report = on_busy(&world, || world.warm(&["--now", "--json"])).exits(0).json();
    for (job, keys) in report["jobs"].as_array().unwrap().iter().zip([7, 105]) {
        assert_eq!(
            (&job["keys"], &job["unconfirmed"], &job["repaired"]),
            (&keys.into(), &0.into(), &0.into()),
            "{job:#}"
        );
    }
    let rows: serde_json::Value = serde_json::from_str(&opened(&world, "t:page:3:15")).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 6, "{rows:#}");
    assert!(world.ask::<i64>(&["PTTL", "t:page:3:15"]) > 500_000);
}

#[test]
fn what_was_written_too_early_is_taken_back_and_what_is_gone_is_swept() {
    let mut world = world();
    let sealed = "encrypt = true\ncompress = { with = 'lz4', above = '0' }";
    world.sql("CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 5) n; GRANT SELECT ON t TO PUBLIC");
    world.job("job", &job("SELECT id FROM t", "row", &format!("{sealed}\nsweep = true")));
    world.warm(&["--now"]).exits(0).says("wrote 5 keys");
    world.sql("DELETE FROM t WHERE id > 2");
    world.warm(&["--now", "--dry-run"]).exits(0).says("would remove 3 keys");
    world.warm(&["--now"]).exits(0).says("3 removed: their rows are gone");
    assert_eq!(world.keys(), ["t:1", "t:2"]);
    let _: () = world.ask(&["FLUSHALL"]);
    world.set("WARM_LIMITS__BUFFER", "64KiB");
    let apart = "SELECT n % 800 AS id, repeat('x', 200) AS x FROM generate_series(1, 1600) n ORDER BY n";
    world.job("job", &job(apart, "rows", sealed));
    world.warm(&["--now"]).exits(1).says("do not follow one another");
    assert_eq!(world.keys(), [""; 0], "what was written is taken back, since any may be half");
}

#[test]
fn what_is_counted_is_what_is_written_and_what_is_bounded_is_what_was_read() {
    let world = world();
    let query = "SELECT 1 AS id, repeat('x', 10000) AS v";
    let size = |more: &str, arguments: &[&str]| {
        world.job("job", &job(query, "column:v", more));
        let report = world.warm(arguments).exits(0).json();
        report["jobs"][0]["sample"][0]["bytes"].as_u64().unwrap_or_default()
    };
    let dry = ["--now", "--dry-run", "--json"];
    assert_eq!(size("", &dry), 10_000);
    let compressed = size("compress = 'zstd'", &dry);
    assert!((10..100).contains(&compressed), "{compressed}");
    assert_eq!(size("compress = 'zstd'\nencrypt = true", &dry), compressed + 34 + 3);
    assert_eq!(size("encrypt = true", &dry), 10_000 + 34 + 3);
    assert_eq!(size("compress = { with = 'zstd', above = '10000' }", &dry), 10_000);
    assert_eq!(size("compress = 'zstd'", &["--now", "--json"]), compressed);
    assert_eq!(bytes(&world, "t:1").len() as u64, compressed);
    world.job("job", &job(query, "column:v", "compress = 'zstd'\nguard.max_value = '9999'"));
    world.warm(&["--now"]).exits(0).says("1 refused: larger than max_value");
    // A text that a reader would take for compressed.
    world.job("job", &job("SELECT 1 AS id, chr(4) || '\"M' || chr(24) AS v", "column:v", "encrypt = true"));
    world.warm(&["--now"]).exits(1).says("row 1: its value begins with the bytes by which a reader knows");
    world.job("job", &job("SELECT 1 AS id, chr(4) || '\"M' || chr(24) AS v", "column:v", ""));
    world.warm(&["--now"]).exits(0).says("wrote 1 key");
}

#[test]
fn without_a_key_a_job_is_disabled_and_says_so() {
    let world = World::new();
    world.job("plain", "query = 'SELECT 1 AS id'\nkey = 't:plain:{id}'\nvalue = 'row'\nschedule = 'every 4m'");
    world.job(
        "secret",
        "query = 'SELECT nothing'\nkey = 't:secret:{id}'\nvalue = 'row'\nencrypt = true\nschedule = 'every 4m'",
    );
    let why = "disabled: encrypt = true, and no key is configured ([encryption] in warm.toml)";
    world.warm(&["--now"]).exits(0).says("plain: wrote 1 key").says(&format!("secret: not run: {why}"));
    let report = world.warm(&["--now", "--json"]).exits(0).json();
    assert_eq!((report["jobs"].as_array().unwrap().len(), &report["disabled"][0]["job"]), (1, &"secret".into()));
    world.warm(&["--now", "secret"]).exits(2).says(&format!("the job `secret` is {why}"));
    world.warm(&["--now", "secret", "plain"]).exits(2);
    world.warm(&["check"]).exits(0).says("1 job in warm.toml").says(&format!("secret: {why}"));
    world.warm(&["check", "--offline", "secret"]).exits(0).says(why);
    world
        .warm(&["list"])
        .exits(0)
        .says("secret: key t:secret:{id} (encrypted)")
        .says(&format!("next run never ({why})"));
    assert!(world.warm(&["list", "--json", "--next", "2"]).exits(0).out.contains("\"next_runs\": []"));
    world.warm(&["list", "--next", "2"]).exits(0).says(&format!("secret: {why}"));
    let status = world.warm(&["status", "--json"]).exits(0).json();
    let of = |name: &str| status["jobs"].as_array().unwrap().iter().find(|job| job["job"] == name).unwrap().clone();
    assert_eq!((&of("secret")["next"], &of("plain")["disabled"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    world.warm(&["status"]).exits(0).says(why);
    let _: () = world.ask(&["FLUSHALL"]);
    world.warm(&["--due"]).exits(0);
    assert_eq!(world.value("t:secret:1"), None);
    // Its keys stay its own.
    world.job("thief", "query = 'SELECT 1 AS id, 2 AS x'\nkey = 't:{x}:{id}'\nvalue = 'row'");
    world.job("thief", "query = \"SELECT 'secret' AS x, 1 AS id\"\nkey = 't:{x}:{id}'\nvalue = 'row'");
    world.warm(&["--now", "thief"]).exits(1).says("belongs to the job `secret`");
}

#[test]
fn the_service_begins_to_run_it_with_the_first_key_and_takes_another_one() {
    let world = World::new();
    let query = "SELECT 1 AS id";
    world.job("secret", &job(query, "row", "encrypt = true\nschedule = '* * * * * *'"));
    world.job("plain", &job(query, "row", "schedule = '@yearly'").replace("t:", "t:plain:"));
    let serving = Serving::of(world);
    let world = &serving.world;
    wait_for("the plain value", || world.value("t:plain:1"));
    let log = serving.log();
    assert!(log.contains("secret: disabled: encrypt = true") && log.contains("1 job in"), "{log}");
    assert!(world.ask::<Option<Vec<u8>>>(&["GET", "t:1"]).is_none());
    write_keys(world, OLD);
    world.config(&format!("{CONFIG}[encryption]\nkeys_file = 'keys'\n"));
    let begins = |head: &'static [u8]| {
        move || world.ask::<Option<Vec<u8>>>(&["GET", "t:1"]).filter(|value| value.starts_with(head)).map(|_| ())
    };
    wait_for("the value with the first key", begins(b"\xd7wrm\x01\x03old"));
    write_keys(world, &format!("{NEW}\n{OLD}"));
    wait_for("the value with the second key", begins(b"\xd7wrm\x01\x03new"));
    // Damage changes nothing.
    write_keys(world, "newer hunter2");
    wait_for("the word about it", || serving.log().contains("the one before stays").then_some(()));
    assert!(!serving.log().contains("hunter2"), "{}", serving.log());
    let _: i64 = world.ask(&["DEL", "t:1"]);
    wait_for("the value again", begins(b"\xd7wrm\x01\x03new"));
}

#[test]
fn the_keys_come_from_a_credential_or_a_variable_too() {
    let mut world = world();
    world.job("job", &job("SELECT 1 AS id", "row", "encrypt = true"));
    let folder = world.folder.path.join("credentials");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("encryption_keys"), NEW).unwrap();
    world.set("CREDENTIALS_DIRECTORY", folder.to_str().unwrap());
    world.warm(&["--now"]).exits(0);
    assert!(bytes(&world, "t:1").starts_with(b"\xd7wrm\x01\x03new"), "the credential comes before the configuration");
    world.set("WARM_ENCRYPTION__KEYS_FILE", "keys");
    world.warm(&["--now"]).exits(0);
    assert!(bytes(&world, "t:1").starts_with(b"\xd7wrm\x01\x03old"), "the variable comes first");
}

#[test]
fn user_profiles_are_warm_and_encrypted_as_soon_as_there_is_a_key() {
    let mut world = World::platform();
    let keys = write_keys(&world, OLD);
    world.warm(&["--now"]).exits(0).says("user-profiles: not run: disabled");
    assert_eq!(world.keys().len(), 61);
    world.set("WARM_ENCRYPTION__KEYS_FILE", "keys");
    world.warm(&["--now", "user-profiles"]).exits(3).says("permission denied");
    let role = concat!(env!("CARGO_MANIFEST_DIR"), "/config/postgres-role.sql");
    world.database.psql(&["-q", "-v", &format!("password={PASSWORD}"), "-v", "profiles=1", "-f", role]);
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "~user:*"]);
    world.warm(&["check", "user-profiles"]).exits(0).says("0 errors, ");
    world.warm(&["--now", "user-profiles"]).exits(0).says("user-profiles: wrote 500 keys");
    let id = world.sql(r#"SELECT id FROM "User" ORDER BY "updatedAt" DESC, id LIMIT 1"#);
    let hash = world.sql(&format!(r#"SELECT "password" FROM "User" WHERE id = '{id}'"#));
    let value = bytes(&world, &format!("user:{id}"));
    let name = world.sql(&format!(r#"SELECT "phoneNumber" FROM "User" WHERE id = '{id}'"#));
    assert!(!String::from_utf8_lossy(&value).contains(&name));
    let [node, _] = readers();
    let plain = String::from_utf8(node.open(Some(&keys), &format!("user:{id}"), &value).unwrap()).unwrap();
    let row: serde_json::Value = serde_json::from_str(&plain).unwrap();
    assert_eq!((&row["id"], &row["phoneNumber"]), (&id.into(), &name.into()), "{plain}");
    assert!(hash.is_empty() || !plain.contains(&hash));
    assert!(plain.starts_with("{\"id\":") && !plain.contains("password"), "{plain}");
    // One whom the job leaves out, when somebody asks for him.
    let other = world.sql(r#"SELECT id FROM "User" ORDER BY "updatedAt", id DESC LIMIT 1"#);
    let key = format!("user:{other}");
    world.warm(&["show", &key]).exits(1).says("absent").says("has it, so that it could be filled");
    world.warm(&["fill", &key]).exits(0).says(&format!("{key}: written"));
    world.warm(&["show", &key]).exits(0).says("makes the same value");
    let plain = node.open(Some(&keys), &key, &bytes(&world, &key)).unwrap();
    assert!(plain.starts_with(format!("{{\"id\":\"{other}\"").as_bytes()));
    world.warm(&["diff", "user-profiles"]).exits(0).says("user-profiles: 501 keys as in the database\n");
}
