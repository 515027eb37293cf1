//! Which keys a run has made already.
//!
//! A key that two rows make is rare, and looking for it must cost little beside writing a key, in time or in memory, however many keys there are. So a
//! fingerprint of each is kept, in a table of a fixed size (open addressing with linear probing: Knuth, The Art of Computer Programming, 6.4). The memory
//! is that of the pages that are touched: little for a small job.

use std::sync::{Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

/// Places in the table: 8 MiB.
const PLACES: usize = 1 << 20;
/// Keys that are remembered. Beyond, the way to a free place would become long: duplicates are no longer noticed, and the first row may win.
const REMEMBERED: usize = PLACES / 8 * 7;

/// The keys of one attempt, whichever worker made them.
pub(super) struct Seen(Mutex<Table>);

struct Table {
    /// The keys' fingerprints; 0 is a free place.
    marks: Vec<u64>,
    free: usize,
}

impl Seen {
    pub(super) fn new() -> Self {
        Seen(Mutex::new(Table { marks: vec![0; PLACES], free: REMEMBERED }))
    }

    /// Remembers keys, and gives the places of those among them that were there already.
    pub(super) fn known<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Vec<usize> {
        let fingerprints: Vec<u64> = keys.map(xxh3_64).collect();
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The table is larger than the processor's caches: looks that do not wait for one another bring all that is needed into them at once.
        std::hint::black_box(fingerprints.iter().fold(0, |sum, &fingerprint| sum ^ table.marks[place(fingerprint)]));
        let known = fingerprints.iter().enumerate().filter(|(_, fingerprint)| table.knows(**fingerprint));
        known.map(|(index, _)| index).collect()
    }
}

impl Table {
    fn knows(&mut self, fingerprint: u64) -> bool {
        let (mark, mut place) = (fingerprint.max(1), place(fingerprint));
        loop {
            match &mut self.marks[place] {
                0 if self.free == 0 => return false,
                free @ 0 => {
                    (*free, self.free) = (mark, self.free - 1);
                    return false;
                }
                other if *other == mark => return true,
                _ => place = (place + 1) % PLACES,
            }
        }
    }
}

/// Where the search for a key begins.
fn place(fingerprint: u64) -> usize {
    fingerprint as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_when_it_comes_again() {
        let seen = Seen::new();
        let keys: Vec<String> = (0..REMEMBERED).map(|n| format!("event:{n}")).collect();
        let known = || seen.known(keys.iter().map(|key| key.as_bytes())).len();
        assert_eq!((known(), known()), (0, keys.len()));
        let within = [b"a", b"b", b"a"].map(|key| key.as_slice());
        assert_eq!(Seen::new().known(within.into_iter()), [2]);
    }

    #[test]
    fn beyond_its_size_nothing_new_is_remembered_and_nothing_old_forgotten() {
        let mut table = Table { marks: vec![0; PLACES], free: 2 };
        assert_eq!([7, 8, 9, 9, 7].map(|key| table.knows(key)), [false, false, false, false, true]);
    }

    #[test]
    fn keys_that_begin_at_the_same_place_are_told_apart_even_at_the_tables_end() {
        let mut table = Table { marks: vec![0; PLACES], free: REMEMBERED };
        let last = |n: u64| n * PLACES as u64 - 1;
        assert_eq!([1, 2, 3, 2, 1].map(|n| table.knows(last(n))), [false, false, false, true, true]);
        assert!(!table.knows(PLACES as u64), "its place is taken, by another key");
    }
}
