//! What one worker has written and not yet verified.
//!
//! As long as nothing was committed to the database, what was read is right, and a batch only has to wait for somebody to find that out. So
//! batches are kept as they are, up to a limit. Beyond it, or when something was committed, 24 bytes are kept of each entry: fingerprints of key
//! and value, and how far it has come. With them a second reading of the same rows tells which values are still right.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use xxhash_rust::xxh3::xxh3_64;

use super::doubts::Doubts;
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
    looking: Option<(JoinHandle<bool>, usize)>,
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
        self.kept.is_empty() && self.ledger.records.is_empty()
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
    pub(super) fn look(&mut self, look: impl Future<Output = bool> + Send + 'static) {
        self.looking = Some((tokio::spawn(look), self.kept.len()));
    }

    /// Whether somebody is looking.
    pub(super) fn is_looking(&self) -> bool {
        self.looking.is_some()
    }

    /// What the look has given, with the number of batches that it is about. Without `wait`, only if it has been given already.
    pub(super) async fn looked(&mut self, wait: bool) -> Option<(bool, usize)> {
        let (look, batches) = self.looking.take_if(|(look, _)| wait || look.is_finished())?;
        Some((look.await.unwrap_or(false), batches))
    }

    /// Whether it is time to verify.
    pub(super) fn is_due(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() > DUE)
    }

    /// Whether everything is kept as it is, so that it can go on without a second reading.
    pub(super) fn is_whole(&self) -> bool {
        self.ledger.records.is_empty()
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
        ledger.narrow = narrow;
        ledger.records.sort_unstable_by_key(|record| record.key);
        ledger.several.clone_from(&self.several);
        ledger
    }

    /// Forgets what could not be verified: what we wrote dies by itself. How much else is left as it was.
    pub(super) fn give_up(&mut self, writer: &Writer) -> u64 {
        // Fingerprints do not tell whose rows they are of.
        let unknown = (!self.ledger.records.is_empty()).then_some(None);
        let unverified = self.kept.iter().filter(|batch| !batch.is_done()).map(|batch| batch.combination);
        self.unsure.given_up.extend(unverified.chain(unknown));
        self.condense(writer);
        (self.since, self.doubts) = (None, Doubts::default());
        std::mem::take(&mut self.ledger).left()
    }
}

/// Fingerprints of entries.
#[derive(Default)]
pub(super) struct Ledger {
    records: Vec<Record>,
    several: HashSet<u64>,
    /// Whether only versions are read again, and no values.
    pub(super) narrow: bool,
    /// Whether keys are kept alive.
    pub(super) kept_alive: bool,
    /// Whether one of them was found to be outdated, and left so.
    outdated: bool,
    /// How many entries were found to have another value than we had written.
    pub(super) different: u64,
}

struct Record {
    key: u64,
    /// Of the value, or of the version where there is one.
    value: u64,
    /// The mark: its kind in the highest four bits, its number below.
    mark: u64,
}

/// No mark is left: the entry has gone on.
const GONE_ON: u64 = 0;
const NUMBER: u64 = (1 << 60) - 1;

impl Ledger {
    fn note(&mut self, entry: &Entry<'_>) {
        let mark = match entry.mark {
            Mark::Provisional(dies) => 1 << 60 | dies & NUMBER,
            Mark::Equal(dies) => 2 << 60 | dies & NUMBER,
            Mark::Different(digest) => 3 << 60 | digest & NUMBER,
            Mark::New => 4 << 60,
            Mark::Outdated(_) | Mark::Withdrawn(_) | Mark::Done => return,
        };
        self.records.push(Record { key: xxh3_64(entry.key), value: proof(entry), mark });
    }

    /// Whether a second reading needs the values themselves: some are still to be written.
    fn needs_values(&self) -> bool {
        self.records.iter().any(|record| matches!(record.mark >> 60, 3 | 4))
    }

    /// How far the entry had come, when the row behind it is read again: `None` for one that needs nothing more. Each answer is given once.
    ///
    /// The same value as before is right, and goes on. If we wrote another one, it is outdated. What the application wrote is its own concern, but for keys that
    /// are kept alive: there it would be in the way of each refresh of a row that changes all the time. It is no newer than this row, if it is still what was
    /// seen: whoever wrote it had read before that, and the row was read after.
    pub(super) fn reconcile(&mut self, entry: &Entry<'_>) -> Option<Mark> {
        let (key, value) = (xxh3_64(entry.key), proof(entry));
        let start = self.records.partition_point(|record| record.key < key);
        let same_key = self.records.get_mut(start..)?.iter_mut().take_while(|record| record.key == key);
        let mut outdated = None;
        for record in same_key {
            let number = record.mark & NUMBER;
            let mark = match record.mark >> 60 {
                1 => Mark::Provisional(number),
                2 => Mark::Equal(number),
                3 => Mark::Different(number),
                4 => Mark::New,
                _ => continue,
            };
            if record.value == value {
                record.mark = GONE_ON;
                return Some(mark);
            }
            match mark {
                Mark::Provisional(dies) if self.narrow => outdated = Some((record, Mark::Withdrawn(dies))),
                Mark::Provisional(dies) => outdated = Some((record, Mark::Outdated(dies))),
                // Nothing of ours is there: the new value is as good as the old one.
                Mark::New => outdated = Some((record, Mark::New)),
                _ if !self.kept_alive => {}
                // Without values nothing can take its place.
                _ if self.narrow => self.outdated = true,
                Mark::Different(digest) => outdated = Some((record, Mark::Different(digest))),
                // It is looked at again.
                Mark::Equal(_) => outdated = Some((record, Mark::New)),
                _ => {}
            }
        }
        // Of several rows the right one may still come.
        let (record, mark) = outdated.filter(|_| !self.several.contains(&key))?;
        record.mark = GONE_ON;
        // What has died is new again, and kept from being confirmed by that.
        self.different += u64::from(mark != Mark::New);
        Some(mark)
    }

    /// Whether a key that is to be kept alive was left with an outdated value, since this was asked last.
    pub(super) fn has_left_outdated(&mut self) -> bool {
        std::mem::take(&mut self.outdated)
    }

    /// How many entries have not gone on, beside those that we wrote: they die by themselves, and are counted already.
    pub(super) fn left(&self) -> u64 {
        self.records.iter().filter(|record| matches!(record.mark >> 60, 2..)).count() as u64
    }
}

/// What has to be the same at a second reading.
fn proof(entry: &Entry<'_>) -> u64 {
    entry.version.unwrap_or_else(|| xxh3_64(entry.payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(key: &'a [u8], payload: &'a [u8]) -> Entry<'a> {
        Entry { key, payload, ttl: Duration::ZERO, version: None, mark: Mark::New }
    }

    fn ledger(entries: &[(&str, &str, Mark)]) -> Ledger {
        let mut batch = Batch::default();
        for (index, (key, payload, mark)) in entries.iter().enumerate() {
            batch.push(key.as_bytes(), payload.as_bytes(), Duration::from_secs(60));
            batch.mark(index, *mark);
        }
        let mut ledger = Ledger::default();
        batch.iter().for_each(|entry| ledger.note(&entry));
        ledger.records.sort_unstable_by_key(|record| record.key);
        ledger
    }

    #[test]
    fn the_same_value_goes_on_and_another_one_is_outdated_if_it_is_ours() {
        let mut ledger = ledger(&[
            ("a", "1", Mark::Provisional(7)),
            ("b", "1", Mark::Equal(8)),
            ("c", "1", Mark::Different(9)),
            ("d", "1", Mark::Done),
        ]);
        assert_eq!(ledger.reconcile(&entry(b"a", b"1")), Some(Mark::Provisional(7)));
        assert_eq!(ledger.reconcile(&entry(b"a", b"1")), None, "once");
        assert_eq!(ledger.reconcile(&entry(b"b", b"2")), None, "the application's value");
        assert_eq!(ledger.reconcile(&entry(b"b", b"1")), Some(Mark::Equal(8)));
        assert_eq!(ledger.reconcile(&entry(b"c", b"2")), None);
        assert_eq!(ledger.reconcile(&entry(b"d", b"1")), None);
        assert_eq!(ledger.reconcile(&entry(b"e", b"1")), None, "a new row");
    }

    #[test]
    fn a_value_that_has_changed_is_outdated() {
        let mut ledger = ledger(&[("a", "1", Mark::Provisional(7))]);
        assert_eq!(ledger.reconcile(&entry(b"a", b"2")), Some(Mark::Outdated(7)));
        assert_eq!(ledger.reconcile(&entry(b"a", b"3")), None);
    }

    #[test]
    fn values_that_died_are_not_said_to_have_been_different() {
        let mut ledger = ledger(&[("a", "1", Mark::Provisional(7)), ("b", "1", Mark::New), ("c", "1", Mark::New)]);
        for key in [b"a", b"b"] {
            assert!(ledger.reconcile(&entry(key, b"2")).is_some());
        }
        assert_eq!(ledger.reconcile(&entry(b"c", b"1")), Some(Mark::New));
        assert_eq!(ledger.different, 1);
    }

    #[test]
    fn of_keys_that_are_kept_alive_it_takes_the_place_of_what_else_is_there_if_it_is_at_hand() {
        let mut ledger = ledger(&[("b", "1", Mark::Equal(8)), ("c", "1", Mark::Different(9))]);
        ledger.kept_alive = true;
        assert_eq!(ledger.reconcile(&entry(b"b", b"2")), Some(Mark::New), "looked at again");
        assert_eq!(ledger.reconcile(&entry(b"c", b"2")), Some(Mark::Different(9)));
        assert_eq!(ledger.left(), 0);
        ledger = self::ledger(&[("b", "1", Mark::Equal(8))]);
        (ledger.narrow, ledger.kept_alive) = (true, true);
        assert_eq!((ledger.reconcile(&entry(b"b", b"2")), ledger.left()), (None, 1));
        assert!(ledger.has_left_outdated() && !ledger.has_left_outdated());
    }

    #[test]
    fn each_of_two_rows_of_one_key_finds_its_own() {
        let mut ledger = ledger(&[("a", "1", Mark::Provisional(7)), ("a", "2", Mark::Different(9))]);
        assert_eq!(ledger.reconcile(&entry(b"a", b"1")), Some(Mark::Provisional(7)));
        assert_eq!(ledger.reconcile(&entry(b"a", b"2")), Some(Mark::Different(9)));
    }
}
