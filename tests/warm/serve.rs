//! `warm serve` and `warm --due`: jobs run when they are due, and the process ends in good order.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::Row;

use super::history::ask as history;
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use crate::support::world::{CONFIG, World, ask};

pub(crate) const EVERY_SECOND: &str = "schedule = '* * * * * *'\nquery = 'SELECT n AS id, now()::text AS t FROM generate_series(1, 3) n'\nkey = 't:{id}'\nvalue = 'row'\nverify = 'none'";
/// Comes due once a year.
pub(crate) const SELDOM: &str =
    "schedule = '@yearly'\nquery = 'SELECT n AS id FROM generate_series(1, 3) n'\nkey = 't:s:{id}'\nvalue = 'row'";

/// A running `warm serve`.
pub(crate) struct Serving {
    pub(crate) world: World,
    child: Ends,
}

/// A process that ends with the test, however that ends.
pub(crate) struct Ends(pub(crate) Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // One that has ended is left alone.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

impl Serving {
    pub(crate) fn start(jobs: &[(&str, &str)]) -> Serving {
        let world = World::new();
        jobs.iter().for_each(|(name, text)| world.job(name, text));
        Serving::of(world)
    }

    pub(crate) fn of(world: World) -> Serving {
        Serving::telling("info", world)
    }

    /// One that logs what is of this level.
    pub(crate) fn telling(level: &str, mut world: World) -> Serving {
        world.set("WARM_LOG", level);
        Serving::as_it_is(world)
    }

    /// One that logs what it is told to by the world's environment.
    pub(crate) fn as_it_is(world: World) -> Serving {
        let log = File::create(world.folder.path.join("log")).unwrap();
        let child = world.program(&["serve"]).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Serving { world, child: Ends(child) }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.world.folder.path.join("log")).unwrap()
    }

    pub(crate) fn wait_until_it_says(&self, text: &str) {
        wait_for(text, || self.log().contains(text).then_some(()));
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// The exit code after SIGTERM, and all that was said.
    pub(crate) fn end(mut self) -> (World, Option<i32>, String) {
        self.signal("TERM");
        let code = self.child.0.wait().unwrap().code();
        let log = self.log();
        (self.world, code, log)
    }
}

#[test]
fn jobs_run_at_once_and_then_on_their_schedules() {
    let serving = Serving::start(&[("often", EVERY_SECOND), ("seldom", SELDOM)]);
    let first = wait_for("the first run", || serving.world.value("t:1"));
    wait_for("the next one", || serving.world.value("t:1").filter(|value| *value != first));
    wait_for("the job that nobody has seen run", || serving.world.value("t:s:1"));
    let (_, code, log) = serving.end();
    assert_eq!((code, log.matches("seldom: done").count()), (Some(0), 1), "{log}");
}

#[test]
fn what_was_served_is_remembered() {
    let serving = Serving::start(&[("seldom", SELDOM)]);
    wait_for("the first run", || serving.world.value("t:s:1"));
    let (world, ..) = serving.end();
    let _: i64 = world.ask(&["DEL", "t:s:1"]);
    let ran = world.warm(&["--due"]).exits(0);
    assert_eq!((world.value("t:s:1"), ran.out.as_str()), (None, ""), "nothing is due");
    fs::remove_dir_all(world.state()).unwrap();
    assert_eq!(world.warm(&["--due"]).exits(0).out, "", "Redis knows, too");
    fs::remove_dir_all(world.state()).unwrap();
    let _: () = world.ask(&["FLUSHALL"]);
    world.warm(&["--due"]).exits(0).says("seldom: wrote 3 keys");
    assert_eq!(world.warm(&["--due"]).exits(0).out, "");
}

#[test]
fn changed_files_are_read_all_or_nothing() {
    let serving = Serving::start(&[("seldom", SELDOM)]);
    let world = &serving.world;
    wait_for("the first run", || world.value("t:s:1"));
    world.job("more", &SELDOM.replace("t:s:", "t:more:"));
    wait_for("the new job", || world.value("t:more:1"));
    world.job("broken", "query = ");
    world.job("good", &SELDOM.replace("t:s:", "t:good:"));
    serving.signal("HUP");
    serving.wait_until_it_says("the one before stays");
    assert_eq!(world.value("t:good:1"), None);
    fs::remove_file(world.folder.path.join("jobs/broken.toml")).unwrap();
    wait_for("the good job", || world.value("t:good:1"));
    let (_, code, log) = serving.end();
    assert!(log.contains("broken.toml:1"), "{log}");
    assert!(log.contains("the configuration was read again: 3 jobs"), "{log}");
    assert_eq!((code, log.matches("seldom: done").count()), (Some(0), 1), "{log}");
}

#[test]
fn a_signal_lets_runs_finish_and_a_second_one_stops_them() {
    let slow = "query = 'SELECT n AS id, pg_sleep(0.01)::text AS x FROM generate_series(1, 200) n'\nkey = 't:{id}'\nvalue = 'row'\nverify = 'none'";
    let begun = |world: &World| wait_for("the middle", || (world.ask::<u64>(&["DBSIZE"]) > 60).then_some(()));
    let serving = Serving::start(&[("slow", slow)]);
    begun(&serving.world);
    let (world, code, log) = serving.end();
    assert!(code == Some(0) && log.contains("slow: done"), "{log}");
    assert_eq!(world.ask::<Vec<String>>(&["KEYS", "t:*"]).len(), 200);
    let serving = Serving::start(&[("slow", &slow.replace("200)", "100000)"))]);
    begun(&serving.world);
    serving.signal("INT");
    serving.wait_until_it_says("SIGINT: nothing begins any more; waiting for slow, for 25s at most");
    let (mut world, code, log) = serving.end();
    assert!(code == Some(130) && log.contains("stopped by a signal"), "{code:?}: {log}");
    assert!(log.contains("SIGTERM: what still runs is stopped: slow"), "{log}");
    world.set("WARM_SERVE__GRACE_PERIOD", "1s");
    let _: () = world.ask(&["FLUSHALL"]);
    let serving = Serving::of(world);
    begun(&serving.world);
    let (_, code, log) = serving.end();
    assert_eq!(code, Some(143), "{log}");
    assert!(log.contains("the grace period is over: what still runs is stopped: slow"), "{log}");
}

#[test]
fn begin_and_end_are_said_without_being_asked_for() {
    let world = World::new();
    world.job("seldom", SELDOM);
    let serving = Serving::as_it_is(world);
    serving.wait_until_it_says("seldom: done");
    let (mut world, code, log) = serving.end();
    let lines: Vec<&str> = log.lines().collect();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(code, Some(0));
    assert!(lines[0].contains(&format!("INFO warm serve {version} begins: 1 job in warm.toml")), "{log}");
    let [.., stopping, ended] = lines[..] else { panic!("{log}") };
    assert!(stopping.contains("INFO SIGTERM: nothing begins any more, and nothing runs"), "{log}");
    assert!(ended.contains("INFO warm serve has ended"), "{log}");
    assert_eq!(world.warm(&["--now"]).exits(0).err, "", "of others only warnings are of interest");
    let _: () = world.ask(&["FLUSHALL"]);
    world.set("WARM_LOG", "warn");
    let serving = Serving::as_it_is(world);
    wait_for("the keys", || serving.world.value("t:s:3"));
    assert!(!serving.end().2.contains("INFO"));
}

#[test]
fn a_cache_that_was_emptied_is_filled_again() {
    let mut serving = Serving::start(&[("seldom", SELDOM)]);
    let filled = |world: &World| wait_for("the keys", || world.value("t:s:3"));
    filled(&serving.world);
    let _: () = serving.world.ask(&["FLUSHALL"]);
    filled(&serving.world);
    serving.wait_until_it_says("Redis was emptied, by FLUSHALL or the like; all jobs run");
    serving.world.redis.server.end();
    serving.wait_until_it_says("Redis is away, and no job begins until it is back");
    serving.world.redis.start_again();
    serving.world.redis.allow_all_keys();
    filled(&serving.world);
    let (_, code, log) = serving.end();
    assert!(code == Some(0) && log.contains("Redis was restarted"), "{code:?}: {log}");
}

#[test]
fn nothing_is_asked_of_the_database_for_a_cache_that_is_down() {
    let mut world = World::new();
    world.job("often", EVERY_SECOND);
    world.redis.server.end();
    let mut serving = Serving::of(world);
    serving.wait_until_it_says("no job begins");
    let asked =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'warm' AND datname = current_database()";
    assert_eq!(serving.world.sql(asked), "0");
    assert!(!serving.log().contains("often: started"), "{}", serving.log());
    serving.world.redis.start_again();
    serving.world.redis.allow_all_keys();
    wait_for("the first run", || serving.world.value("t:1"));
    assert_eq!(serving.end().1, Some(0));
}

#[test]
fn another_redis_is_filled_at_once_although_somebody_else_has_marked_it() {
    let other = Redis::start("");
    other.allow_all_keys();
    let _: () = ask(&mut other.connect(), &["SET", "warm:marker", "0123456789abcdef0123456789abcdef"]);
    let mut world = World::new();
    world.job("seldom", SELDOM);
    // The environment of a process cannot be changed from outside.
    world.unset("REDIS_URL");
    world.config(&format!("{CONFIG}[redis]\nurl = \"{}\"\n", world.redis.url()));
    let serving = Serving::of(world);
    wait_for("the first run", || serving.world.value("t:s:1"));
    serving.world.config(&format!("{CONFIG}[redis]\nurl = \"{}\"\n", other.url()));
    wait_for("the run for the other one", || ask::<Option<String>>(&mut other.connect(), &["GET", "t:s:1"]));
    assert_eq!(serving.end().1, Some(0));
}

#[test]
fn an_account_that_may_keep_no_marks_runs_its_jobs_all_the_same() {
    let world = World::new();
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "resetkeys", "~t:*"]);
    world.job("seldom", &format!("{SELDOM}\nrefresh_ahead = true\nttl = '4s'"));
    let serving = Serving::of(world);
    let life = |world: &World| world.ask::<i64>(&["PTTL", "t:s:1"]);
    wait_for("the first run", || serving.world.value("t:s:1"));
    wait_for("a life that gets shorter", || (life(&serving.world) < 3000).then_some(()));
    wait_for("a refresh", || (life(&serving.world) > 3000).then_some(()));
    let (_, code, log) = serving.end();
    assert_eq!((code, log.matches("other instances may run it again").count()), (Some(0), 1), "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn what_passes_in_a_pause_is_counted_once_by_many_processes() {
    let world = World::new();
    world.job("often", "schedule = '* * * * * *'\nquery = 'SELECT 1 AS x'\nkey = 't:x'\nvalue = 'rows'");
    world.warm(&["--due"]).exits(0);
    world.warm(&["pause", "--for", "1h"]).exits(0);
    let begun = chrono::Utc::now();
    let starts = || (chrono::Utc::now() - begun).num_seconds();
    while starts() < 4 {
        world.warm(&["--due"]).exits(0);
    }
    let rows = history(&world.state().join("history.sqlite"), "SELECT sum(count) FROM passed WHERE reason = 'paused'");
    let counted: i64 = rows[0].get(0);
    let most = starts() + 2;
    assert!((2..=most).contains(&counted), "{counted} of at most {most}");
}

#[test]
fn a_new_job_that_makes_nothing_up_runs_when_it_comes_due() {
    let world = World::new();
    world.job(
        "often",
        "schedule = '* * * * * *'\ncatch_up = 'none'\nquery = 'SELECT 1 AS x'\nkey = 't:x'\nvalue = 'rows'",
    );
    world.warm(&["--due"]).exits(0).says("often: wrote 1 key");
}
/// A service that is still starting: Redis does not answer.
fn starting() -> Serving {
    let mut world = World::new();
    world.set("WARM_REDIS__CONNECT_TIMEOUT", "8s");
    world.job("seldom", SELDOM);
    world.redis.server.signal("STOP");
    let serving = Serving::of(world);
    wait_for("the start", || is_announced(&serving.world).then_some(()));
    serving
}

fn is_announced(world: &World) -> bool {
    let lock = |entry: fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".lock");
    fs::read_dir(world.state()).is_ok_and(|entries| entries.flatten().any(lock))
}

#[test]
fn a_service_that_is_still_starting_ends_at_once_and_begins_nothing() {
    let serving = starting();
    let told = Instant::now();
    let (world, code, log) = serving.end();
    assert!(told.elapsed() < Duration::from_secs(4), "{:?}: {log}", told.elapsed());
    world.redis.server.signal("CONT");
    assert!(code == Some(0) && !log.contains("seldom"), "{code:?}: {log}");
}

#[test]
fn a_reload_that_is_asked_for_while_the_service_starts_comes_afterwards() {
    let serving = starting();
    serving.signal("HUP");
    serving.world.redis.server.signal("CONT");
    wait_for("the first run", || serving.world.value("t:s:1"));
    serving.wait_until_it_says("the configuration was read again: 1 job");
    assert_eq!(serving.end().1, Some(0));
}
