//! The application comes first: a run begins no query while others have much to do in the database.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::serve::Ends;
use crate::support::gate::Gate;
use crate::support::postgres::{Database, Postgres};
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use crate::support::world::{Ran, World};

const JOB: &str = "query = '''SELECT n AS id FROM generate_series(1, 3) n'''\nkey = 't:{id}'\nvalue = 'row'";

/// Its session, once there is one: whether it is in a transaction, and what it said last.
const ITS: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'warm' AND datname = current_database()";

/// A cluster of the test's own, since the figure is one of the whole cluster, and statements of others in it.
struct Site {
    world: World,
    statements: Vec<Ends>,
    _postgres: Postgres,
}

impl Site {
    /// Busy beyond two statements of others.
    fn new() -> Site {
        Site::with(&[])
    }

    fn with(settings: &[&str]) -> Site {
        let postgres = Postgres::start(settings);
        let mut world = World::of(postgres.database(), Redis::start(""));
        world.job("job", JOB);
        world.set("WARM_POSTGRES__BUSY_ABOVE", "2");
        Site { world, statements: Vec::new(), _postgres: postgres }
    }

    fn database(&self) -> &Database {
        &self.world.database
    }

    /// Others run so many statements from now on.
    fn load(&mut self, statements: usize) {
        for _ in 0..statements {
            let mut statement = Command::new("psql");
            statement.args(["-X", "-q", "-c", "SELECT pg_sleep(600)", &self.database().admin_url()]);
            self.statements.push(Ends(statement.stderr(Stdio::null()).spawn().unwrap()));
        }
        let running = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        wait_for("the statements", || (self.world.sql(running) == self.statements.len().to_string()).then_some(()));
    }

    /// All of them end.
    fn end_load(&mut self) {
        self.world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
        self.statements.clear();
    }

    /// Runs the jobs, with what they log in a file.
    fn start(&self) -> Running {
        let path = self.world.folder.path.join("log");
        let mut program = self.world.program(&["--now", "--json"]);
        let child = program.stdout(Stdio::piped()).stderr(File::create(&path).unwrap()).spawn().unwrap();
        Running { child, log: path }
    }

    /// Waits until the program's sessions, of which there is one, are outside of a transaction.
    fn wait_until_idle(&self) {
        let idle = format!("{ITS} AND state = 'idle' AND xact_start IS NULL");
        wait_for("the end of its transaction", || (self.world.sql(&idle) == "1").then_some(()));
    }
}

struct Running {
    child: Child,
    log: std::path::PathBuf,
}

impl Running {
    fn wait_until_it_waits(&self) {
        // One that waits is still there: what it says when it ends is seen sooner than that it never waits.
        wait_for("the wait", || {
            let log = fs::read_to_string(&self.log).unwrap();
            assert!(!log.contains("failed"), "{log}");
            log.contains("waits: PostgreSQL is busy").then_some(())
        });
    }

    fn end(self) -> Ran {
        let mut ran = Ran::of(self.child.wait_with_output().unwrap());
        ran.err = fs::read_to_string(&self.log).unwrap();
        ran
    }
}

/// How long the first job waited, in milliseconds.
fn waited(ran: &Ran) -> f64 {
    ran.json()["jobs"][0]["held_back"]["database_ms"].as_f64().unwrap()
}

#[test]
fn a_job_waits_until_others_have_less_to_do() {
    let mut site = Site::new();
    site.load(3);
    site.world.set("WARM_LOG", "info");
    let running = site.start();
    site.world.unset("WARM_LOG");
    running.wait_until_it_waits();
    // It looks again and again, in transactions that end, and asks nothing else.
    let last = || site.world.sql("SELECT max(query_start) FROM pg_stat_activity WHERE application_name = 'warm'");
    for _ in 0..2 {
        site.wait_until_idle();
        let before = last();
        wait_for("another look", || (last() > before).then_some(()));
        let asks = format!("{ITS} AND query LIKE '%generate_series%'");
        assert_eq!((site.world.sql(&asks).as_str(), site.world.keys()), ("0", Vec::new()));
    }
    site.end_load();
    let ran = running
        .end()
        .exits(0)
        .says("job: waits: PostgreSQL is busy: ")
        .says(", more than busy_above = 2 in [postgres]");
    assert_eq!(site.world.keys(), ["t:1", "t:2", "t:3"]);
    assert!(waited(&ran) > 250.0, "{}", ran.all());
    let ran = ran.says("job: done, held back for ").says(" s since PostgreSQL was busy or behind");
    assert_eq!(ran.err.matches("held back").count(), 1, "{}", ran.all());
    let quiet = site.world.warm(&["--now", "--json"]).exits(0);
    assert_eq!((waited(&quiet), quiet.err.as_str()), (0.0, ""));
}

#[test]
fn a_job_that_waits_in_vain_fails_and_the_old_keys_stay() {
    let mut site = Site::new();
    site.world.job("job", &format!("{JOB}\ntimeout = '1s'"));
    let _: () = site.world.ask(&["SET", "t:1", "old", "EX", "600"]);
    site.load(3);
    let ran = site.world.warm(&["--now"]).exits(1);
    assert!(
        ran.err.contains("PostgreSQL is busy: 3 sessions of others are at work, more than busy_above = 2 in [postgres]; the job waited for ")
    );
    let ran = ran.says(" of its timeout of 1s in vain").says("advice: look what keeps PostgreSQL busy");
    assert!(ran.err.contains("kind=DatabaseBusy") && ran.err.contains("attempts=1"), "{}", ran.all());
    assert!(
        ran.out.contains("failed before any row was read") && ran.out.contains(" s since PostgreSQL was busy"),
        "{}",
        ran.all()
    );
    assert_eq!((site.world.keys(), site.world.value("t:1").as_deref()), (vec!["t:1".to_owned()], Some("old")));
}

#[test]
fn a_signal_ends_a_job_that_waits() {
    let mut site = Site::new();
    site.load(3);
    let running = site.start();
    running.wait_until_it_waits();
    let start = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &running.child.id().to_string()]).status().unwrap().success());
    let ran = running.end().exits(143).says("stopped by a signal");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!((site.world.keys(), ran.json()["jobs"][0]["error"]["kind"].as_str()), (Vec::new(), Some("Cancelled")));
}

#[test]
fn between_two_combinations_what_was_written_is_verified_before_the_job_waits() {
    let mut site = Site::new();
    let gate = Gate::shut(site.database(), 1);
    site.world
        .sql("CREATE TABLE thing (id int, v text); INSERT INTO thing SELECT n, 'old' FROM generate_series(1, 3) n");
    site.world.set("WARM_POSTGRES__CONNECTIONS", "1");
    site.world.job(
        "job",
        "query = 'SELECT id, v FROM thing WHERE id = :id AND wait(1)'\nkey = 't:{id}'\nvalue = 'column:v'\n[for_each]\nid = [1, 2, 3]",
    );
    let running = site.start();
    gate.wait_for_query();
    site.load(3);
    // What the look before its first query saw does not count any more, and the first row is another one meanwhile.
    let old = format!("{ITS} AND query_start < clock_timestamp() - interval '1 second'");
    wait_for("the time for another look", || (site.world.sql(&old) == "1").then_some(()));
    site.world.sql("UPDATE thing SET v = 'new' WHERE id = 1");
    gate.open();
    running.wait_until_it_waits();
    site.wait_until_idle();
    assert_eq!((site.world.keys(), site.world.value("t:1").as_deref()), (vec!["t:1".to_owned()], Some("new")));
    assert!(site.world.ask::<i64>(&["PTTL", "t:1"]) > 500_000, "it is verified, and has its whole life");
    site.world.sql("UPDATE thing SET v = 'newer' WHERE id = 3");
    site.end_load();
    let ran = running.end().exits(0);
    assert!(waited(&ran) > 0.0, "{}", ran.all());
    assert_eq!(site.world.keys(), ["t:1", "t:2", "t:3"]);
    assert_eq!(site.world.value("t:3").as_deref(), Some("newer"), "it went on in a new snapshot");
    assert!(site.world.ask::<i64>(&["PTTL", "t:3"]) > 500_000);
    assert_eq!(ran.json()["jobs"][0]["repaired"], 1, "{}", ran.all());
}

#[test]
fn a_figure_that_cannot_be_asked_is_said_once_and_holds_nobody_up() {
    let mut world = World::new();
    world.job("job", JOB);
    world.job("other", &JOB.replace("t:", "t:o:"));
    world.set("WARM_POSTGRES__BUSY_ABOVE", "0");
    for (query, reason) in [
        ("SELECT count(*) FROM missing", "relation \"missing\" does not exist"),
        ("SELECT rolpassword FROM pg_authid", "permission denied"),
        ("SELECT 1 WHERE false", "and gives no row"),
        ("VALUES (1), (2)", "and gives more than one row"),
        ("SELECT 1, 2", "and gives 2 columns"),
        ("SELECT NULL", "and gives NULL"),
        ("SELECT 'many'", "invalid input syntax"),
        ("SELECT pg_sleep(60)::text", "statement timeout"),
    ] {
        let timeout = if query.contains("sleep") { "300ms" } else { "30s" };
        world.set("WARM_POSTGRES__STATEMENT_TIMEOUT", timeout);
        world.set("WARM_POSTGRES__BUSY_QUERY", query);
        let ran = world.warm(&["--now"]).exits(0).says(reason);
        assert_eq!(ran.err.matches("nobody knows how busy PostgreSQL is").count(), 1, "{}", ran.all());
        assert_eq!(world.keys().len(), 6);
        world.warm(&["check"]).exits(0).says("warning: nobody knows how busy PostgreSQL is").says(reason);
        let _: () = world.ask(&["FLUSHALL"]);
    }
}

/// A job with several combinations whose figure is what this gives, and how often it was asked for.
fn combinations(query: &str) -> (Ran, usize) {
    let mut site = Site::with(&["log_statement=all"]);
    site.world.job(
        "job",
        "query = 'SELECT :id::int AS id'\nkey = 't:{id}'\nvalue = 'row'\n[for_each]\nid = [1, 2, 3, 4, 5, 6, 7, 8]",
    );
    site.world.set("WARM_POSTGRES__STATEMENT_TIMEOUT", "2s");
    site.world.set("WARM_POSTGRES__BUSY_QUERY", query);
    let ran = site.world.warm(&["--now", "--json"]).exits(0);
    assert_eq!(site.world.keys().len(), 8);
    let log = fs::read_to_string(format!("{}/log", site.database().host)).unwrap();
    (ran, log.matches("SAVEPOINT warm_load; SET LOCAL").count())
}

#[test]
fn a_figure_that_hangs_delays_a_job_once() {
    let (ran, asked) = combinations("SELECT 3 FROM (SELECT pg_sleep(60)) x");
    assert_eq!(asked, 1, "{}", ran.all());
    assert!((2000.0..4000.0).contains(&waited(&ran)), "{}", ran.all());
}

#[test]
fn a_figure_that_takes_long_holds_from_when_it_is_known() {
    let (ran, asked) = combinations("SELECT 1 FROM (SELECT pg_sleep(1.2)) x");
    // One more if the machine is very busy.
    assert!(asked <= 2, "{asked}: {}", ran.all());
    assert!((1200.0..3600.0).contains(&waited(&ran)), "{}", ran.all());
}

#[test]
fn another_figure_can_be_asked() {
    let mut world = World::new();
    world.job("job", &format!("{JOB}\ntimeout = '1s'"));
    world.sql("CREATE DOMAIN figure AS numeric; CREATE TABLE load (figure figure); INSERT INTO load VALUES (20.5)");
    world.set("WARM_POSTGRES__BUSY_ABOVE", "20");
    world.set("WARM_POSTGRES__BUSY_QUERY", "SELECT figure FROM load -- our own");
    world.warm(&["--now"]).exits(1).says("PostgreSQL is busy: busy_query gives 20.5, more than busy_above = 20");
    let ran = world.warm(&["check"]).exits(0).says("busy_query gives 20.5; jobs wait while that is above 20");
    ran.says("warning: PostgreSQL is busy: busy_query gives 20.5").says("jobs would wait now");
    world.sql("UPDATE load SET figure = 20");
    world.warm(&["--now"]).exits(0);
}

#[test]
fn an_account_that_is_not_told_what_others_do_sees_who_is_at_work() {
    let mut site = Site::new();
    let [mut idle, mut between] = [(); 2].map(|()| site.database().session());
    idle.say("SELECT 1;");
    between.say("BEGIN; SELECT 1;");
    site.load(2);
    let says = |site: &Site| site.world.warm(&["check"]).exits(0).says("others at work in PostgreSQL: 2");
    assert!(says(&site).all().contains("only members of pg_read_all_stats can tell"));
    site.world.sql("GRANT pg_read_all_stats TO warm");
    assert!(!says(&site).all().contains("pg_read_all_stats"));
    site.load(1);
    let ran =
        site.world.warm(&["check"]).exits(0).says("others at work in PostgreSQL: 3; jobs wait while that is above 2");
    ran.says("warning: PostgreSQL is busy: 3 sessions of others are at work");
}

#[test]
fn nothing_is_asked_unless_it_is_wanted() {
    let mut site = Site::with(&["log_statement=all"]);
    site.load(3);
    site.world.unset("WARM_POSTGRES__BUSY_ABOVE");
    let file = format!("{}/log", site.world.database.host);
    let log = || fs::read_to_string(&file).unwrap();
    let ran = site.world.warm(&["--now", "--json"]).exits(0);
    assert_eq!((waited(&ran), ran.err.as_str(), site.world.keys().len()), (0.0, "", 3));
    assert!(log().contains("generate_series") && !log().contains("warm_load"), "{}", log());
    site.world.set("WARM_POSTGRES__BUSY_ABOVE", "3");
    site.world.warm(&["--now"]).exits(0);
    assert!(log().contains("warm_load"), "{}", log());
}
