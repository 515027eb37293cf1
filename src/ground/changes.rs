//! How the cache follows the database: `[changes]` in the configuration.

use std::time::Duration;

use super::error::Error;
use super::invalidate::Template;
use super::show::human_seconds;

/// `[changes]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangesSettings {
    /// How the database tells what has changed.
    pub feed: Feed,
    /// What becomes of keys whose change may have been missed.
    pub missed: Missed,
    /// The tables whose changes are told.
    pub tables: Vec<Watched>,
}

/// How the database tells what has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feed {
    /// On this channel triggers, or the application, say it (`LISTEN`); nothing is kept for who is away.
    Channel(String),
    /// By logical replication, which keeps it for who is away.
    Slot(Slot),
}

/// A logical replication slot, and how much it may keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name, which the publication has, too.
    pub name: String,
    /// The most bytes of the server's log that may wait to be done while nothing moves: then it is given up, and everything is taken for changed.
    pub limit: u64,
}

impl Feed {
    /// What it is, for people.
    pub fn shown(&self) -> String {
        match self {
            Feed::Channel(name) => format!("channel {name}"),
            Feed::Slot(Slot { name, .. }) => format!("slot {name}"),
        }
    }
}

/// What becomes of keys that may be stale, since nobody knows what was told while nobody listened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// They are deleted, and jobs write theirs again.
    Delete,
    /// They stay, until they die.
    Keep,
}

/// A table, and what is stale when a row of it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its schema; `None`: where the account's search path finds it.
    pub schema: Option<String>,
    /// Its name.
    pub table: String,
    /// The sets.
    pub calls: Vec<Call>,
}

/// A set, and where the values of its parameters come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The set's name.
    pub set: String,
    /// Each of its parameters, with a text in which `{column}` stands for the value of a column.
    pub arguments: Vec<(String, Template)>,
}

impl Watched {
    /// The table, as it stands in the configuration.
    pub fn name(&self) -> String {
        self.schema.iter().map(|schema| format!("{schema}.")).collect::<String>() + &self.table
    }

    /// The columns whose values are needed, each once.
    pub fn columns(&self) -> Vec<&str> {
        let mut all = Vec::new();
        for name in self.calls.iter().flat_map(|call| &call.arguments).flat_map(|(_, text)| text.names()) {
            if !all.contains(&name) {
                all.push(name);
            }
        }
        all
    }
}

/// What the database says, or that it says nothing.
#[derive(Debug)]
pub enum Heard {
    /// Messages, in the order of the commits.
    Messages {
        /// What they say.
        messages: Vec<String>,
        /// The position in the database's log to which they reach, where there is one: it has to hear when all up to there is done.
        position: Option<u64>,
    },
    /// The connection is lost, or there has been none: it is told once, and then tried for again and again.
    Lost(Error),
    /// There is a connection.
    Back {
        /// Whether anything may have been committed of which no message came.
        missed: bool,
        /// Where in the database's log that is, as in [`Heard::Messages`].
        position: Option<u64>,
    },
}

/// Something that happened while changes are followed.
#[derive(Debug)]
pub enum Followed<'a> {
    /// Messages came.
    Heard {
        /// How many.
        messages: u64,
    },
    /// A message says nothing that can be done.
    NotUnderstood {
        /// What is wrong with it.
        wrong: &'a str,
        /// The set that it is about, of which all keys are deleted; `None`: nothing is done.
        set: Option<&'a str>,
    },
    /// The keys that messages are about are deleted.
    Deleted {
        /// How many there were.
        keys: u64,
        /// How long it took.
        took: Duration,
    },
    /// Keys of jobs that want it are written again.
    Rewritten {
        /// How many.
        keys: u64,
        /// How long it took.
        took: Duration,
    },
    /// They cannot be deleted now; that is tried again.
    HeldUp {
        /// Why.
        error: &'a Error,
    },
    /// Nothing is heard any more, or not yet; that is tried again.
    Lost {
        /// Why.
        error: &'a Error,
    },
    /// Changes of some tables do not come, or all do again.
    Lacks {
        /// Why not.
        lacks: Option<&'a str>,
    },
    /// It cannot be noted up to where changes are done, so that the next process takes all for changed.
    Unnoted {
        /// Why not.
        why: &'a str,
    },
    /// From now on everything is heard.
    Back {
        /// How they come.
        feed: &'a Feed,
        /// Whether changes may have been missed.
        missed: bool,
        /// Whether all keys that they can be about are deleted therefore.
        deletes: bool,
    },
}

/// How the following is, at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Following {
    /// Why nothing is heard.
    pub error: Option<String>,
    /// How many keys and patterns are still to be deleted.
    pub waiting: usize,
    /// For how long the first of them has waited.
    pub behind: Duration,
    /// What the connection knows.
    pub feed: FeedState,
}

/// What a connection knows of how changes are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedState {
    /// Tables whose changes do not come, and why.
    pub lacks: Option<String>,
    /// Where changes come through a slot: how that is, while there is a connection.
    pub slot: Option<SlotState>,
    /// Why it cannot be noted up to where they are done.
    pub unnoted: Option<String>,
}

/// How a slot is. Positions are those of the database's log (LSN), in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotState {
    /// Up to where everything is done.
    pub position: u64,
    /// How many bytes of the log were written after that.
    pub unread: u64,
    /// How many bytes of the log the server keeps for the slot.
    pub kept: u64,
    /// How long after its commit the last change was heard of, by the clocks of both machines.
    pub lag: Option<Duration>,
    /// For how long there has been something in the log that is not read.
    pub behind: Duration,
}

impl Following {
    /// More than this, and the cache cannot be counted on.
    const LATE: Duration = Duration::from_secs(10);

    /// What is wrong, for people.
    pub fn trouble(&self) -> Option<String> {
        if let Some(error) = &self.error {
            return Some(format!("changes: the database is not heard: {error}"));
        }
        if let Some(lacks) = &self.feed.lacks {
            return Some(format!("changes: not all are heard: {lacks}"));
        }
        if let Some(slot) = self.feed.slot.as_ref().filter(|slot| slot.behind > Self::LATE) {
            let behind = human_seconds(slot.behind.as_secs_f64());
            return Some(format!("changes: the database's log has not been read to its end for {behind}"));
        }
        let behind = human_seconds(self.behind.as_secs_f64());
        let is_late = self.behind > Self::LATE;
        is_late.then(|| {
            format!("changes: {} keys and patterns are not deleted yet, the first one for {behind}", self.waiting)
        })
    }
}
