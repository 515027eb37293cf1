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
        let pattern = [literal(self.key_prefix()), literal(beginning), b"*".to_vec()].concat();
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

/// The pattern that matches this text only.
fn literal(text: &str) -> Vec<u8> {
    let escaped = |byte: u8| if b"*?[]\\^-".contains(&byte) { vec![b'\\', byte] } else { vec![byte] };
    text.bytes().flat_map(escaped).collect()
}
