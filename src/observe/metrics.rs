//! Metrics for Prometheus: counters that the events turn, and gauges that are read from the service's health when somebody asks.
//!
//! Every label has few values: a job's name, one of those in the present configuration, and words of this program. A job that is gone takes its series
//! with it, and what its last run says afterwards is not counted.

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::sync::{PoisonError, RwLock};

use chrono::{DateTime, Utc};
use prometheus_client::encoding::prometheus_text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{Atomic, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::ground::error::{ErrorKind, TABLE};
use crate::ground::event::{Event, Observer};
use crate::ground::health::Health;
use crate::ground::passed::Reason;
use crate::ground::run::{Report, Stats};
use crate::ground::watch::{Link, Loss, Seen};

/// The buckets of a run's duration, in seconds: from a look at absent keys to the default time-out.
const DURATIONS: [f64; 6] = [0.1, 1.0, 5.0, 30.0, 120.0, 300.0];

type Labels<const N: usize> = [(&'static str, String); N];
type OfJob = Labels<1>;
/// A job, and a word.
type Which = Labels<2>;
type Seconds = Gauge<f64, AtomicU64>;

/// Counts what happens.
pub struct Metrics {
    registry: Registry,
    /// The jobs that there are.
    jobs: RwLock<HashSet<String>>,
    series: Series,
}

#[derive(Default)]
struct Series {
    runs: Family<Which, Counter>,
    durations: Durations,
    rows: Family<OfJob, Counter>,
    keys: Family<OfJob, Counter>,
    bytes: Family<OfJob, Counter>,
    left: Family<Which, Counter>,
    retries: Family<OfJob, Counter>,
    passed: Family<Which, Counter>,
    reloads: Family<Labels<1>, Counter>,
    losses: Family<Labels<1>, Counter>,
    reloaded: Gauge,
    stale: Family<OfJob, Gauge>,
    paused: Family<OfJob, Gauge>,
    max_age: Family<OfJob, Seconds>,
    running: Gauge,
    next: Family<OfJob, Seconds>,
    last_success: Family<OfJob, Seconds>,
    redis_up: Gauge,
}

struct Durations(Family<OfJob, Histogram, fn() -> Histogram>);

impl Default for Durations {
    fn default() -> Self {
        Durations(Family::new_with_constructor(|| Histogram::new(DURATIONS)))
    }
}

impl Metrics {
    /// Metrics of these jobs, all counters at zero.
    pub fn new<'a>(jobs: impl Iterator<Item = &'a str>) -> Self {
        let series = Series::default();
        series.begin_all();
        let metrics = Metrics { registry: series.registry(), jobs: RwLock::default(), series };
        metrics.replace_jobs(jobs);
        metrics
    }

    /// All metrics in Prometheus' text format (version 0.0.4).
    pub fn text(&self, health: &Health) -> String {
        let jobs = self.jobs.read().unwrap_or_else(PoisonError::into_inner);
        let up = matches!(health.cache, Link::Up { .. });
        self.series.redis_up.set(up.into());
        for job in health.jobs.iter().filter(|job| jobs.contains(&job.name)) {
            set(&self.series.next, &job.name, job.next.map(seconds));
            set(&self.series.last_success, &job.name, job.last_success.map(seconds));
            set(&self.series.max_age, &job.name, job.max_age.map(|age| age.as_secs_f64()));
            set(&self.series.paused, &job.name, Some(job.paused_until.is_some().into()));
            set(&self.series.stale, &job.name, job.max_age.map(|_| job.stale.is_some().into()));
        }
        let mut text = String::new();
        // A `String` takes everything.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn replace_jobs<'a>(&self, jobs: impl Iterator<Item = &'a str>) {
        let mut present = self.jobs.write().unwrap_or_else(PoisonError::into_inner);
        let new: HashSet<_> = jobs.map(str::to_owned).collect();
        present.difference(&new).for_each(|gone| self.series.forget(gone));
        new.difference(&present).for_each(|job| self.series.begin(job));
        *present = new;
    }

    fn about(&self, job: &str, count: impl FnOnce(&Series)) {
        if self.jobs.read().unwrap_or_else(PoisonError::into_inner).contains(job) {
            count(&self.series);
        }
    }
}

impl Observer for Metrics {
    fn on(&self, event: &Event<'_>) {
        let series = &self.series;
        match event {
            Event::Started { .. } => drop(series.running.inc()),
            Event::Finished { report } => {
                series.running.dec();
                self.about(&report.job, |series| series.finished(report));
            }
            Event::Retry { job, .. } => self.about(job, |series| add(&series.retries, of(job), 1)),
            Event::Passed { passed } => self.about(&passed.job, |series| {
                add(&series.passed, which(&passed.job, "reason", passed.reason.name()), passed.count as u64);
            }),
            Event::Reloaded { jobs } => {
                series.reloaded(true, 1);
                self.replace_jobs(jobs.iter().map(|job| job.name.as_str()));
            }
            Event::NotReloaded { .. } => series.reloaded(false, 1),
            Event::Cache { seen: Seen::Lost(loss) } => series.lost(*loss, 1),
            Event::Cache { .. } | Event::Progress { .. } | Event::BadRow { .. } | Event::Doubt { .. } => {}
            Event::History { .. } | Event::WithoutHistory { .. } | Event::Unguarded { .. } => {}
            Event::WithoutLease { .. } | Event::NotShared { .. } | Event::Listening { .. } => {}
            Event::Serving { .. }
            | Event::ListenLater { .. }
            | Event::Stopping { .. }
            | Event::Cancelling { .. }
            | Event::Ended => {}
            Event::Stale { .. } | Event::NotStale { .. } | Event::Behind { .. } => {}
            Event::Paused { .. } | Event::Resumed { .. } | Event::Unpaused { .. } => {}
            Event::Unwise { .. } => {}
        }
    }
}

impl Series {
    fn registry(&self) -> Registry {
        let mut all = Registry::with_prefix("warm");
        all.register("runs", "Runs that ended, by how they did", self.runs.clone());
        all.register("run_duration_seconds", "How long runs took, all attempts together", self.durations.0.clone());
        all.register("rows_read", "Rows read", self.rows.clone());
        all.register("keys_written", "Keys written or renewed", self.keys.clone());
        all.register("written_bytes", "Bytes of keys and values written", self.bytes.clone());
        all.register("keys_left", "Keys left alone, by the reason", self.left.clone());
        all.register("attempts_retried", "Attempts that failed and were followed by another", self.retries.clone());
        all.register("starts_passed", "Due times that began no run, by the reason", self.passed.clone());
        all.register("reloads", "How often the configuration was read again", self.reloads.clone());
        let reloaded = "Whether the configuration could be used when it was read last";
        all.register("config_last_reload_successful", reloaded, self.reloaded.clone());
        all.register("redis_losses", "How often Redis lost what was in it", self.losses.clone());
        all.register("jobs_running", "Runs under way", self.running.clone());
        all.register("next_start_timestamp_seconds", "When the job runs next", self.next.clone());
        let last = "When a run of the job ended well last";
        all.register("last_success_timestamp_seconds", last, self.last_success.clone());
        all.register("job_max_age_seconds", "How long ago the job's last success may be", self.max_age.clone());
        all.register("job_stale", "Whether it is longer ago", self.stale.clone());
        all.register("job_paused", "Whether the job is paused", self.paused.clone());
        all.register("redis_up", "Whether Redis answers", self.redis_up.clone());
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        all.register("build", "The version of warm", version);
        all
    }

    /// What can be counted from zero is there from the beginning: else the first increase would not be seen.
    fn begin_all(&self) {
        self.reloaded(false, 0);
        // The configuration that it begins with was read well.
        self.reloaded(true, 0);
        [Loss::Restarted, Loss::Emptied].into_iter().for_each(|loss| self.lost(loss, 0));
    }

    /// The same for a job.
    fn begin(&self, job: &str) {
        add(&self.runs, which(job, "outcome", "ok"), 0);
        for (reason, _) in left(&Stats::default()) {
            add(&self.left, which(job, "reason", reason), 0);
        }
        for reason in Reason::ALL {
            add(&self.passed, which(job, "reason", reason.name()), 0);
        }
        for counter in [&self.rows, &self.keys, &self.bytes, &self.retries] {
            add(counter, of(job), 0);
        }
        drop(self.durations.0.get_or_create(&of(job)));
    }

    fn forget(&self, job: &str) {
        for outcome in TABLE.iter().map(|row| outcome(Some(row.kind))).chain([outcome(None)]) {
            self.runs.remove(&which(job, "outcome", &outcome));
        }
        for counter in [&self.rows, &self.keys, &self.bytes, &self.retries] {
            counter.remove(&of(job));
        }
        for (reason, _) in left(&Stats::default()) {
            self.left.remove(&which(job, "reason", reason));
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
    }

    fn reloaded(&self, well: bool, times: u64) {
        add(&self.reloads, [("outcome", if well { "ok" } else { "failed" }.to_owned())], times);
        self.reloaded.set(well.into());
    }

    fn lost(&self, loss: Loss, times: u64) {
        add(&self.losses, [("loss", name(loss).to_owned())], times);
    }

    fn finished(&self, report: &Report) {
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
    }
}

fn of(job: &str) -> OfJob {
    [("job", job.to_owned())]
}

fn which(job: &str, label: &'static str, word: &str) -> Which {
    [("job", job.to_owned()), (label, word.to_owned())]
}

fn add<const N: usize>(counters: &Family<Labels<N>, Counter>, labels: Labels<N>, count: u64) {
    counters.get_or_create(&labels).inc_by(count);
}

fn set<V, A: Atomic<V>>(gauges: &Family<OfJob, Gauge<V, A>>, job: &str, value: Option<V>)
where
    Gauge<V, A>: Default,
{
    match value {
        Some(value) => drop(gauges.get_or_create(&of(job)).set(value)),
        None => drop(gauges.remove(&of(job))),
    }
}

/// How a run ended, in the words of docs/json.md.
fn outcome(failure: Option<ErrorKind>) -> String {
    failure.map_or("ok".to_owned(), |kind| format!("{kind:?}"))
}

fn left(stats: &Stats) -> [(&'static str, u64); 6] {
    [
        ("present", stats.present),
        ("other_type", stats.other_type),
        ("no_ttl", stats.no_ttl),
        ("too_large", stats.too_large),
        ("no_room", stats.no_room),
        ("unverified", stats.unverified),
    ]
}

fn name(loss: Loss) -> &'static str {
    match loss {
        Loss::Restarted => "restarted",
        Loss::Emptied => "emptied",
    }
}

fn seconds(time: DateTime<Utc>) -> f64 {
    time.timestamp_millis() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::ground::error::Error;
    use crate::ground::health::{JobHealth, Stale};
    use crate::ground::passed::Passed;
    use crate::ground::refresh::Kept;
    use crate::ground::request::Trigger;

    fn report(job: &str, failure: Option<ErrorKind>) -> Report {
        Report {
            job: job.to_owned(),
            file: PathBuf::new(),
            priority: 0,
            trigger: Trigger::Schedule,
            kept: Kept::default(),
            stats: Stats { rows: 3, written: 2, bytes: 50, no_ttl: 1, ..Stats::default() },
            took: Duration::from_millis(1500),
            failure: failure.map(|kind| Error::new(kind, "")),
            whole: true,
            sample: Vec::new(),
            swept_sample: Vec::new(),
        }
    }

    fn has(text: &str, line: &str) {
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
    }

    #[test]
    fn events_turn_counters() {
        let metrics = Metrics::new(["a"].into_iter());
        metrics.on(&Event::Started { job: "a", trigger: Trigger::Schedule });
        has(&metrics.text(&Health::unknown()), "warm_jobs_running 1");
        let error = Error::new(ErrorKind::PostgresLost, "");
        metrics.on(&Event::Retry { job: "a", error: &error, attempt: 2 });
        metrics.on(&Event::Finished { report: &report("a", None) });
        let passed = Passed { job: "a".to_owned(), due: DateTime::UNIX_EPOCH, count: 7, reason: Reason::Missed };
        metrics.on(&Event::Passed { passed: &passed });
        metrics.on(&Event::NotReloaded { reason: "" });
        metrics.on(&Event::Cache { seen: &Seen::Lost(Loss::Emptied) });
        let text = metrics.text(&Health::unknown());
        for line in [
            "warm_runs_total{job=\"a\",outcome=\"ok\"} 1",
            "warm_run_duration_seconds_bucket{job=\"a\",le=\"1\"} 0",
            "warm_run_duration_seconds_bucket{job=\"a\",le=\"5\"} 1",
            "warm_rows_read_total{job=\"a\"} 3",
            "warm_keys_written_total{job=\"a\"} 2",
            "warm_written_bytes_total{job=\"a\"} 50",
            "warm_keys_left_total{job=\"a\",reason=\"no_ttl\"} 1",
            "warm_attempts_retried_total{job=\"a\"} 1",
            "warm_starts_passed_total{job=\"a\",reason=\"missed\"} 7",
            "warm_reloads_total{outcome=\"failed\"} 1",
            "warm_redis_losses_total{loss=\"emptied\"} 1",
            "warm_jobs_running 0",
            "warm_redis_up 0",
            concat!("warm_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            has(&text, line);
        }
    }

    #[test]
    fn what_few_words_tell_apart_is_counted_from_zero() {
        let metrics = Metrics::new(["a"].into_iter());
        let text = metrics.text(&Health::unknown());
        for (counter, label, words) in [
            ("warm_redis_losses_total{", "loss", &["restarted", "emptied"][..]),
            ("warm_reloads_total{", "outcome", &["ok", "failed"]),
            (
                "warm_starts_passed_total{job=\"a\",",
                "reason",
                &["missed", "superseded", "overlap", "paused", "held", "elsewhere"],
            ),
            (
                "warm_keys_left_total{job=\"a\",",
                "reason",
                &["present", "other_type", "no_ttl", "too_large", "no_room", "unverified"],
            ),
        ] {
            assert_eq!(text.matches(counter).count(), words.len(), "{text}");
            words.iter().for_each(|word| has(&text, &format!("{counter}{label}=\"{word}\"}} 0")));
        }
    }

    #[test]
    fn it_tells_whether_the_last_reload_went_well() {
        let metrics = Metrics::new(["a"].into_iter());
        let says =
            |value| has(&metrics.text(&Health::unknown()), &format!("warm_config_last_reload_successful {value}"));
        says(1);
        metrics.on(&Event::NotReloaded { reason: "" });
        says(0);
        metrics.on(&Event::Reloaded { jobs: &[] });
        says(1);
    }

    #[test]
    fn a_run_that_is_left_to_others_has_no_duration() {
        let metrics = Metrics::new(["a"].into_iter());
        metrics.on(&Event::Finished { report: &report("a", Some(ErrorKind::HeldElsewhere)) });
        let text = metrics.text(&Health::unknown());
        has(&text, "warm_runs_total{job=\"a\",outcome=\"HeldElsewhere\"} 1");
        has(&text, "warm_run_duration_seconds_count{job=\"a\"} 0");
    }

    #[test]
    fn gauges_are_those_of_the_moment() {
        let metrics = Metrics::new(["a"].into_iter());
        let (next, last) = (DateTime::from_timestamp_millis(1500), DateTime::from_timestamp_millis(1000));
        let max_age = Some(Duration::from_secs(90));
        let stale = Some(Stale { age: None, max_age: Duration::from_secs(90) });
        let job = |next, last_success, max_age, stale| JobHealth {
            name: "a".to_owned(),
            next,
            last_success,
            max_age,
            stale,
            paused_until: next,
        };
        let cache = Link::Up { since: DateTime::UNIX_EPOCH };
        let text = metrics.text(&Health { cache, jobs: vec![job(next, last, max_age, None)], ..Health::unknown() });
        has(&text, "warm_next_start_timestamp_seconds{job=\"a\"} 1.5");
        has(&text, "warm_last_success_timestamp_seconds{job=\"a\"} 1.0");
        has(&text, "warm_redis_up 1");
        has(&text, "warm_job_max_age_seconds{job=\"a\"} 90.0");
        has(&text, "warm_job_stale{job=\"a\"} 0");
        has(&text, "warm_job_paused{job=\"a\"} 1");
        let text = metrics.text(&Health { jobs: vec![job(None, None, max_age, stale)], ..Health::unknown() });
        has(&text, "warm_job_stale{job=\"a\"} 1");
        has(&text, "warm_job_paused{job=\"a\"} 0");
        let text = metrics.text(&Health { jobs: vec![job(None, None, None, None)], ..Health::unknown() });
        assert!(!text.contains("timestamp_seconds{") && !text.contains("warm_job_stale{"), "{text}");
        has(&text, "warm_redis_up 0");
    }

    #[test]
    fn a_job_that_is_gone_takes_its_series_with_it() {
        let metrics = Metrics::new(["gone", "stays"].into_iter());
        let all = || {
            for kind in TABLE.iter().map(|row| Some(row.kind)).chain([None]) {
                metrics.on(&Event::Finished { report: &report("gone", kind) });
            }
            for reason in Reason::ALL {
                let passed = Passed { job: "gone".to_owned(), due: DateTime::UNIX_EPOCH, count: 1, reason };
                metrics.on(&Event::Passed { passed: &passed });
            }
        };
        let health = Health {
            jobs: vec![JobHealth {
                name: "gone".to_owned(),
                next: Some(DateTime::UNIX_EPOCH),
                last_success: Some(DateTime::UNIX_EPOCH),
                max_age: Some(Duration::from_secs(1)),
                stale: None,
                paused_until: None,
            }],
            ..Health::unknown()
        };
        all();
        assert!(metrics.text(&health).matches("\"gone\"").count() > 30);
        metrics.replace_jobs(["stays", "new"].into_iter());
        all();
        let text = metrics.text(&health);
        assert!(!text.contains("gone"), "{text}");
        has(&text, "warm_runs_total{job=\"stays\",outcome=\"ok\"} 0");
        has(&text, "warm_runs_total{job=\"new\",outcome=\"ok\"} 0");
    }
}
