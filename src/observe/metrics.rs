//! Metrics for Prometheus: counters that the events turn, and gauges that are read from the service's health when somebody asks.
//!
//! Every label has few values: a job's name, one of those in the present configuration, and words of this program. A job that is gone takes its series
//! with it, and what its last run says afterwards is not counted.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use prometheus_client::encoding::prometheus_text::encode;
use prometheus_client::registry::Registry;

use super::series::{Series, add, of, seconds, set, which};
use crate::ground::event::{Event, Observer};
use crate::ground::health::Health;
use crate::ground::warmth::Look;
use crate::ground::watch::{Link, Seen};

/// Counts what happens.
pub struct Metrics {
    registry: Registry,
    /// The jobs that there are.
    jobs: RwLock<HashSet<String>>,
    /// The sets that whoever may ask can have deleted.
    sets: RwLock<HashSet<String>>,
    series: Series,
}

impl Metrics {
    /// Metrics of these jobs, all counters at zero.
    pub fn new<'a>(jobs: impl Iterator<Item = &'a str>) -> Self {
        let series = Series::default();
        series.begin_all();
        let metrics = Metrics { registry: series.registry(), jobs: RwLock::default(), sets: RwLock::default(), series };
        metrics.replace_jobs(jobs);
        metrics
    }

    /// All metrics in Prometheus' text format (version 0.0.4).
    pub fn text(&self, health: &Health) -> String {
        let jobs = self.jobs.read().unwrap_or_else(PoisonError::into_inner);
        let up = matches!(health.cache, Link::Up { .. });
        self.series.redis_up.set(up.into());
        self.series.followed.show(health.changes.as_ref());
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

    fn replace_sets(&self, sets: &[&str]) {
        let mut present = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        let new: HashSet<_> = sets.iter().map(|set| (*set).to_owned()).collect();
        present.difference(&new).for_each(|gone| self.series.forget_set(gone));
        new.iter().for_each(|set| self.series.invalidated(set, 0));
        *present = new;
    }

    fn looked(&self, look: &Look) {
        for (job, warmth) in &look.jobs {
            self.about(job, |series| series.warmth.set(job, warmth.as_ref()));
        }
        self.series.targets.set(&look.targets);
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
            Event::Read { told } => series.read(told, 1),
            Event::Invalidated { set, keys: Ok(keys), .. } => {
                series.invalidation("ok", 1);
                if self.sets.read().unwrap_or_else(PoisonError::into_inner).contains(*set) {
                    series.invalidated(set, *keys);
                }
            }
            Event::Invalidated { keys: Err(_), .. } => series.invalidation("failed", 1),
            Event::InvalidationRefused => series.invalidation("refused", 1),
            Event::Invalidates { sets } => self.replace_sets(sets),
            Event::Followed(followed) => series.followed.count(followed),
            Event::ReadFailed { .. } | Event::GivesKeys { .. } => {}
            Event::Looked { look } => self.looked(look),
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
            Event::Waiting { .. } | Event::LoadUnknown { .. } | Event::MakesDo { .. } | Event::GivesWay { .. } => {}
            Event::WithoutLease { .. } | Event::NotShared { .. } | Event::Listening { .. } => {}
            Event::Serving { .. }
            | Event::ListenLater { .. }
            | Event::Stopping { .. }
            | Event::Cancelling { .. }
            | Event::Ended => {}
            Event::Stale { .. } | Event::NotStale { .. } | Event::Behind { .. } => {}
            Event::Paused { .. } | Event::Resumed { .. } | Event::Unpaused { .. } => {}
            Event::Predicted { job, filled, .. } => self.about(job, |series| add(&series.predicted, of(job), *filled)),
            Event::Unwise { .. } | Event::Disabled { .. } | Event::Deaf { .. } | Event::NoIdleTimes { .. } => {}
            Event::NotWrittenAgain { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use chrono::DateTime;

    use super::*;
    use crate::ground::drift::Drift;
    use crate::ground::error::{Error, ErrorKind, TABLE};
    use crate::ground::health::{JobHealth, Stale};
    use crate::ground::passed::{Passed, Reason};
    use crate::ground::refresh::Kept;
    use crate::ground::request::Trigger;
    use crate::ground::run::{Report, Stats};
    use crate::ground::watch::Loss;

    fn report(job: &str, failure: Option<ErrorKind>) -> Report {
        Report {
            job: job.to_owned(),
            file: PathBuf::new(),
            priority: 0,
            trigger: Trigger::Schedule,
            kept: Kept::default(),
            lost_until: None,
            stats: Stats {
                rows: 3,
                written: 2,
                bytes: 50,
                no_ttl: 1,
                waited_for_database: Duration::from_millis(2500),
                waited: Duration::from_millis(1500),
                ..Stats::default()
            },
            took: Duration::from_millis(1500),
            failure: failure.map(|kind| Error::new(kind, "")),
            whole: true,
            sample: Vec::new(),
            swept_sample: Vec::new(),
            drift: Drift::default(),
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
            "warm_held_back_seconds_total{job=\"a\",reason=\"rate\"} 1.5",
            "warm_held_back_seconds_total{job=\"a\",reason=\"latency\"} 0.0",
            "warm_held_back_seconds_total{job=\"a\",reason=\"database\"} 2.5",
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
