//! A year of jobs that are slow or fail, of a process that is killed and stays away, of a clock that jumps.
//!
//! Of every due time it is known in the end what became of it: it began a run, it was passed over with a reason, or it is still to come.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use warm::ground::job::Job;
use warm::ground::passed::Passed;
use warm::triggers::{Agenda, Ended, RunId, Start};

use super::{at, job, seconds};

/// How long one job may take, and how often it fails, of a thousand runs.
struct Kind {
    job: Arc<Job>,
    longest: i64,
    failures: u32,
}

/// What became of the due times of one job.
#[derive(Default)]
struct Account {
    /// How many runs began for it that were not cut short.
    begun: BTreeMap<DateTime<Utc>, u32>,
    passed: BTreeMap<DateTime<Utc>, u32>,
}

struct World {
    random: fastrand::Rng,
    kinds: Vec<Kind>,
    now: DateTime<Utc>,
    agenda: Agenda,
    marks: HashMap<String, DateTime<Utc>>,
    running: HashMap<RunId, (Start, DateTime<Utc>)>,
    accounts: HashMap<String, Account>,
}

impl World {
    fn new(seed: u64, kinds: Vec<Kind>) -> Self {
        let now = at("2026-01-01T00:00:00Z");
        let jobs: Vec<_> = kinds.iter().map(|kind| Arc::clone(&kind.job)).collect();
        let marks: HashMap<_, _> = jobs.iter().map(|job| (job.name.clone(), now)).collect();
        let agenda = Agenda::new(&jobs, |job| marks.get(&job.name).copied(), now);
        let accounts = jobs.iter().map(|job| (job.name.clone(), Account::default())).collect();
        World { random: fastrand::Rng::with_seed(seed), kinds, now, agenda, marks, running: HashMap::new(), accounts }
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.random.u32(..n) == 0
    }

    fn pass(&mut self, passed: &Passed) {
        let kind = self.kinds.iter().find(|kind| kind.job.name == passed.job).unwrap();
        let account = self.accounts.get_mut(&passed.job).unwrap();
        let mut due = Some(passed.due);
        // More than a thousand are not counted one by one.
        let count = if passed.count == 1000 { 5000 } else { passed.count };
        for _ in 0..count {
            let Some(time) = due else { break };
            *account.passed.entry(time).or_default() += 1;
            due = kind.job.schedule.latest(time - seconds(1));
        }
    }

    /// Some seconds of a process that is up.
    fn step(&mut self) {
        self.now += seconds(self.random.i64(1..170));
        let over: Vec<RunId> =
            self.running.iter().filter(|(_, (_, end))| *end <= self.now).map(|(run, _)| *run).collect();
        for run in over {
            let (start, _) = self.running.remove(&run).unwrap();
            let kind = self.kinds.iter().find(|kind| kind.job.name == start.job.name).unwrap();
            let failed = self.random.u32(..1000) < kind.failures;
            if let Some(due) = start.due.filter(|_| !failed) {
                self.marks.insert(start.job.name.clone(), due);
            }
            let how = if failed { Ended::FailedForNow } else { Ended::Served };
            assert_eq!(self.agenda.ended(run, how, self.now), None);
        }
        let tick = self.agenda.tick(self.now);
        assert_eq!(tick.stop, []);
        tick.passed.iter().for_each(|passed| self.pass(passed));
        let free = 3_usize.saturating_sub(self.running.len());
        for start in self.agenda.take(self.now, free) {
            let kind = self.kinds.iter().find(|kind| kind.job.name == start.job.name).unwrap();
            let end = self.now + seconds(self.random.i64(1..=kind.longest));
            if let Some(due) = start.due {
                *self.accounts.get_mut(&start.job.name).unwrap().begun.entry(due).or_default() += 1;
            }
            self.running.insert(start.run, (start, end));
        }
    }

    /// The process is killed, and begins again later with what it remembers.
    fn kill(&mut self, away: TimeDelta) {
        for (start, _) in std::mem::take(&mut self.running).into_values() {
            // What was cut short has to be done again.
            let Some(due) = start.due else { continue };
            let account = self.accounts.get_mut(&start.job.name).unwrap();
            *account.begun.get_mut(&due).unwrap() -= 1;
            // Unless a run for a later time, which was allowed beside it, has made up for it.
            if self.marks[&start.job.name] > due {
                *account.passed.entry(due).or_default() += 1;
            }
        }
        self.now += away;
        let jobs: Vec<_> = self.kinds.iter().map(|kind| Arc::clone(&kind.job)).collect();
        self.agenda = Agenda::new(&jobs, |job| self.marks.get(&job.name).copied(), self.now);
    }

    /// A quiet day, in which what is left of the year is made up for; then the accounts are looked at.
    fn account(&mut self) {
        let end = self.now + TimeDelta::days(1);
        while self.now < end {
            self.step();
        }
        let from = at("2026-01-01T00:00:00Z");
        for Kind { job, .. } in &self.kinds {
            let Account { begun, passed } = &self.accounts[&job.name];
            let mut due = job.schedule.next(from);
            let mut unknown = Vec::new();
            let mut counted = 0;
            while let Some(time) = due.filter(|time| *time < self.now - TimeDelta::days(1)) {
                counted += 1;
                let runs = begun.get(&time).copied().unwrap_or_default();
                if runs == 0 && !passed.contains_key(&time) {
                    unknown.push(time);
                }
                due = job.schedule.next(time);
            }
            assert!(counted > 300, "{}: {counted}", job.name);
            assert!(unknown.is_empty(), "{}: nobody knows what became of {:?}", job.name, unknown.first());
        }
    }
}

fn kinds(failures: u32) -> Vec<Kind> {
    let kind = |name: &str, fields: &str, longest| Kind { job: job(name, fields), longest, failures };
    vec![
        kind("hourly", "schedule = '0 * * * *'", 600),
        kind("daily", "schedule = '30 2 * * *'\ntimezone = 'Europe/Berlin'", 60),
        kind("slow", "schedule = '*/10 * * * *'", 1500),
        kind("often", "schedule = 'every 4m'\ncatch_up = 'none'", 30),
        kind("all", "schedule = '15 */6 * * *'\ncatch_up = 'all'", 900),
        kind("both", "schedule = '*/20 * * * *'\noverlap = 'allow'", 2000),
    ]
}

#[test]
fn a_quiet_year_runs_each_due_time_once() {
    let mut world = World::new(
        1,
        vec![
            Kind { job: job("hourly", "schedule = '0 * * * *'"), longest: 600, failures: 0 },
            Kind { job: job("daily", "schedule = '30 2 * * *'\ntimezone = 'Europe/Berlin'"), longest: 60, failures: 0 },
        ],
    );
    while world.now < at("2027-01-01T00:00:00Z") {
        world.step();
    }
    for (name, runs) in [("hourly", 8760), ("daily", 365)] {
        let Account { begun, passed } = &world.accounts[name];
        assert_eq!(begun.values().sum::<u32>() as usize, begun.len(), "{name}: twice");
        // The one at the very end may still be to come.
        assert!((runs - 1..=runs).contains(&begun.len()), "{name}: {}", begun.len());
        assert!(passed.is_empty(), "{name}: {passed:?}");
    }
}

#[test]
fn a_year_of_trouble_leaves_no_due_time_unaccounted_for() {
    for seed in 1..=2 {
        let mut world = World::new(seed, kinds(50));
        while world.now < at("2027-01-01T00:00:00Z") {
            world.step();
            if world.one_in(2000) {
                let longest = if world.one_in(20) { 10 * 86_400 } else { 3 * 3600 };
                let away = seconds(world.random.i64(1..longest));
                world.kill(away);
            }
            if world.one_in(3000) {
                // A laptop is closed, or a clock set forward.
                world.now += seconds(world.random.i64(1..4 * 3600));
            }
            if world.one_in(3000) {
                world.now -= seconds(world.random.i64(1..180));
            }
        }
        world.account();
        let doubled = |name: &str| world.accounts[name].begun.iter().filter(|(_, runs)| **runs > 1).count();
        // Failed runs are made up for; a run that ends well is the last one for its time.
        assert!(doubled("hourly") > 0, "the test would see one");
    }
}

#[test]
fn without_failures_no_due_time_is_served_twice() {
    let mut world = World::new(7, kinds(0));
    while world.now < at("2027-01-01T00:00:00Z") {
        world.step();
        if world.one_in(2000) {
            let away = seconds(world.random.i64(1..3 * 3600));
            world.kill(away);
        }
        if world.one_in(3000) {
            world.now -= seconds(world.random.i64(1..180));
        }
    }
    world.account();
    for (name, Account { begun, .. }) in &world.accounts {
        let twice: Vec<_> = begun.iter().filter(|(_, runs)| **runs > 1).collect();
        assert!(twice.is_empty(), "{name}: {twice:?}");
    }
}
