//! Where entries go: in batches to the writer, and, once written, on the way to being verified.
//!
//! While rows are read for the first time, entries are new. While they are read again, each is compared with what was written, and only what has
//! to go further is handed over.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_64;

use super::assemble::Shared;
use super::ledger::Ledger;
use super::manifest::Notes;
use super::pending::Pending;
use crate::ground::entry::{Batch, Entry, Mark};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::job::Invalidates;
use crate::source::State;

/// A batch is handed over at so many entries, or so many bytes: more does not make Redis faster, but the application's readers wait longer.
const BATCH_ENTRIES: usize = 64;
const BATCH_BYTES: usize = 64 << 10;
/// How full the room for what waits is when somebody looks at the database's state.
const LOOK_AT: f64 = 0.5;
/// When somebody looks at the latest, where writing is slow: what is written lives for some seconds only.
const LOOK_AFTER: Duration = Duration::from_secs(2);
/// What keeping one value costs beside its bytes.
const OVERHEAD: usize = 128;

/// The way of one worker's entries.
pub(super) struct Outlet<'a> {
    shared: &'a Shared<'a>,
    pub(super) batch: Batch,
    pub(super) pending: Pending,
    /// Written down before anything is confirmed.
    pub(super) notes: Notes<'a>,
    /// The state of the database that is read.
    pub(super) state: State,
    /// The shortest life that was given to a key since somebody took it.
    pub(super) shortest: Option<Duration>,
    /// The combination whose rows are read.
    pub(super) combination: Option<usize>,
    /// Whether arrays have been written of which rows may still come.
    pub(super) early: bool,
    /// What was written before, while the same rows are read again.
    ledger: Option<Ledger>,
    later: Later,
    /// When somebody looked last, or nothing waited.
    looked: Instant,
}

/// Values of keys that have been written already in this run. The last one wins: it is written when the others are verified.
#[derive(Default)]
struct Later {
    values: HashMap<Vec<u8>, (Vec<u8>, Option<u64>)>,
    bytes: usize,
}

impl Later {
    fn postpone(&mut self, entry: &Entry<'_>, pending: &mut Pending) {
        pending.note_several(xxh3_64(entry.key));
        self.bytes += entry.key.len() + entry.payload.len() + OVERHEAD;
        if let Some((replaced, _)) = self.values.insert(entry.key.to_vec(), (entry.payload.to_vec(), entry.version)) {
            self.bytes -= entry.key.len() + replaced.len() + OVERHEAD;
        }
    }
}

impl<'a> Outlet<'a> {
    pub(super) fn new(shared: &'a Shared<'a>, state: State) -> Self {
        let room = shared.limits.in_flight / 4;
        Outlet {
            shared,
            batch: shared.writer.batch(),
            pending: Pending::new(room),
            notes: Notes::new(shared.manifest),
            state,
            shortest: None,
            combination: None,
            early: false,
            ledger: None,
            later: Later::default(),
            looked: Instant::now(),
        }
    }

    /// Whether rows are read again.
    pub(super) fn is_rereading(&self) -> bool {
        self.ledger.is_some()
    }

    /// Whether the batch should be handed over.
    pub(super) fn is_full(&self) -> bool {
        self.batch.len() >= BATCH_ENTRIES || self.batch.bytes() >= BATCH_BYTES
    }

    /// Completes the batch's open entry.
    pub(super) fn finish(&mut self, key: &[u8], version: Option<u64>) {
        let ttl = self.shared.job.ttl.of(key);
        self.shortest = Some(self.shortest.map_or(ttl, |shortest| shortest.min(ttl)));
        self.batch.finish(ttl);
        self.batch.version(version);
    }

    /// Looks for keys that came before in this run, and says how many there are. Where values are verified, they have to wait until the earlier one is.
    ///
    /// # Errors
    /// Too many values would have to wait.
    fn sift(&mut self) -> Result<u64, Error> {
        let known = self.shared.seen.known(self.batch.iter().map(|entry| entry.key));
        if !known.is_empty() && self.shared.verified {
            let full = std::mem::replace(&mut self.batch, self.shared.writer.batch());
            for (index, entry) in full.iter().enumerate() {
                match known.contains(&index) {
                    true => self.later.postpone(&entry, &mut self.pending),
                    false => self.batch.push_as(&entry, entry.mark),
                }
            }
            self.shared.writer.recycle(full);
            if self.later.bytes > self.shared.limits.buffer {
                let message = "too many rows make keys that other rows make, too; raise `buffer` in [limits], or make keys unique";
                return Err(Error::new(ErrorKind::Definition, message));
            }
        }
        Ok(known.len() as u64)
    }

    /// Hands over the values that had to wait, which were read when the database was in the given state. Whether there were any.
    pub(super) async fn send_later(&mut self, read: &State) -> Result<bool, Error> {
        let Later { values, .. } = std::mem::take(&mut self.later);
        self.combination = None;
        let some = !values.is_empty();
        for (key, (payload, version)) in values {
            self.batch.push(&key, &payload, self.shared.job.ttl.of(&key));
            self.batch.version(version);
            if self.is_full() {
                self.pass_on().await?;
            }
        }
        self.pass_on().await?;
        if some && !read.is_the_same_as(&self.state) {
            // They are older than what is known of the database, so that no look will do.
            self.pending.all_back(self.shared.writer).await?;
            self.pending.condense(self.shared.writer);
        }
        Ok(some)
    }

    /// Gives what has been gathered to the writer. How many of its keys came before in this run.
    ///
    /// # Errors
    /// What ended the writer, or keys come too often.
    pub(super) async fn hand_over(&mut self) -> Result<u64, Error> {
        let repeated = if self.is_rereading() { 0 } else { self.sift()? };
        self.pass_on().await?;
        Ok(repeated)
    }

    async fn pass_on(&mut self) -> Result<(), Error> {
        let writer = self.shared.writer;
        let mut full = std::mem::replace(&mut self.batch, writer.batch());
        full.combination = self.combination;
        let Some(ledger) = &mut self.ledger else {
            self.notes.take(full.iter()).await;
            if !self.shared.verified {
                return writer.send(full, None).await;
            }
            self.pending.send(full, writer).await?;
            return self.make_room().await;
        };
        let mut next = writer.batch();
        (next.keys_only, next.combination) = (ledger.narrow, self.combination);
        for entry in full.iter() {
            if let Some(mark) = ledger.reconcile(&entry) {
                next.push_as(&entry, mark);
            }
        }
        writer.recycle(full);
        if ledger.has_left_outdated() {
            self.pending.unsure.lose(self.combination);
        }
        let written = |entry: &Entry<'_>| matches!(entry.mark, Mark::New | Mark::Outdated(_) | Mark::Different(_));
        self.notes.take(next.iter().filter(written)).await;
        self.pending.send(next, writer).await?;
        if self.pending.fullness() >= 1.0 {
            self.pending.condense(writer);
        }
        Ok(())
    }

    /// Keeps what waits to be verified within bounds. As long as nothing is committed to the database, it can go on; somebody looks for that while
    /// rows are read. Otherwise fingerprints are kept.
    async fn make_room(&mut self) -> Result<(), Error> {
        let Shared { job, source, writer, .. } = *self.shared;
        let pending = &mut self.pending;
        let full = pending.fullness() >= 1.0;
        if pending.fullness() == 0.0 {
            self.looked = Instant::now();
        }
        match pending.looked(full).await {
            Some((true, batches)) if !self.early => {
                self.notes.end().await;
                return pending.advance_first(batches, writer).await;
            }
            // It will never be the same again.
            Some((false, _)) => pending.condense(writer),
            Some((true, _)) | None => {}
        }
        let after_commit = job.invalidates == Invalidates::AfterCommit;
        let looking_is_enough = pending.is_whole() && after_commit && !self.early;
        let is_time = pending.fullness() >= LOOK_AT || self.looked.elapsed() > LOOK_AFTER;
        if looking_is_enough && !pending.is_looking() && is_time {
            self.looked = Instant::now();
            let (source, state) = (source.clone(), self.state.clone());
            pending.look(async move { source.is_still_at(&state).await });
        } else if pending.fullness() >= 1.0 {
            pending.condense(writer);
        }
        Ok(())
    }

    /// From now on the same rows are read again, and each entry is compared with what was written: only its version if `narrow`.
    pub(super) fn begin_rereading(&mut self, narrow: bool) {
        let mut ledger = self.pending.begin_rereading(self.shared.writer, narrow);
        ledger.kept_alive = self.shared.units.is_some();
        self.ledger = Some(ledger);
    }

    /// The rows have been read again. How many keys are left of which no row came, or another value than the application's.
    pub(super) fn end_rereading(&mut self) -> u64 {
        let Some(ledger) = self.ledger.take() else { return 0 };
        self.pending.doubts.different += ledger.different;
        ledger.left()
    }

    /// Forgets what could not be verified, so that the run proves nothing. How many keys are left as they were.
    pub(super) fn give_up(&mut self) -> u64 {
        self.shared.manifest.inspect(|manifest| manifest.doubt());
        self.pending.give_up(self.shared.writer)
    }
}
