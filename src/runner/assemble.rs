//! Rows become entries.
//!
//! `value = "row"` and `"column:…"`: each row is an entry at once. `value = "rows"`: rows of one key are gathered into an array. They usually come
//! one after the other, but nobody can know before the last row; so gathered arrays are kept, up to a limit, and only then the oldest are
//! written, on the assumption that they are complete. If a further row of such a key comes after all, the assumption was wrong for this query: the
//! job fails, and all arrays that were written on it are taken back.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

use super::keys::Keys;
use super::plan::Combination;
use super::run::Progress;
use crate::cache::{Ours, Writer};
use crate::encode::{Encoder, RowError};
use crate::ground::entry::Batch;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::event::{Event, Observer};
use crate::ground::job::{Job, OnBadRow};
use crate::ground::row::Row;
use crate::ground::run::{Left, Stats};
use crate::ground::settings::Limits;
use crate::ground::value::ValueShape;

/// A batch is handed over at so many entries, or so many bytes: more does not make Redis faster, but the application's readers wait longer.
const BATCH_ENTRIES: usize = 64;
const BATCH_BYTES: usize = 64 << 10;
/// Keys that a run remembers to notice duplicates: 8 MiB of fingerprints. Beyond, duplicates are no longer counted; the last row still wins.
const REMEMBERED: usize = 1 << 19;
/// What keeping one gathered array costs beside its bytes.
const GROUP_OVERHEAD: usize = 128;
/// What remembering one written array costs beside its key.
const CLOSED_OVERHEAD: usize = 64;

/// What all queries of one attempt share.
pub(super) struct Shared<'a> {
    pub(super) job: &'a Job,
    pub(super) limits: &'a Limits,
    pub(super) writer: &'a Writer,
    pub(super) progress: &'a Progress,
    pub(super) observer: &'a dyn Observer,
    /// Fingerprints of the keys seen so far.
    pub(super) seen: &'a Mutex<HashSet<u64>>,
}

/// Turns the rows of one query after the other into batches.
pub(super) struct Assembler<'a> {
    shared: &'a Shared<'a>,
    encoder: Encoder,
    keys: Keys<'a>,
    batch: Batch,
    /// Counts since they were last added to the run's.
    stats: Stats,
    key: Vec<u8>,
    groups: Groups,
    /// Set when a row was so large that the connection's buffers should not be kept.
    pub(super) swollen: bool,
}

/// Arrays that are being gathered, oldest first.
#[derive(Default)]
struct Groups {
    open: VecDeque<Group>,
    /// Key → position since the first group of the query.
    index: HashMap<Vec<u8>, usize>,
    /// How many groups were written already, and so the position of `open`'s first.
    written: usize,
    bytes: usize,
    /// What was written although rows could still come: the keys' fingerprints → key and the value's fingerprint.
    closed: HashMap<u64, Ours>,
    closed_bytes: usize,
}

struct Group {
    key: Vec<u8>,
    payload: Vec<u8>,
    refused: bool,
    /// Whether a row of it was skipped: without any other row it is not empty, it is unknown.
    skipped: bool,
}

/// Why a row did not become part of an entry.
enum Problem {
    /// The row is at fault: the job's policy decides.
    Bad(String),
    /// The run cannot go on.
    Fatal(Error),
}

impl<'a> Assembler<'a> {
    pub(super) fn new(shared: &'a Shared<'a>, encoder: Encoder, keys: Keys<'a>) -> Self {
        let batch = shared.writer.batch();
        Assembler {
            shared,
            encoder,
            keys,
            batch,
            stats: Stats::default(),
            key: Vec::new(),
            groups: Groups::default(),
            swollen: false,
        }
    }

    /// Begins a query: its known keys are owed an array even if no row comes.
    pub(super) fn begin(
        &mut self,
        combination: Combination<'_>,
        plan: &super::Plan,
    ) -> Result<Option<HashSet<Vec<u8>>>, Error> {
        self.stats.queries += 1;
        self.groups = Groups::default();
        match self.keys.known_beforehand(plan, combination) {
            Ok(keys) => Ok(keys.map(HashSet::from_iter)),
            Err(reason) => self.bad_row(&format!("no key for the parameters: {reason}")).map(|()| None),
        }
    }

    /// Takes one row in.
    ///
    /// # Errors
    /// What ends the job: a bad row under `on_bad_row = "fail"`, or rows that are not contiguous.
    pub(super) async fn row(
        &mut self,
        row: &impl Row,
        combination: Combination<'_>,
        known: Option<&HashSet<Vec<u8>>>,
    ) -> Result<(), Error> {
        self.stats.rows += 1;
        match self.take(row, combination, known) {
            Ok(()) => {}
            Err(Problem::Bad(reason)) => self.bad_row(&reason)?,
            Err(Problem::Fatal(error)) => return Err(error),
        }
        while self.groups.bytes > self.shared.limits.buffer && self.groups.open.len() > 1 {
            self.write_oldest_group_early()?;
        }
        if self.batch.len() >= BATCH_ENTRIES || self.batch.bytes() >= BATCH_BYTES {
            self.hand_over().await
        } else {
            Ok(())
        }
    }

    /// Ends a query: gathered arrays are complete now, and known keys without a row get an empty one.
    pub(super) async fn end(&mut self, known: Option<HashSet<Vec<u8>>>) -> Result<(), Error> {
        if self.shared.job.value == ValueShape::Rows {
            let mut without_rows: Vec<_> = known.unwrap_or_default().into_iter().collect();
            without_rows
                .retain(|key| !self.groups.index.contains_key(key) && !self.groups.closed.contains_key(&xxh3_64(key)));
            without_rows.sort_unstable();
            for key in without_rows {
                self.groups.add(key);
            }
        }
        // No row comes any more: what was written early is whole.
        for ours in std::mem::take(&mut self.groups.closed).into_values() {
            self.shared.progress.tally.unwatch(xxh3_64(&ours.key));
        }
        while !self.groups.open.is_empty() {
            self.write_oldest_group();
            if self.batch.bytes() >= BATCH_BYTES || self.batch.len() >= BATCH_ENTRIES {
                self.hand_over().await?;
            }
        }
        self.hand_over().await
    }

    fn take(
        &mut self,
        row: &impl Row,
        combination: Combination<'_>,
        known: Option<&HashSet<Vec<u8>>>,
    ) -> Result<(), Problem> {
        self.keys.of_row(row, combination, &mut self.key).map_err(Problem::Bad)?;
        if known.is_some_and(|known| !known.contains(&self.key)) {
            let key = String::from_utf8_lossy(&self.key);
            return Err(Problem::Bad(format!(
                "its key `{key}` is made of a value that is not among the parameter's values"
            )));
        }
        match self.shared.job.value {
            ValueShape::Rows => self.gather(row),
            ValueShape::Row | ValueShape::Column(_) => self.entry(row),
        }
    }

    fn entry(&mut self, row: &impl Row) -> Result<(), Problem> {
        self.batch.start(&self.key);
        let result = self.encoder.row(row, self.batch.payload(), self.shared.job.max_value);
        match result {
            Ok(()) => {
                self.batch.finish(self.shared.job.ttl.of(&self.key));
                self.remember(xxh3_64(&self.key));
                Ok(())
            }
            Err(error) => {
                self.batch.abandon();
                self.refuse(error)
            }
        }
    }

    fn gather(&mut self, row: &impl Row) -> Result<(), Problem> {
        let position = match self.groups.index.get(&self.key) {
            Some(position) => *position,
            None => {
                if self.groups.closed.contains_key(&xxh3_64(&self.key)) {
                    return Err(self.not_contiguous());
                }
                self.groups.add(self.key.clone())
            }
        };
        let Some(group) = self.groups.open.get_mut(position - self.groups.written).filter(|group| !group.refused)
        else {
            return Ok(());
        };
        let before = group.payload.len();
        group.payload.push(if before == 0 { b'[' } else { b',' });
        // One byte is kept for the closing bracket.
        let room = self.shared.job.max_value.saturating_sub(group.payload.len() + 1);
        let result = self.encoder.row(row, &mut group.payload, room);
        match result {
            Ok(()) => {
                self.groups.bytes += group.payload.len() - before;
                Ok(())
            }
            Err(error) => {
                group.payload.truncate(before);
                group.skipped = true;
                if matches!(error, RowError::TooLarge) {
                    group.refused = true;
                    self.groups.bytes -= before;
                    group.payload = Vec::new();
                }
                self.refuse(error)
            }
        }
    }

    fn refuse(&mut self, error: RowError) -> Result<(), Problem> {
        match error {
            RowError::TooLarge => {
                self.stats.leave(Left::TooLarge);
                self.swollen = true;
                Ok(())
            }
            RowError::Bad { .. } => Err(Problem::Bad(error.to_string())),
        }
    }

    /// Writes a group although rows of its key may still come, and remembers it.
    fn write_oldest_group_early(&mut self) -> Result<(), Error> {
        if self.groups.closed_bytes > self.shared.limits.buffer {
            let message = format!(
                "the query gives more than {} keys, too many to tell whether the rows of each follow one another; raise `buffer` in [limits], or split the job",
                self.groups.closed.len()
            );
            return Err(Error::new(ErrorKind::Definition, message));
        }
        if let Some(key) = self.groups.open.front().map(|group| xxh3_64(&group.key)) {
            self.shared.progress.tally.watch(key);
        }
        if let Some(ours) = self.write_oldest_group() {
            self.groups.closed_bytes += ours.key.len() + CLOSED_OVERHEAD;
            self.groups.closed.insert(xxh3_64(&ours.key), ours);
        }
        Ok(())
    }

    /// Puts the oldest group into the batch, and gives back what it was.
    fn write_oldest_group(&mut self) -> Option<Ours> {
        let Group { key, mut payload, refused, skipped } = self.groups.open.pop_front()?;
        self.groups.bytes = self.groups.bytes.saturating_sub(payload.len() + GROUP_OVERHEAD);
        self.groups.index.remove(&key);
        self.groups.written += 1;
        let refused = refused || (payload.is_empty() && skipped);
        if payload.is_empty() {
            payload.push(b'[');
        }
        payload.push(b']');
        if !refused {
            self.batch.push(&key, &payload, self.shared.job.ttl.of(&key));
            self.remember(xxh3_64(&key));
        }
        Some(Ours { key, fingerprint: xxh3_64(&payload) })
    }

    /// What was written early, while rows of its keys could still come, is taken back at the end of the attempt.
    fn doubt_what_was_early(&mut self) {
        self.shared.progress.doubt(std::mem::take(&mut self.groups.closed).into_values());
    }

    fn not_contiguous(&mut self) -> Problem {
        let key = String::from_utf8_lossy(&self.key).into_owned();
        // Any of them may be half.
        self.doubt_what_was_early();
        Problem::Fatal(Error::new(
            ErrorKind::Definition,
            format!(
                "the rows of key `{key}` do not follow one another, and there are too many to sort here; ORDER BY the key's columns first"
            ),
        ))
    }

    fn remember(&mut self, fingerprint: u64) {
        let mut seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(&fingerprint) {
            self.stats.duplicates += 1;
        } else if seen.len() < REMEMBERED {
            seen.insert(fingerprint);
        }
    }

    fn bad_row(&mut self, reason: &str) -> Result<(), Error> {
        let reason = format!("row {}: {reason}", self.stats.rows + self.shared.progress.stats().rows);
        match self.shared.job.on_bad_row {
            OnBadRow::Fail => Err(Error::new(ErrorKind::Row, reason)),
            OnBadRow::Skip => {
                self.stats.bad_rows += 1;
                self.shared.observer.on(&Event::BadRow { job: &self.shared.job.name, reason: &reason });
                Ok(())
            }
        }
    }

    /// Gives what has been gathered to the writer.
    async fn hand_over(&mut self) -> Result<(), Error> {
        let full = std::mem::replace(&mut self.batch, self.shared.writer.batch());
        self.report();
        self.shared.writer.send(full).await
    }

    /// Adds the counts to the run's and shows them.
    fn report(&mut self) {
        self.shared.progress.add(&std::mem::take(&mut self.stats));
        self.shared.observer.on(&Event::Progress { job: &self.shared.job.name, stats: &self.shared.progress.stats() });
    }
}

impl Drop for Assembler<'_> {
    /// A run that ends in the middle of a query has read those rows all the same, and cannot know which arrays are whole.
    fn drop(&mut self) {
        self.doubt_what_was_early();
        self.shared.progress.add(&std::mem::take(&mut self.stats));
    }
}

impl Groups {
    /// Opens a group and returns its position.
    fn add(&mut self, key: Vec<u8>) -> usize {
        let position = self.written + self.open.len();
        self.bytes += GROUP_OVERHEAD;
        self.index.insert(key.clone(), position);
        self.open.push_back(Group { key, payload: Vec::new(), refused: false, skipped: false });
        position
    }
}
