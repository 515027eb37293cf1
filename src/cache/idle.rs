//! For how long nobody has read or written keys, without reading them: `OBJECT IDLETIME` is no access, and no miss.

use std::sync::Arc;
use std::time::Duration;

use super::connect::Redis;
use super::error::translate;
use super::retract::into_error;
use crate::ground::error::Error;

/// How many keys are asked about in one go.
const AT_A_TIME: usize = 256;

impl Redis {
    /// The idle time of each key, given without the installation's prefix, in whole seconds; `None` for a key that is not there.
    ///
    /// # Errors
    /// As connecting, and what Redis says: an account may not ask, and where the least frequently used keys are evicted there is no idle time.
    pub async fn idle(&self, keys: Vec<Arc<[u8]>>) -> Result<Vec<Option<Duration>>, Error> {
        self.apart(move |redis| redis.ask_idle(&keys)).await
    }

    fn ask_idle(&self, keys: &[Arc<[u8]>]) -> Result<Vec<Option<Duration>>, Error> {
        let mut connection = self.connect()?.connection;
        let mut idle = Vec::with_capacity(keys.len());
        for some in keys.chunks(AT_A_TIME) {
            let mut pipe = redis::pipe();
            for key in some {
                pipe.cmd("OBJECT").arg("IDLETIME").arg([self.key_prefix().as_bytes(), key].concat());
            }
            let seconds: Vec<Option<u64>> =
                pipe.query(&mut connection).map_err(|error| into_error(translate(&error)))?;
            idle.extend(seconds.into_iter().map(|seconds| seconds.map(Duration::from_secs)));
        }
        Ok(idle)
    }
}
