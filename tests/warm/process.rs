//! The process is stopped, killed, or one of its jobs panics.

use std::collections::HashMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use warm::ground::job::Job;
use warm::observe::LogObserver;
use warm::runner::Runner;

use crate::support::server::wait_for;
use crate::support::world::{Ran, World};

/// Hangs in the middle until it is stopped.
const HANGS: &str = "query = 'SELECT n AS id, CASE WHEN n = 500 THEN pg_sleep(60)::text END AS x FROM generate_series(1, 1000) n'\nkey = 't:{id}'\nvalue = 'row'";

fn signal(child: &std::process::Child, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap().success());
}

fn hanging() -> (World, std::process::Child) {
    let world = World::new();
    world.job("job", HANGS);
    let child = world.start(&["--now"]);
    wait_for("the middle of the query", || (world.ask::<u64>(&["DBSIZE"]) > 100).then_some(()));
    (world, child)
}

#[test]
fn a_signal_ends_the_run_with_a_true_report() {
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let (world, child) = hanging();
        signal(&child, name);
        let ran = Ran::of(child.wait_with_output().unwrap()).exits(code);
        let written = world.keys().len();
        assert!(
            ran.err.contains(&format!("failed after writing {written} keys: stopped by a signal")),
            "{}",
            ran.all()
        );
        wait_for("the end of the query", || {
            (world.sql(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()",
            ) == "0")
                .then_some(())
        });
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (world, child) = hanging();
    // It cannot finish its batch: Redis does not answer.
    world.redis.server.signal("STOP");
    signal(&child, "TERM");
    signal(&child, "INT");
    // Which of the two arrives first is not ours to say.
    let code = child.wait_with_output().unwrap().status.code();
    assert!(matches!(code, Some(130 | 143)), "{code:?}");
    world.redis.server.signal("CONT");
}

#[test]
fn killed_at_any_instant_it_leaves_old_or_new_values_and_never_half() {
    let world = World::new();
    world.job("job", "query = '''SELECT n AS id, repeat('x', 5000) AS x FROM generate_series(1, 2000) n'''\nkey = 't:{id}'\nvalue = 'row'");
    let whole = |id: &str| format!("{{\"id\":{id},\"x\":\"{}\"}}", "x".repeat(5000));
    let mut partial = 0;
    for round in 0..20 {
        let _: () = world.ask(&["FLUSHALL"]);
        let mut child = world.start(&["--now"]);
        let target = 1 + round * 90;
        wait_for("some keys", || {
            (world.ask::<u64>(&["DBSIZE"]) >= target || child.try_wait().unwrap().is_some()).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let keys = world.keys();
        partial += usize::from(keys.len() < 2000);
        for key in keys {
            assert_eq!(world.value(&key).unwrap(), whole(key.strip_prefix("t:").unwrap()));
            assert!(world.ask::<i64>(&["PTTL", &key]) > 0);
        }
    }
    assert!(partial > 5, "it was killed in the middle {partial} times of 20");
    world.warm(&["--now"]).exits(0).says("wrote 2000 keys");
}

#[test]
fn a_closed_output_takes_nothing_away() {
    let world = World::new();
    world.job("job", "query = 'SELECT 1 AS x'\nkey = 't:x'\nvalue = 'rows'");
    let mut child = world.start(&["--now"]);
    drop(child.stdout.take());
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(world.keys(), ["t:x"]);
}

/// Panics when the job `bad` reports progress.
struct Panics;

impl warm::ground::event::Observer for Panics {
    fn on(&self, event: &warm::ground::event::Event<'_>) {
        if matches!(event, warm::ground::event::Event::Progress { job: "bad", .. }) {
            panic!("boom");
        }
    }
}

/// What runs the jobs of a world within this process, and these.
fn made(world: &World, observer: Arc<dyn warm::ground::event::Observer>) -> (Arc<Runner>, Vec<Arc<Job>>) {
    use warm::{cache, config, encode, ground, source};
    let environment = [("DATABASE_URL".to_owned(), world.database.url()), ("REDIS_URL".to_owned(), world.redis.url())]
        .into_iter()
        .collect();
    let formats: Vec<_> = encode::formats().collect();
    let loaded = config::load(&world.folder.path.join("warm.toml"), &environment, &formats).unwrap();
    let runner = Runner {
        source: source::Postgres::new(&loaded.settings.postgres).unwrap(),
        redis: cache::Redis::new(&loaded.settings.redis).unwrap(),
        key_space: loaded.settings.key_space(),
        limits: loaded.settings.limits,
        clock: Arc::new(ground::clock::SystemClock),
        observer,
        leases: None,
        history: None,
    };
    (Arc::new(runner), loaded.settings.jobs.into_iter().map(Arc::new).collect())
}

#[test]
fn a_service_that_is_to_end_before_it_looks_what_is_due_begins_nothing() {
    use warm::ground::pause::Pauses;
    use warm::ground::targets::Targets;
    use warm::ground::watch::Seen;
    use warm::service::{Daemon, Inputs, Setup, Stop};
    let world = World::new();
    world.job("job", "query = 'SELECT 1 AS x'\nkey = 't:x'\nvalue = 'rows'");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        // What it hears first, that Redis is there or that it is to end, is chance.
        for _ in 0..20 {
            let (runner, jobs) = made(&world, Arc::new(LogObserver::default()));
            let (known, past, pauses) = (HashMap::new(), HashMap::new(), Pauses::default());
            let grace = Duration::from_secs(9);
            let daemon = Daemon::new(Setup {
                runner,
                jobs,
                known,
                past,
                pauses,
                targets: Targets::default(),
                grace,
                cache: None,
            });
            let ((_stop, stop), (_setups, setups)) = (watch::channel(Stop::Drain("SIGTERM")), mpsc::channel(1));
            let ((_pauses, pauses), (tell, cache)) = (mpsc::channel(1), mpsc::channel(1));
            tell.send(Seen::Up).await.unwrap();
            let (deleted, changes) = (mpsc::channel(1).1, watch::channel(None).1);
            assert!(daemon.serve(Inputs { stop, setups, pauses, cache, deleted, changes }).await);
        }
    });
    assert!(world.keys().is_empty());
}

#[test]
fn a_panic_ends_its_job_only() {
    use warm::ground;
    let world = World::new();
    for name in ["bad", "good"] {
        world.job(name, &format!("query = 'SELECT 1 AS x'\nkey = 't:{name}'\nvalue = 'rows'"));
    }
    let (runner, jobs) = made(&world, Arc::new(Panics));
    let request = ground::request::Request {
        trigger: ground::request::Trigger::Manual,
        due: None,
        scope: ground::request::Scope::All,
        mode: None,
        purpose: ground::request::Purpose::Write,
        accept: false,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_stop, stopped) = watch::channel(false);
    let reports = runtime.block_on(runner.run(&jobs, request, stopped));
    let failure = reports[0].failure.as_ref().unwrap();
    assert_eq!((failure.kind, failure.message.as_str()), (ground::error::ErrorKind::Panic, "the job panicked: boom"));
    assert_eq!(reports[1].failure, None);
    assert_eq!(world.value("t:good").as_deref(), Some(r#"[{"x":1}]"#));
}

#[test]
fn a_log_that_cannot_be_written_ends_no_job() {
    let mut world = World::new();
    world.set("WARM_POSTGRES__CONNECTIONS", "1");
    world.job("a", "query = 'SELECT nothing'\nkey = 't:a'\nvalue = 'rows'\npriority = 9");
    world.job("b", "query = 'SELECT 1 AS x'\nkey = 't:b'\nvalue = 'rows'");
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let code = world.program(&["--now"]).stderr(full()).stdout(full()).status().unwrap().code();
    assert_eq!((code, world.keys()), (Some(1), vec!["t:b".to_owned()]));
    world.set("WARM_CONFIG", "nowhere.toml");
    assert_eq!(world.program(&["--now"]).stderr(full()).status().unwrap().code(), Some(2));
}

#[test]
fn a_word_that_is_no_log_level_is_refused() {
    let mut world = World::new();
    world.job("b", "query = 'SELECT 1 AS x'\nkey = 't:b'\nvalue = 'rows'");
    for (word, code) in [("warning", 2), ("verbose", 2), ("WARN", 0), ("warm=debug", 0), ("off", 0)] {
        world.set("WARM_LOG", word);
        world.warm(&["--now"]).exits(code);
    }
}
