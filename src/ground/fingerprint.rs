//! Short names for long things: what is compared again in a later process, so the hash is one that never changes.

use std::fmt;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

/// The fingerprint of several texts in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// That of these texts.
    pub fn of<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let mut bytes = Vec::new();
        for text in texts {
            // With its length, so that no two lists of texts look alike.
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        Fingerprint(xxh3_64(&bytes))
    }

    /// As a number, for what has no names.
    pub fn number(self) -> u64 {
        self.0
    }

    /// A part of a length of time, from nothing up to but not including the whole, always the same for the same texts. Parts for many texts are spread evenly.
    pub fn part_of(self, length: Duration) -> Duration {
        let nanos = (u128::from(self.0) * length.as_nanos()) >> u64::BITS;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_within_the_length() {
        for (fingerprint, nanos) in [(0, 0), (u64::MAX / 2 + 1, 500), (u64::MAX, 999)] {
            assert_eq!(Fingerprint(fingerprint).part_of(Duration::from_nanos(1000)), Duration::from_nanos(nanos));
            assert_eq!(Fingerprint(fingerprint).part_of(Duration::ZERO), Duration::ZERO);
        }
    }

    #[test]
    fn it_is_the_same_in_every_process_and_tells_lists_apart() {
        assert_eq!(Fingerprint::of(["a", "bc"]).to_string(), "f42ee0df2a023ef1");
        assert_ne!(Fingerprint::of(["a", "bc"]), Fingerprint::of(["ab", "c"]));
        assert_ne!(Fingerprint::of(["a"]), Fingerprint::of(["a", ""]));
    }
}
