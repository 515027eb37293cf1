//! Cache and database, compared: what the job's rows make, and what else is there under its names.
//!
//! First the job is read as ever, and each of its keys looked at. What is left are keys that the job does not write by itself, such as those that the application has cached
//! of its own: each is compared with what a fill of that key would write, and is too much if there is no row for it. Only a job that says how a single key is filled can
//! tell.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::watch;

use super::Runner;
use crate::ground::drift::Drift;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::event::Event;
use crate::ground::job::{Job, Mode};
use crate::ground::request::{Purpose, Request, Sample, Scope, Trigger};
use crate::ground::run::Report;
use crate::ground::show::visible;

impl Runner {
    /// Compares the job's keys with what is in the cache.
    pub async fn compare(self: &Arc<Self>, job: &Arc<Job>, sample: Sample, stop: watch::Receiver<bool>) -> Report {
        let request = about_all(None, Purpose::Compare(sample));
        let mut report = Arc::clone(self).run_one(Arc::clone(job), request, stop.clone()).await;
        if report.failure.is_some() || job.key.names().is_empty() {
            return report;
        }
        let compared = match self.others(job, sample, &report.drift).await {
            Ok(others) => self.compare_others(job, others, &mut report.drift, stop).await,
            Err(error) => Err(error),
        };
        if let Err(error) = compared {
            report.failure = Some(error);
            self.observer.on(&Event::Finished { report: &report });
        }
        report
    }

    /// Writes what a comparison has found to be missing or different. Keys with another type or without an end are left alone, and nothing is removed.
    pub async fn repair(self: &Arc<Self>, job: &Arc<Job>, drift: &Drift, stop: watch::Receiver<bool>) -> Report {
        let whole = about_all(Some(Mode::Refresh), Purpose::Write);
        // It removes nothing, and so nothing is missing of what it could do.
        let only_writes = Arc::new(Job { sweep: false, ..Job::clone(job) });
        let mut report = Arc::clone(self).run_one(only_writes, whole, stop.clone()).await;
        if report.failure.is_some() {
            return report;
        }
        let quiet = Arc::new(self.unheard());
        for key in &drift.others {
            let fill = Request::about_key(Arc::clone(key), Some(Mode::Refresh), Purpose::Write);
            let filled = Arc::clone(&quiet).run_one(Arc::clone(job), fill, stop.clone()).await;
            // What has lost its row meanwhile is found by the comparison that follows.
            if let Some(failure) = filled.failure.filter(|failure| failure.kind != ErrorKind::NoValue) {
                report.failure = Some(self.about(key, failure));
                self.observer.on(&Event::Finished { report: &report });
                break;
            }
        }
        report
    }

    /// The keys that belong to the job and were not compared.
    async fn others(&self, job: &Job, sample: Sample, drift: &Drift) -> Result<Vec<Arc<[u8]>>, Error> {
        let rivals = self.key_space.rivals(&job.name);
        let mut keys = self.redis.keys_with(job.key.prefix()).await?;
        keys.retain(|key| {
            let is_its_own = job.key.matches(key).is_some() && rivals.claim(key).is_none();
            is_its_own && sample.takes(key) && !drift.has_seen(key)
        });
        Ok(keys.into_iter().map(Arc::from).collect())
    }

    /// Looks at each of these keys, until something fails: what has failed at one of them, as a server that is away or a query that is wrong, fails at the others as well.
    async fn compare_others(
        self: &Arc<Self>,
        job: &Arc<Job>,
        others: Vec<Arc<[u8]>>,
        drift: &mut Drift,
        stop: watch::Receiver<bool>,
    ) -> Result<(), Error> {
        if job.lacks_fill_query().is_some() {
            drift.unknown += others.len() as u64;
            return Ok(());
        }
        let quiet = Arc::new(self.unheard());
        let runs = others.into_iter().map(|key| {
            let request = Request::about_key(Arc::clone(&key), None, Purpose::Compare(Sample::ALL));
            let run = Arc::clone(&quiet).run_one(Arc::clone(job), request, stop.clone());
            async move { (key, run.await) }
        });
        let mut runs = stream::iter(runs).buffered(self.slots());
        while let Some((key, report)) = runs.next().await {
            match report.failure {
                // It cannot even be asked for: no row has such a value.
                Some(failure) if failure.kind == ErrorKind::NoValue => drift.extra(self.redis.key_prefix(), &key),
                // There is a row, of which nothing can be made.
                Some(failure) if failure.kind == ErrorKind::Row => drift.unknown += 1,
                Some(failure) => return Err(self.about(&key, failure)),
                None if report.stats.overtaken + report.stats.unverified > 0 => drift.unknown += 1,
                // The same, of a job that leaves such rows out.
                None if report.stats.too_large + report.stats.bad_rows > 0 => drift.unknown += 1,
                None if report.drift.compared() == 0 => drift.extra(self.redis.key_prefix(), &key),
                None => drift.add(&key, report.drift),
            }
        }
        Ok(())
    }

    /// The failure of one key's run, which names the key.
    fn about(&self, key: &[u8], failure: Error) -> Error {
        let key = visible(&format!("{}{}", self.redis.key_prefix(), String::from_utf8_lossy(key)));
        Error { message: format!("`{key}`: {failure}"), ..failure }
    }
}

fn about_all(mode: Option<Mode>, purpose: Purpose) -> Request {
    Request { trigger: Trigger::Manual, due: None, scope: Scope::All, mode, purpose, accept: false }
}
