//! Rows of one key that are gathered into an array, or one page after the other of rows that have a key but for its page.
//!
//! A page is complete when it has all the rows that fit onto it: none of those that follow belongs there. So a group needs the memory of one page, however many
//! it has; and only its last page has to wait for rows that may still come.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;

use xxhash_rust::xxh3::xxh3_64;

use crate::cache::Ours;

/// What keeping one gathered array costs beside its bytes.
const GROUP_OVERHEAD: usize = 128;
/// What remembering one written array costs beside its key.
const CLOSED_OVERHEAD: usize = 64;

/// Arrays that are being gathered, oldest first.
#[derive(Default)]
pub(super) struct Groups {
    open: VecDeque<Group>,
    /// Key → position since the first group of the query.
    index: HashMap<Vec<u8>, usize>,
    /// How many groups were written already, and so the position of `open`'s first.
    written: usize,
    /// What is kept of all groups.
    bytes: usize,
    /// What was written although rows could still come: the groups' fingerprints → the key of the last page, if it has rows, and the value's fingerprint.
    closed: HashMap<u64, Option<Ours>>,
    closed_bytes: usize,
    /// Whether rows stand beside one another as parts, and not in a JSON array.
    is_of_parts: bool,
}

/// The rows of one key.
pub(super) struct Group {
    /// The key; where there are pages, that of the first one.
    pub(super) key: Vec<u8>,
    /// Which page is being gathered.
    pub(super) number: u64,
    pub(super) page: Page,
}

/// An array, as far as it has been gathered.
#[derive(Default)]
pub(super) struct Page {
    /// Its key, where that is not the group's.
    pub(super) key: Option<Vec<u8>>,
    /// All but what closes it.
    pub(super) payload: Vec<u8>,
    pub(super) version: Option<u64>,
    /// It is too large.
    pub(super) refused: bool,
    /// Whether a row of it was skipped: without any other row it is not empty, it is unknown.
    pub(super) skipped: bool,
    /// How many rows stand on it, those that were skipped included: they have their place in the query's order.
    pub(super) rows: usize,
}

/// An array that is complete.
pub(super) struct Whole {
    pub(super) key: Vec<u8>,
    /// Empty if it cannot be written, or there is nothing to write: Redis has no list without elements.
    pub(super) payload: Vec<u8>,
    pub(super) version: Option<u64>,
}

impl Groups {
    /// Groups whose rows are parts, or else members of a JSON array.
    pub(super) fn new(is_of_parts: bool) -> Self {
        Groups { is_of_parts, ..Groups::default() }
    }

    /// The position of the group with this key, if it is open.
    pub(super) fn position(&self, key: &[u8]) -> Option<usize> {
        self.index.get(key).copied()
    }

    /// Opens a group and returns its position.
    pub(super) fn add(&mut self, key: Vec<u8>) -> usize {
        let position = self.written + self.open.len();
        self.bytes += GROUP_OVERHEAD;
        self.index.insert(key.clone(), position);
        self.open.push_back(Group { key, number: 1, page: Page::default() });
        position
    }

    /// The open group at a position.
    pub(super) fn at(&mut self, position: usize) -> Option<&mut Group> {
        self.open.get_mut(position.checked_sub(self.written)?)
    }

    /// Whether the group with this key was written although rows could still come.
    pub(super) fn is_closed(&self, key: &[u8]) -> bool {
        self.closed.contains_key(&xxh3_64(key))
    }

    /// Whether rows of this key have come.
    pub(super) fn knows(&self, key: &[u8]) -> bool {
        self.index.contains_key(key) || self.is_closed(key)
    }

    /// Whether something has to be written although rows could still come.
    pub(super) fn are_too_large(&self, buffer: usize) -> bool {
        self.bytes > buffer && self.open.len() > 1
    }

    /// Whether too much is remembered of what was written early; then how many groups that is.
    pub(super) fn too_many_closed(&self, buffer: usize) -> Option<usize> {
        (self.closed_bytes > buffer).then_some(self.closed.len())
    }

    /// Notes that a group has become larger by so many bytes.
    pub(super) fn grown(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Notes that so many bytes of a group are no longer kept.
    pub(super) fn shrunk(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Takes the page of the group at this position, if as many rows stand on it as fit; the group's next page begins.
    pub(super) fn take_full(&mut self, position: usize, size: Option<NonZeroUsize>) -> Option<Whole> {
        let size = size?.get();
        let group = self.at(position).filter(|group| group.page.rows >= size)?;
        let mut page = std::mem::take(&mut group.page);
        group.number = group.number.saturating_add(1);
        let key = page.key.take().unwrap_or_else(|| group.key.clone());
        self.shrunk(page.payload.len());
        Some(page.close(key, self.is_of_parts))
    }

    /// Takes the oldest group: its key's fingerprint, and its last page, if there is one without a further row.
    pub(super) fn take_oldest(&mut self) -> Option<(u64, Option<Whole>)> {
        let Group { key, number, mut page } = self.open.pop_front()?;
        self.shrunk(page.payload.len() + GROUP_OVERHEAD);
        self.index.remove(&key);
        self.written += 1;
        let fingerprint = xxh3_64(&key);
        // Where the rows fill their pages, no empty one follows.
        let exists = page.rows > 0 || number == 1;
        let key = page.key.take().unwrap_or(key);
        Some((fingerprint, exists.then(|| page.close(key, self.is_of_parts))))
    }

    /// Remembers a group that was written although rows could still come.
    pub(super) fn close(&mut self, fingerprint: u64, last: Option<Ours>) {
        self.closed_bytes += last.as_ref().map_or(0, |ours| ours.key.len()) + CLOSED_OVERHEAD;
        self.closed.insert(fingerprint, last);
    }

    /// Forgets what was written although rows could still come, and gives it back.
    pub(super) fn take_closed(&mut self) -> impl Iterator<Item = Ours> + use<> {
        std::mem::take(&mut self.closed).into_values().flatten()
    }
}

impl Page {
    fn close(self, key: Vec<u8>, is_of_parts: bool) -> Whole {
        let Page { mut payload, version, refused, skipped, .. } = self;
        if is_of_parts {
            return Whole { key, payload, version };
        }
        if refused || (payload.is_empty() && skipped) {
            return Whole { key, payload: Vec::new(), version };
        }
        if payload.is_empty() {
            payload.push(b'[');
        }
        payload.push(b']');
        Whole { key, payload, version }
    }
}

impl Whole {
    /// What it is known by, if it has to be taken back.
    pub(super) fn ours(self) -> Ours {
        Ours { key: self.key, fingerprint: xxh3_64(&self.payload), earlier: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gathers `rows` rows of one key; the keys of full pages, and whether a page is left at the end.
    fn gather(rows: usize, size: Option<usize>) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
        let mut groups = Groups::default();
        let position = groups.add(b"t:1".to_vec());
        let mut full = Vec::new();
        for _ in 0..rows {
            if let Some(group) = groups.at(position) {
                group.page.key = (group.number > 1).then(|| format!("t:{}", group.number).into_bytes());
                group.page.rows += 1;
            }
            full.extend(groups.take_full(position, size.and_then(NonZeroUsize::new)).map(|page| page.key));
        }
        (full, groups.take_oldest().and_then(|(_, last)| last).map(|last| last.key))
    }

    #[test]
    fn a_page_is_full_with_its_last_row_and_no_empty_one_follows() {
        let keys = |keys: &[&str]| keys.iter().map(|key| key.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(gather(0, Some(2)), (vec![], Some(b"t:1".to_vec())), "a group without rows has a page");
        assert_eq!(gather(1, Some(2)), (vec![], Some(b"t:1".to_vec())));
        assert_eq!(gather(4, Some(2)), (keys(&["t:1", "t:2"]), None));
        assert_eq!(gather(5, Some(2)), (keys(&["t:1", "t:2"]), Some(b"t:3".to_vec())));
        assert_eq!(gather(5, None), (vec![], Some(b"t:1".to_vec())));
    }
}
