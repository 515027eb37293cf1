//! What comes due, what is made up, and what waits, on a clock that the tests hand in: a year passes in a second.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ahead;
mod heartbeat;
mod missed;
mod overlap;
mod pause;
mod year;

use std::fs;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use warm::config::{self, Environment};
use warm::encode;
use warm::ground::job::Job;
use warm::ground::passed::{Passed, Reason};
use warm::triggers::{Agenda, Start};

/// A job with these fields.
fn job(name: &str, fields: &str) -> Arc<Job> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("warm.toml");
    fs::write(&file, "jobs = 'jobs'\n[ttl]\n'k:' = '5m'\n").unwrap();
    fs::create_dir(folder.path().join("jobs")).unwrap();
    let common = format!("query = 'SELECT 1 AS id'\nkey = 'k:{name}:{{id}}'\nvalue = 'row'\n{fields}\n");
    fs::write(folder.path().join(format!("jobs/{name}.toml")), common).unwrap();
    let urls = [("DATABASE_URL", "postgres://localhost/x"), ("REDIS_URL", "redis://localhost")];
    let environment: Environment = urls.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
    let formats: Vec<_> = encode::formats().collect();
    let loaded = config::load(&file, &environment, &formats).expect("a good job");
    Arc::new(loaded.settings.jobs.into_iter().next().unwrap())
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

/// An agenda of one job that was served last at this time, or never.
fn agenda(job: &Arc<Job>, mark: Option<&str>, now: &str) -> Agenda {
    let mark = mark.map(at);
    Agenda::new(&[Arc::clone(job)], |_| mark, at(now))
}

/// What begins at this time, if there is room.
fn begun(agenda: &mut Agenda, now: &str) -> (Vec<Start>, Vec<Passed>) {
    let tick = agenda.tick(at(now));
    assert_eq!(tick.stop, []);
    (agenda.take(at(now), 9), tick.passed)
}

fn passed(job: &Job, due: &str, count: usize, reason: Reason) -> Passed {
    Passed { job: job.name.clone(), due: at(due), count, reason }
}

fn seconds(n: i64) -> TimeDelta {
    TimeDelta::seconds(n)
}
