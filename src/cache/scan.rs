//! The names of keys, by SCAN: a step at a time, so that nobody waits for long.

use redis::Connection;

use super::connect::Redis;
use super::error::translate;
use super::retract::into_error;
use crate::ground::error::Error;

/// About how many names Redis looks at in one step.
const STEP: usize = 1000;

impl Redis {
    /// The keys that begin with the given text, without the installation's prefix: each that was there all the time, and perhaps others. Each once, in order.
    ///
    /// # Errors
    /// When the server cannot be reached or rejects us.
    pub async fn keys_with(&self, beginning: &str) -> Result<Vec<Vec<u8>>, Error> {
        let pattern = beginning_with(format!("{}{beginning}", self.key_prefix()).as_bytes());
        self.apart(move |redis| {
            let mut connected = redis.connect()?;
            let mut keys = scan(&mut connected.connection, &pattern)?;
            keys.iter_mut().for_each(|key| drop(key.drain(..redis.key_prefix().len().min(key.len()))));
            keys.sort_unstable();
            keys.dedup();
            Ok(keys)
        })
        .await
    }
}

fn scan(connection: &mut Connection, pattern: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let (mut all, mut cursor) = (Vec::new(), 0_u64);
    loop {
        let mut step = redis::cmd("SCAN");
        step.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(STEP);
        let (next, keys): (u64, Vec<Vec<u8>>) =
            step.query(connection).map_err(|error| into_error(translate(&error)))?;
        all.extend(keys);
        cursor = next;
        if cursor == 0 {
            return Ok(all);
        }
    }
}

/// The pattern, in Redis' language, of all keys that begin so.
pub(super) fn beginning_with(start: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(start.len() + 1);
    for byte in start {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'^' | b'-' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(b'*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_to_redis_is_escaped() {
        assert_eq!(beginning_with(b"a*b?[c]\\:"), b"a\\*b\\?\\[c\\]\\\\:*");
    }
}
