//! The loop: it looks what is due, begins runs, hears how they end, and ends in good order.
//!
//! Everything that happens reaches it as a message, and only the loop changes the agenda, so that nothing needs a lock. Runs are tasks of their own: what
//! one of them does, a panic included, ends that run alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::behind::Behind;
use super::freshness::Freshness;
use super::inputs::{Inputs, Setup, Stop};
use super::looks::Looks;
use super::notify;
use crate::ground::changes::Following;
use crate::ground::error::{ErrorKind, Retry};
use crate::ground::event::Event;
use crate::ground::health::Health;
use crate::ground::job::Job;
use crate::ground::pause::Pauses;
use crate::ground::request::{Purpose, Request};
use crate::ground::run::Report;
use crate::ground::targets::Targets;
use crate::ground::watch::{Link, Seen};
use crate::runner::Runner;
use crate::triggers::{Agenda, Ended, Heartbeat, RunId, Start};

/// How much longer than its time-out a run may take to end, before the service counts as stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long connections to PostgreSQL are kept that nobody uses.
const IDLE: Duration = Duration::from_secs(30);

/// Runs jobs as they come due, until it is told to end.
pub struct Daemon {
    runner: Arc<Runner>,
    agenda: Agenda,
    grace: Duration,
    runs: JoinSet<(RunId, Report)>,
    running: HashMap<RunId, Running>,
    /// Since when nothing runs.
    idle_since: Option<Instant>,
    cache: Link,
    /// How often the servers have been changed for others.
    servers: u32,
    /// Whether nothing begins before Redis has been seen.
    waits_for_cache: bool,
    freshness: Freshness,
    behind: Behind,
    looks: Looks,
    targets: Targets,
    pauses: Pauses,
    /// The jobs that are paused, and until when, as it was said last.
    paused: BTreeMap<String, DateTime<Utc>>,
    health: watch::Sender<Health>,
    /// How changes of the database are followed.
    changes: watch::Receiver<Option<Following>>,
}

/// A run that is under way.
struct Running {
    job: Arc<Job>,
    stop: watch::Sender<bool>,
    /// When it has to be over, if all is well.
    latest: Instant,
    /// Which servers it is about.
    servers: u32,
}

impl Daemon {
    /// A daemon that begins with these jobs.
    pub fn new(setup: Setup) -> Self {
        let Setup { runner, jobs, known, past, pauses, targets, grace, .. } = setup;
        let now = runner.clock.now();
        let agenda = Agenda::new(&jobs, |job| known.get(&job.name).copied().unwrap_or_default(), now);
        Daemon {
            runner,
            agenda,
            grace,
            runs: JoinSet::new(),
            running: HashMap::new(),
            idle_since: None,
            cache: Link::Unknown,
            servers: 0,
            waits_for_cache: false,
            freshness: Freshness::new(&jobs, &past, now),
            behind: Behind::default(),
            looks: Looks::default(),
            targets,
            pauses,
            paused: BTreeMap::new(),
            health: watch::channel(Health::unknown()).0,
            changes: watch::channel(None).1,
        }
    }

    /// How it is, brought up to date at least once a second; closed when it has ended.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Serves until it is told to end; then what runs has a while to finish. Returns whether everything did.
    pub async fn serve(mut self, mut inputs: Inputs) -> bool {
        let mut heartbeat = Heartbeat::start().await;
        self.waits_for_cache = true;
        self.changes = inputs.changes.clone();
        notify::ready();
        loop {
            // First: what is to end begins nothing.
            if *inputs.stop.borrow() > Stop::No {
                break;
            }
            self.look();
            self.publish(false);
            let refresh = self.until_refresh();
            tokio::select! {
                () = heartbeat.next() => self.beat().await,
                () = sleep(refresh.unwrap_or_default()), if refresh.is_some() => {}
                Some(ended) = self.runs.join_next() => self.ended(ended),
                Some(seen) = inputs.cache.recv() => self.saw(&seen),
                Some(mut setup) = inputs.setups.recv() => {
                    let other_servers = setup.cache.take().map(|cache| inputs.cache = cache).is_some();
                    self.replace(setup, other_servers);
                }
                Some(pauses) = inputs.pauses.recv() => self.pauses = pauses,
                Some(gone) = inputs.deleted.recv() => self.agenda.refill_of(&gone, self.runner.clock.now()),
                // Whoever could say so is gone: then nobody could ever end this otherwise.
                _ = inputs.stop.wait_for(|stop| *stop > Stop::No) => break,
            }
        }
        notify::stopping();
        let all_done = self.drain(inputs.stop).await;
        self.runner.close().await;
        all_done
    }

    /// Serves what is due now, and what follows from it at once, and ends. Returns what was done.
    pub async fn serve_once(mut self, mut stop: watch::Receiver<Stop>) -> Vec<Report> {
        let mut reports = Vec::new();
        // Whoever asks once a minute cannot keep a key alive.
        self.agenda.refresh_nothing();
        self.look();
        while !self.runs.is_empty() {
            tokio::select! {
                Some(ended) = self.runs.join_next() => {
                    reports.extend(ended.as_ref().ok().map(|(_, report)| report.clone()));
                    self.ended(ended);
                    self.begin();
                }
                Ok(_) = stop.wait_for(|stop| *stop > Stop::No) => {
                    self.stop_all();
                    while let Some(ended) = self.runs.join_next().await {
                        reports.extend(ended.ok().map(|(_, report)| report));
                    }
                }
            }
        }
        self.runner.close().await;
        reports
    }

    /// Looks what is due, and begins what there is room for.
    fn look(&mut self) {
        let now = self.runner.clock.now();
        // First: what comes due when a pause is over is on time.
        self.pause(now);
        let tick = self.agenda.tick(now);
        for passed in &tick.passed {
            self.runner.pass(passed);
        }
        for run in tick.stop {
            self.running.get(&run).inspect(|running| stop(running));
        }
        self.begin();
    }

    /// Pauses what is to be paused now, lets the rest go on, and says what has become different.
    fn pause(&mut self, now: DateTime<Utc>) {
        let pauses = &self.pauses;
        self.agenda.pause(|job| pauses.until(job, now).is_some(), now);
        let names = self.agenda.coming(now).map(|(job, _)| job.name.clone());
        let paused: BTreeMap<_, _> =
            names.filter_map(|job| pauses.until(&job, now).map(|until| (job, until))).collect();
        let observer = &self.runner.observer;
        for (job, until) in paused.iter().filter(|(job, until)| self.paused.get(*job) != Some(*until)) {
            observer.on(&Event::Paused { job, until: *until });
        }
        for job in self.paused.keys().filter(|job| !paused.contains_key(*job)) {
            observer.on(&Event::Resumed { job });
        }
        self.paused = paused;
    }

    /// How long it takes until keys are to be refreshed, if that is in the future: what is due and does not begin is looked at again at the next beat.
    fn until_refresh(&self) -> Option<Duration> {
        let due = self.agenda.next_refresh()? - self.runner.clock.now();
        due.to_std().ok().filter(|wait| !wait.is_zero())
    }

    fn begin(&mut self) {
        // Not even a query is worth while.
        if self.cache_is_down() || (self.waits_for_cache && self.cache == Link::Unknown) {
            return;
        }
        let free = self.runner.slots().saturating_sub(self.running.len());
        for Start { run, job, due, scope, trigger } in self.agenda.take(self.runner.clock.now(), free) {
            let (stop, stopped) = watch::channel(false);
            let request = Request { trigger, due, scope, mode: None, purpose: Purpose::Write, accept: false };
            let latest = Instant::now() + job.timeout + PATIENCE;
            let (runner, of) = (Arc::clone(&self.runner), Arc::clone(&job));
            self.runs.spawn(async move { (run, runner.run_one(of, request, stopped).await) });
            self.running.insert(run, Running { job, stop, latest, servers: self.servers });
        }
    }

    fn ended(&mut self, ended: Result<(RunId, Report), tokio::task::JoinError>) {
        // A run never panics: whatever its job does, it reports. Should it all the same, the watchdog sees a run that does not end.
        let Ok((run, report)) = ended else { return };
        let Some(Running { job, servers, .. }) = self.running.remove(&run) else { return };
        // What it has done to another cache than the one of now is nobody's business any more.
        if servers != self.servers {
            return;
        }
        self.agenda.learn(&job, &report.kept);
        let now = self.runner.clock.now();
        self.behind.say(&job, &report, now, self.runner.observer.as_ref());
        let ended = how(&report);
        if report.is_success() {
            self.freshness.succeeded(&report.job, now);
            self.looks.succeeded(&report.job);
        }
        if let Some(passed) = self.agenda.ended(run, ended, now) {
            self.runner.pass(&passed);
        }
    }

    fn saw(&mut self, seen: &Seen) {
        self.runner.observer.on(&Event::Cache { seen });
        let now = self.runner.clock.now();
        match seen {
            Seen::Up => self.cache = Link::Up { since: now },
            Seen::Down { reason, .. } => {
                let since = if let Link::Down { since, .. } = self.cache { since } else { now };
                self.cache = Link::Down { since, reason: reason.clone() };
            }
            Seen::Lost(_) => self.agenda.refill(now),
            Seen::Cold => self.agenda.refill_idle(now),
            // Nobody will ever say more.
            Seen::Blind { .. } => self.waits_for_cache = false,
        }
    }

    /// Takes other jobs and settings; what runs goes on with the old ones.
    fn replace(&mut self, setup: Setup, other_servers: bool) {
        notify::reloading();
        let Setup { runner, jobs, known, past, pauses, targets, grace, .. } = setup;
        let now = runner.clock.now();
        let known = |job: &Job| known.get(&job.name).copied().unwrap_or_default();
        if other_servers {
            self.agenda.begin_anew(&jobs, known, now);
            self.freshness = Freshness::new(&jobs, &past, now);
            (self.servers, self.cache) = (self.servers + 1, Link::Unknown);
        } else {
            self.agenda.replace_jobs(&jobs, known, now);
            self.freshness.replace_jobs(&jobs, &past, now);
        }
        self.behind = Behind::default();
        self.looks.begin_anew();
        // Who is gone does not go on.
        self.paused.retain(|name, _| jobs.iter().any(|job| job.name == *name));
        (self.runner, self.pauses, self.targets, self.grace) = (runner, pauses, targets, grace);
        self.runner.observer.on(&Event::Reloaded { jobs: &jobs });
        notify::ready();
    }

    async fn beat(&mut self) {
        self.show_life();
        let jobs: Vec<_> = self.agenda.coming(self.runner.clock.now()).map(|(job, _)| Arc::clone(job)).collect();
        match self.cache {
            Link::Up { .. } => self.looks.beat(&self.runner, jobs, self.targets),
            Link::Down { .. } => self.looks.lose(&self.runner, &jobs, &self.targets),
            Link::Unknown => {}
        }
        if !self.running.is_empty() {
            self.idle_since = None;
        } else if self.idle_since.get_or_insert_with(Instant::now).elapsed() > IDLE {
            self.idle_since = None;
            self.runner.source.close().await;
        }
    }

    fn cache_is_down(&self) -> bool {
        matches!(self.cache, Link::Down { .. })
    }

    /// Tells whoever asks how things are.
    fn publish(&mut self, stopping: bool) {
        let now = self.runner.clock.now();
        let jobs = self.agenda.coming(now);
        let health = |(job, next): (&Arc<Job>, Option<DateTime<Utc>>)| {
            let paused_until = self.paused.get(&job.name).copied();
            self.freshness.of(job, next.filter(|_| !stopping), paused_until, now)
        };
        let jobs: Vec<_> = jobs.map(health).collect();
        self.freshness.say(&jobs, self.runner.observer.as_ref());
        let cache = self.cache.clone();
        let changes = self.changes.borrow().clone();
        self.health.send_replace(Health { beat: Instant::now().into_std(), stopping, cache, changes, jobs });
    }

    /// Tells the service manager how things are; that all is well only while runs end in time.
    fn show_life(&self) {
        let now = Instant::now();
        let stuck = self.running.values().find(|running| running.latest < now);
        match stuck {
            Some(Running { job, .. }) => notify::status(&format!("{} does not end", job.name)),
            None => {
                notify::status(&self.status());
                notify::alive();
            }
        }
    }

    fn status(&self) -> String {
        let what = self.what_comes();
        match (self.paused.len(), self.paused.values().min()) {
            (0, _) | (_, None) => what,
            (1..=3, Some(end)) => {
                let names: Vec<&str> = self.paused.keys().map(String::as_str).collect();
                format!("{what}; paused: {} (until {})", names.join(", "), in_short(*end))
            }
            (count, Some(end)) => format!("{what}; {count} jobs are paused (the first one until {})", in_short(*end)),
        }
    }

    fn what_comes(&self) -> String {
        if !self.running.is_empty() {
            return format!("running {}", self.names().join(", "));
        }
        if self.cache_is_down() {
            return "waiting for Redis".to_owned();
        }
        match self.agenda.next(self.runner.clock.now()) {
            Some((job, due)) => format!("next: {} at {}", job.name, in_short(due)),
            None if self.paused.is_empty() => "no job will come due".to_owned(),
            None => "waiting for the end of a pause".to_owned(),
        }
    }

    /// The jobs that run.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.running.values().map(|running| running.job.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// Waits for what runs, for the grace period; then it is stopped.
    async fn drain(&mut self, mut urgency: watch::Receiver<Stop>) -> bool {
        let end = Instant::now() + self.grace;
        self.publish(true);
        let signal = urgency.borrow().signal();
        self.runner.observer.on(&Event::Stopping { signal, running: &self.names(), grace: self.grace });
        if !self.running.is_empty() {
            notify::status(&format!("stopping; {}", self.status()));
        }
        let mut all_done = true;
        let is_cancel = |stop: &Stop| matches!(stop, Stop::Cancel(_));
        loop {
            let cancelled = async { urgency.wait_for(is_cancel).await.map(|stop| stop.signal()) };
            tokio::select! {
                biased;
                ended = self.runs.join_next() => match ended {
                    Some(ended) => self.ended(ended),
                    None => return all_done,
                },
                () = sleep_until(end), if all_done => {
                    all_done = false;
                    self.cancel(None);
                }
                Ok(signal) = cancelled, if all_done => {
                    all_done = false;
                    self.cancel(signal);
                }
            }
        }
    }

    fn cancel(&self, signal: Option<&str>) {
        self.runner.observer.on(&Event::Cancelling { signal, running: &self.names() });
        self.stop_all();
    }

    fn stop_all(&self) {
        self.running.values().for_each(stop);
    }
}

fn in_short(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn stop(running: &Running) {
    // A run that has ended needs no word.
    let _ = running.stop.send(true);
}

/// What a run's report means for the job's agenda.
fn how(report: &Report) -> Ended {
    match report.failure.as_ref().map(|failure| failure.kind) {
        None => Ended::Served,
        Some(ErrorKind::HeldElsewhere) => Ended::HeldElsewhere,
        Some(ErrorKind::ServedElsewhere) => Ended::ServedElsewhere,
        Some(ErrorKind::Cancelled) => Ended::Stopped,
        Some(kind) if kind.consequence().retry == Retry::Never => Ended::Failed,
        Some(_) => Ended::FailedForNow,
    }
}
