//! Holders, hosts, servers and poolers fail: when a lease is free again, and that nobody hangs.

use std::time::{Duration, Instant};

use warm::ground::error::ErrorKind;
use warm::source::{Acquired, LOST_AFTER};

use crate::bouncer::PgBouncer;
use crate::machine::{AT_ONCE, LOCKS, Machine, Process, count, locks, name_of, sessions, settings, signal};
use crate::support::postgres::{Database, Postgres};
use crate::support::proxy::{Fault, Proxy};
use crate::support::server::wait_for;

/// Short, for tests that wait for it.
const SHORT: Duration = Duration::from_secs(4);

fn database() -> Database {
    Postgres::shared().database()
}

#[test]
fn a_killed_holder_frees_its_leases_at_once() {
    let url = database().url();
    let mut holder = Process::at(&url, LOST_AFTER);
    assert_eq!((&*holder.wants("a"), &*holder.wants("a")), ("held", "held here"));
    let other = Machine::at(&url);
    other.is_refused("a");
    holder.signal("KILL");
    let (_lease, waited) = other.waits_for("a");
    assert!(waited < AT_ONCE, "{waited:?}");
}

#[test]
fn a_stopped_holder_keeps_its_leases_at_first_and_nobody_hangs() {
    let url = database().url();
    let mut holder = Process::at(&url, LOST_AFTER);
    assert_eq!(holder.wants("a"), "held");
    holder.signal("STOP");
    let (other, start) = (Machine::at(&url), Instant::now());
    other.is_refused("a");
    assert!(start.elapsed() < AT_ONCE, "it was not waited for: {:?}", start.elapsed());
}

#[test]
fn a_holder_that_stays_stopped_frees_its_leases_within_the_bound() {
    let url = database().url();
    let mut holder = Process::at(&url, SHORT);
    assert_eq!(holder.wants("a"), "held");
    holder.signal("STOP");
    let other = Machine::at(&url);
    let (_lease, waited) = other.waits_for("a");
    assert!(waited < SHORT + AT_ONCE, "{waited:?}");
    // It does not know yet that its connection is gone.
    holder.signal("CONT");
    assert_eq!([holder.wants("a"), holder.wants("b")], ["held here", "held"]);
    other.is_refused("b");
}

#[test]
fn a_holder_that_lives_is_not_taken_for_lost() {
    let database = database();
    let machine = Machine::with(&settings(&database.url()), SHORT);
    let _lease = machine.takes("a");
    let age = "SELECT now() - xact_start > interval '6 s' FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()";
    wait_for("a lease of six seconds", || (database.sql(age) == "t").then_some(()));
    Machine::at(&database.url()).is_refused("a");
}

#[test]
fn a_terminated_session_costs_its_leases_and_nothing_else() {
    let database = database();
    let (one, other) = (Machine::at(&database.url()), Machine::at(&database.url()));
    let (a, b) = (one.takes("a"), one.takes("b"));
    // The only other connection: leases do without it.
    let _reading = one.runtime.block_on(one.source.snapshot()).unwrap();
    database.sql(&format!("SELECT pg_terminate_backend({})", session_of(&database)));
    let (elsewhere, waited) = other.waits_for("a");
    assert!(waited < AT_ONCE, "{waited:?}");
    assert!(matches!(one.wants("a"), Acquired::HeldHere), "its run goes on");
    let c = one.takes("c");
    assert_eq!(one.source.free(), 0);
    // What was lost does not give back what others have now.
    one.gives_back(a);
    other.is_refused("c");
    one.is_refused("a");
    other.gives_back(elsewhere);
    let a = one.takes("a");
    other.is_refused("a");
    [a, b, c].into_iter().for_each(|lease| one.gives_back(lease));
    assert_eq!((one.source.free(), locks(&database)), (1, 0));
}

#[test]
fn a_restarted_server_is_connected_to_again() {
    let mut postgres = Postgres::start(&[]);
    let database = postgres.database();
    let machine = Machine::at(&database.url());
    let a = machine.takes("a");
    postgres.server.end();
    postgres.start_again();
    let b = machine.takes("b");
    assert_eq!((sessions(&database), locks(&database)), (1, 1));
    machine.gives_back(a);
    machine.gives_back(b);
    assert_eq!(locks(&database), 0);
}

#[test]
fn a_session_that_does_not_answer_is_given_up_for_a_new_one() {
    let database = database();
    let machine = Machine::with(&settings(&database.url()), SHORT);
    let a = machine.takes("a");
    let session = session_of(&database);
    signal(session, "STOP");
    let b = machine.takes("b");
    // It has its lock until it ends, and it cannot end before it goes on.
    Machine::at(&database.url()).is_refused("a");
    signal(session, "CONT");
    [a, b].into_iter().for_each(|lease| machine.gives_back(lease));
    wait_for("the end of all leases", || (locks(&database) == 0).then_some(()));
    assert_eq!(machine.source.free(), 2);
}

/// The server's process that has the leases.
fn session_of(database: &Database) -> u32 {
    database.sql(&format!("SELECT DISTINCT pid FROM {LOCKS}")).parse().unwrap()
}

#[test]
fn a_network_that_swallows_everything_frees_within_the_bound() {
    let database = database();
    let proxy = Proxy::before(database.port, &[]);
    let cut_off = Machine::with(&settings(&database.tcp_url(proxy.port)), SHORT);
    let a = cut_off.takes("a");
    let other = Machine::at(&database.url());
    other.is_refused("a");
    proxy.hold();
    let start = Instant::now();
    // The connection that does not answer is given up for a new one.
    let _b = cut_off.takes("b");
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert_eq!(proxy.accepted(), 2);
    other.waits_for("a");
    assert!(start.elapsed() < SHORT + AT_ONCE, "{:?}", start.elapsed());
    cut_off.gives_back(a);
    other.is_refused("b");
}

#[test]
fn behind_a_pooler_leases_exclude_each_other_and_are_given_back() {
    let database = database();
    let bouncer = PgBouncer::before(&database, 3);
    let pooled = database.tcp_url(bouncer.port);
    let (one, other) = (Machine::at(&pooled), Machine::at(&pooled));
    let (a, b) = (one.takes("a"), one.takes("b"));
    // Other transactions go through the pooler's other connections meanwhile.
    let pid = other.is_refused("a").unwrap().pid;
    for _ in 0..20 {
        other.runtime.block_on(async { other.source.snapshot().await.unwrap().finish().await.unwrap() });
        assert_eq!(other.is_refused("a").unwrap().pid, pid);
    }
    Machine::at(&database.url()).is_refused("a");
    one.gives_back(a);
    let a = other.takes("a");
    one.is_refused("a");
    [b, a].into_iter().for_each(|lease| one.gives_back(lease));
    assert_eq!(locks(&database), 0, "no connection of the pooler's keeps a lock");
    let idle = "pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    assert_eq!(count(&database, idle), 0);
}

#[test]
fn behind_a_pooler_a_killed_holder_frees_its_leases_at_once() {
    let database = database();
    let bouncer = PgBouncer::before(&database, 3);
    let pooled = database.tcp_url(bouncer.port);
    let mut holder = Process::at(&pooled, LOST_AFTER);
    assert_eq!(holder.wants("a"), "held");
    let other = Machine::at(&pooled);
    other.is_refused("a");
    holder.signal("KILL");
    let (_lease, waited) = other.waits_for("a");
    assert!(waited < AT_ONCE, "{waited:?}");
}

#[test]
fn behind_a_pooler_too_a_lost_host_frees_within_the_bound() {
    let database = database();
    let bouncer = PgBouncer::before(&database, 3);
    let proxy = Proxy::before(bouncer.port, &[]);
    let cut_off = Machine::with(&settings(&database.tcp_url(proxy.port)), SHORT);
    let _a = cut_off.takes("a");
    let other = Machine::at(&database.tcp_url(bouncer.port));
    other.is_refused("a");
    proxy.hold();
    let start = Instant::now();
    other.waits_for("a");
    assert!(start.elapsed() < SHORT + AT_ONCE, "{:?}", start.elapsed());
}

#[test]
fn a_server_that_does_not_answer_is_an_error_in_time() {
    let database = database();
    let proxy = Proxy::before(database.port, &[Fault::None, Fault::FreezeAfter(0)]);
    let mut impatient = settings(&database.tcp_url(proxy.port));
    impatient.connect_timeout = Duration::from_secs(1);
    let machine = Machine::with(&impatient, SHORT);
    let a = machine.takes("a");
    proxy.hold();
    let start = Instant::now();
    let error = machine.runtime.block_on(machine.leases.acquire(name_of("b"))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::PostgresUnreachable, "{error}");
    machine.gives_back(a);
    assert!(start.elapsed() < SHORT + AT_ONCE, "{:?}", start.elapsed());
    assert_eq!(machine.source.free(), 2);
    machine.takes("b");
}
