//! What is at one key.

use std::time::Duration;

use super::connect::Redis;
use super::error::translate;
use super::retract::into_error;
use crate::ground::error::Error;

/// What is at a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// The type, in Redis' words; `None` for an absent key.
    pub ty: Option<String>,
    /// The length of a string in bytes.
    pub bytes: Option<u64>,
    /// How long it lives; `None` for ever.
    pub left: Option<Duration>,
}

impl Redis {
    /// Looks at a key, which is given without the installation's prefix. Nothing is changed.
    ///
    /// # Errors
    /// When the server cannot be reached or rejects us.
    pub async fn look_at(&self, key: &[u8]) -> Result<KeyState, Error> {
        let key = [self.key_prefix().as_bytes(), key].concat();
        self.apart(move |redis| {
            let mut connected = redis.connect()?;
            let mut look = redis::pipe();
            look.cmd("TYPE").arg(&key).cmd("PTTL").arg(&key);
            let (ty, left): (String, i64) =
                look.query(&mut connected.connection).map_err(|error| into_error(translate(&error)))?;
            let length = redis::cmd("STRLEN").arg(&key).take();
            let bytes = match ty.as_str() {
                "string" => {
                    Some(length.query(&mut connected.connection).map_err(|error| into_error(translate(&error)))?)
                }
                _ => None,
            };
            let left = u64::try_from(left).ok().map(Duration::from_millis);
            Ok(KeyState { ty: Some(ty).filter(|ty| ty != "none"), bytes, left })
        })
        .await
    }
}
