//! Short names for long things: what is compared again in a later process, so the hash is one that never changes.

use std::fmt;

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
    fn it_is_the_same_in_every_process_and_tells_lists_apart() {
        assert_eq!(Fingerprint::of(["a", "bc"]).to_string(), "f42ee0df2a023ef1");
        assert_ne!(Fingerprint::of(["a", "bc"]), Fingerprint::of(["ab", "c"]));
        assert_ne!(Fingerprint::of(["a"]), Fingerprint::of(["a", ""]));
    }
}
