//! Fingerprints of what was written, to be compared with a second reading of the same rows.
//!
//! They take 24 bytes of each entry, whatever its value takes.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

use crate::ground::entry::{Entry, Mark};

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
    /// Whether nothing is noted.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Notes how far an entry has come.
    pub(super) fn note(&mut self, entry: &Entry<'_>) {
        let mark = match entry.mark {
            Mark::Provisional(dies) => 1 << 60 | dies & NUMBER,
            Mark::Equal(dies) => 2 << 60 | dies & NUMBER,
            Mark::Different(digest) => 3 << 60 | digest & NUMBER,
            Mark::New => 4 << 60,
            Mark::Outdated(_) | Mark::Withdrawn(_) | Mark::Done => return,
        };
        self.records.push(Record { key: xxh3_64(entry.key), value: proof(entry), mark });
    }

    /// From now on entries are looked for: only their versions if `narrow`. `several` are the keys that several rows make.
    pub(super) fn begin_comparing(&mut self, narrow: bool, several: &HashSet<u64>) {
        self.narrow = narrow;
        self.records.sort_unstable_by_key(|record| record.key);
        self.several.clone_from(several);
    }

    /// Whether a second reading needs the values themselves: some are still to be written.
    pub(super) fn needs_values(&self) -> bool {
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
    use std::time::Duration;

    use super::*;
    use crate::ground::entry::Batch;

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
        ledger.begin_comparing(false, &HashSet::new());
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
