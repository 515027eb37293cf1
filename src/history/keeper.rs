//! The thread that owns the connection.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

use super::error::{Trouble, translate, unusable};
use super::file::{self, Opened};
use super::handle::Place;
use super::manifest::Asked;
use super::passed::{self, Unwritten};
use super::{demand, sample, served, summary, table};
use crate::ground::event::{Event, Observer};
use crate::ground::fingerprint::Fingerprint;
use crate::ground::history::{LastGood, Record, Summary};
use crate::ground::sample::LastSample;

/// What the keeper is asked to do, in this order.
pub(super) enum Order {
    /// Records a run.
    Record(Box<Record>),
    /// Records the starts without a run that are not written yet.
    Passed,
    /// Looks a job's last good run up. The outer `None` when that cannot be done.
    LastGood(String, Fingerprint, oneshot::Sender<Option<Option<LastGood>>>),
    /// Gives the due time that each job has served last. `None` when that cannot be done.
    Served(oneshot::Sender<Option<HashMap<String, DateTime<Utc>>>>),
    /// Gives the last due time of each job that began no run. `None` when that cannot be done.
    LastPassed(oneshot::Sender<Option<HashMap<String, DateTime<Utc>>>>),
    /// Gives what is known of each job's runs. `None` when that cannot be done.
    Summaries(oneshot::Sender<Option<HashMap<String, Summary>>>),
    /// Gives a few keys of each job. `None` when that cannot be done.
    Samples(oneshot::Sender<Option<HashMap<String, LastSample>>>),
    /// Notes what was learned of each job's keys.
    Learn(Vec<(String, String)>),
    /// Gives it. `None` when that cannot be done.
    Learned(oneshot::Sender<Option<HashMap<String, String>>>),
    /// Something about the manifest.
    Manifest(Asked),
    /// Says when everything before is done.
    Flush(oneshot::Sender<()>),
}

/// Says once what is wrong.
#[derive(Clone)]
pub(super) struct Complaints {
    observer: Arc<dyn Observer>,
    said: Arc<AtomicBool>,
}

impl Complaints {
    pub(super) fn new(observer: Arc<dyn Observer>) -> Self {
        Complaints { observer, said: Arc::default() }
    }

    /// The history cannot be used.
    pub(super) fn unusable(&self, reason: &str) {
        self.say(&unusable(reason));
    }

    fn say(&self, problem: &str) {
        if !self.said.swap(true, Ordering::Relaxed) {
            self.observer.on(&Event::History { problem });
        }
    }
}

/// Owns the connection. What fails is complained about, and the next order tries anew: a lock or a full disk may pass.
pub(super) struct Keeper {
    installation: String,
    folder: Option<PathBuf>,
    read_only: bool,
    complaints: Complaints,
    connection: Option<SqliteConnection>,
    unwritten: Unwritten,
}

impl Keeper {
    pub(super) fn new(place: Place, complaints: Complaints, unwritten: Unwritten) -> Self {
        // SQLite takes a relative path that begins with `file:` for a URI.
        let folder = place.folder.map(|folder| std::path::absolute(&folder).unwrap_or(folder));
        let installation = place.installation.to_string();
        Keeper { installation, folder, read_only: place.read_only, complaints, connection: None, unwritten }
    }

    /// Whose entries it keeps.
    pub(super) fn installation(&self) -> &str {
        &self.installation
    }

    /// Serves until nobody can give orders any more.
    pub(super) async fn serve(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        // The first order comes when a run has ended; opened before, it costs that run nothing.
        if !self.read_only {
            self.with(async |_| Ok(())).await;
        }
        while let Some(order) = orders.recv().await {
            let mut next = Some(order);
            let mut records = Vec::new();
            // Runs that ended together are recorded together.
            while let Some(Order::Record(record)) = next {
                records.push(*record);
                next = orders.try_recv().ok();
            }
            if !records.is_empty() {
                let installation = self.installation.clone();
                self.with(async |connection| table::record(connection, &installation, &records).await).await;
            }
            if let Some(order) = next {
                self.answer(order).await;
            }
        }
    }

    async fn answer(&mut self, order: Order) {
        // Who asked may have stopped waiting.
        match order {
            Order::LastGood(job, definition, answer) => {
                let installation = self.installation.clone();
                let look = async |connection: &mut SqliteConnection| {
                    table::last_good(connection, &installation, &job, definition).await
                };
                let _ = answer.send(self.with(look).await);
            }
            Order::Passed => {
                let (installation, starts) = (self.installation.clone(), self.unwritten.take());
                self.with(async |connection| passed::record(connection, &installation, &starts).await).await;
            }
            Order::Learn(learned) => {
                let installation = self.installation.clone();
                self.with(async |connection| demand::note(connection, &installation, &learned).await).await;
            }
            Order::Learned(answer) => {
                let installation = self.installation.clone();
                let look = async |connection: &mut SqliteConnection| demand::all(connection, &installation).await;
                let _ = answer.send(self.with(look).await);
            }
            Order::Served(answer) => {
                let installation = self.installation.clone();
                let look = async |connection: &mut SqliteConnection| served::all(connection, &installation).await;
                let _ = answer.send(self.with(look).await);
            }
            Order::LastPassed(answer) => {
                let installation = self.installation.clone();
                let look = async |connection: &mut SqliteConnection| passed::last(connection, &installation).await;
                let _ = answer.send(self.with(look).await);
            }
            Order::Summaries(answer) => {
                let installation = self.installation.clone();
                let look = async |connection: &mut SqliteConnection| summary::all(connection, &installation).await;
                let _ = answer.send(self.with(look).await);
            }
            Order::Samples(answer) => {
                let installation = self.installation.clone();
                let look = async |connection: &mut SqliteConnection| sample::all(connection, &installation).await;
                let _ = answer.send(self.with(look).await);
            }
            Order::Manifest(asked) => self.answer_about_manifest(asked).await,
            Order::Flush(done) => drop(done.send(())),
            Order::Record(_) => {}
        }
    }

    /// Works on the open file; once more if it turns out to be damaged, and has been replaced. A file that is not there, and must not be begun, gives
    /// what an empty one would.
    pub(super) async fn with<T: Default>(
        &mut self,
        work: impl AsyncFn(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Option<T> {
        let result = match self.attempt(&work, false).await {
            Err(Trouble::Broken(_)) => self.attempt(&work, true).await,
            other => other,
        };
        result.map_err(|trouble| self.complaints.unusable(&trouble.into_words())).ok()
    }

    async fn attempt<T: Default>(
        &mut self,
        work: impl AsyncFn(&mut SqliteConnection) -> Result<T, sqlx::Error>,
        doubt: bool,
    ) -> Result<T, Trouble> {
        let Some(folder) = &self.folder else {
            return Err(Trouble::no_folder());
        };
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None if self.read_only => match file::look_at(folder).await? {
                Some(connection) => connection,
                None => return Ok(T::default()),
            },
            None => {
                let Opened { connection, replaced } = file::open(folder, doubt).await?;
                replaced.iter().for_each(|what| self.complaints.say(what));
                connection
            }
        };
        // One that fails is not used again.
        let value = work(&mut connection).await.map_err(|error| translate(&file::path(folder), &error))?;
        self.connection = Some(connection);
        Ok(value)
    }
}
