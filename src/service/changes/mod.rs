//! The cache follows the database: what is told on a channel is deleted.
//!
//! ```text
//! heard ────► messages ─► sets ─► targets ─┬─► backlog of keys      deleted by name, at once
//!    │                                     ├─► backlog of rewrites  keys of jobs with on_change = "rewrite", written again if they are there
//!    │                                     └─► backlog of patterns  the next pass takes all that wait
//!    └─► lost, back ─► all keys of the sets are deleted, and the jobs write theirs again
//! ```
//!
//! Where the database keeps what nobody has confirmed (a slot), it is told up to where all is done: when the lanes have done what they had when it was heard.
//!
//! Nothing is forgotten: what Redis does not take waits, and is tried again. What waits for long grows into "everything", so that it stays small.
//! Neither needs an order: each comes after the commit that it is about, and what is written again is read after that.

mod backlog;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::interval;

use self::backlog::{Backlog, Mark};
use super::keys::Source;
use crate::ground::changes::{ChangesSettings, FeedState, Followed, Following, Heard, Missed};
use crate::ground::event::{Event, Observer};
use crate::ground::invalidate::{Change, Set, Targets};
use crate::runner::{Invalidator, Rewriter};

/// How often it is told how things are.
const BEAT: Duration = Duration::from_millis(500);

/// What is followed, and what is done about it.
pub struct Follow {
    /// What the database says.
    pub heard: mpsc::Receiver<Heard>,
    /// How.
    pub settings: ChangesSettings,
    /// The sets.
    pub sets: Vec<Set>,
    /// Where they are defined.
    pub file: PathBuf,
    /// Who deletes.
    pub invalidator: Invalidator,
    /// Who writes again what is not to be deleted; another one when jobs are others.
    pub rewriter: watch::Receiver<Arc<Rewriter>>,
    /// Who else keeps values: it has to forget them.
    pub reads: Option<Source>,
    /// Where it is told what is to be written again: all jobs that have some of these keys.
    pub refill: mpsc::Sender<Arc<Targets>>,
    /// Where it is told up to which position all is done, for a slot.
    pub done: watch::Sender<u64>,
    /// What the connection knows of how changes are told.
    pub feed: watch::Receiver<FeedState>,
    /// Where it is told how things are.
    pub health: watch::Sender<Option<Following>>,
    /// Who wants to know.
    pub observer: Arc<dyn Observer>,
}

impl Follow {
    /// Follows, until nobody says anything any more.
    pub async fn run(mut self) {
        let backlog = Backlog::new(&self);
        let error = Arc::new(Mutex::new(Some("it has just begun".to_owned())));
        let mut others = JoinSet::new();
        for lane in backlog.lanes() {
            others.spawn(lane);
        }
        others.spawn(backlog.clone().try_refused());
        let told = Tell { error: Arc::clone(&error), feed: self.feed.clone(), observer: Arc::clone(&self.observer) };
        others.spawn(told.tell(self.health.clone(), backlog.clone()));
        let (reached, open) = watch::channel(None);
        others.spawn(confirm(open, backlog.clone(), self.done.clone()));
        let mut anew = JoinSet::new();
        while let Some(heard) = self.heard.recv().await {
            let followed = match &heard {
                Heard::Messages { messages, position } => {
                    backlog.add(self.targets(messages));
                    reached.send_replace(position.map(|position| (position, backlog.mark())));
                    Followed::Heard { messages: messages.len() as u64 }
                }
                Heard::Lost(lost) => {
                    *error.lock().unwrap_or_else(PoisonError::into_inner) = Some(lost.to_string());
                    Followed::Lost { error: lost }
                }
                Heard::Back { missed, position } => {
                    *error.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    let deletes = *missed && self.settings.missed == Missed::Delete;
                    if deletes {
                        // What is not done yet is part of it.
                        anew.abort_all();
                        let everything = Arc::new(self.everything());
                        anew.spawn(begin_anew(backlog.clone(), backlog.begin_anew(), self.refill.clone(), everything));
                    }
                    reached.send_replace(position.map(|position| (position, backlog.mark())));
                    Followed::Back { feed: &self.settings.feed, missed: *missed, deletes }
                }
            };
            self.observer.on(&Event::Followed(followed));
        }
    }

    /// What the messages say is stale. One about a set that cannot be understood is about all of the set.
    fn targets(&self, messages: &[String]) -> Targets {
        let mut all = Targets::default();
        for message in messages {
            let change = Change::parse(message);
            let found = change.as_ref().map_err(Clone::clone).and_then(|change| change.targets(&self.sets, &self.file));
            match (found, change) {
                (Ok(targets), _) => all.extend(targets),
                (Err(wrong), change) => {
                    let set = change.ok().and_then(|change| self.sets.iter().find(|set| set.name == change.set));
                    let (wrong, name) = (wrong.join("; "), set.map(|set| set.name.as_str()));
                    self.observer.on(&Event::Followed(Followed::NotUnderstood { wrong: &wrong, set: name }));
                    set.into_iter().for_each(|set| all.extend(set.everything()));
                }
            }
        }
        all
    }

    /// All keys that a change can be about. Where no table is named, the application tells of any set.
    fn everything(&self) -> Targets {
        let mut all = Targets::default();
        let watched = |set: &&Set| {
            self.settings.tables.is_empty()
                || self.settings.tables.iter().flat_map(|table| &table.calls).any(|call| call.set == set.name)
        };
        self.sets.iter().filter(watched).for_each(|set| all.extend(set.everything()));
        all
    }

    /// All keys of all sets: a message may name any.
    fn all(&self) -> Targets {
        let mut all = Targets::default();
        self.sets.iter().for_each(|set| all.extend(set.everything()));
        all
    }
}

/// Deletes everything, and then lets the jobs write theirs.
async fn begin_anew(backlog: Backlog, number: u64, refill: mpsc::Sender<Arc<Targets>>, everything: Arc<Targets>) {
    backlog.delete_everything(number).await;
    // Nobody to tell means that all ends.
    let _ = refill.send(everything).await;
}

/// Tells up to where all is done. What is heard meanwhile is waited for together.
async fn confirm(mut open: watch::Receiver<Option<(u64, Mark)>>, backlog: Backlog, done: watch::Sender<u64>) {
    while open.changed().await.is_ok() {
        let reached = *open.borrow_and_update();
        if let Some((position, mark)) = reached {
            backlog.has_done(mark).await;
            done.send_replace(position);
        }
    }
}

/// Tells how things are, again and again.
struct Tell {
    error: Arc<Mutex<Option<String>>>,
    feed: watch::Receiver<FeedState>,
    observer: Arc<dyn Observer>,
}

impl Tell {
    async fn tell(self, health: watch::Sender<Option<Following>>, backlog: Backlog) {
        let (mut beats, mut said, mut unnoted) = (interval(BEAT), None, None);
        loop {
            beats.tick().await;
            let (waiting, behind) = backlog.state();
            let error = self.error.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let feed = self.feed.borrow().clone();
            if error.is_none() && feed.lacks != said {
                self.observer.on(&Event::Followed(Followed::Lacks { lacks: feed.lacks.as_deref() }));
                said.clone_from(&feed.lacks);
            }
            if let Some(why) = feed.unnoted.as_deref().filter(|_| feed.unnoted != unnoted) {
                self.observer.on(&Event::Followed(Followed::Unnoted { why }));
            }
            unnoted.clone_from(&feed.unnoted);
            health.send_replace(Some(Following { error, waiting, behind, feed }));
        }
    }
}
