//! Keys whose rows are gone: a sweeping run notes every key that its rows make, and at its end removes what earlier runs noted and it did not.
//!
//! Absent rows prove something only if everything was read and seen twice: whatever is in doubt keeps all keys. And only a value that is still the one
//! that was noted is removed. A key is noted before its value gets its full lifetime, so that a run that is killed leaves none that nobody knows.
//!
//! A dry run remembers the fingerprints of its keys instead of noting them, and at its end counts what a run would remove.
//!
//! The queries of several combinations may see several states of the database. A row that moves from one to the other meanwhile may cost its key: it
//! has just changed, and a miss is cheaper than a lie.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinHandle;
use xxhash_rust::xxh3::xxh3_64;

use super::Runner;
use super::run::Progress;
use crate::cache::{Ours, Policy};
use crate::ground::entry::Entry;
use crate::ground::error::Error;
use crate::ground::event::Event;
use crate::ground::history::Unknown;
use crate::ground::job::Job;
use crate::ground::manifest::{ManifestRun, Noted};
use crate::ground::run::{SAMPLES, Stats};
use crate::history::History;

/// Keys that are noted at a time.
const AT_A_TIME: usize = 1024;

/// The manifest, as one attempt of a sweeping job uses it.
pub(super) struct Manifest<'a> {
    runner: &'a Runner,
    job: &'a Job,
    history: History,
    run: ManifestRun,
    /// The fingerprints of the keys of a run that only looks.
    seen: Option<Mutex<HashSet<u64>>>,
    /// Whether every key has been noted.
    complete: AtomicBool,
    /// Whether everything that was written could be looked at a second time.
    certain: AtomicBool,
}

impl<'a> Manifest<'a> {
    /// Begins, if the job sweeps and its history can be used; a run that only looks, if there is something that could be removed.
    pub(super) async fn begin(runner: &'a Runner, job: &'a Job, policy: Policy) -> Option<Self> {
        let looks = policy.only_looks();
        if !job.sweep || policy.compares() || (looks && policy.only_missing()) {
            return None;
        }
        let begun = match &runner.history {
            Some(history) if looks => history.manifest(&job.name).await,
            Some(history) => history.begin_manifest(&job.name, runner.clock.now()).await.map(Some),
            None => Err(Unknown),
        };
        let run = begun.unwrap_or_else(|Unknown| {
            tell(runner, job, looks);
            None
        });
        let (history, run) = runner.history.clone().zip(run)?;
        let seen = looks.then(Mutex::default);
        let (complete, certain) = (AtomicBool::new(true), AtomicBool::new(true));
        Some(Manifest { runner, job, history, run, seen, complete, certain })
    }

    /// Something that was read or written could not be made sure of.
    pub(super) fn doubt(&self) {
        self.certain.store(false, Ordering::Relaxed);
    }

    fn is_incomplete(&self) {
        if self.complete.swap(false, Ordering::Relaxed) {
            tell(self.runner, self.job, self.seen.is_some());
        }
    }

    /// Removes what is gone, after a run that ended well, and counts it; one that only looked only counts.
    ///
    /// # Errors
    /// What Redis says.
    pub(super) async fn sweep(&self, progress: &Progress) -> Result<(), Error> {
        let (mut would_go, mut sample) = (0, Vec::new());
        let Stats { bad_rows, too_large, unconfirmed, .. } = progress.stats();
        let certain = self.certain.load(Ordering::Relaxed) && self.complete.load(Ordering::Relaxed);
        if !certain || bad_rows + too_large + unconfirmed > 0 {
            return Ok(());
        }
        let rivals = self.runner.key_space.rivals(&self.job.name);
        let now = self.runner.clock.now();
        let mut last = Vec::new();
        loop {
            let gone = self.history.gone(self.run, last).await.unwrap_or_else(|Unknown| {
                self.is_incomplete();
                Vec::new()
            });
            let keys: Vec<_> = gone.iter().map(|noted| noted.key.clone()).collect();
            let Some(key) = keys.last() else { break };
            last = key.clone();
            // The job's template may have changed: what is no longer its own key, it must not touch.
            let own = |key: &[u8]| key.starts_with(self.job.key.prefix().as_bytes()) && rivals.claim(key).is_none();
            let alive =
                gone.into_iter().filter(|noted| noted.dies > now && own(&noted.key) && !self.has_seen(&noted.key));
            let ours: Vec<_> =
                alive.map(|Noted { key, fingerprint, earlier, .. }| Ours { key, fingerprint, earlier }).collect();
            if self.seen.is_some() {
                let found = self.runner.redis.still_ours(ours).await?;
                would_go += found.len() as u64;
                let names =
                    found.iter().map(|key| self.runner.redis.key_prefix().to_owned() + &String::from_utf8_lossy(key));
                sample.extend(names.take(SAMPLES - sample.len()));
                continue;
            }
            progress.add(&Stats { swept: self.runner.redis.retract(ours).await?, ..Stats::default() });
            if self.history.forget(self.run, keys).await.is_err() {
                self.is_incomplete();
                break;
            }
        }
        // What is known only in part is not shown.
        if self.seen.is_some() && self.complete.load(Ordering::Relaxed) {
            progress.would_sweep(would_go, sample);
        }
        Ok(())
    }

    fn has_seen(&self, key: &[u8]) -> bool {
        self.seen.as_ref().is_some_and(|seen| lock(seen).contains(&xxh3_64(key)))
    }
}

fn tell(runner: &Runner, job: &Job, looks: bool) {
    let what = match looks {
        true => "keys whose rows are gone are not known",
        false => "keys whose rows are gone are not removed",
    };
    runner.observer.on(&Event::WithoutHistory { job: &job.name, what });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The keys that one worker notes, in portions: while one is written down, the next is gathered.
pub(super) struct Notes<'a> {
    manifest: Option<&'a Manifest<'a>>,
    gathered: Vec<Noted>,
    under_way: Option<JoinHandle<Result<(), Unknown>>>,
}

impl<'a> Notes<'a> {
    /// No manifest, no notes.
    pub(super) fn new(manifest: Option<&'a Manifest<'a>>) -> Self {
        Notes { manifest, gathered: Vec::new(), under_way: None }
    }

    /// Notes entries that are about to be written.
    pub(super) async fn take<'e>(&mut self, entries: impl Iterator<Item = Entry<'e>>) {
        let Some(Manifest { runner, job, seen, .. }) = self.manifest else { return };
        if let Some(seen) = seen {
            return lock(seen).extend(entries.map(|entry| xxh3_64(entry.key)));
        }
        let now = runner.clock.now();
        self.gathered.extend(entries.map(|entry| {
            // Its lifetime begins before the run ends.
            let longest = TimeDelta::from_std(entry.ttl + job.timeout).unwrap_or(TimeDelta::MAX);
            let dies = now.checked_add_signed(longest).unwrap_or(DateTime::<Utc>::MAX_UTC);
            Noted { key: entry.key.to_vec(), fingerprint: xxh3_64(entry.payload), earlier: None, dies }
        }));
        if self.gathered.len() >= AT_A_TIME {
            self.write_down().await;
        }
    }

    /// Waits until everything is written down.
    pub(super) async fn end(&mut self) {
        self.write_down().await;
        self.wait().await;
    }

    async fn write_down(&mut self) {
        let Some(Manifest { history, run, .. }) = self.manifest.filter(|_| !self.gathered.is_empty()) else { return };
        self.wait().await;
        let (history, run, notes) = (history.clone(), *run, std::mem::take(&mut self.gathered));
        self.under_way = Some(tokio::spawn(async move { history.note(run, notes).await }));
    }

    async fn wait(&mut self) {
        let Some((under_way, manifest)) = self.under_way.take().zip(self.manifest) else { return };
        if !matches!(under_way.await, Ok(Ok(()))) {
            manifest.is_incomplete();
        }
    }
}
