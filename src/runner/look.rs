//! How warm the jobs are, and whether Redis does what the operator wants: looked at, never changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::Runner;
use crate::cache::{Depth, Uses};
use crate::ground::error::Error;
use crate::ground::figures::Figures;
use crate::ground::history::Summary;
use crate::ground::job::Job;
use crate::ground::sample::LastSample;
use crate::ground::targets::{Found, Judged, Targets};
use crate::ground::uses::Part;
use crate::ground::warmth::{Look, Warmth};

/// The keys of each job's last whole run, found or not.
pub struct Looked {
    /// In the order of the jobs; nothing of a job of whose keys nothing is known.
    pub samples: Vec<Option<LastSample>>,
    /// What was found of all of them, one sample behind the other.
    pub traces: Uses,
}

impl Looked {
    /// The keys of one job after the other, with what was found of them.
    pub fn of_jobs(&self) -> impl Iterator<Item = (Option<&LastSample>, &[Option<crate::cache::Traced>])> {
        let mut rest = self.traces.keys.as_deref().unwrap_or_default();
        self.samples.iter().map(move |sample| {
            let count = sample.as_ref().map_or(0, |sample| sample.sampled.names.len()).min(rest.len());
            let (own, others) = rest.split_at(count);
            rest = others;
            (sample.as_ref(), own)
        })
    }

    /// How warm each job is, as far as that can be told.
    pub fn warmth(&self) -> Vec<Option<Warmth>> {
        let warmth = |(sample, found): (Option<&LastSample>, &[Option<_>])| {
            let sample = sample.filter(|_| !found.is_empty())?;
            let present = found.iter().filter(|key| key.is_some()).count() as u64;
            let keys = Part { yes: present, of: found.len() as u64 };
            Some(Warmth { present: keys, keys: sample.sampled.keys, ended: sample.ended })
        };
        self.of_jobs().map(warmth).collect()
    }
}

impl Runner {
    /// Looks for a few keys of each of these jobs.
    ///
    /// # Errors
    /// When Redis cannot be reached or rejects us.
    pub async fn look_for_keys(&self, jobs: &[Arc<Job>], depth: Depth) -> Result<Looked, Error> {
        let mut known = match &self.history {
            // What is wrong with it has been said.
            Some(history) => history.samples().await.unwrap_or_default(),
            None => HashMap::new(),
        };
        let samples: Vec<_> = jobs.iter().map(|job| known.remove(&job.name)).collect();
        let names = samples.iter().flatten().flat_map(|sample| sample.sampled.names.clone()).collect();
        Ok(Looked { samples, traces: self.redis.traces(names, depth).await? })
    }

    /// Looks how warm the jobs are, and whether the targets are met. `before` is what Redis counted at the last look, and how long ago that was.
    ///
    /// # Errors
    /// As [`Runner::look_for_keys`].
    pub async fn look(
        &self,
        jobs: &[Arc<Job>],
        targets: &Targets,
        before: Option<(Figures, Duration)>,
    ) -> Result<Look, Error> {
        let figures = self.redis.figures().await?;
        let looked = self.look_for_keys(jobs, Depth::Presence).await?;
        let answers = if targets.cache_answer.is_some() { self.redis.answers().await? } else { Vec::new() };
        let past = match &self.history {
            Some(history) if targets.query.is_some() => history.summaries().await.unwrap_or_default(),
            _ => HashMap::new(),
        };
        let window = figures.as_ref().zip(before).and_then(|(now, (then, over))| now.since(&then, over));
        let found = Found {
            lookups: window.or_else(|| figures.as_ref().map(Figures::lookups)),
            answers,
            query: slowest(&past, jobs),
            memory: figures.as_ref().and_then(Figures::memory),
        };
        let jobs = jobs.iter().map(|job| job.name.clone()).zip(looked.warmth()).collect();
        Ok(Look { jobs, targets: targets.judge(&found), figures })
    }
}

/// The slowest query of these jobs' last runs, and whose it was.
pub fn slowest(past: &HashMap<String, Summary>, jobs: &[Arc<Job>]) -> Option<(Duration, String)> {
    let of = |job: &Arc<Job>| Some((past.get(&job.name)?.slowest_query?, job.name.clone()));
    jobs.iter().filter_map(of).max()
}

/// What is known when Redis could not be asked.
pub fn judge_without_redis(past: &HashMap<String, Summary>, jobs: &[Arc<Job>], targets: &Targets) -> Vec<Judged> {
    targets.judge(&Found { query: slowest(past, jobs), ..Found::default() })
}
