//! The series of the metrics: their names and labels, how they begin, and how those of a job go.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{Atomic, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::followed::FollowedSeries;
use super::looks::{TargetSeries, WarmthSeries};
use crate::ground::error::{ErrorKind, TABLE};
use crate::ground::passed::Reason;
use crate::ground::run::{Report, Stats};
use crate::ground::watch::Loss;

/// The buckets of a run's duration, in seconds: from a look at absent keys to the default time-out.
const DURATIONS: [f64; 6] = [0.1, 1.0, 5.0, 30.0, 120.0, 300.0];

/// Who could tell of a key, or why nobody could.
const READS: [&str; 6] = ["level1", "redis", "database", "none", "refused", "failed"];

/// What became of deletions that somebody asked for.
const INVALIDATIONS: [&str; 3] = ["ok", "refused", "failed"];

pub(super) type Labels<const N: usize> = [(&'static str, String); N];
pub(super) type OfJob = Labels<1>;
/// A job, and a word.
pub(super) type Which = Labels<2>;
pub(super) type Seconds = Gauge<f64, AtomicU64>;

#[derive(Default)]
pub(super) struct Series {
    pub(super) runs: Family<Which, Counter>,
    durations: Durations,
    pub(super) rows: Family<OfJob, Counter>,
    pub(super) keys: Family<OfJob, Counter>,
    pub(super) bytes: Family<OfJob, Counter>,
    pub(super) predicted: Family<OfJob, Counter>,
    pub(super) left: Family<Which, Counter>,
    held_back: Family<Which, Counter<f64, AtomicU64>>,
    pub(super) retries: Family<OfJob, Counter>,
    pub(super) passed: Family<Which, Counter>,
    pub(super) reloads: Family<Labels<1>, Counter>,
    pub(super) losses: Family<Labels<1>, Counter>,
    reads: Family<Labels<1>, Counter>,
    invalidations: Family<Labels<1>, Counter>,
    invalidated: Family<Labels<1>, Counter>,
    pub(super) followed: FollowedSeries,
    pub(super) reloaded: Gauge,
    pub(super) stale: Family<OfJob, Gauge>,
    pub(super) paused: Family<OfJob, Gauge>,
    pub(super) max_age: Family<OfJob, Seconds>,
    pub(super) running: Gauge,
    pub(super) next: Family<OfJob, Seconds>,
    pub(super) last_success: Family<OfJob, Seconds>,
    pub(super) redis_up: Gauge,
    pub(super) warmth: WarmthSeries,
    pub(super) targets: TargetSeries,
}

struct Durations(Family<OfJob, Histogram, fn() -> Histogram>);

impl Default for Durations {
    fn default() -> Self {
        Durations(Family::new_with_constructor(|| Histogram::new(DURATIONS)))
    }
}

impl Series {
    pub(super) fn registry(&self) -> Registry {
        let mut all = Registry::with_prefix("warm");
        all.register("runs", "Runs that ended, by how they did", self.runs.clone());
        all.register("run_duration_seconds", "How long runs took, all attempts together", self.durations.0.clone());
        all.register("rows_read", "Rows read", self.rows.clone());
        all.register("keys_written", "Keys written or renewed", self.keys.clone());
        all.register("written_bytes", "Bytes of keys and values written", self.bytes.clone());
        let predicted = "Keys filled beside those of the job's runs, because they are missed most";
        all.register("predicted_keys", predicted, self.predicted.clone());
        all.register("keys_left", "Keys left alone, by the reason", self.left.clone());
        let held_back = "How long runs were held back so that others can use the servers, by the reason, in seconds";
        all.register("held_back_seconds", held_back, self.held_back.clone());
        all.register("attempts_retried", "Attempts that failed and were followed by another", self.retries.clone());
        all.register("starts_passed", "Due times that began no run, by the reason", self.passed.clone());
        all.register("reloads", "How often the configuration was read again", self.reloads.clone());
        let reloaded = "Whether the configuration could be used when it was read last";
        all.register("config_last_reload_successful", reloaded, self.reloaded.clone());
        all.register("redis_losses", "How often Redis lost what was in it", self.losses.clone());
        all.register("reads", "Keys that somebody asked for, by who could tell", self.reads.clone());
        let invalidations = "Deletions that somebody asked for, by what became of them";
        all.register("invalidations", invalidations, self.invalidations.clone());
        all.register("invalidated_keys", "Keys that were deleted for somebody who asked", self.invalidated.clone());
        self.followed.register(&mut all);
        all.register("jobs_running", "Runs under way", self.running.clone());
        all.register("next_start_timestamp_seconds", "When the job runs next", self.next.clone());
        let last = "When a run of the job ended well last";
        all.register("last_success_timestamp_seconds", last, self.last_success.clone());
        all.register("job_max_age_seconds", "How long ago the job's last success may be", self.max_age.clone());
        all.register("job_stale", "Whether it is longer ago", self.stale.clone());
        all.register("job_paused", "Whether the job is paused", self.paused.clone());
        all.register("redis_up", "Whether Redis answers", self.redis_up.clone());
        self.warmth.register(&mut all);
        self.targets.register(&mut all);
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        all.register("build", "The version of warm", version);
        all
    }

    /// What can be counted from zero is there from the beginning: else the first increase would not be seen.
    pub(super) fn begin_all(&self) {
        self.reloaded(false, 0);
        // The configuration that it begins with was read well.
        self.reloaded(true, 0);
        [Loss::Restarted, Loss::Emptied].into_iter().for_each(|loss| self.lost(loss, 0));
        READS.into_iter().for_each(|told| self.read(told, 0));
        INVALIDATIONS.into_iter().for_each(|outcome| self.invalidation(outcome, 0));
    }

    /// The same for a job.
    pub(super) fn begin(&self, job: &str) {
        add(&self.runs, which(job, "outcome", "ok"), 0);
        for (reason, _) in left(&Stats::default()) {
            add(&self.left, which(job, "reason", reason), 0);
        }
        for (reason, _) in held_back(&Stats::default()) {
            drop(self.held_back.get_or_create(&which(job, "reason", reason)));
        }
        for reason in Reason::ALL {
            add(&self.passed, which(job, "reason", reason.name()), 0);
        }
        for counter in [&self.rows, &self.keys, &self.bytes, &self.predicted, &self.retries] {
            add(counter, of(job), 0);
        }
        drop(self.durations.0.get_or_create(&of(job)));
    }

    pub(super) fn forget(&self, job: &str) {
        for outcome in TABLE.iter().map(|row| outcome(Some(row.kind))).chain([outcome(None)]) {
            self.runs.remove(&which(job, "outcome", &outcome));
        }
        for counter in [&self.rows, &self.keys, &self.bytes, &self.predicted, &self.retries] {
            counter.remove(&of(job));
        }
        for (reason, _) in left(&Stats::default()) {
            self.left.remove(&which(job, "reason", reason));
        }
        for (reason, _) in held_back(&Stats::default()) {
            self.held_back.remove(&which(job, "reason", reason));
        }
        for reason in Reason::ALL {
            self.passed.remove(&which(job, "reason", reason.name()));
        }
        self.durations.0.remove(&of(job));
        for gauge in [&self.next, &self.last_success, &self.max_age] {
            gauge.remove(&of(job));
        }
        self.stale.remove(&of(job));
        self.paused.remove(&of(job));
        self.warmth.set(job, None);
    }

    pub(super) fn reloaded(&self, well: bool, times: u64) {
        add(&self.reloads, [("outcome", if well { "ok" } else { "failed" }.to_owned())], times);
        self.reloaded.set(well.into());
    }

    pub(super) fn lost(&self, loss: Loss, times: u64) {
        add(&self.losses, [("loss", name(loss).to_owned())], times);
    }

    pub(super) fn read(&self, told: &str, times: u64) {
        add(&self.reads, [("from", told.to_owned())], times);
    }

    pub(super) fn invalidation(&self, outcome: &str, times: u64) {
        add(&self.invalidations, [("outcome", outcome.to_owned())], times);
    }

    pub(super) fn invalidated(&self, set: &str, keys: u64) {
        add(&self.invalidated, [("set", set.to_owned())], keys);
    }

    pub(super) fn forget_set(&self, set: &str) {
        self.invalidated.remove(&[("set", set.to_owned())]);
    }

    pub(super) fn finished(&self, report: &Report) {
        let Report { job, stats, took, failure, .. } = report;
        add(&self.runs, which(job, "outcome", &outcome(failure.as_ref().map(|failure| failure.kind))), 1);
        if report.left_to_others().is_some() {
            return;
        }
        self.durations.0.get_or_create(&of(job)).observe(took.as_secs_f64());
        add(&self.rows, of(job), stats.rows);
        add(&self.keys, of(job), stats.written);
        add(&self.bytes, of(job), stats.bytes);
        for (reason, count) in left(stats) {
            add(&self.left, which(job, "reason", reason), count);
        }
        for (reason, time) in held_back(stats) {
            self.held_back.get_or_create(&which(job, "reason", reason)).inc_by(time.as_secs_f64());
        }
    }
}

pub(super) fn of(job: &str) -> OfJob {
    [("job", job.to_owned())]
}

pub(super) fn which(job: &str, label: &'static str, word: &str) -> Which {
    [("job", job.to_owned()), (label, word.to_owned())]
}

pub(super) fn add<const N: usize>(counters: &Family<Labels<N>, Counter>, labels: Labels<N>, count: u64) {
    counters.get_or_create(&labels).inc_by(count);
}

pub(super) fn set<V, A: Atomic<V>>(gauges: &Family<OfJob, Gauge<V, A>>, job: &str, value: Option<V>)
where
    Gauge<V, A>: Default,
{
    match value {
        Some(value) => drop(gauges.get_or_create(&of(job)).set(value)),
        None => drop(gauges.remove(&of(job))),
    }
}

/// How a run ended, in the words of docs/json.md.
pub(super) fn outcome(failure: Option<ErrorKind>) -> String {
    failure.map_or("ok".to_owned(), |kind| format!("{kind:?}"))
}

pub(super) fn left(stats: &Stats) -> [(&'static str, u64); 6] {
    [
        ("present", stats.present),
        ("other_type", stats.other_type),
        ("no_ttl", stats.no_ttl),
        ("too_large", stats.too_large),
        ("no_room", stats.no_room),
        ("unverified", stats.unverified),
    ]
}

fn held_back(stats: &Stats) -> [(&'static str, Duration); 3] {
    [("rate", stats.waited), ("latency", stats.gave_way), ("database", stats.waited_for_database)]
}

pub(super) fn name(loss: Loss) -> &'static str {
    match loss {
        Loss::Restarted => "restarted",
        Loss::Emptied => "emptied",
    }
}

pub(super) fn seconds(time: DateTime<Utc>) -> f64 {
    time.timestamp_millis() as f64 / 1e3
}
