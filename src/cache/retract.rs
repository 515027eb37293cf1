//! Takes back values of ours: what this run wrote and then found to be wrong, or could not make sure of, and what earlier runs wrote and whose rows are gone.
//!
//! Only a value that is still ours, byte for byte, is deleted: whatever somebody else has written since stays.

use redis::Connection;
use xxhash_rust::xxh3::xxh3_64;

use super::connect::Redis;
use super::error::{Trouble, translate};
use super::scripts::WITHDRAW;
use crate::ground::error::Error;

/// Deletes the key if it still holds the given bytes, and still dies some day: somebody who took its end away made it his own.
const DELETE_IF: &str = "if redis.call('TYPE', KEYS[1])['ok'] == 'string' and redis.call('PTTL', KEYS[1]) > 0 \
     and redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('UNLINK', KEYS[1]) end return 0";

/// How many keys are asked about in one go: few, since each may hold a large value.
const AT_A_TIME: usize = 16;

/// Gives a value that could be ours: a string that dies some day.
const LOOK: &str = "if redis.call('TYPE', KEYS[1])['ok'] == 'string' and redis.call('PTTL', KEYS[1]) > 0 \
     then return redis.call('GET', KEYS[1]) end return false";

/// A value that we wrote: its key, and the XXH3 fingerprint of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    /// The key, without the installation's prefix.
    pub key: Vec<u8>,
    /// `xxh3_64` of the value.
    pub fingerprint: u64,
    /// That of a value before, which may still be there.
    pub earlier: Option<u64>,
}

impl Ours {
    fn is(&self, value: &[u8]) -> bool {
        let found = xxh3_64(value);
        found == self.fingerprint || Some(found) == self.earlier
    }
}

impl Redis {
    /// Deletes those of the values that are still there; returns how many.
    ///
    /// # Errors
    /// The first that Redis gave; the other values have been tried all the same.
    pub async fn retract(&self, values: Vec<Ours>) -> Result<u64, Error> {
        if values.is_empty() {
            return Ok(0);
        }
        self.apart(move |redis| redis.take_back(&values)).await
    }

    /// Removes values that were written provisionally, if they still are the ones that are meant: each key with the moment at which its value dies.
    ///
    /// # Errors
    /// What Redis gave; then some may still be there.
    pub async fn withdraw(&self, values: Vec<(Vec<u8>, u64)>) -> Result<(), Error> {
        self.apart(move |redis| {
            let mut connected = redis.connect()?;
            let mut pipe = redis::pipe();
            for (key, dies) in values {
                let key = [redis.key_prefix().as_bytes(), &key].concat();
                pipe.cmd("EVAL").arg(WITHDRAW).arg(1).arg(key).arg(dies).ignore();
            }
            pipe.exec(&mut connected.connection).map_err(|error| into_error(translate(&error)))
        })
        .await
    }

    /// The keys of those of the values that are still there; nothing is deleted.
    ///
    /// # Errors
    /// The first that Redis gave.
    pub async fn still_ours(&self, values: Vec<Ours>) -> Result<Vec<Vec<u8>>, Error> {
        if values.is_empty() {
            return Ok(Vec::new());
        }
        self.apart(move |redis| {
            let mut connected = redis.connect()?;
            let mut there = Vec::new();
            for some in values.chunks(AT_A_TIME) {
                let found = find(redis.key_prefix(), &mut connected.connection, some)?;
                there.extend(found.into_iter().map(|(ours, _)| ours.key.clone()));
            }
            Ok(there)
        })
        .await
    }

    fn take_back(&self, values: &[Ours]) -> Result<u64, Error> {
        let mut connected = self.connect()?;
        let (mut deleted, mut failure) = (0, None);
        for some in values.chunks(AT_A_TIME) {
            let Err(error) = retract(self.key_prefix(), &mut connected.connection, some, &mut deleted) else {
                continue;
            };
            failure = failure.or(Some(error));
            // The connection may be the reason, or a single one of the keys.
            connected = self.connect()?;
            for ours in some {
                if retract(self.key_prefix(), &mut connected.connection, std::slice::from_ref(ours), &mut deleted)
                    .is_err()
                {
                    connected = self.connect()?;
                }
            }
        }
        failure.map_or(Ok(deleted), Err)
    }
}

/// Deletes what of the values is still ours, in one go after the one that looks; counts it.
fn retract(prefix: &str, connection: &mut Connection, values: &[Ours], deleted: &mut u64) -> Result<(), Error> {
    let mut delete = redis::pipe();
    for (ours, value) in find(prefix, connection, values)? {
        delete.cmd("EVAL").arg(DELETE_IF).arg(1).arg(key_of(prefix, ours)).arg(value);
    }
    if delete.is_empty() {
        return Ok(());
    }
    let counts: Vec<u64> = delete.query(connection).map_err(|error| into_error(translate(&error)))?;
    *deleted += counts.iter().sum::<u64>();
    Ok(())
}

/// Looks at all of the keys in one go: those whose value is still ours, with the value.
fn find<'v>(prefix: &str, connection: &mut Connection, values: &'v [Ours]) -> Result<Vec<(&'v Ours, Vec<u8>)>, Error> {
    let mut look = redis::pipe();
    for ours in values {
        look.cmd("EVAL").arg(LOOK).arg(1).arg(key_of(prefix, ours));
    }
    let found: Vec<Option<Vec<u8>>> = look.query(connection).map_err(|error| into_error(translate(&error)))?;
    let ours = |(ours, value): (&'v Ours, Option<Vec<u8>>)| Some((ours, value.filter(|value| ours.is(value))?));
    Ok(values.iter().zip(found).filter_map(ours).collect())
}

fn key_of(prefix: &str, ours: &Ours) -> Vec<u8> {
    [prefix.as_bytes(), &ours.key].concat()
}

pub(super) fn into_error(trouble: Trouble) -> Error {
    match trouble {
        Trouble::Wait(error) | Trouble::Reconnect(error) | Trouble::Stop(error) => error,
    }
}
