//! What a run did.

use std::ops::AddAssign;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::drift::Drift;
use super::error::{Error, ErrorKind};
use super::refresh::Kept;
use super::request::Trigger;

/// Why a key was not written although a row gave one.
///
/// None of these is an error of the run: each is a case in which doing nothing is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Left {
    /// It is present, and the run writes absent keys only.
    Present,
    /// It holds another type than the job writes.
    OtherType,
    /// It has no TTL, so it is not ours.
    NoTtl,
    /// Its value is longer than `max_value`.
    TooLarge,
    /// Redis has no room for it within `memory_limit`.
    NoRoom,
    /// It was there before, and what would take its place, or give it more time, could not be verified.
    Unverified,
}

/// The counts of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Queries run for rows (those of `[for_each]` not counted).
    pub queries: u64,
    /// Rows read.
    pub rows: u64,
    /// Keys written (in a dry run: that would be written).
    pub written: u64,
    /// Bytes of keys and values written.
    pub bytes: u64,
    /// Those of the keys written that held the same value already: only their lifetime was renewed.
    pub renewed: u64,
    /// Keys that were no longer as they had been seen, or whose rows were not: what the application did to them stands. A key that Redis evicted, or
    /// that died, cannot be told from one that was deleted.
    pub overtaken: u64,
    /// Keys whose value was found to have changed after it was written, and was replaced.
    pub repaired: u64,
    /// Keys whose value was found to have changed after it was written, and was removed, since only its version had been read again.
    pub withdrawn: u64,
    /// Keys written of which it could not be made sure that they are still right: they die within their provisional lifetime.
    pub unconfirmed: u64,
    /// Keys left alone because they are present.
    pub present: u64,
    /// Keys left alone because they hold another type.
    pub other_type: u64,
    /// Keys left alone because they have no TTL.
    pub no_ttl: u64,
    /// Values refused because they are too large.
    pub too_large: u64,
    /// Keys refused because Redis has no room for them.
    pub no_room: u64,
    /// Keys left as they were because what would be written could not be verified.
    pub unverified: u64,
    /// Rows that could not become an entry and were skipped.
    pub bad_rows: u64,
    /// Keys that came a second time; the last row won.
    pub duplicates: u64,
    /// Keys removed because their rows are gone (in a dry run: that would be removed).
    pub swept: u64,
    /// Tries made, the first included.
    pub attempts: u32,
    /// How long no query was begun because the database was busy or behind, all attempts together.
    pub waited_for_database: Duration,
    /// How long batches have waited for the sake of `keys_per_second` and `bytes_per_second`, all attempts together. A moment in which several did counts once.
    pub waited: Duration,
    /// How long writing has paused because Redis was slow (`latency_limit`).
    pub gave_way: Duration,
    /// How long the slowest query took until its last row.
    pub slowest_query: Duration,
}

impl Stats {
    /// Counts a key that was left alone.
    pub fn leave(&mut self, why: Left) {
        match why {
            Left::Present => self.present += 1,
            Left::OtherType => self.other_type += 1,
            Left::NoTtl => self.no_ttl += 1,
            Left::TooLarge => self.too_large += 1,
            Left::NoRoom => self.no_room += 1,
            Left::Unverified => self.unverified += 1,
        }
    }

    /// For how long it was held back for the sake of others, and why, in words. Less than a tenth of a second explains nothing.
    pub fn held_back(&self) -> impl Iterator<Item = String> + use<> {
        let times = [
            (self.waited, "to keep to its rate"),
            (self.gave_way, "since Redis was busy"),
            (self.waited_for_database, "since PostgreSQL was busy or behind"),
        ];
        let told = times.into_iter().filter(|(time, _)| *time >= Duration::from_millis(100));
        told.map(|(time, why)| format!("held back for {:.1} s {why}", time.as_secs_f64()))
    }

    /// All keys that were left alone.
    pub fn left(&self) -> u64 {
        self.present + self.other_type + self.no_ttl + self.too_large + self.no_room + self.unverified
    }
}

impl AddAssign<&Stats> for Stats {
    fn add_assign(&mut self, other: &Stats) {
        self.queries += other.queries;
        self.rows += other.rows;
        self.written += other.written;
        self.bytes += other.bytes;
        self.renewed += other.renewed;
        self.overtaken += other.overtaken;
        self.repaired += other.repaired;
        self.withdrawn += other.withdrawn;
        self.unconfirmed += other.unconfirmed;
        self.present += other.present;
        self.other_type += other.other_type;
        self.no_ttl += other.no_ttl;
        self.too_large += other.too_large;
        self.no_room += other.no_room;
        self.unverified += other.unverified;
        self.bad_rows += other.bad_rows;
        self.duplicates += other.duplicates;
        self.swept += other.swept;
        self.attempts += other.attempts;
        self.waited_for_database += other.waited_for_database;
        self.waited += other.waited;
        self.gave_way += other.gave_way;
        self.slowest_query = self.slowest_query.max(other.slowest_query);
    }
}

/// A finished run.
#[derive(Debug, Clone)]
pub struct Report {
    /// The job's name.
    pub job: String,
    /// The file that defines it.
    pub file: PathBuf,
    /// The job's priority.
    pub priority: i32,
    /// Why it began.
    pub trigger: Trigger,
    /// What was done; after a failure, what had been done until then.
    pub stats: Stats,
    /// How long it took.
    pub took: Duration,
    /// The failure that ended it.
    pub failure: Option<Error>,
    /// Whether it read all that the job asks for: a refresh of some combinations does not, nor does a run for absent keys that nobody but its caller asked for.
    pub whole: bool,
    /// A few of the keys, for a dry run to show.
    pub sample: Vec<Sample>,
    /// A few of the keys that a dry run would remove, with the installation's prefix.
    pub swept_sample: Vec<String>,
    /// What a comparison has found.
    pub drift: Drift,
    /// What is to be refreshed when.
    pub kept: Kept,
    /// Until when something may be in Redis that a fill wrote, and could neither make sure of nor take back, if it may.
    pub lost_until: Option<Instant>,
}

/// How many keys a run remembers to show, of each kind.
pub const SAMPLES: usize = 5;

impl Report {
    /// Why the run did not even begin, because another instance is at it or has done it.
    pub fn left_to_others(&self) -> Option<&Error> {
        self.failure.as_ref().filter(|failure| failure.kind.leaves_it_to_others())
    }

    /// Whether the job is up to date with it: it ended well and left nothing out, or another instance has served its due time, and answers for it.
    pub fn is_success(&self) -> bool {
        match &self.failure {
            None => self.whole,
            // Who has refreshed some keys has served no due time.
            Some(failure) => failure.kind == ErrorKind::ServedElsewhere && self.trigger != Trigger::RefreshAhead,
        }
    }
}

/// One key that a dry run would write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The key, with the installation's prefix.
    pub key: String,
    /// The length of its value in bytes.
    pub bytes: usize,
    /// Its lifetime.
    pub ttl: Duration,
}
