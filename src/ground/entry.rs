//! Entries on their way into the cache: key, payload, TTL.
//!
//! A million entries must not mean a million allocations, so entries travel in batches that keep all keys and payloads
//! in one buffer, and the buffer is used again for the next batch.

use std::time::Duration;

/// The life of a value that has not been verified; longer only for what takes long to read. One with a short lifetime gets half of it.
pub const PROVISIONAL: Duration = Duration::from_secs(10);

/// One cache entry, borrowed from a [`Batch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key, without the installation's `key_prefix`.
    pub key: &'a [u8],
    /// The value's bytes.
    pub payload: &'a [u8],
    /// The lifetime to give it.
    pub ttl: Duration,
    /// The version of the rows that it was made of, where the job names one: a fingerprint.
    pub version: Option<u64>,
    /// How far it has come.
    pub mark: Mark,
}

/// How far an entry has come. Each time that it is given to the writer, it goes one step further:
///
/// ```text
/// New ─┬─► Provisional ─► Done          written, and given its full lifetime
///      ├─► Equal ───────► Done          was there already: only its lifetime is renewed
///      ├─► Different ─┬─► Provisional   another value was there, and was replaced by what was read again
///      │              └─► Done          somebody was quicker
///      └─► Done                         left alone
/// Outdated ──► as Different             what we wrote has become wrong meanwhile; the payload is the new value
/// Withdrawn ─► Done                     the same, but the new value is not at hand: removed
/// ```
///
/// Between the steps the runner makes sure that the value is still right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mark {
    /// Nothing has been asked about it.
    #[default]
    New,
    /// Written with a short lifetime, which ends at this time (milliseconds since 1970 on Redis' clock). The time also tells our value from
    /// any other: whoever writes the key gives it another one.
    Provisional(u64),
    /// The same bytes were there, and die at this time.
    Equal(u64),
    /// Other bytes were there: the first 60 bits of the SHA-1 of them and of when they die.
    Different(u64),
    /// Ours, provisional until this time, but no longer what the database holds.
    Outdated(u64),
    /// Ours, provisional until this time, and to be removed.
    Withdrawn(u64),
    /// Nothing is left to do.
    Done,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    key_end: usize,
    end: usize,
    ttl: Duration,
    version: Option<u64>,
    mark: Mark,
}

/// Entries in one reusable buffer.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    /// The longest life of its values until they are verified.
    pub provisional: Duration,
    /// Whether there are no payloads: then entries can be confirmed or removed only.
    pub keys_only: bool,
    /// The combination whose rows these are, if they are all of one.
    pub combination: Option<usize>,
    /// Whether a value of ours has been lost on the way although there is a row for it: it died before it was confirmed, or had to be removed.
    pub lost: bool,
}

impl Default for Batch {
    fn default() -> Self {
        Batch {
            bytes: Vec::new(),
            spans: Vec::new(),
            provisional: PROVISIONAL,
            keys_only: false,
            combination: None,
            lost: false,
        }
    }
}

impl Batch {
    /// Begins an entry. Append its payload to [`Batch::payload`], then [`finish`](Batch::finish) or
    /// [`abandon`](Batch::abandon) it.
    pub fn start(&mut self, key: &[u8]) {
        self.abandon();
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.spans.push(Span { start, key_end, end: 0, ttl: Duration::ZERO, version: None, mark: Mark::New });
    }

    /// The buffer that the open entry's payload is appended to. What stands in it already must stay.
    pub fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Completes the open entry and returns the length of its payload.
    pub fn finish(&mut self, ttl: Duration) -> usize {
        let end = self.bytes.len();
        match self.spans.last_mut() {
            Some(span) if span.end == 0 => {
                span.end = end;
                span.ttl = ttl;
                end - span.key_end
            }
            _ => 0,
        }
    }

    /// Forgets the open entry, if there is one.
    pub fn abandon(&mut self) {
        if let Some(span) = self.spans.last().copied().filter(|span| span.end == 0) {
            self.bytes.truncate(span.start);
            self.spans.pop();
        }
    }

    /// Appends a whole entry.
    pub fn push(&mut self, key: &[u8], payload: &[u8], ttl: Duration) {
        self.start(key);
        self.bytes.extend_from_slice(payload);
        self.finish(ttl);
    }

    /// Appends an entry as it is, with another mark.
    pub fn push_as(&mut self, entry: &Entry<'_>, mark: Mark) {
        self.push(entry.key, entry.payload, entry.ttl);
        if let Some(span) = self.spans.last_mut() {
            (span.version, span.mark) = (entry.version, mark);
        }
    }

    /// Sets the version of the entry that was completed last.
    pub fn version(&mut self, version: Option<u64>) {
        if let Some(span) = self.spans.last_mut() {
            span.version = version;
        }
    }

    /// Sets how far the entry at `index` has come.
    pub fn mark(&mut self, index: usize, mark: Mark) {
        if let Some(span) = self.spans.get_mut(index) {
            span.mark = mark;
        }
    }

    /// Whether nothing is left to do for any entry.
    pub fn is_done(&self) -> bool {
        self.iter().all(|entry| entry.mark == Mark::Done)
    }

    /// The number of complete entries.
    pub fn len(&self) -> usize {
        self.spans.len() - usize::from(self.spans.last().is_some_and(|span| span.end == 0))
    }

    /// Whether no entry is complete.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of all keys and payloads.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes that keeping it costs: of small values it is not the values that count.
    pub fn footprint(&self) -> usize {
        self.bytes.len() + self.spans.len() * size_of::<Span>()
    }

    /// The entry at `index`, in the order of pushing.
    pub fn get(&self, index: usize) -> Option<Entry<'_>> {
        let span = self.spans.get(index).filter(|span| span.end != 0)?;
        Some(Entry {
            key: &self.bytes[span.start..span.key_end],
            payload: &self.bytes[span.key_end..span.end],
            ttl: span.ttl,
            version: span.version,
            mark: span.mark,
        })
    }

    /// The complete entries, in the order of pushing.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Empties the batch. Its memory is kept for the next use, unless one huge value has swollen it beyond `keep` bytes.
    pub fn clear(&mut self, keep: usize) {
        self.bytes.clear();
        self.spans.clear();
        self.bytes.shrink_to(keep);
        (self.provisional, self.keys_only) = (PROVISIONAL, false);
        (self.combination, self.lost) = (None, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn entry<'a>(key: &'a [u8], payload: &'a [u8]) -> Entry<'a> {
        Entry { key, payload, ttl: TTL, version: None, mark: Mark::New }
    }

    #[test]
    fn an_abandoned_entry_leaves_no_trace() {
        let mut batch = Batch::default();
        batch.push(b"a", b"1", TTL);
        batch.start(b"b");
        batch.payload().extend_from_slice(b"half");
        assert_eq!(batch.len(), 1);
        batch.abandon();
        batch.push(b"c", b"", TTL);
        let entries: Vec<_> = batch.iter().collect();
        assert_eq!(entries, [entry(b"a", b"1"), entry(b"c", b"")]);
        assert_eq!(batch.bytes(), 3);
    }

    #[test]
    fn clearing_keeps_a_usual_buffer_and_gives_a_swollen_one_back() {
        let mut batch = Batch::default();
        batch.push(b"k", &vec![0; 1 << 20], TTL);
        batch.clear(1 << 10);
        assert!(batch.is_empty());
        assert!(batch.payload().capacity() < 1 << 20);
    }
}
