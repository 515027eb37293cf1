//! One run of a job at a time: who gets a lease, what it costs the database, and how many connections.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use warm::ground::fingerprint::Fingerprint;
use warm::source::{Acquired, LOST_AFTER};

use crate::machine::{Machine, count, locks, name_of, sessions, settings};
use crate::support::postgres::{Database, Postgres};
use crate::support::server::wait_for;
use crate::support::world::World;

fn database() -> Database {
    Postgres::shared().database()
}

#[test]
fn two_machines_exclude_each_other_job_by_job() {
    let url = database().url();
    let (one, other) = (Machine::at(&url), Machine::at(&url));
    let a = one.takes("a");
    other.is_refused("a");
    let b = other.takes("b");
    one.is_refused("b");
    // A job of the same name in another installation is another job.
    let theirs = one.runtime.block_on(one.leases.acquire(Fingerprint::of(["another shop", "b"])));
    assert!(matches!(theirs, Ok(Acquired::Held(_))), "{theirs:?}");
    one.gives_back(a);
    let a = other.takes("a");
    one.is_refused("a");
    other.gives_back(b);
    // Dropped, not given back: it is free soon.
    drop(a);
    one.waits_for("a");
}

#[test]
fn a_process_does_not_get_what_it_has() {
    // To PostgreSQL, a session may take its own lock again.
    let machine = Machine::at(&database().url());
    let lease = machine.takes("a");
    let clone = Machine { leases: machine.leases.clone(), ..Machine::at(&database().url()) };
    assert!(matches!(machine.wants("a"), Acquired::HeldHere));
    assert!(matches!(clone.wants("a"), Acquired::HeldHere));
    machine.gives_back(lease);
    machine.takes("a");
}

#[test]
fn many_jobs_share_one_connection_and_give_their_leases_back_one_by_one() {
    let database = database();
    let (one, other) = (Machine::at(&database.url()), Machine::at(&database.url()));
    let jobs: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let all = one.runtime.block_on(join_all(jobs.iter().map(|job| one.leases.acquire(name_of(job)))));
    let mut leases: Vec<_> = all.into_iter().map(Result::unwrap).collect();
    assert!(leases.iter().all(|acquired| matches!(acquired, Acquired::Held(_))), "{leases:?}");
    assert_eq!((sessions(&database), locks(&database)), (1, 20));
    let second_half = leases.split_off(10);
    one.runtime.block_on(join_all(leases.into_iter().map(|acquired| async move {
        let Acquired::Held(lease) = acquired else { panic!("{acquired:?}") };
        lease.release().await;
    })));
    let taken: Vec<_> = jobs.iter().map(|job| matches!(other.wants(job), Acquired::Held(_))).collect();
    assert_eq!(taken, [vec![true; 10], vec![false; 10]].concat());
    drop(second_half);
    wait_for("the end of all leases", || (locks(&database) == 0).then_some(()));
}

#[test]
fn a_lease_hinders_neither_vacuum_nor_a_new_index() {
    let database = database();
    database.sql("CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 1000)");
    let machine = Machine::at(&database.url());
    let _lease = machine.takes("a");
    let idle = "pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'";
    assert_eq!(count(&database, idle), 1);
    assert_eq!(count(&database, &format!("{idle} AND backend_xmin IS NULL AND backend_xid IS NULL")), 1);
    database.sql("DELETE FROM t");
    database.sql("VACUUM t");
    assert_eq!(database.sql("SELECT pg_relation_size('t')"), "0", "dead rows are gone");
    database.psql(&["-c", "SET statement_timeout = '5s'", "-c", "CREATE INDEX CONCURRENTLY i ON t (id)"]);
}

#[test]
fn no_barrier_waits_for_a_lease() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int, v text); INSERT INTO t VALUES (1, 'new')");
    let barrier = "invalidates = 'before-commit'";
    world.job("job", &format!("query = 'SELECT id, v FROM t'\nkey = 't:{{id}}'\nvalue = 'column:v'\n{barrier}"));
    let machine = Machine::at(&world.database.url());
    let _lease = machine.takes("a");
    world.warm(&["--now"]).exits(0).says("wrote 1 key");
}

#[test]
fn with_one_connection_there_is_no_lease() {
    let database = database();
    let mut one = settings(&database.url());
    one.connections = 1;
    let by_url = settings(&format!("{}&connection_limit=1", database.url()));
    for settings in [one, by_url] {
        let machine = Machine::with(&settings, LOST_AFTER);
        let Acquired::NotPossible(reason) = machine.wants("a") else { panic!("a lease was taken") };
        assert!(reason.contains("let `connections` in [postgres] be 2 or more"), "{reason}");
        assert_eq!((machine.source.free(), sessions(&database)), (1, 0));
    }
}

#[test]
fn a_lease_counts_as_a_connection() {
    let database = database();
    let machine = Machine::at(&database.url());
    machine.runtime.block_on(async {
        let (one, other) = (machine.source.snapshot().await.unwrap(), machine.source.snapshot().await.unwrap());
        one.finish().await.unwrap();
        other.finish().await.unwrap();
    });
    assert_eq!(sessions(&database), 2, "both are kept");
    let lease = machine.takes("a");
    assert_eq!((machine.source.free(), sessions(&database)), (1, 2));
    let reading = machine.runtime.block_on(machine.source.snapshot()).unwrap();
    assert!(machine.runtime.block_on(machine.source.snapshot_if_free()).unwrap().is_none());
    assert_eq!((machine.source.free(), sessions(&database)), (0, 2));
    machine.gives_back(lease);
    machine.runtime.block_on(reading.finish()).unwrap();
    assert_eq!((machine.source.free(), sessions(&database), locks(&database)), (2, 2, 0));
    machine.runtime.block_on(machine.source.close());
    wait_for("the end of all sessions", || (sessions(&database) == 0).then_some(()));
}

#[test]
fn a_lease_waits_for_a_free_connection_and_whoever_gives_up_leaves_nothing_behind() {
    let database = database();
    let machine = Machine::at(&database.url());
    let snapshot = || machine.runtime.block_on(machine.source.snapshot()).unwrap();
    let (one, other) = (snapshot(), snapshot());
    let waiting = machine.leases.acquire(name_of("a"));
    let patience = Duration::from_millis(200);
    machine.runtime.block_on(async { timeout(patience, waiting).await.unwrap_err() });
    machine.runtime.block_on(one.close());
    let lease = machine.takes("a");
    machine.gives_back(lease);
    machine.runtime.block_on(other.close());
    // At each step of taking one. The next try is not refused because of one that was given up.
    for micros in (0..4000).step_by(100) {
        let wanted = machine.leases.acquire(name_of("b"));
        let _ = machine.runtime.block_on(async { timeout(Duration::from_micros(micros), wanted).await });
        machine.takes("b");
    }
    Machine::at(&database.url()).waits_for("b");
    wait_for("both connections", || (machine.source.free() == 2).then_some(()));
}

#[test]
fn it_is_said_who_holds_it_as_far_as_the_account_may_see() {
    let database = database();
    let tcp = Machine::at(&database.tcp_url(database.port));
    let admin = Machine::at(&database.admin_url());
    let _a = tcp.takes("a");
    let _b = admin.takes("b");
    let at_server =
        database.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'warm' AND datname = current_database()");
    let holder = admin.is_refused("a").unwrap();
    assert_eq!(holder.pid.to_string(), at_server);
    assert_eq!(holder.application_name.as_deref(), Some("warm"));
    assert_eq!(holder.client_addr.as_deref(), Some("127.0.0.1"));
    let ago = chrono::Utc::now() - holder.since.unwrap();
    assert!((0..60).contains(&ago.num_seconds()), "{ago}");
    let holder = tcp.is_refused("b").unwrap();
    assert_eq!((holder.application_name.as_deref(), holder.client_addr, holder.since), (Some("warm"), None, None));
}
