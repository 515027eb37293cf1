//! A standby that is further behind than `max_lag` is not read from.

use std::fs::{self, File};
use std::process::{Child, Stdio};

use crate::support::postgres::{Database, Postgres};
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use crate::support::world::{Ran, World};

const JOB: &str = "query = 'SELECT id, v FROM t'\nkey = 't:{id}'\nvalue = 'column:v'";

/// A primary with one row, its standby, and what reads from that; `max_lag` is a second.
struct Pair {
    world: World,
    written: Database,
    _primary: Postgres,
    _standby: Postgres,
}

impl Pair {
    fn new() -> Pair {
        let primary = Postgres::start(&[]);
        let written = primary.database();
        let standby = primary.standby(&[]);
        let read = standby.named(&written.name);
        // Only a commit that is replayed after its start tells a standby's age.
        written.sql("CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL); INSERT INTO t VALUES (1, 'old')");
        wait_for("the row", || read.try_sql("SELECT v FROM t").ok().filter(|row| row == "old"));
        let mut world = World::of(read, Redis::start(""));
        world.job("job", JOB);
        world.set("WARM_POSTGRES__MAX_LAG", "1s");
        Pair { world, written, _primary: primary, _standby: standby }
    }

    /// Runs read without knowing the primary, and so verify nothing.
    fn without_primary(mut self) -> Pair {
        self.world.unset("DATABASE_PRIMARY_URL");
        self.world.set("WARM_DEFAULTS__VERIFY", "none");
        self
    }

    fn with_primary(mut self) -> Pair {
        self.world.set("DATABASE_PRIMARY_URL", &self.written.url());
        self.world.unset("WARM_DEFAULTS__VERIFY");
        self
    }

    /// Waits until the last commit that was replayed is older than `max_lag`.
    fn let_it_grow_old(&self) {
        let old = "SELECT clock_timestamp() - pg_last_xact_replay_timestamp() > interval '1500 ms'";
        wait_for("the age", || (self.world.sql(old) == "t").then_some(()));
    }

    /// Writes a row that the standby has received, and does not replay.
    fn pause_before_a_write(&self) {
        self.world.sql("SELECT pg_wal_replay_pause()");
        let paused = "SELECT pg_get_wal_replay_pause_state()";
        wait_for("the pause", || (self.world.sql(paused) == "paused").then_some(()));
        self.written.sql("UPDATE t SET v = 'new'");
        let end = self.written.sql("SELECT pg_current_wal_lsn()");
        let received = format!("SELECT pg_last_wal_receive_lsn() >= '{end}'");
        wait_for("the row to be received", || (self.world.sql(&received) == "t").then_some(()));
    }

    fn start(&self) -> (Child, impl Fn() -> String) {
        let path = self.world.folder.path.join("log");
        let mut program = self.world.program(&["--now", "--json"]);
        let child = program.stdout(Stdio::piped()).stderr(File::create(&path).unwrap()).spawn().unwrap();
        (child, move || fs::read_to_string(&path).unwrap())
    }

    fn reads_when_it_has_caught_up(&self) {
        self.let_it_grow_old();
        self.pause_before_a_write();
        let (child, log) = self.start();
        wait_for("the wait", || log().contains("waits: the standby is up to ").then_some(()));
        // No transaction is open meanwhile, which would keep the standby from replaying.
        let idle = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'warm' AND state = 'idle'";
        wait_for("the end of its transaction", || (self.world.sql(idle) == "1").then_some(()));
        assert_eq!(self.world.keys(), [""; 0]);
        self.world.sql("SELECT pg_wal_replay_resume()");
        let ran = Ran::of(child.wait_with_output().unwrap()).exits(0);
        assert_eq!(self.world.value("t:1").as_deref(), Some("new"), "{}", log());
        assert!(ran.json()["jobs"][0]["held_back"]["database_ms"].as_f64().unwrap() > 0.0, "{}", ran.all());
    }

    /// Fails after its time-out, and leaves what is there.
    fn does_not_read(&self) -> Ran {
        self.world.job("job", &format!("{JOB}\ntimeout = '2s'"));
        let _: () = self.world.ask(&["SET", "t:1", "kept", "EX", "600"]);
        let ran = self.world.warm(&["--now"]).exits(1).says("kind=StandbyBehind").says("in vain");
        assert_eq!(self.world.value("t:1").as_deref(), Some("kept"), "{}", ran.all());
        ran.says("behind its primary, more than max_lag = 1s in [postgres]").says("name another server in DATABASE_URL")
    }

    fn reads_at_once(&self) {
        let ran = self.world.warm(&["--now"]).exits(0).says("wrote 1 key");
        assert_eq!(ran.err, "");
    }
}

#[test]
fn a_standby_that_stands_still_is_waited_for() {
    Pair::new().with_primary().reads_when_it_has_caught_up();
}

#[test]
fn so_is_one_whose_primary_is_not_known() {
    Pair::new().without_primary().reads_when_it_has_caught_up();
}

#[test]
fn a_standby_that_stays_behind_is_not_read_from() {
    let mut pair = Pair::new().with_primary();
    pair.pause_before_a_write();
    pair.let_it_grow_old();
    pair.does_not_read();
    let ran =
        pair.world.warm(&["check"]).exits(0).says("the standby is ").says("; jobs wait while that is more than 1s");
    ran.says("warning: the standby is up to ").says("jobs would wait now");
    // That nothing can be verified is said at once: no wait mends it.
    pair.world.unset("DATABASE_PRIMARY_URL");
    let ran = pair.world.warm(&["--now", "--json"]).exits(1).says("nothing read from it can be verified");
    let job = &ran.json()["jobs"][0];
    let (kind, waited) = (job["error"]["kind"].as_str(), job["held_back"]["database_ms"].as_f64());
    assert_eq!((kind, waited), (Some("Definition"), Some(0.0)), "{}", ran.all());
    // How far it is behind is nobody's business where it may be.
    let mut pair = pair.without_primary();
    pair.world.unset("WARM_POSTGRES__MAX_LAG");
    pair.reads_at_once();
    let ran = pair.world.warm(&["check"]).exits(0).says("; jobs read from it whatever that is (max_lag in [postgres])");
    assert!(!ran.all().contains("would wait"), "{}", ran.all());
}

#[test]
fn a_primary_with_nothing_to_commit_leaves_nobody_behind() {
    let pair = Pair::new().with_primary();
    pair.let_it_grow_old();
    pair.reads_at_once();
    let ran = pair.world.warm(&["check"]).exits(0).says("the standby is 0s behind its primary");
    assert!(!ran.all().contains("up to"), "{}", ran.all());
    pair.without_primary().reads_at_once();
}

#[test]
fn a_standby_that_is_cut_off_is_behind_although_it_has_replayed_all_that_it_has() {
    let pair = Pair::new();
    pair.world.sql("ALTER SYSTEM SET primary_conninfo = ''");
    pair.world.sql("SELECT pg_reload_conf()");
    wait_for("the end of the receiver", || {
        (pair.world.sql("SELECT count(*) FROM pg_stat_wal_receiver") == "0").then_some(())
    });
    pair.written.sql("UPDATE t SET v = 'new'");
    pair.let_it_grow_old();
    assert_eq!(pair.world.sql("SELECT pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()"), "t");
    let pair = pair.with_primary();
    pair.does_not_read();
    pair.without_primary().does_not_read();
}

#[test]
fn a_primary_has_no_lag() {
    let mut pair = Pair::new().without_primary();
    let url = pair.written.url();
    pair.world.set("DATABASE_URL", &url);
    pair.reads_at_once();
    let ran = pair.world.warm(&["check"]).exits(0);
    assert!(!ran.all().contains("behind"), "{}", ran.all());
}
