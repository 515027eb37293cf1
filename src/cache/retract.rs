//! Takes back values that this run wrote and then found to be wrong.
//!
//! Only a value that is still ours, byte for byte, is deleted: whatever somebody else has written since stays.

use redis::Connection;
use xxhash_rust::xxh3::xxh3_64;

use super::connect::Redis;
use super::error::{Trouble, translate};
use crate::ground::error::Error;

/// Deletes the key if it still holds the given bytes, and still dies some day: somebody who took its end away made it his own.
const DELETE_IF: &str = "if redis.call('TYPE', KEYS[1])['ok'] == 'string' and redis.call('PTTL', KEYS[1]) > 0 \
     and redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('UNLINK', KEYS[1]) end return 0";

/// A value that this run wrote: its key, and the XXH3 fingerprint of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    /// The key, without the installation's prefix.
    pub key: Vec<u8>,
    /// `xxh3_64` of the value.
    pub fingerprint: u64,
}

impl Redis {
    /// Deletes those of the values that are still there; returns how many. Blocks.
    ///
    /// # Errors
    /// The first that Redis gave; the other values have been tried all the same.
    pub fn retract(&self, values: &[Ours]) -> Result<u64, Error> {
        let mut connected = self.connect()?;
        let (mut deleted, mut failure) = (0, None);
        for ours in values {
            match self.retract_one(&mut connected.connection, ours) {
                Ok(count) => deleted += count,
                Err(error) => {
                    // The connection may be the reason.
                    connected = self.connect()?;
                    failure = failure.or(Some(error));
                }
            }
        }
        failure.map_or(Ok(deleted), Err)
    }

    fn retract_one(&self, connection: &mut Connection, ours: &Ours) -> Result<u64, Error> {
        let key = [self.key_prefix().as_bytes(), &ours.key].concat();
        let value: Option<Vec<u8>> = match redis::cmd("GET").arg(&key).query(connection) {
            // Another type is not what we wrote.
            Err(error) if error.code() == Some("WRONGTYPE") => return Ok(0),
            answer => answer.map_err(|error| into_error(translate(&error)))?,
        };
        match value {
            Some(value) if xxh3_64(&value) == ours.fingerprint => {
                let delete = redis::cmd("EVAL").arg(DELETE_IF).arg(1).arg(&key).arg(&value).query(connection);
                delete.map_err(|error| into_error(translate(&error)))
            }
            _ => Ok(0),
        }
    }
}

pub(super) fn into_error(trouble: Trouble) -> Error {
    match trouble {
        Trouble::Wait(error) | Trouble::Reconnect(error) | Trouble::Stop(error) => error,
    }
}
