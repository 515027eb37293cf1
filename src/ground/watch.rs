//! What is noticed of the cache between runs: whether it answers, and whether what was written is still there.

use std::fmt;

use chrono::{DateTime, Utc};

/// Something that was noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The cache answers: for the first time, or again.
    Up,
    /// It does not answer, or refuses what is needed: now, or for another reason than before.
    Down {
        /// Why, where, and the way out, for people.
        reason: String,
        /// Whether that reason, or too many others, have been told since it was up last.
        again: bool,
    },
    /// What was in it is gone, or may be.
    Lost(Loss),
    /// Nothing says that it was ever filled, and nobody watched: a first installation, or a cache that was emptied meanwhile.
    Cold,
    /// Some losses cannot be noticed.
    Blind {
        /// Which, why, and the way out, for people.
        reason: String,
    },
}

/// How the content of the cache was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Another server process answers. Even if it has loaded what was saved, what was written or deleted since then may be undone.
    Restarted,
    /// The same process holds nothing any more of what was there.
    Emptied,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Loss::Restarted => "Redis was restarted, or another server has taken its place",
            Loss::Emptied => "Redis was emptied, by FLUSHALL or the like",
        })
    }
}

/// Whether the cache answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Link {
    /// It has not been asked yet.
    #[default]
    Unknown,
    /// It answers.
    Up {
        /// Since when, as far as it was noticed.
        since: DateTime<Utc>,
    },
    /// It does not.
    Down {
        /// Since when, as far as it was noticed.
        since: DateTime<Utc>,
        /// Why not, at the last try; for people.
        reason: String,
    },
}

/// How the cache is at present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheHealth {
    /// Whether it answers.
    pub link: Link,
    /// When it answered last. Older than some seconds although the cache is up: it is about to be found down.
    pub looked: Option<DateTime<Utc>>,
    /// Which server process it is; `None` when the account may not ask.
    pub run_id: Option<String>,
    /// Bytes in use; `None` when the account may not ask.
    pub used_memory: Option<u64>,
    /// The limit in bytes; 0 means none.
    pub max_memory: Option<u64>,
    /// When the content was lost last, and how, as far as this process noticed.
    pub lost: Option<(DateTime<Utc>, Loss)>,
    /// Which losses cannot be noticed, why, and the way out.
    pub blind: Option<String>,
}
