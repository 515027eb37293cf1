//! The standby of the tests, which has to lag for certain if tests are to see what `warm` makes of that.

use std::time::{Duration, Instant};

use crate::support::postgres::Postgres;
use crate::support::server::wait_for;

#[test]
fn a_standby_replays_late() {
    let primary = Postgres::start(&[]);
    let database = primary.database();
    database.sql("CREATE TABLE t (x int)");
    let late = Duration::from_millis(1500);
    let server = primary.standby(&[&format!("recovery_min_apply_delay={}ms", late.as_millis())]);
    let standby = server.named(&database.name);
    assert_eq!(standby.sql("SELECT pg_is_in_recovery()"), "t");
    wait_for("the table", || standby.try_sql("TABLE t").ok());
    let before = Instant::now();
    database.sql("INSERT INTO t VALUES (1)");
    wait_for("the replay", || (standby.sql("TABLE t") == "1").then_some(()));
    assert!(before.elapsed() >= late, "replayed after {:?}", before.elapsed());
}
