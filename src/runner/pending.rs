//! What one worker has written and not yet verified.
//!
//! As long as nothing was committed to the database, what was read is right, and a batch only has to wait for somebody to find that out. So
//! batches are kept as they are, up to a limit. Beyond it, or when something was committed, 24 bytes are kept of each entry: fingerprints of key
//! and value, and how far it has come. With them a second reading of the same rows tells which values are still right.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::doubts::Doubts;
use super::ledger::Ledger;
use crate::cache::Writer;
use crate::ground::entry::{Batch, Entry, Mark, PROVISIONAL};
use crate::ground::error::{Error, ErrorKind};

/// When what was written first is so old, it is verified before more is read: a provisional life is short.
const DUE: Duration = Duration::from_secs(2);

/// What is written while rows are read for long must live so many times longer, or it is gone before they have been read again.
const PATIENCE: u32 = 3;

/// Entries on their way from written to verified.
pub(super) struct Pending {
    back: mpsc::UnboundedSender<Batch>,
    arriving: mpsc::UnboundedReceiver<Batch>,
    /// Batches with the writer.
    out: usize,
    kept: Vec<Batch>,
    kept_bytes: usize,
    /// The most bytes that are kept as they are.
    room: usize,
    /// A look at the database's state, and how many of the kept batches were written before it.
    looking: Option<(JoinHandle<Option<bool>>, usize)>,
    ledger: Ledger,
    /// Keys that several rows make: which of their values is meant, only the order of the rows says.
    several: HashSet<u64>,
    /// When the first query began whose entries are not verified.
    since: Option<Instant>,
    /// How long it took to read what is now read again.
    took: Duration,
    /// What became of combinations that are not as their rows are.
    pub(super) unsure: Unsure,
    /// What has kept values from being verified so far.
    pub(super) doubts: Doubts,
}

/// Combinations some of whose values were not verified. `None` stands for all that were read since the last time that everything was.
#[derive(Debug, Default)]
pub(super) struct Unsure {
    /// Values have been given up, and die soon.
    given_up: HashSet<Option<usize>>,
    /// Values are absent, or soon will be.
    lost: HashSet<Option<usize>>,
}

impl Unsure {
    /// Whether values of this combination die soon.
    pub(super) fn has_given_up(&self, combination: usize) -> bool {
        [None, Some(combination)].iter().any(|one| self.given_up.contains(one))
    }

    /// Notes that values of this combination are absent, or soon will be.
    pub(super) fn lose(&mut self, combination: Option<usize>) {
        self.lost.insert(combination);
    }

    /// Whether values of this combination are absent, or soon will be.
    pub(super) fn has_lost(&self, combination: usize) -> bool {
        [None, Some(combination)].iter().any(|one| self.lost.contains(one))
    }
}

impl Pending {
    pub(super) fn new(room: usize) -> Self {
        let (back, arriving) = mpsc::unbounded_channel();
        Pending {
            back,
            arriving,
            out: 0,
            kept: Vec::new(),
            kept_bytes: 0,
            room,
            looking: None,
            ledger: Ledger::default(),
            several: HashSet::new(),
            since: None,
            took: Duration::ZERO,
            unsure: Unsure::default(),
            doubts: Doubts::default(),
        }
    }

    /// Notes that a query begins.
    pub(super) fn begin(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Gives a batch to the writer, and takes in what has come back.
    pub(super) async fn send(&mut self, mut batch: Batch, writer: &Writer) -> Result<(), Error> {
        if !batch.is_empty() {
            self.out += 1;
            let reading = self.since.map_or(Duration::ZERO, |since| since.elapsed());
            batch.provisional = PROVISIONAL.max(PATIENCE * reading.max(self.took));
        }
        writer.send(batch, Some(self.back.clone())).await?;
        while let Ok(batch) = self.arriving.try_recv() {
            self.take_in(batch, writer);
        }
        Ok(())
    }

    /// Waits until every batch has come back.
    pub(super) async fn all_back(&mut self, writer: &Writer) -> Result<(), Error> {
        while self.out > 0 {
            tokio::select! {
                biased;
                Some(batch) = self.arriving.recv() => self.take_in(batch, writer),
                () = writer.ended() => return Err(Error::new(ErrorKind::RedisUnreachable, "the writer has ended")),
            }
        }
        if self.is_empty() {
            (self.since, self.took, self.doubts) = (None, Duration::ZERO, Doubts::default());
        }
        Ok(())
    }

    fn take_in(&mut self, batch: Batch, writer: &Writer) {
        self.out -= 1;
        if batch.lost {
            self.unsure.lose(batch.combination);
        }
        if batch.is_done() {
            return writer.recycle(batch);
        }
        // What has been with the writer and is new again was there, and is gone.
        self.doubts.died += batch.iter().filter(|entry| entry.mark == Mark::New).count() as u64;
        self.kept_bytes += batch.footprint();
        self.kept.push(batch);
    }

    /// Notes that several rows make the key with this fingerprint.
    pub(super) fn note_several(&mut self, key: u64) {
        self.several.insert(key);
    }

    /// Whether nothing is left to verify. Batches with the writer do not count.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.ledger.is_empty()
    }

    /// Whether a second reading needs the values themselves: some are still to be written, or may be gone before they are confirmed.
    pub(super) fn needs_values(&self) -> bool {
        let to_be_written = |entry: Entry<'_>| matches!(entry.mark, Mark::Different(_) | Mark::New);
        self.kept.iter().any(|batch| batch.iter().any(to_be_written))
            || self.ledger.needs_values()
            || self.since.is_some_and(|since| since.elapsed() > PROVISIONAL / 3)
    }

    /// How full the room is for what is kept as it is: 1 or more when it has to be emptied.
    pub(super) fn fullness(&self) -> f64 {
        self.kept_bytes as f64 / self.room.max(1) as f64
    }

    /// Notes that somebody looks whether the database is still in the same state. What is kept now was written before.
    pub(super) fn look(&mut self, look: impl Future<Output = Option<bool>> + Send + 'static) {
        self.looking = Some((tokio::spawn(look), self.kept.len()));
    }

    /// Whether somebody is looking.
    pub(super) fn is_looking(&self) -> bool {
        self.looking.is_some()
    }

    /// What the look has given, with the number of batches that it is about; nothing, if nobody could look. Without `wait`, only if it has ended already.
    pub(super) async fn looked(&mut self, wait: bool) -> Option<(bool, usize)> {
        let (look, batches) = self.looking.take_if(|(look, _)| wait || look.is_finished())?;
        look.await.ok().flatten().map(|same| (same, batches))
    }

    /// Whether it is time to verify.
    pub(super) fn is_due(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() > DUE)
    }

    /// Whether everything is kept as it is, so that it can go on without a second reading.
    pub(super) fn is_whole(&self) -> bool {
        self.ledger.is_empty()
    }

    /// What is kept was right all the time: it goes on.
    pub(super) async fn advance(&mut self, writer: &Writer) -> Result<(), Error> {
        self.looking = None;
        self.advance_first(self.kept.len(), writer).await
    }

    /// The same for those batches that came first.
    pub(super) async fn advance_first(&mut self, batches: usize, writer: &Writer) -> Result<(), Error> {
        let rest = self.kept.split_off(batches.min(self.kept.len()));
        for batch in std::mem::replace(&mut self.kept, rest) {
            self.kept_bytes -= batch.footprint();
            self.send(batch, writer).await?;
        }
        Ok(())
    }

    /// Keeps fingerprints only.
    pub(super) fn condense(&mut self, writer: &Writer) {
        (self.kept_bytes, self.looking) = (0, None);
        for batch in self.kept.drain(..) {
            batch.iter().for_each(|entry| self.ledger.note(&entry));
            writer.recycle(batch);
        }
    }

    /// Begins a second reading: what has been kept so far is compared with it.
    pub(super) fn begin_rereading(&mut self, writer: &Writer, narrow: bool) -> Ledger {
        self.condense(writer);
        self.took = self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        let mut ledger = std::mem::take(&mut self.ledger);
        ledger.begin_comparing(narrow, &self.several);
        ledger
    }

    /// Forgets what could not be verified: what we wrote dies by itself. How much else is left as it was.
    pub(super) fn give_up(&mut self, writer: &Writer) -> u64 {
        // Fingerprints do not tell whose rows they are of.
        let unknown = (!self.ledger.is_empty()).then_some(None);
        let unverified = self.kept.iter().filter(|batch| !batch.is_done()).map(|batch| batch.combination);
        self.unsure.given_up.extend(unverified.chain(unknown));
        self.condense(writer);
        (self.since, self.doubts) = (None, Doubts::default());
        std::mem::take(&mut self.ledger).left()
    }
}
