//! What the runner holds of the history.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::keeper::{Complaints, Keeper, Order};
use super::manifest::Asked;
use super::passed::Unwritten;
use crate::ground::event::Observer;
use crate::ground::fingerprint::Fingerprint;
use crate::ground::history::{LastGood, Record, Summary, Unknown};
use crate::ground::manifest::{ManifestRun, Noted};
use crate::ground::passed::Passed;
use crate::ground::sample::LastSample;

/// The longest that anybody waits for the history.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Where the history is, and whose.
#[derive(Debug, Clone)]
pub struct Place {
    /// The state folder, if one is known.
    pub folder: Option<PathBuf>,
    /// Keeps entries apart: of which configuration and servers they are. No secret.
    pub installation: Fingerprint,
    /// Whether nothing may be changed there, as in a dry run.
    pub read_only: bool,
}

/// The run history; clones share it. No call fails: what goes wrong is told to the observer, once.
#[derive(Clone)]
pub struct History {
    orders: mpsc::UnboundedSender<Order>,
    complaints: Complaints,
    unwritten: Unwritten,
}

impl History {
    /// Begins to open the history, and does not wait for it. Folder and file are made if they are missing; one that is read only is opened when
    /// somebody asks.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn open(place: Place, observer: Arc<dyn Observer>) -> Self {
        let (orders, ordered) = mpsc::unbounded_channel();
        let complaints = Complaints::new(observer);
        let unwritten = Unwritten::default();
        let (keeper, runtime) = (Keeper::new(place, complaints.clone(), unwritten.clone()), Handle::current());
        let thread = thread::Builder::new().name("history".to_owned());
        if let Err(error) = thread.spawn(move || runtime.block_on(keeper.serve(ordered))) {
            complaints.unusable(&error.to_string());
        }
        History { orders, complaints, unwritten }
    }

    /// Records a run, soon; [`History::flush`] waits for it.
    pub fn record(&self, record: Record) {
        // Whoever served the orders has said why that has ended.
        let _ = self.orders.send(Order::Record(Box::new(record)));
    }

    /// Records starts without a run, soon. However many there are, what is not written yet takes no more memory.
    pub fn pass(&self, passed: &Passed, now: DateTime<Utc>) {
        if self.unwritten.add(passed, now) {
            let _ = self.orders.send(Order::Passed);
        }
    }

    /// The last good run of a job whose definition was this one.
    ///
    /// # Errors
    /// When the history cannot be used; why, the observer has been told.
    pub async fn last_good(&self, job: &str, definition: Fingerprint) -> Result<Option<LastGood>, Unknown> {
        self.ask(|answer| Order::LastGood(job.to_owned(), definition, answer)).await.flatten().ok_or(Unknown)
    }

    /// The due time that each job has served last, by its name.
    ///
    /// # Errors
    /// As [`History::last_good`].
    pub async fn served(&self) -> Result<HashMap<String, DateTime<Utc>>, Unknown> {
        self.ask(Order::Served).await.flatten().ok_or(Unknown)
    }

    /// The last due time of each job that began no run and was [counted](History::pass), by its name.
    ///
    /// # Errors
    /// As [`History::last_good`].
    pub async fn last_passed(&self) -> Result<HashMap<String, DateTime<Utc>>, Unknown> {
        self.ask(Order::LastPassed).await.flatten().ok_or(Unknown)
    }

    /// What is known of each job's runs, by its name; a job without runs is not among them.
    ///
    /// # Errors
    /// As [`History::last_good`].
    pub async fn summaries(&self) -> Result<HashMap<String, Summary>, Unknown> {
        self.ask(Order::Summaries).await.flatten().ok_or(Unknown)
    }

    /// A few of the keys that the last whole run of each job left behind, by the job's name.
    ///
    /// # Errors
    /// As [`History::last_good`].
    pub async fn samples(&self) -> Result<HashMap<String, LastSample>, Unknown> {
        self.ask(Order::Samples).await.flatten().ok_or(Unknown)
    }

    /// Notes what was learned of each job's keys, soon; nothing is kept of other jobs.
    pub fn learn(&self, learned: Vec<(String, String)>) {
        let _ = self.orders.send(Order::Learn(learned));
    }

    /// What was learned of each job's keys, by its name.
    ///
    /// # Errors
    /// As [`History::last_good`].
    pub async fn learned(&self) -> Result<HashMap<String, String>, Unknown> {
        self.ask(Order::Learned).await.flatten().ok_or(Unknown)
    }

    /// Begins a run of a sweeping job.
    ///
    /// # Errors
    /// As [`History::last_good`].
    pub async fn begin_manifest(&self, job: &str, now: DateTime<Utc>) -> Result<ManifestRun, Unknown> {
        self.ask_manifest(|answer| Asked::Begin(job.to_owned(), now, answer)).await
    }

    /// All that runs of the job have noted so far, as a run after them all would see it; nothing is begun. None when there is nothing.
    ///
    /// # Errors
    /// As [`History::last_good`].
    pub async fn manifest(&self, job: &str) -> Result<Option<ManifestRun>, Unknown> {
        self.ask_manifest(|answer| Asked::Manifest(job.to_owned(), answer)).await
    }

    /// Notes keys that the run is about to write; returns when that is done. What was noted of a key before stays known until it is noted twice more.
    ///
    /// # Errors
    /// As [`History::last_good`].
    pub async fn note(&self, run: ManifestRun, notes: Vec<Noted>) -> Result<(), Unknown> {
        self.ask_manifest(|answer| Asked::Note(run, notes, answer)).await
    }

    /// Some of the keys that earlier runs of the job noted and this one did not: in their order, those behind `last`. None when there are no more.
    ///
    /// # Errors
    /// As [`History::last_good`].
    pub async fn gone(&self, run: ManifestRun, last: Vec<u8>) -> Result<Vec<Noted>, Unknown> {
        self.ask_manifest(|answer| Asked::Gone(run, last, answer)).await
    }

    /// Forgets keys that were [`gone`](History::gone).
    ///
    /// # Errors
    /// As [`History::last_good`].
    pub async fn forget(&self, run: ManifestRun, keys: Vec<Vec<u8>>) -> Result<(), Unknown> {
        self.ask_manifest(|answer| Asked::Forget(run, keys, answer)).await
    }

    /// Waits until everything is recorded, for some seconds at most.
    pub async fn flush(&self) {
        self.ask(Order::Flush).await;
    }

    async fn ask_manifest<T>(&self, asked: impl FnOnce(oneshot::Sender<Option<T>>) -> Asked) -> Result<T, Unknown> {
        self.ask(|answer| Order::Manifest(asked(answer))).await.flatten().ok_or(Unknown)
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).ok()?;
        let Ok(answer) = timeout(PATIENCE, answered).await else {
            self.complaints.unusable(&format!("no answer within {}", humantime::format_duration(PATIENCE)));
            return None;
        };
        answer.ok()
    }
}
