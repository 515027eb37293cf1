//! `warm stats`: what Redis does for the application, and which of the warmed keys anybody reads. It asks, and leaves no trace in what it asks about.
//!
//! ```text
//! history   which keys there should be  ─┐
//! Redis     counts, answers, slow log    ├─► Stats ─► show ─► lines or JSON; exit code
//!           and what it knows of keys   ─┘
//! ```

pub(crate) mod show;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::now::observer;
use super::{Failure, What, history, load_partly, runner, runtime};
use crate::cache::{Depth, Traced};
use crate::cli::{self, Common};
use crate::ground::clock::{Clock, SystemClock};
use crate::ground::error::Error;
use crate::ground::exit;
use crate::ground::figures::{Figures, Lookups};
use crate::ground::health::age;
use crate::ground::job::Job;
use crate::ground::keyspace::KeySpace;
use crate::ground::sample::LastSample;
use crate::ground::settings::Settings;
use crate::ground::slow::SlowLog;
use crate::ground::targets::{Found, Judged, Verdict};
use crate::ground::uses::{Part, Reading, Trace, reading};
use crate::runner::slowest;

/// All that is found out.
struct Stats {
    place: String,
    key_prefix: String,
    key_space: KeySpace,
    /// `None` when the account may not ask.
    figures: Option<Figures>,
    /// How look-ups went while it was watched.
    window: Option<Lookups>,
    answers: Vec<Duration>,
    /// Or why Redis does not tell.
    slow: Result<SlowLog, String>,
    jobs: Vec<JobStats>,
    targets: Vec<Judged>,
    cost: Cost,
}

/// What looking at the keys has cost.
struct Cost {
    commands: u64,
    took: Duration,
    hits: u64,
    misses: u64,
    /// What the account may not do.
    refused: Vec<String>,
}

/// What is known of one job's keys.
struct JobStats {
    name: String,
    /// How many keys there were after the last whole run, and when that was; nothing if none is known.
    last: Option<(u64, DateTime<Utc>)>,
    /// How many keys of the sample are there; nothing if that cannot be told.
    present: Option<Part>,
    read: u64,
    unread: u64,
    untold: u64,
    /// Bytes of the keys of the sample that are there, if that is known of all of them.
    bytes: Option<u64>,
    /// Whether reading is told from a counter.
    by_counter: bool,
}

impl JobStats {
    /// How many of the keys that can be told of were read.
    fn reads(&self) -> Part {
        Part { yes: self.read, of: self.read + self.unread }
    }

    /// About how many keys those are that can be told of, in all.
    fn judged(&self) -> u64 {
        let (keys, of) = (self.last.map_or(0, |(keys, _)| keys), self.present.map_or(0, |present| present.of));
        let judged = self.reads().of;
        if of == 0 { judged } else { (keys as f64 * judged as f64 / of as f64).round() as u64 }
    }

    /// From what was found of the keys of the sample, when the job's last run ended so long ago.
    fn of(job: &Job, sample: Option<&LastSample>, found: &[Option<Traced>], since_run: Option<Duration>) -> Self {
        let mut stats = JobStats {
            name: job.name.clone(),
            last: sample.map(|sample| (sample.sampled.keys, sample.ended)),
            present: None,
            read: 0,
            unread: 0,
            untold: 0,
            bytes: None,
            by_counter: false,
        };
        let Some(sample) = sample.filter(|_| !found.is_empty()) else { return stats };
        let (mut present, mut bytes) = (0, Some(0));
        for (name, key) in sample.sampled.names.iter().zip(found) {
            let Some(key) = key else { continue };
            present += 1;
            bytes = bytes.zip(key.bytes).map(|(sum, bytes)| sum + bytes);
            stats.by_counter |= matches!(key.trace, Some(Trace::Counter(_)));
            match reading(job.ttl.of(name), key.left, key.trace, since_run) {
                Reading::Read => stats.read += 1,
                Reading::Unread => stats.unread += 1,
                Reading::Untold => stats.untold += 1,
            }
        }
        (stats.present, stats.bytes) = (Some(Part { yes: present, of: found.len() as u64 }), bytes);
        stats
    }
}

impl Stats {
    fn exit_code(&self, check: bool) -> u8 {
        let missed = self.targets.iter().any(|target| target.verdict() == Verdict::Missed);
        if check && missed { exit::JOB_FAILED } else { exit::OK }
    }
}

/// Says what Redis does, and what is read, of all jobs if none is named.
pub fn run(common: &Common, stats: &cli::Stats) -> Result<u8, Failure> {
    let known = load_partly(common)?;
    let names = known.names(&stats.jobs)?;
    let settings = known.loaded.settings;
    // Of one that fills single keys it is not known which there should be.
    let jobs = settings.enabled().filter(|job| names.contains(&job.name) && !job.on_demand);
    let jobs: Vec<_> = jobs.cloned().map(Arc::new).collect();
    let found = runtime()?.block_on(look(&settings, &jobs, stats.watch))?;
    let code = found.exit_code(stats.check);
    // A closed standard output is the reader's decision.
    let _ = std::io::stdout().write_all(show::text(&found, common.json, code).as_bytes());
    Ok(code)
}

async fn look(settings: &Settings, jobs: &[Arc<Job>], watch: Option<Duration>) -> Result<Stats, Failure> {
    let mut runner = runner(settings, observer())?;
    let history = history(settings, &runner, true);
    // Why nothing is known of runs has been said.
    let past = history.summaries().await.unwrap_or_default();
    runner.history = Some(history);
    let redis = &runner.redis;
    let mut figures = redis.figures().await.map_err(away)?;
    let mut window = None;
    if let Some(time) = watch {
        let begun = Instant::now();
        tokio::time::sleep(time).await;
        let now = redis.figures().await.map_err(away)?;
        window = now.as_ref().zip(figures.as_ref()).and_then(|(now, then)| now.since(then, begun.elapsed()));
        figures = now;
    }
    let answers = redis.answers().await.map_err(away)?;
    let slow = redis.slow_commands().await.map_err(away)?;
    let begun = Instant::now();
    let looked = runner.look_for_keys(jobs, Depth::Uses).await.map_err(away)?;
    let took = begun.elapsed();
    let found = Found {
        lookups: window.or_else(|| figures.as_ref().map(Figures::lookups)),
        answers,
        query: slowest(&past, jobs),
        memory: figures.as_ref().and_then(Figures::memory),
    };
    let targets = settings.targets.judge(&found);
    let of_jobs = jobs.iter().zip(looked.of_jobs());
    let now = SystemClock.now();
    let since_run = |job: &Job| age(past.get(&job.name)?.last_run.as_ref()?.ended, now);
    let of = |(job, (sample, keys)): (&Arc<Job>, (_, &[_]))| JobStats::of(job, sample, keys, since_run(job));
    let jobs = of_jobs.map(of).collect();
    let traces = looked.traces;
    let cost =
        Cost { commands: traces.commands, took, hits: traces.hits, misses: traces.misses, refused: traces.refused };
    Ok(Stats {
        place: redis.describe(),
        key_prefix: redis.key_prefix().to_owned(),
        key_space: runner.key_space.clone(),
        figures,
        window,
        answers: found.answers,
        slow,
        jobs,
        targets,
        cost,
    })
}

fn away(error: Error) -> Failure {
    let consequence = error.kind.consequence();
    let message = format!("{error}; advice: {}", consequence.advice);
    Failure { code: consequence.exit, what: What::Message(message) }
}
