//! The check as a whole: lifetimes against schedules, its output for people and programs, and that it changes nothing.

use serde_json::{Value, json};

use super::{job, said, world};
use crate::files::{Files, GOOD, compare};
use crate::support::world::World;

/// The checks of one job with these lines, without servers.
fn offline(lines: &str) -> String {
    let files = Files::new();
    let good = if lines.contains("for_each") { GOOD.replace("thing", "thing WHERE x = :x") } else { GOOD.to_owned() };
    files.write("jobs/job.toml", format!("{good}{lines}\n"));
    files.warned()
}

#[test]
fn keys_that_die_before_they_are_written_again_are_warned_about_with_the_way_out() {
    let mut text = String::new();
    for lines in [
        "schedule = '0 * * * *'\nttl = '5m'",
        "schedule = '0 * * * *'\nttl = '30m'",
        "schedule = '@daily'\nttl = '1s'",
        "schedule = '0 8-18 * * *'\nttl = '2h'",
        "schedule = '@hourly'\nttl = '1h'",
        "schedule = '@hourly'\nttl = '65m'\nttl_jitter = '10%'",
        "schedule = '@hourly'\nttl = '65m'",
        "schedule = 'every 4m'\nttl = '5m'",
        "schedule = '@hourly'\nttl = '90m'\nmode = 'missing'",
        "schedule = 'every 1m'\nttl = '1d'\nmode = 'missing'",
        "schedule = '0 * * * *'\nttl = '5m'\nrefresh_ahead = true",
        "schedule = '@hourly'\nttl = '2h'\nmax_age = '1h'",
        "schedule = '@hourly'\nttl = '2h'\nmax_age = '61m'",
        "schedule = '@daily'\nttl = '5m'\nrefresh_ahead = true\nmax_age = '1h'",
        "schedule = '@daily'\nttl = '5m'\nrefresh_ahead = true\nmax_age = '1h'\n[for_each]\nx = [1, 2]",
    ] {
        text += &format!("━━━ {}\n{}\n", lines.replace('\n', ", "), offline(lines));
    }
    compare("check_lifetimes", &text);
}

#[test]
fn the_platforms_jobs_are_well() {
    let world = World::platform();
    let _: () = world.ask(&["CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lru"]);
    let ran = world.warm(&["check"]).exits(0);
    compare("check_platform", &said(&world, &ran));
    assert_eq!(world.keys(), [""; 0]);
}

#[test]
fn nothing_is_changed() {
    let world = world();
    world.job("things", &job("SELECT id FROM thing", "t:{id}", ""));
    world.job("top", &job("SELECT id FROM thing LIMIT 1", "t:top", ""));
    let _: () = world.ask(&["SET", "t:1", "theirs", "PX", "500000"]);
    let _: () = world.ask(&["SET", "t:top", "theirs"]);
    let _: () = world.ask(&["CONFIG", "RESETSTAT"]);
    let rows = world.sql("SELECT xmin, * FROM thing ORDER BY id");
    world.warm(&["check"]).exits(0);
    world.warm(&["check", "--json"]).exits(0);
    assert_eq!(world.keys(), ["t:1", "t:top"]);
    assert_eq!((world.value("t:1").as_deref(), world.value("t:top").as_deref()), (Some("theirs"), Some("theirs")));
    assert!(world.ask::<i64>(&["PTTL", "t:1"]) > 400_000);
    assert_eq!(super::info(&world, "expired_keys"), "0");
    assert_eq!(world.sql("SELECT xmin, * FROM thing ORDER BY id"), rows);
    assert_eq!(world.sql("SELECT count(*) FROM pg_prepared_statements"), "0");
}

#[test]
fn no_query_of_a_job_is_run() {
    let world = world();
    world.job("slow", &job("SELECT id, pg_sleep(100)::text AS nap FROM thing", "t:{id}", ""));
    world.job("failing", &job("SELECT 1 / (id - id) AS id FROM thing", "t:failing:{id}", ""));
    let start = std::time::Instant::now();
    world.warm(&["check"]).exits(0);
    assert!(start.elapsed().as_secs() < 60);
}

#[test]
fn programs_get_json_with_the_same_findings() {
    let world = world();
    world.job("a", &job("SELECT nope FROM thing", "t:a:{nope}", ""));
    world.job("b", &job("SELECT slug FROM thing", "t:b:{slug}", ""));
    let ran = world.warm(&["check", "--json"]).exits(1);
    assert_eq!(ran.err, "", "all of it is on standard output");
    let report = ran.json();
    assert_eq!(report["exit_code"], 1);
    assert_eq!(report["facts"].as_array().unwrap().len(), 3);
    assert_eq!(report["facts"][0], "2 jobs in warm.toml");
    assert_eq!(
        report["findings"],
        json!([
            {
                "severity": "error",
                "job": "a",
                "at": "jobs/a.toml:1",
                "message": "column \"nope\" does not exist (SQLSTATE 42703)",
                "advice": "correct the query, or bring the database up to date with it",
            },
            {
                "severity": "warning",
                "job": "b",
                "at": "jobs/b.toml",
                "message": "column `slug` of the key may be NULL as its table is defined; a row in which it is NULL fails the job",
                "advice": "if it can be NULL, leave such rows out: WHERE slug IS NOT NULL",
            },
        ])
    );
    let report = world.warm(&["check", "--offline", "--json"]).exits(0).json();
    assert_eq!(report, json!({ "exit_code": 0, "facts": ["2 jobs in warm.toml"], "jobs": [], "findings": [] }));
}

#[test]
fn programs_get_json_also_when_the_configuration_is_wrong() {
    let mut files = Files::new();
    files.write("jobs/a.toml", format!("{GOOD}read_through = true\n"));
    files.write("jobs/b.toml", "query = 'SELECT 1'\nkey = 't:b'\n");
    let ran = files.warm(&["check", "--json"]).exits(2);
    assert!(ran.err.contains("unknown field `read_through`") && ran.err.contains("jobs/a.toml:4:1"), "{}", ran.err);
    let report = ran.json();
    let found = |at: usize, field: &str| report["findings"][at][field].clone();
    assert_eq!(report["exit_code"], 2);
    assert_eq!((found(0, "severity"), found(0, "at")), ("error".into(), "jobs/a.toml:4:1".into()));
    assert_eq!(found(0, "message"), "unknown field `read_through`");
    assert_eq!((found(1, "at"), found(1, "message")), ("jobs/b.toml".into(), "the field `value` is missing".into()));
    assert_eq!(found(2, "at"), Value::Null);
    assert!(files.untouched());

    files.write("jobs/a.toml", GOOD);
    files.write("jobs/b.toml", "query = 'SELECT 1'\nkey = 't:b'\nvalue = 'rows'\n");
    files.set("DATABASE_URL", "postgres://u:hunter2@h:port/x");
    let report = files.warm(&["check", "--json"]).exits(2).json();
    assert_eq!(report["findings"][0]["message"], "$DATABASE_URL: the PostgreSQL URL is malformed: invalid port number");
}

#[test]
fn only_the_named_jobs_are_checked_but_all_files_are_read() {
    let world = world();
    world.job("a", &job("SELECT nope FROM thing", "t:a:{nope}", "ttl = '5m'"));
    world.job("b", &job("SELECT id FROM thing", "t:b:{id}", ""));
    world.job("c", &job("SELECT id FROM thing", "other:{id}", "ttl = '9m'"));
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "resetkeys", "~t:*", "~warm:*"]);
    let ran = world.warm(&["check", "b"]).exits(0).says("1 of 3 jobs in warm.toml\n").says("b: writes about ");
    assert_eq!(ran.out.matches("writes about").count(), 1, "{}", ran.all());
    // What is said of a file stands there, whichever job was asked for.
    ran.says("jobs/c.toml:2:7").says("0 errors, 1 warning\n");
    world.warm(&["check", "b", "a"]).exits(1).says("2 of 3 jobs").says("\"nope\" does not exist").says("keys live 5m");
    world.warm(&["check", "c"]).exits(4).says("lacks a right for keys other:*");
    // The keys of jobs that are not asked for belong to them all the same.
    world.job("b", &job("SELECT id FROM thing WHERE slug = :slug", "t:{slug}", "for_each.slug = ['a:1']"));
    world.warm(&["check", "b"]).exits(1).says("its key `t:a:1` belongs to the job `a`");
    let offline = world.warm(&["check", "--offline", "a"]).exits(0).says("1 of 3 jobs").says("keys live 5m");
    assert!(!world.warm(&["check", "--offline", "b"]).exits(0).all().contains("keys live"), "{}", offline.all());
    let report = world.warm(&["check", "d", "--json"]).exits(2).json();
    assert_eq!(report["findings"][0]["message"], "there is no job `d`; the jobs are a, b, c");
    world.job("c", "query = 'SELECT 1'");
    world.warm(&["check", "a"]).exits(2).says("jobs/c.toml");
}

#[test]
fn errors_stand_on_stderr_and_warnings_on_stdout() {
    let world = world();
    world.job("b", &job("SELECT slug FROM thing", "t:b:{slug}", ""));
    let ran = world.warm(&["check"]).exits(0).says("0 errors, 1 warning\n");
    assert_eq!(ran.err, "");
    world.job("a", &job("SELECT nope FROM thing", "t:a:{nope}", ""));
    let ran = world.warm(&["check"]).exits(1).says("1 error, 1 warning\n");
    assert_eq!(ran.out, "");
}

#[test]
fn a_parameter_of_the_url_that_nobody_knows_is_warned_about() {
    let mut files = Files::new();
    files.write("jobs/job.toml", format!("{GOOD}schedule = 'every 8m'\n"));
    files.set("DATABASE_URL", "postgres://warm@127.0.0.1/shop?schema=public&pgbouncer=true&colour=red&pool=5");
    compare("check_url", &files.warned());
    files.set("DATABASE_URL", "postgres://warm@db.internal/shop?sslmode=require");
    compare("check_unverified", &files.warned());
}
