//! One pass over all keys of a database. SCAN gives each key that was there from the pass' beginning to its end, some of them twice; those that came or went meanwhile it may
//! give or not. For keys that are named stale after a commit that is enough: what comes later was read after it.

use std::collections::HashSet;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::matcher::Matcher;
use super::{AT_A_TIME, Act, Found, Work};
use crate::cache::error::Trouble;
use crate::cache::scan::beginning_with;
use crate::ground::invalidate::Targets;

/// How many keys Redis looks at in one go: it takes hardly longer than for a batch of ours, less than half a millisecond.
const COUNT: usize = 512;
/// How many keys are remembered, so that one that comes twice is counted once. Beyond, it may count twice.
const REMEMBERED: usize = 1 << 20;

/// Does it, from the beginning to the end.
pub(super) fn run(work: &mut Work<'_>, matcher: &Matcher, wanted: &[Arc<Targets>]) -> Result<(), Trouble> {
    let prefix = work.redis.key_prefix().as_bytes().to_vec();
    let (mut seen, mut cursor) = (HashSet::new(), 0_u64);
    let start = work.full(matcher.start());
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor);
        if !start.is_empty() {
            scan.arg("MATCH").arg(beginning_with(&start));
        }
        scan.arg("COUNT").arg(COUNT);
        let bytes = |(_, keys): &(u64, Vec<Vec<u8>>)| keys.iter().map(Vec::len).sum();
        let (next, keys): (u64, Vec<Vec<u8>>) = work.ask(&scan, bytes)?;
        let mut found = Vec::new();
        for key in keys {
            let Some(own) = key.strip_prefix(prefix.as_slice()) else { continue };
            let mut callers = matcher.callers(own);
            if work.act == Act::Look {
                callers.retain(|caller| wanted.get(*caller).is_none_or(|targets| !targets.names(own)));
                if seen.len() < REMEMBERED && !callers.is_empty() && !seen.insert(xxh3_64(own)) {
                    continue;
                }
            }
            if !callers.is_empty() {
                found.push(Found { key, callers });
            }
        }
        found.chunks(AT_A_TIME).try_for_each(|some| work.act(some))?;
        if next == 0 {
            return Ok(());
        }
        cursor = next;
    }
}
