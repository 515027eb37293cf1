//! Rows become entries.
//!
//! `value = "row"` and `"column:…"`: each row is an entry at once. `value = "rows"`: rows of one key are gathered into an array. They usually come
//! one after the other, but nobody can know before the last row; so gathered arrays are kept, up to a limit, and only then the oldest are
//! written, on the assumption that they are complete. If a further row of such a key comes after all, the assumption was wrong for this query: the
//! job fails, and all arrays that were written on it are taken back. With `paginate` the same is true of each group's last page; full ones are complete.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

use super::groups::{Group, Groups, Whole};
use super::manifest::Manifest;
use super::outlet::Outlet;
use super::pace::Pace;
use super::plan::Combination;
use super::prepare::Reading;
use super::run::Progress;
use super::seen::Seen;
use crate::cache::Writer;
use crate::encode::RowError;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::event::{Event, Observer};
use crate::ground::job::{Job, OnBadRow};
use crate::ground::refresh::Units;
use crate::ground::request::Sample;
use crate::ground::row::Row;
use crate::ground::run::{Left, Stats};
use crate::ground::settings::Limits;
use crate::ground::value::ValueShape;
use crate::seal::SealError;
use crate::source::{Postgres, State};

/// What all queries of one attempt share.
pub(super) struct Shared<'a> {
    pub(super) job: &'a Job,
    pub(super) limits: &'a Limits,
    pub(super) source: &'a Postgres,
    pub(super) writer: &'a Writer,
    /// Whether what is written has to be verified.
    pub(super) verified: bool,
    pub(super) progress: &'a Progress,
    /// What its combinations are refreshed as, if they are refreshed ahead.
    pub(super) units: Option<&'a Units>,
    /// Where keys are noted, if the job sweeps.
    pub(super) manifest: Option<&'a Manifest<'a>>,
    pub(super) observer: &'a dyn Observer,
    /// The keys so far.
    pub(super) seen: &'a Seen,
    /// When the next query may begin.
    pub(super) pace: &'a Pace<'a>,
    /// Which keys it is about, beside [`Job::only`].
    pub(super) sample: Sample,
}

impl Shared<'_> {
    /// Whether the run is about this key.
    fn is_about(&self, key: &[u8]) -> bool {
        self.sample.takes(key) && self.job.only.as_ref().is_none_or(|only| **only == *key)
    }
}

/// Turns the rows of one query after the other into batches.
pub(super) struct Assembler<'a> {
    shared: &'a Shared<'a>,
    pub(super) reading: Reading<'a>,
    pub(super) outlet: Outlet<'a>,
    /// Counts since they were last added to the run's.
    stats: Stats,
    key: Vec<u8>,
    groups: Groups,
    /// Set when a row was so large that the connection's buffers should not be kept.
    pub(super) swollen: bool,
}

/// Why a row did not become part of an entry.
enum Problem {
    /// The row is at fault: the job's policy decides.
    Bad(String),
    /// The run cannot go on.
    Fatal(Error),
}

/// Why a value cannot be written.
enum Refusal {
    TooLarge,
    Bad(String),
}

impl From<RowError> for Refusal {
    fn from(error: RowError) -> Self {
        match error {
            RowError::TooLarge => Refusal::TooLarge,
            RowError::Bad { .. } => Refusal::Bad(error.to_string()),
        }
    }
}

impl From<SealError> for Refusal {
    fn from(error: SealError) -> Self {
        match error {
            SealError::TooLarge => Refusal::TooLarge,
            SealError::Marked | SealError::Failed(_) => Refusal::Bad(error.to_string()),
        }
    }
}

impl<'a> Assembler<'a> {
    pub(super) fn new(shared: &'a Shared<'a>, reading: Reading<'a>, state: State) -> Self {
        Assembler {
            shared,
            reading,
            outlet: Outlet::new(shared, state),
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
        self.outlet.pending.begin();
        self.groups = Groups::new(self.has_parts());
        match self.reading.keys.known_beforehand(plan, combination) {
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
        while self.groups.are_too_large(self.shared.limits.buffer) {
            self.write_oldest_group_early()?;
        }
        if self.outlet.is_full() { self.hand_over().await } else { Ok(()) }
    }

    /// Ends a query: gathered arrays are complete now, and known keys without a row get an empty one.
    pub(super) async fn end(&mut self, known: Option<HashSet<Vec<u8>>>) -> Result<(), Error> {
        if self.shared.job.value.is_array() {
            let mut without_rows: Vec<_> = known.unwrap_or_default().into_iter().collect();
            without_rows.retain(|key| !self.groups.knows(key) && self.shared.is_about(key));
            without_rows.sort_unstable();
            for key in without_rows {
                self.groups.add(key);
            }
        }
        // No row comes any more: what was written early is whole.
        self.outlet.early = false;
        for ours in self.groups.take_closed() {
            self.shared.progress.tally.unwatch(xxh3_64(&ours.key));
        }
        while let Some((_, last)) = self.groups.take_oldest() {
            last.map_or(Ok(()), |mut page| self.write(&mut page))?;
            if self.outlet.is_full() {
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
        self.reading.keys.of_row(row, combination, &mut self.key).map_err(Problem::Bad)?;
        if !self.shared.is_about(&self.key) {
            return Ok(());
        }
        if known.is_some_and(|known| !known.contains(&self.key)) {
            let key = String::from_utf8_lossy(&self.key);
            return Err(Problem::Bad(format!(
                "its key `{key}` is made of a value that is not among the parameter's values"
            )));
        }
        match self.shared.job.value {
            ValueShape::Rows | ValueShape::Pages(_) => self.gather(row),
            ValueShape::Row | ValueShape::Column(_) => self.entry(row),
        }
    }

    /// Whether a value is made of parts.
    fn has_parts(&self) -> bool {
        self.shared.job.key_type.kind().has_parts()
    }

    fn entry(&mut self, row: &impl Row) -> Result<(), Problem> {
        let version = self.reading.version_of(row, None);
        let batch = &mut self.outlet.batch;
        batch.start(&self.key);
        let payload = batch.payload();
        let from = payload.len();
        let made = self.reading.value_of(row, payload, self.shared.job.max_value).map_err(Refusal::from);
        let sealed = made.and_then(|()| Ok(self.reading.seal(&self.key, payload, from)?));
        if let Err(refusal) = sealed {
            batch.abandon();
            return self.refuse(refusal);
        }
        self.outlet.finish(&self.key, version);
        Ok(())
    }

    fn gather(&mut self, row: &impl Row) -> Result<(), Problem> {
        let position = match self.groups.position(&self.key) {
            Some(position) => position,
            None if self.groups.is_closed(&self.key) => return Err(self.not_contiguous()),
            None => self.groups.add(self.key.clone()),
        };
        let put = self.put(row, position);
        if let Some(mut page) = self.groups.take_full(position, self.shared.job.value.page_size()) {
            self.write(&mut page).map_err(Problem::Fatal)?;
        }
        put
    }

    /// Puts a row onto the present page of the group at this position.
    fn put(&mut self, row: &impl Row, position: usize) -> Result<(), Problem> {
        let has_parts = self.has_parts();
        let Some(Group { key: first, number, page }) = self.groups.at(position) else { return Ok(()) };
        page.rows += 1;
        if page.refused {
            return Ok(());
        }
        if *number > 1 && page.key.is_none() {
            let mut key = Vec::new();
            if let Err(reason) = self.reading.keys.of_page(first, *number, &mut key) {
                page.skipped = true;
                return Err(Problem::Bad(reason));
            }
            page.key = Some(key);
        }
        let before = page.payload.len();
        let mut room = self.shared.job.max_value.saturating_sub(before);
        if !has_parts {
            page.payload.push(if before == 0 { b'[' } else { b',' });
            // One byte is kept for the closing bracket.
            room = room.saturating_sub(2);
        }
        page.version = self.reading.version_of(row, page.version);
        match self.reading.value_of(row, &mut page.payload, room) {
            Ok(()) => {
                let grown = page.payload.len() - before;
                self.groups.grown(grown);
                Ok(())
            }
            Err(error) => {
                page.payload.truncate(before);
                page.skipped = true;
                if matches!(error, RowError::TooLarge) {
                    (page.refused, page.payload) = (true, Vec::new());
                    self.groups.shrunk(before);
                }
                self.refuse(error.into())
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> Result<(), Problem> {
        match refusal {
            Refusal::TooLarge => {
                self.stats.leave(Left::TooLarge);
                self.swollen = true;
                Ok(())
            }
            Refusal::Bad(reason) => Err(Problem::Bad(reason)),
        }
    }

    /// Writes a group although rows of its key may still come, and remembers it.
    fn write_oldest_group_early(&mut self) -> Result<(), Error> {
        if let Some(many) = self.groups.too_many_closed(self.shared.limits.buffer) {
            let message = format!(
                "the query gives more than {many} keys, too many to tell whether the rows of each follow one another; raise `buffer` in [limits], or split the job"
            );
            return Err(Error::new(ErrorKind::Definition, message));
        }
        if self.has_parts() && !self.shared.verified {
            let what = self.shared.job.key_type.kind().in_words();
            let message = format!(
                "the query's rows are more than can be gathered here, and half of {what} that is not verified could not be taken back; say verify = \"requery\", raise `buffer` in [limits], or split the job"
            );
            return Err(Error::new(ErrorKind::Definition, message));
        }
        if let Some((fingerprint, mut last)) = self.groups.take_oldest() {
            if let Some(page) = &mut last {
                self.shared.progress.tally.watch(xxh3_64(&page.key));
                self.write(page)?;
                self.outlet.early = true;
            }
            self.groups.close(fingerprint, last.map(Whole::ours));
        }
        Ok(())
    }

    /// Puts an array into the batch, if it can be written, and leaves it as it was written.
    fn write(&mut self, page: &mut Whole) -> Result<(), Error> {
        if page.payload.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.reading.seal(&page.key, &mut page.payload, 0) {
            page.payload.clear();
            return match self.refuse(error.into()) {
                Ok(()) => Ok(()),
                Err(Problem::Bad(reason)) => self.bad_row(&reason),
                Err(Problem::Fatal(error)) => Err(error),
            };
        }
        self.outlet.batch.start(&page.key);
        self.outlet.batch.payload().extend_from_slice(&page.payload);
        self.outlet.finish(&page.key, page.version);
        Ok(())
    }

    /// What was written early, while rows of its keys could still come, is taken back at the end of the attempt.
    fn doubt_what_was_early(&mut self) {
        self.shared.progress.doubt(self.groups.take_closed());
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

    fn bad_row(&mut self, reason: &str) -> Result<(), Error> {
        let reason = format!("row {}: {reason}", self.stats.rows + self.shared.progress.stats().rows);
        match self.shared.job.on_bad_row {
            OnBadRow::Fail => Err(Error::new(ErrorKind::Row, reason)),
            OnBadRow::Skip if self.outlet.is_rereading() => Ok(()),
            OnBadRow::Skip => {
                self.stats.bad_rows += 1;
                self.shared.observer.on(&Event::BadRow { job: &self.shared.job.name, reason: &reason });
                Ok(())
            }
        }
    }

    /// Gives what has been gathered to the writer.
    async fn hand_over(&mut self) -> Result<(), Error> {
        if !self.outlet.is_rereading() {
            self.report();
        }
        self.stats.duplicates += self.outlet.hand_over().await?;
        Ok(())
    }

    /// From now on the same rows are read again, to be compared with what was written; they are not counted.
    pub(super) fn begin_rereading(&mut self) {
        self.report();
        self.outlet.begin_rereading(self.reading.encoder.is_none());
    }

    /// The rows have been read again.
    pub(super) fn end_rereading(&mut self) {
        let overtaken = self.outlet.end_rereading();
        self.stats = Stats { overtaken, ..Stats::default() };
    }

    /// Counts keys that are there, and whose queries are not run for that reason.
    pub(super) fn count_present(&mut self, keys: &[Vec<u8>]) {
        self.stats.present += keys.len() as u64;
        keys.iter().for_each(|key| self.shared.progress.tally.in_place(key));
    }

    /// Whether something was written of which rows may be missing, and which can only be left to die: of values that are no strings nobody knows
    /// afterwards whether they are ours.
    pub(super) fn may_leave_half(&self) -> bool {
        self.has_parts() && self.outlet.early
    }

    /// Forgets what could not be verified.
    pub(super) fn give_up(&mut self) {
        self.stats.unverified += self.outlet.give_up();
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
        if !self.outlet.is_rereading() {
            self.shared.progress.add(&std::mem::take(&mut self.stats));
        }
    }
}
