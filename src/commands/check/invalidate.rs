//! Whether the Redis account may do what `warm invalidate` does. No job needs it, and it may be done with another account: so a lack is a warning.

use super::Finding;
use crate::cache::{Redis, Withheld};
use crate::ground::invalidate::{Set, Template};

/// Asks for the rights to delete the keys of all sets. Blocks.
pub(super) fn check(redis: &Redis, sets: &[Set]) -> Vec<Finding> {
    if sets.is_empty() {
        return Vec::new();
    }
    let mut keys: Vec<&Template> = Vec::new();
    for key in sets.iter().flat_map(|set| &set.keys) {
        // The same keys by other names are the same keys.
        if !keys.iter().any(|other| (other.prefix(), other.is_literal()) == (key.prefix(), key.is_literal())) {
            keys.push(key);
        }
    }
    let mut all = sets.iter().flat_map(|set| &set.keys);
    let pattern = all.find(|key| !key.is_exact());
    let asked: Vec<_> = keys.iter().map(|key| (key.prefix(), key.is_literal())).collect();
    match redis.withheld(&asked, pattern.is_some()) {
        Ok(withheld) => lacks(&withheld, pattern, &keys, redis.key_prefix()),
        Err(error) => vec![Finding::error(&error)],
    }
}

fn lacks(withheld: &Withheld, pattern: Option<&Template>, keys: &[&Template], key_prefix: &str) -> Vec<Finding> {
    let scan = withheld.scan.as_ref().zip(pattern).map(|(words, pattern)| {
        let message = format!("the Redis account may not look for keys such as `{key_prefix}{pattern}`, as `warm invalidate` does: {words}");
        Finding::warning(message, "grant +scan, as config/redis-acl.conf does; it shows the names of all keys")
    });
    let of_keys = withheld.keys.as_ref().map(|(places, words)| {
        let names: Vec<_> =
            places.iter().filter_map(|place| keys.get(*place)).map(|key| format!("`{key_prefix}{key}`")).collect();
        let message =
            format!("the Redis account may not delete {}, which [invalidate] names: {words}", names.join(", "));
        Finding::warning(
            message,
            "grant it, as config/redis-acl.conf does: %W~ticket:* lets an account delete keys that it may not read",
        )
    });
    scan.into_iter().chain(of_keys).collect()
}
