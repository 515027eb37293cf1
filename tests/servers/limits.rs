//! What is bounded on both sides: connections, memory, values, time.

use crate::support::server::wait_for;
use crate::support::world::{Ran, World, ask};

/// Over TCP the refusal is read before the password was; over a unix socket the connection is just closed.
#[test]
fn clients_beyond_redis_limit_are_waited_out_over_tcp_too() {
    let mut world = World::new();
    world.job("job", "query = 'SELECT 1 AS x'\nkey = 't:x'\nvalue = 'rows'");
    world.set("WARM_REDIS__CONNECT_TIMEOUT", "20s");
    let url = world.redis.tcp_url(world.redis.port);
    world.set("REDIS_URL", &url);
    let mut admin = world.redis.connect();
    let _: () = ask(&mut admin, &["CONFIG", "SET", "maxclients", "1"]);
    let child = world.start(&["--now"]);
    wait_for("a refused client", || {
        let info: String = ask(&mut admin, &["INFO", "stats"]);
        (!info.contains("rejected_connections:0")).then_some(())
    });
    let _: () = ask(&mut admin, &["CONFIG", "SET", "maxclients", "100"]);
    Ran::of(child.wait_with_output().unwrap()).exits(0).says("wrote 1 key");
}

/// The program with a limit that `prlimit` (util-linux) sets.
fn limited(world: &World, limit: &str) -> Ran {
    let program = world.program(&[]);
    let mut command = std::process::Command::new("prlimit");
    command.args([limit, env!("CARGO_BIN_EXE_warm"), "--now"]).current_dir(&world.folder.path).env_clear();
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ran::of(command.output().unwrap())
}

const DATA_128_MB: &str = "--data=134217728";

#[test]
fn a_million_rows_pass_through_128_megabytes() {
    let world = World::new();
    world.job(
        "job",
        "query = '''SELECT n AS id, md5(n::text) AS x FROM generate_series(1, 1000000) n'''\nkey = 't:{id}'\nvalue = 'row'",
    );
    limited(&world, DATA_128_MB).exits(0).says("wrote 1000000 keys");
    assert_eq!(world.ask::<u64>(&["DBSIZE"]), 1_000_000);
    assert_eq!(world.value("t:999999").as_deref(), Some(r#"{"id":999999,"x":"52c69e3a57331081823331c4e69d3f2e"}"#));
}

#[test]
fn a_redis_that_is_slow_does_not_make_memory_grow() {
    let world = World::new();
    world.job(
        "job",
        "query = '''SELECT n AS id, repeat('x', 1000) AS x FROM generate_series(1, 300000) n'''\nkey = 't:{id}'\nvalue = 'row'",
    );
    let _: () = world.ask(&["CLIENT", "PAUSE", "2000", "WRITE"]);
    limited(&world, DATA_128_MB).exits(0).says("wrote 300000 keys");
}

#[test]
fn a_value_of_300_megabytes_is_refused_and_the_job_goes_on() {
    let world = World::new();
    world.job(
        "job",
        "query = '''SELECT n AS id, CASE WHEN n = 2 THEN repeat('x', 300 * 1024 * 1024) ELSE 'small' END AS x FROM generate_series(1, 3) n'''\nkey = 't:{id}'\nvalue = 'row'",
    );
    world.warm(&["--now"]).exits(0).says("wrote 2 keys").says("1 refused: larger than max_value");
    assert_eq!(world.keys(), ["t:1", "t:3"]);
}

#[test]
fn a_value_may_be_as_long_as_the_limit_and_no_longer() {
    let world = World::new();
    // {"id":1,"x":"…"}: 15 bytes beside the text.
    world.job(
        "job",
        "query = '''SELECT n AS id, repeat('x', 83 + n) AS x FROM generate_series(1, 2) n'''\nkey = 't:{id}'\nvalue = 'row'\nguard.max_value = '99'",
    );
    let ran = world.warm(&["--now"]).exits(0).says("wrote 1 key").says("1 refused");
    assert_eq!(world.value("t:1").map(|value| value.len()), Some(99), "{}", ran.all());
}

#[test]
fn connections_stay_within_the_limit() {
    let mut world = World::new();
    let states: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    for job in ["a", "b", "c"] {
        world.job(
            job,
            &format!(
                "query = 'SELECT :n::text AS n, pg_sleep(0.05)::text AS s'\nkey = 't:{job}:{{n}}'\nvalue = 'rows'\nfor_each.n = [{}]",
                states.join(", ")
            ),
        );
    }
    let most = |world: &World| {
        let mut child = world.start(&["--now"]);
        let mut most = 0;
        while child.try_wait().unwrap().is_none() {
            let count = world
                .sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'warm' AND datname = current_database()");
            most = most.max(count.parse().unwrap());
        }
        Ran::of(child.wait_with_output().unwrap()).exits(0);
        most
    };
    world.set("WARM_POSTGRES__CONNECTIONS", "3");
    assert_eq!(most(&world), 3, "as many as allowed, since they save time, and no more");
    assert_eq!(world.keys().len(), 120);
    let url = format!("{}&connection_limit=1", world.database.url());
    world.set("DATABASE_URL", &url);
    assert_eq!(most(&world), 1, "Prisma's parameter bounds ours");
}

#[test]
fn too_few_file_descriptors_are_said_plainly() {
    let world = World::new();
    world.job("job", "query = 'SELECT 1 AS x'\nkey = 't:x'\nvalue = 'rows'");
    limited(&world, "--nofile=6").exits(1).says("raise the limit of open files");
    let ran: Vec<Ran> = (7..=12).map(|files| limited(&world, &format!("--nofile={files}"))).collect();
    for ran in &ran {
        assert!((0..=4).contains(&ran.code), "an error, not a panic: {}", ran.all());
    }
    assert!(ran.iter().any(|ran| ran.code > 0 && ran.err.contains("os error 24")), "some of them had too few");
}

#[test]
fn a_query_that_is_given_up_does_not_run_beside_the_next_one() {
    let mut world = World::new();
    world.set("WARM_POSTGRES__CONNECTIONS", "1");
    for job in ["a", "b", "c", "d"] {
        world.job(
            job,
            &format!(
                "query = 'SELECT sum(sqrt(g)) AS x FROM generate_series(1, 2000000000) g'\nkey = 't:{job}'\nvalue = 'rows'\ntimeout = '200ms'"
            ),
        );
    }
    let mut child = world.start(&["--now"]);
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let count = world.sql(
            "SELECT count(DISTINCT COALESCE(leader_pid, pid)) FROM pg_stat_activity WHERE usename = 'warm' AND datname = current_database() AND state = 'active'",
        );
        most = most.max(count.parse::<u32>().unwrap());
    }
    Ran::of(child.wait_with_output().unwrap()).exits(1).says("d: failed");
    assert_eq!(most, 1, "one after the other");
    wait_for("the end of the last query", || {
        let left =
            world.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'warm' AND datname = current_database()");
        (left == "0").then_some(())
    });
}

#[test]
fn the_connection_of_a_huge_value_is_closed() {
    let mut world = World::new();
    world.set("WARM_POSTGRES__CONNECTIONS", "1");
    // Priorities decide the order: a small value, one of another size, and a small one again.
    for (job, priority) in [("a", 3), ("c", 1)] {
        world.job(
            job,
            &format!(
                "query = 'SELECT pg_backend_pid() AS pid'\nkey = 't:{job}'\nvalue = 'column:pid'\npriority = {priority}"
            ),
        );
    }
    let middle = |size: usize| {
        world.job(
            "b",
            &format!("query = '''SELECT repeat('x', {size}) AS pad'''\nkey = 't:b'\nvalue = 'row'\npriority = 2"),
        );
    };
    let backends = || (world.value("t:a").unwrap(), world.value("t:c").unwrap());
    middle(20_000_000);
    world.warm(&["--now"]).exits(0).says("1 refused: larger than max_value");
    let (before, after) = backends();
    assert_ne!(before, after, "the job after it has another connection");
    middle(1);
    world.warm(&["--now"]).exits(0);
    let (before, after) = backends();
    assert_eq!(before, after, "else a connection is kept");
}

#[test]
fn a_certificate_file_that_never_ends_is_refused() {
    let mut world = World::new();
    world.job("job", "query = 'SELECT 1 AS x'\nkey = 't:x'\nvalue = 'rows'");
    let fifo = world.folder.path.join("fifo").display().to_string();
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let url = world.database.url();
    world.set("DATABASE_URL", &format!("{url}&sslmode=verify-full&sslrootcert={fifo}"));
    world.warm(&["--now"]).exits(2).says("this is not a regular file");
    world.set("DATABASE_URL", &url);
    world.set("REDIS_URL", "rediss://127.0.0.1:1");
    world.set("WARM_REDIS__CA_FILE", &fifo);
    world.warm(&["--now"]).exits(2).says("this is not a regular file");
}

#[test]
fn a_multirange_is_named_as_what_it_is() {
    let world = World::new();
    world.job("job", "query = '''SELECT '{[1,2]}'::int4multirange AS m'''\nkey = 't:x'\nvalue = 'rows'");
    world.warm(&["--now"]).exits(1).says("a multirange");
    world.warm(&["check"]).exits(1).says("a multirange");
}
