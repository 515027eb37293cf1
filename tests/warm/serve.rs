//! `warm serve` and `warm --due`: jobs run when they are due, and the process ends in good order.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use crate::support::server::wait_for;
use crate::support::world::World;

const EVERY_SECOND: &str = "schedule = '* * * * * *'\nquery = 'SELECT n AS id, now()::text AS t FROM generate_series(1, 3) n'\nkey = 't:{id}'\nvalue = 'row'\nverify = 'none'";
/// Comes due once a year.
const SELDOM: &str =
    "schedule = '@yearly'\nquery = 'SELECT n AS id FROM generate_series(1, 3) n'\nkey = 't:s:{id}'\nvalue = 'row'";

/// A running `warm serve`.
struct Serving {
    world: World,
    child: Child,
}

impl Serving {
    fn start(jobs: &[(&str, &str)]) -> Serving {
        let mut world = World::new();
        world.set("WARM_LOG", "info");
        jobs.iter().for_each(|(name, text)| world.job(name, text));
        let log = File::create(world.folder.path.join("log")).unwrap();
        let child = world.program(&["serve"]).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Serving { world, child }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.world.folder.path.join("log")).unwrap()
    }

    fn wait_until_it_says(&self, text: &str) {
        wait_for(text, || self.log().contains(text).then_some(()));
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// The exit code after SIGTERM, and all that was said.
    fn end(mut self) -> (World, Option<i32>, String) {
        self.signal("TERM");
        let code = self.child.wait().unwrap().code();
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
    let _: () = world.ask(&["FLUSHALL"]);
    let ran = world.warm(&["--due"]).exits(0);
    assert_eq!((world.keys().len(), ran.out.as_str()), (0, ""), "nothing is due");
    fs::remove_dir_all(world.state()).unwrap();
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
    assert_eq!(world.keys().len(), 200);
    let serving = Serving::start(&[("slow", &slow.replace("200)", "100000)"))]);
    begun(&serving.world);
    serving.signal("TERM");
    let (_, code, log) = serving.end();
    assert!(code == Some(143) && log.contains("stopped by a signal"), "{code:?}: {log}");
}
