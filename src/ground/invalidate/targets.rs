//! What is to be deleted: keys that can be named, and patterns of keys that have to be looked for.

use std::collections::BTreeSet;

/// Keys and patterns, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    keys: BTreeSet<Vec<u8>>,
    patterns: BTreeSet<Pattern>,
}

/// A pattern of keys: texts with any text between them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    /// What the keys begin with.
    start: Vec<u8>,
    /// What comes later, in this order.
    middle: Vec<Vec<u8>>,
    /// What they end with.
    end: Vec<u8>,
}

impl Targets {
    /// Adds what stands before, between and behind its `*`; without any it is a key.
    pub(super) fn add(&mut self, mut parts: Vec<Vec<u8>>) {
        let Some(end) = parts.pop() else { return };
        if parts.is_empty() {
            self.keys.insert(end);
        } else {
            let middle = parts.split_off(1);
            self.patterns.insert(Pattern { start: parts.concat(), middle, end });
        }
    }

    /// These keys.
    pub fn named(keys: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Targets { keys: keys.into_iter().collect(), patterns: BTreeSet::new() }
    }

    /// Takes those of the keys out that are meant.
    #[must_use]
    pub fn take_keys(&mut self, is_meant: impl Fn(&[u8]) -> bool) -> Targets {
        let (meant, others) = std::mem::take(&mut self.keys).into_iter().partition(|key| is_meant(key));
        self.keys = others;
        Targets { keys: meant, patterns: BTreeSet::new() }
    }

    /// Adds what others are.
    pub fn extend(&mut self, other: Targets) {
        self.keys.extend(other.keys);
        self.patterns.extend(other.patterns);
    }

    /// Whether there is nothing to delete.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.patterns.is_empty()
    }

    /// How many keys and patterns there are.
    pub fn len(&self) -> usize {
        self.keys.len() + self.patterns.len()
    }

    /// What can be named, and what has to be looked for, each by itself.
    #[must_use]
    pub fn split(self) -> (Targets, Targets) {
        let patterns = Targets { keys: BTreeSet::new(), patterns: self.patterns };
        (Targets { keys: self.keys, patterns: BTreeSet::new() }, patterns)
    }

    /// The keys that are deleted by name, without the installation's prefix.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().map(Vec::as_slice)
    }

    /// Whether this key is deleted by name.
    pub fn names(&self, key: &[u8]) -> bool {
        self.keys.contains(key)
    }

    /// Whether this key is deleted, by name or because it is looked for.
    pub fn has(&self, key: &[u8]) -> bool {
        self.names(key) || self.patterns.iter().any(|pattern| pattern.matches(key))
    }

    /// Whether one of the keys may begin like this.
    pub fn may_begin_with(&self, prefix: &[u8]) -> bool {
        let mut starts = self.patterns.iter().map(|pattern| pattern.start.as_slice());
        self.keys.iter().any(|key| key.starts_with(prefix))
            || starts.any(|start| start.starts_with(prefix) || prefix.starts_with(start))
    }

    /// The patterns of keys that are looked for.
    pub fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.patterns.iter()
    }
}

impl Pattern {
    /// What every key of the pattern begins with; never empty.
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// Whether the key is one of these.
    pub fn matches(&self, key: &[u8]) -> bool {
        let Some(mut rest) = key.strip_prefix(self.start.as_slice()) else { return false };
        for part in &self.middle {
            // The first place is the best one: it leaves most for what follows.
            let Some(at) = find(rest, part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(&self.end)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() { Some(0) } else { haystack.windows(needle.len()).position(|window| window == needle) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        let mut targets = Targets::default();
        targets.add(text.split('*').map(|part| part.as_bytes().to_vec()).collect());
        targets.patterns.pop_first().expect("a pattern")
    }

    /// The meaning of `*`, as simply as it can be said.
    fn glob(pattern: &[u8], key: &[u8]) -> bool {
        match pattern.split_first() {
            None => key.is_empty(),
            Some((b'*', rest)) => (0..=key.len()).any(|at| glob(rest, &key[at..])),
            Some((c, rest)) => key.first() == Some(c) && glob(rest, &key[1..]),
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_its_stars_say(text in "a[ab*]{0,6}\\*[ab*]{0,4}", key in "a[ab]{0,9}") {
            prop_assert_eq!(pattern(&text).matches(key.as_bytes()), glob(text.as_bytes(), key.as_bytes()));
        }
    }

    #[test]
    fn what_is_named_twice_is_there_once() {
        let mut targets = Targets::default();
        let mut more = Targets::default();
        for parts in [&["a"][..], &["a", ""], &["a"], &["a", ""], &["b"]] {
            targets.add(parts.iter().map(|part| part.as_bytes().to_vec()).collect());
            more.add(parts.iter().map(|part| part.as_bytes().to_vec()).collect());
        }
        targets.extend(more);
        assert_eq!((targets.keys().count(), targets.patterns().count()), (2, 1));
        assert!(targets.names(b"b") && !targets.names(b"c"));
        assert!(targets.has(b"b") && targets.has(b"abc") && !targets.has(b"c"));
    }
}
