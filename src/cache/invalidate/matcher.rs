//! Whose patterns does a key match? There may be many of them, of many callers, and all keys of a Redis to be asked about: so patterns are found by what keys begin with,
//! in a table for each length of that.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::ground::invalidate::{Pattern, Targets};
use crate::ground::key::is_ours;

/// The patterns that begin with one text, and who wants each.
type Alike = Vec<(Pattern, Vec<usize>)>;

/// The patterns of all callers.
#[derive(Debug)]
pub(super) struct Matcher {
    by_length: BTreeMap<usize, HashMap<Vec<u8>, Alike>>,
    /// What all of them begin with.
    start: Vec<u8>,
}

impl Matcher {
    pub(super) fn new(callers: &[Arc<Targets>]) -> Self {
        let mut wanted = HashMap::<&Pattern, Vec<usize>>::new();
        for (caller, targets) in callers.iter().enumerate() {
            targets.patterns().for_each(|pattern| wanted.entry(pattern).or_default().push(caller));
        }
        let mut by_length = BTreeMap::<usize, HashMap<Vec<u8>, Alike>>::new();
        let mut start: Option<Vec<u8>> = None;
        for (pattern, callers) in wanted {
            let own = pattern.start();
            match &mut start {
                None => start = Some(own.to_vec()),
                Some(start) => start.truncate(start.iter().zip(own).take_while(|(a, b)| a == b).count()),
            }
            let alike = by_length.entry(own.len()).or_default().entry(own.to_vec()).or_default();
            alike.push((pattern.clone(), callers));
        }
        Matcher { by_length, start: start.unwrap_or_default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_length.is_empty()
    }

    /// What every key begins with that somebody wants; it may be empty.
    pub(super) fn start(&self) -> &[u8] {
        &self.start
    }

    /// Who wants the key, which is without the installation's prefix. Our own nobody gets.
    pub(super) fn callers(&self, key: &[u8]) -> Vec<usize> {
        let mut all = Vec::new();
        if is_ours(key) {
            return all;
        }
        for (length, table) in self.by_length.range(..=key.len()) {
            let alike = key.get(..*length).and_then(|start| table.get(start)).into_iter().flatten();
            all.extend(alike.filter(|(pattern, _)| pattern.matches(key)).flat_map(|(_, callers)| callers));
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::invalidate::{Set, Template};

    fn targets(keys: &[&str]) -> Arc<Targets> {
        let keys = keys.iter().map(|text| Template::key(text).expect(text)).collect();
        Arc::new(Set { name: String::new(), parameters: Vec::new(), keys }.targets(&[]).expect("no values"))
    }

    #[test]
    fn each_caller_gets_what_his_patterns_match_once() {
        let matcher = Matcher::new(&[
            targets(&["event:list:*", "event:*:x"]),
            targets(&["event:list:*", "a"]),
            targets(&["e*1"]),
        ]);
        assert_eq!(matcher.start(), b"e");
        assert_eq!(matcher.callers(b"event:list:1:x"), [0, 1]);
        assert_eq!(matcher.callers(b"event:list:1"), [0, 1, 2]);
        assert_eq!(matcher.callers(b"event:1"), [2]);
        assert_eq!(matcher.callers(b"a"), [0; 0]);
        assert_eq!(matcher.callers(b""), [0; 0]);
        assert!(Matcher::new(&[targets(&["a"])]).is_empty());
    }

    #[test]
    fn what_patterns_have_in_common_is_all_that_is_asked_for() {
        assert_eq!(Matcher::new(&[targets(&["ticket:user:1*", "ticket:u*"])]).start(), b"ticket:u");
        assert_eq!(Matcher::new(&[targets(&["ticket:*"]), targets(&["event:*"])]).start(), b"");
    }

    #[test]
    fn our_own_keys_nobody_gets() {
        let matcher = Matcher::new(&[targets(&["w*", "warm*"])]);
        assert_eq!(matcher.callers(b"warm:marker"), [0; 0]);
        assert_eq!(matcher.callers(b"warmth"), [0]);
    }
}
