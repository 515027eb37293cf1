//! Behind a transaction pooler each value is right, though no two transactions need share a server connection.
//!
//! A driver that prepares in one round trip and executes in the next, outside a transaction, gets another client's rows there, and no error. So several
//! jobs of different shapes run at once over fewer server connections than they have of their own, again and again, and each value is compared with the
//! one that belongs to its key.

use std::process::Command;

use crate::bouncer::PgBouncer;
use crate::support::world::{Ran, World};

/// Types that the driver has to look up in the catalog, with queries of its own between those of the job.
const TABLES: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    CREATE TYPE place AS (street text, lat float8);
    CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');
    CREATE DOMAIN cents AS int;
    CREATE TABLE enums (id int, k int, mood mood, moods mood[]);
    CREATE TABLE domains (id int, k int, email email, price cents, emails email[]);
    CREATE TABLE places (id int, k int, place place, places place[]);
    CREATE TABLE arrays (id int, k int, tags text[], numbers int8[], days date[]);
    INSERT INTO enums SELECT i, i % 20, (ARRAY['sad','ok','happy'])[i % 3 + 1]::mood, ARRAY['ok']::mood[] FROM generate_series(0, 199) i;
    INSERT INTO domains SELECT i, i % 20, 'u' || i || '@x', i * 7, ARRAY['a' || i || '@x'] FROM generate_series(0, 199) i;
    INSERT INTO places SELECT i, i % 20, ROW('s' || i, i + 0.5)::place, ARRAY[ROW('t' || i, i)::place] FROM generate_series(0, 199) i;
    INSERT INTO arrays SELECT i, i % 20, ARRAY['a' || i, 'b'], ARRAY[i, i + 1], ARRAY[date '2026-01-01' + i % 28] FROM generate_series(0, 199) i;";

/// The JSON of row `i` of a table.
type RowJson = fn(usize) -> String;

const SHAPES: [(&str, RowJson); 4] = [
    ("enums", |i| {
        let mood = ["sad", "ok", "happy"][i % 3];
        format!(r#"{{"id":{i},"k":{},"mood":"{mood}","moods":["ok"]}}"#, i % 20)
    }),
    ("domains", |i| format!(r#"{{"id":{i},"k":{},"email":"u{i}@x","price":{},"emails":["a{i}@x"]}}"#, i % 20, i * 7)),
    ("places", |i| {
        let k = i % 20;
        format!(
            r#"{{"id":{i},"k":{k},"place":{{"street":"s{i}","lat":{i}.5}},"places":[{{"street":"t{i}","lat":{i}}}]}}"#
        )
    }),
    ("arrays", |i| {
        let (k, next, day) = (i % 20, i + 1, i % 28 + 1);
        let day = format!("2026-01-{day:02}T00:00:00.000Z");
        format!(r#"{{"id":{i},"k":{k},"tags":["a{i}","b"],"numbers":["{i}","{next}"],"days":["{day}"]}}"#)
    }),
];

/// A world whose PostgreSQL is reached through a pooler with so many connections.
fn pooled(pool_size: usize) -> (World, PgBouncer) {
    let mut world = World::new();
    let bouncer = PgBouncer::before(&world.database, pool_size);
    let url = world.database.tcp_url(bouncer.port);
    world.set("DATABASE_URL", &format!("{url}?pgbouncer=true"));
    (world, bouncer)
}

#[test]
fn each_key_gets_its_own_value_whatever_runs_beside_it() {
    let (mut world, _bouncer) = pooled(3);
    world.sql(TABLES);
    for (table, _) in SHAPES {
        // A row each, and arrays by combination; the pause makes further connections worth opening.
        world.job(
            &format!("{table}-row"),
            &format!("query = 'SELECT * FROM {table}'\nkey = 't:{table}:{{id}}'\nvalue = 'row'"),
        );
        let lists = format!(
            "query = 'SELECT x.* FROM {table} x, pg_sleep(0.002) WHERE k = :k ORDER BY id'\nkey = 't:{table}:list:{{k}}'\nvalue = 'rows'"
        );
        world.job(
            &format!("{table}-rows"),
            &format!("{lists}\nfor_each.k = {{ query = 'SELECT DISTINCT k FROM {table}' }}"),
        );
    }
    world.job("enum", "query = 'SELECT id FROM enums WHERE mood = :mood ORDER BY id'\nkey = 't:mood:{mood}'\nvalue = 'rows'\nfor_each.mood = ['sad', 'happy']");
    world.set("WARM_POSTGRES__CONNECTIONS", "8");
    for round in 0..5 {
        // Two of them at once: as many again that may be mixed up.
        let children = [world.start(&["--now"]), world.start(&["--now"])];
        for child in children {
            Ran::of(child.wait_with_output().unwrap()).exits(0);
        }
        compare(&world, round);
        let _: () = world.ask(&["FLUSHALL"]);
    }
}

fn compare(world: &World, round: usize) {
    for (table, json) in SHAPES {
        for i in 0..200 {
            let key = format!("t:{table}:{i}");
            assert_eq!(world.value(&key).as_deref(), Some(&*json(i)), "{key} in round {round}");
        }
        for k in 0..20 {
            let rows: Vec<String> = (0..200).filter(|i| i % 20 == k).map(json).collect();
            let key = format!("t:{table}:list:{k}");
            assert_eq!(world.value(&key), Some(format!("[{}]", rows.join(","))), "{key} in round {round}");
        }
    }
    let sad: Vec<String> = (0..200).filter(|i| i % 3 == 0).map(|i| format!(r#"{{"id":{i}}}"#)).collect();
    assert_eq!(world.value("t:mood:sad"), Some(format!("[{}]", sad.join(","))));
    assert_eq!(world.keys().len(), 4 * 220 + 2);
}

#[test]
fn a_connection_that_comes_new_to_a_type_finds_it() {
    // On a fresh connection the driver looks types up between preparing and executing, which destroys an unnamed statement.
    let (world, _bouncer) = pooled(1);
    world.sql(TABLES);
    for (table, json) in SHAPES {
        world.job("job", &format!("query = 'SELECT * FROM {table} WHERE id = 7'\nkey = 't:{table}'\nvalue = 'row'"));
        world.warm(&["--now"]).exits(0);
        assert_eq!(world.value(&format!("t:{table}")).as_deref(), Some(&*json(7)));
    }
}

#[test]
fn a_session_is_what_values_need_whatever_the_account_says() {
    let (mut world, bouncer) = pooled(2);
    let name = &world.database.name;
    for setting in [
        "TimeZone = 'Asia/Kolkata'",
        "DateStyle = 'SQL, DMY'",
        "IntervalStyle = 'iso_8601'",
        "bytea_output = 'escape'",
        "extra_float_digits = '-10'",
        "search_path = 'elsewhere'",
    ] {
        world.sql(&format!("ALTER ROLE warm IN DATABASE {name} SET {setting}"));
    }
    world.sql(
        r#"CREATE SCHEMA tenant; CREATE SCHEMA elsewhere; GRANT USAGE ON SCHEMA tenant, elsewhere TO warm;
        CREATE TABLE tenant.thing AS SELECT 'tenant' AS name, timestamptz '2026-01-31 20:00Z' AS at;
        CREATE TABLE elsewhere.thing AS SELECT 'elsewhere' AS name, timestamptz '2026-01-01 20:00Z' AS at;
        GRANT SELECT ON tenant.thing, elsewhere.thing TO warm"#,
    );
    world.job(
        "job",
        r"query = '''SELECT name, at, at::date AS day, at::text AS text, at::timestamp AS local, interval '1 day 2 hours'::text AS span,
              '\x00ff'::bytea::text AS bytes, (0.1::float8 + 0.2)::text AS float FROM thing'''
          key = 't:{name}'
          value = 'row'",
    );
    let url = format!("{}?pgbouncer=true&schema=tenant&connection_limit=1", world.database.tcp_url(bouncer.port));
    world.set("DATABASE_URL", &url);
    // The second time on a server connection that has served somebody before.
    for _ in 0..2 {
        world.warm(&["--now"]).exits(0);
        assert_eq!(
            world.value("t:tenant").as_deref(),
            Some(
                r#"{"name":"tenant","at":"2026-01-31T20:00:00.000Z","day":"2026-01-31T00:00:00.000Z","text":"2026-01-31 20:00:00+00","local":"2026-01-31T20:00:00.000Z","span":"1 day 02:00:00","bytes":"\\x00ff","float":"0.30000000000000004"}"#
            )
        );
    }
    let check = world.warm(&["check"]).exits(0).says("with at most 1 connection");
    assert!(!check.all().contains("nobody knows"), "{}", check.all());
    // Nothing of it stays behind for the next client of the pooler.
    let next = Command::new("psql")
        .args(["-XAt", "-c", "SHOW search_path", "-c", "SHOW statement_timeout", "-c", "SHOW transaction_read_only"])
        .arg(world.database.tcp_url(bouncer.port))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&next.stdout),
        "elsewhere\n0\noff\n",
        "{}",
        String::from_utf8_lossy(&next.stderr)
    );
}

const JOB: &str = "query = 'SELECT 1 AS x'\nkey = 't:x'\nvalue = 'rows'\nschedule = 'every 8m'";

#[test]
fn how_busy_the_server_is_can_be_asked_through_a_pool() {
    let (mut world, _bouncer) = pooled(2);
    world.job("job", JOB);
    world.set("WARM_POSTGRES__BUSY_ABOVE", "1000");
    let ran = world.warm(&["--now"]).exits(0);
    assert_eq!(ran.err, "", "no warning that it cannot be asked");
    world.warm(&["check"]).exits(0).says("others at work in PostgreSQL: ");
}

#[test]
fn a_check_says_whether_machines_can_take_turns() {
    let leases = |ran: &Ran| ran.all().contains("second transaction") || ran.all().contains("several machines");
    let (mut world, _bouncer) = pooled(2);
    world.job("job", JOB);
    let ran = world.warm(&["check"]).exits(0);
    assert!(!leases(&ran), "{}", ran.all());
    let url = world.database.tcp_url(_bouncer.port);
    world.set("DATABASE_URL", &format!("{url}?connection_limit=1"));
    for arguments in [&["check"][..], &["check", "--offline"]] {
        world.warm(arguments).exits(0).says("warning: several machines would run the same job").says("be 2 or more");
    }
    world.job("job", &format!("{JOB}\noverlap = 'allow'"));
    let ran = world.warm(&["check"]).exits(0);
    assert!(!leases(&ran), "it wants no lease: {}", ran.all());

    let small = PgBouncer::before(&world.database, 1);
    let url = world.database.tcp_url(small.port);
    world.set("DATABASE_URL", &url);
    let ran = world.warm(&["check"]).exits(0);
    assert!(!leases(&ran), "it wants no lease: {}", ran.all());
    world.job("job", JOB);
    let ran = world.warm(&["check"]).exits(0).says("warning: a second transaction does not begin within 3 s");
    assert!(ran.all().contains("default_pool_size") && ran.all().contains("job: writes about"), "{}", ran.all());
}

#[test]
fn a_pooler_that_works_by_statements_is_refused_at_once_with_the_way_out() {
    let mut world = World::new();
    world.job("job", JOB);
    let bouncer = PgBouncer::by("statement", &world.database, 3);
    let url = world.database.tcp_url(bouncer.port);
    world.set("DATABASE_URL", &url);
    for arguments in [["check"], ["--now"]] {
        let ran = world.warm(&arguments).exits(3).says("gives each statement another server connection");
        assert_eq!(ran.err.matches("pool_mode = transaction").count(), 1, "{}", ran.all());
        assert!(!ran.err.contains("attempt 2"), "{}", ran.all());
    }
    let sessions = PgBouncer::by("session", &world.database, 3);
    let url = world.database.tcp_url(sessions.port);
    world.set("DATABASE_URL", &url);
    world.warm(&["check"]).exits(0);
    world.warm(&["--due"]).exits(0).says("wrote 1 key");
}
