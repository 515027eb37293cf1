//! What the runner holds of the history.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::keeper::{Complaints, Keeper, Order};
use crate::ground::event::Observer;
use crate::ground::fingerprint::Fingerprint;
use crate::ground::history::{LastGood, Record, Unknown};

/// The longest that anybody waits for the history.
const PATIENCE: Duration = Duration::from_secs(5);

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

/// The run history. No call fails: what goes wrong is told to the observer, once.
pub struct History {
    orders: mpsc::UnboundedSender<Order>,
    complaints: Complaints,
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
        let (keeper, runtime) = (Keeper::new(place, complaints.clone()), Handle::current());
        let thread = thread::Builder::new().name("history".to_owned());
        if let Err(error) = thread.spawn(move || runtime.block_on(keeper.serve(ordered))) {
            complaints.unusable(&error.to_string());
        }
        History { orders, complaints }
    }

    /// Records a run, soon; [`History::flush`] waits for it.
    pub fn record(&self, record: Record) {
        // Whoever served the orders has said why that has ended.
        let _ = self.orders.send(Order::Record(Box::new(record)));
    }

    /// The last good run of a job whose definition was this one.
    ///
    /// # Errors
    /// When the history cannot be used; why, the observer has been told.
    pub async fn last_good(&self, job: &str, definition: Fingerprint) -> Result<Option<LastGood>, Unknown> {
        self.ask(|answer| Order::LastGood(job.to_owned(), definition, answer)).await.flatten().ok_or(Unknown)
    }

    /// Waits until everything is recorded, for some seconds at most.
    pub async fn flush(&self) {
        self.ask(Order::Flush).await;
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
