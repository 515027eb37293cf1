//! The servers themselves: memory, eviction, role, and that they are there.

use super::{findings, info, job, said, world};
use crate::files::compare;
use crate::support::postgres::Postgres;
use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::Redis;
use crate::support::server::{PATIENCE, free_port, wait_for};
use crate::support::world::World;

fn with_a_job() -> World {
    let world = world();
    world.job("things", &job("SELECT id FROM thing", "t:{id}", ""));
    world
}

#[test]
fn memory_without_a_limit_and_wrong_evictions_are_warned_about() {
    let world = with_a_job();
    let mut text = String::new();
    for (limit, policy) in [
        ("0", "allkeys-lru"),
        ("1gb", "noeviction"),
        ("1gb", "volatile-lru"),
        ("1gb", "volatile-ttl"),
        ("1gb", "allkeys-random"),
        ("1gb", "allkeys-lfu"),
    ] {
        let _: () = world.ask(&["CONFIG", "SET", "maxmemory", limit, "maxmemory-policy", policy]);
        text += &format!("━━━ {limit}, {policy}\n{}\n\n", findings(&said(&world, &world.warm(&["check"]).exits(0))));
    }
    compare("check_memory", &text);
}

#[test]
fn a_server_that_is_nearly_full_is_warned_about_and_a_full_one_is_an_error() {
    let world = with_a_job();
    let fill = "for i = 1, 1000 do redis.call('SET', 'other:' .. i, string.rep('x', 20000)) end";
    let _: () = world.ask(&["EVAL", fill, "0"]);
    let used: u64 = info(&world, "used_memory").parse().unwrap();
    let limit = |percent: u64| {
        let bytes = (used * 100 / percent).to_string();
        let _: () = world.ask(&["CONFIG", "SET", "maxmemory", &bytes, "maxmemory-policy", "noeviction"]);
    };
    limit(70);
    let roomy = world.warm(&["check"]).exits(0);
    assert!(!roomy.all().contains("Redis uses"), "{}", roomy.all());
    limit(94);
    let nearly = world.warm(&["check"]).exits(0).says("warning: Redis uses 9").says(" % of its memory (");
    nearly
        .says("beyond 80 % (memory_limit) warm adds no key")
        .says("raise maxmemory, cache less, or raise memory_limit");
    limit(120);
    let ran = world.warm(&["check"]).exits(5).says("error: Redis: OOM").says("give Redis more memory or cache less");
    assert!(!ran.all().contains("lacks a right"), "a full server is not a lack of rights:\n{}", ran.all());
    assert_eq!(world.ask::<u64>(&["DBSIZE"]), 1000, "nothing was evicted");
}

#[test]
fn a_rate_at_which_a_job_cannot_end_in_time_is_warned_about() {
    let mut world = world();
    world.sql("CREATE TABLE many AS SELECT n AS id, repeat('x', 100) AS v FROM generate_series(1, 20000) n");
    world.sql("ALTER TABLE many ALTER id SET NOT NULL; ANALYZE many; GRANT SELECT ON many TO PUBLIC");
    let rows = "SELECT id, v FROM many";
    world.job("plain", &job(rows, "t:plain:{id}", "verify = 'none'\ntimeout = '30s'\n"));
    world.job("verified", &job(rows, "t:verified:{id}", "timeout = '5m'\n"));
    // The same, read in parts, each of which is done in time.
    let parts = "verify = 'none'\ntimeout = '5m'\npartition_by = { column = 'id', parts = 8 }\n";
    world.job("parts", &job(rows, "t:parts:{id}", parts));
    let short = job("SELECT id, v FROM many LIMIT 2500", "t:short:{id}", "ttl = '40s'\n");
    world.job("short", &short.replace("every 8m", "every 30s"));
    let mut text = String::new();
    for (name, value) in [("KEYS", "20000"), ("KEYS", "100"), ("BYTES", "64KiB")] {
        let name = format!("WARM_REDIS__{name}_PER_SECOND");
        world.set(&name, value);
        let ran = world.warm(&["check"]);
        text += &format!("━━━ {name}={value}\n{}\n\n", findings(&said(&world, &ran)));
        world.unset(&name);
    }
    compare("check_rate", &text);
}

#[test]
fn a_replica_is_an_error_that_names_the_way_out() {
    let world = with_a_job();
    let primary = Redis::start("");
    let port = primary.port.to_string();
    let _: () = world.ask(&["REPLICAOF", "127.0.0.1", &port]);
    wait_for("the replica's first synchronization", || (info(&world, "master_link_status") == "up").then_some(()));
    let ran = world.warm(&["check"]).exits(4);
    ran.says("this Redis server is a replica: it refuses writes").says("name the primary in REDIS_URL");
    assert_eq!(crate::support::world::ask::<u64>(&mut primary.connect(), &["DBSIZE"]), 0);
}

#[test]
fn a_server_that_is_down_is_an_error_and_the_other_one_is_checked_nevertheless() {
    let mut world = with_a_job();
    let (postgres, redis) = (world.database.url(), world.redis.url());
    let nobody = free_port();
    // Little patience with nobody, all of it with a server that is there, however busy the machine.
    world.set("DATABASE_URL", &format!("postgres://warm@127.0.0.1:{nobody}/x"));
    world.set("WARM_POSTGRES__CONNECT_TIMEOUT", "300ms");
    world
        .warm(&["check"])
        .exits(3)
        .says(&format!("error: no connection to PostgreSQL at 127.0.0.1:{nobody}/x"))
        .says("check that PostgreSQL runs")
        .says("\nRedis ");
    world.set("REDIS_URL", &format!("redis://127.0.0.1:{nobody}"));
    world.set("WARM_REDIS__CONNECT_TIMEOUT", "300ms");
    let both = world.warm(&["check"]).exits(3).says("no connection to PostgreSQL").says("no connection to Redis");
    assert!(both.err.ends_with("2 errors, 0 warnings\n"), "{}", both.all());
    world.set("DATABASE_URL", &postgres);
    world.unset("WARM_POSTGRES__CONNECT_TIMEOUT");
    world
        .warm(&["check"])
        .exits(4)
        .says(&format!("error: no connection to Redis at 127.0.0.1:{nobody} (database 0)"))
        .says("check that Redis runs")
        .says("\nPostgreSQL ");
    world.set("REDIS_URL", &redis);
    world.unset("WARM_REDIS__CONNECT_TIMEOUT");
    world.warm(&["check"]).exits(0);
}

#[test]
fn a_server_that_is_killed_is_named_too() {
    let mut postgres = Postgres::start(&[]);
    let mut world = World::of(postgres.database(), Redis::start("maxmemory 1gb\nmaxmemory-policy allkeys-lru"));
    world.job("one", &job("SELECT 1 AS id", "t:one", ""));
    world.warm(&["check"]).exits(0);
    postgres.server.end();
    world.set("WARM_POSTGRES__CONNECT_TIMEOUT", "300ms");
    world.warm(&["check"]).exits(3).says("no connection to PostgreSQL");
    postgres.start_again();
    world.unset("WARM_POSTGRES__CONNECT_TIMEOUT");
    world.redis.server.end();
    world.set("WARM_REDIS__CONNECT_TIMEOUT", "300ms");
    world.warm(&["check"]).exits(4).says("no connection to Redis");
}

#[test]
fn a_server_that_answers_nothing_does_not_hold_the_check_for_ever() {
    let mut world = with_a_job();
    world.set("WARM_POSTGRES__CONNECT_TIMEOUT", "300ms");
    let proxy = Proxy::before(Postgres::shared().port, &[Fault::FreezeAfter(0); 9]);
    world.set("DATABASE_URL", &world.database.tcp_url(proxy.port));
    world.warm(&["check"]).exits(3).says("did not answer within 300ms");
    world.set("DATABASE_URL", &world.database.url());
    world.unset("WARM_POSTGRES__CONNECT_TIMEOUT");
    world.set("WARM_REDIS__CONNECT_TIMEOUT", "300ms");
    world.redis.server.signal("STOP");
    let start = std::time::Instant::now();
    world.warm(&["check"]).exits(4).says("Redis did not answer in time");
    assert!(start.elapsed() < PATIENCE, "bounded by connect_timeout, not by each step's own");
}

#[test]
fn without_servers_no_server_is_asked() {
    let mut world = with_a_job();
    let (postgres, redis) = (Proxy::before(Postgres::shared().port, &[]), Proxy::before(world.redis.port, &[]));
    world.set("DATABASE_URL", &world.database.tcp_url(postgres.port));
    world.set("REDIS_URL", &world.redis.tcp_url(redis.port));
    let ran = world.warm(&["check", "--offline"]).exits(0);
    assert_eq!(ran.out, "1 job in warm.toml\n0 errors, 0 warnings\n");
    assert_eq!((postgres.accepted(), redis.accepted()), (0, 0));
    // The same with servers asks both: the count can tell.
    world.warm(&["check"]).exits(0);
    assert!(postgres.accepted() > 0 && redis.accepted() > 0);
}
