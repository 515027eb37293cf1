//! Which keys are there, for runs that need not read what they would not write.

use super::connect::Redis;
use super::error::translate;
use super::retract::into_error;
use crate::ground::error::Error;

/// How many keys are asked about in one go.
const AT_A_TIME: usize = 512;

impl Redis {
    /// Whether each of the keys, without the installation's prefix, is there.
    ///
    /// # Errors
    /// As connecting, and what Redis says.
    pub async fn present(&self, keys: Vec<Vec<u8>>) -> Result<Vec<bool>, Error> {
        self.apart(move |redis| redis.look(&keys)).await
    }

    fn look(&self, keys: &[Vec<u8>]) -> Result<Vec<bool>, Error> {
        let mut connected = self.connect()?;
        let mut present = Vec::with_capacity(keys.len());
        for some in keys.chunks(AT_A_TIME) {
            let mut pipe = redis::pipe();
            for key in some {
                // TYPE, as everywhere: the account needs no right for EXISTS then.
                pipe.cmd("TYPE").arg([self.key_prefix().as_bytes(), key].concat());
            }
            let types: Vec<String> =
                pipe.query(&mut connected.connection).map_err(|error| into_error(translate(&error)))?;
            present.extend(types.iter().map(|ty| ty != "none"));
        }
        Ok(present)
    }
}
