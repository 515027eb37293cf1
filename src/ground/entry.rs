//! Entries on their way into the cache: key, payload, TTL.
//!
//! A million entries must not mean a million allocations, so entries travel in batches that keep all keys and payloads
//! in one buffer, and the buffer is used again for the next batch.

use std::time::Duration;

/// One cache entry, borrowed from a [`Batch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key, without the installation's `key_prefix`.
    pub key: &'a [u8],
    /// The value's bytes.
    pub payload: &'a [u8],
    /// The lifetime to give it.
    pub ttl: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    key_end: usize,
    end: usize,
    ttl: Duration,
}

/// Entries in one reusable buffer.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl Batch {
    /// Begins an entry. Append its payload to [`Batch::payload`], then [`finish`](Batch::finish) or
    /// [`abandon`](Batch::abandon) it.
    pub fn start(&mut self, key: &[u8]) {
        self.abandon();
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.spans.push(Span { start, key_end, end: 0, ttl: Duration::ZERO });
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

    /// The entry at `index`, in the order of pushing.
    pub fn get(&self, index: usize) -> Option<Entry<'_>> {
        let span = self.spans.get(index).filter(|span| span.end != 0)?;
        Some(Entry {
            key: &self.bytes[span.start..span.key_end],
            payload: &self.bytes[span.key_end..span.end],
            ttl: span.ttl,
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

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
        assert_eq!(
            entries,
            [Entry { key: b"a", payload: b"1", ttl: TTL }, Entry { key: b"c", payload: b"", ttl: TTL }]
        );
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
