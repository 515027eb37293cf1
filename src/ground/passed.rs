//! Due times that began no run: everything that is missed or skipped is counted and said.

use std::fmt;

use chrono::{DateTime, Utc};

/// Due times that began no run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The job's name.
    pub job: String,
    /// The last of them.
    pub due: DateTime<Utc>,
    /// How many; a thousand stands for that many or more.
    pub count: usize,
    /// Why.
    pub reason: Reason,
}

/// Why a due time began no run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It was missed, and the job's `catch_up` makes nothing up.
    Missed,
    /// It was missed, or waited too long, and a run for a later one makes up for it.
    Superseded,
    /// The job was still running, and `overlap` is "skip".
    Overlap,
    /// The job is paused.
    Paused,
    /// Another instance was still running the job.
    Held,
    /// Another instance served it.
    Elsewhere,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 6] =
        [Reason::Missed, Reason::Superseded, Reason::Overlap, Reason::Paused, Reason::Held, Reason::Elsewhere];

    /// Its name, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Missed => "missed",
            Reason::Superseded => "superseded",
            Reason::Overlap => "overlap",
            Reason::Paused => "paused",
            Reason::Held => "held",
            Reason::Elsewhere => "elsewhere",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Missed => "missed, and catch_up is \"none\"",
            Reason::Superseded => "a run for a later time makes up for it",
            Reason::Overlap => "the job was still running, and overlap is \"skip\"",
            Reason::Paused => "the job is paused",
            Reason::Held => "another instance was still running the job",
            Reason::Elsewhere => "another instance served it",
        })
    }
}
