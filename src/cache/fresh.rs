//! Which units of a job need no refresh yet: kept in Redis, where every host sees it, so that none refreshes what another one has just refreshed.
//!
//! A mark lives until its unit is due, on Redis' own clock, and is lost with the cache. Without it a unit is refreshed once more than it had to be.

use std::time::Duration;

use redis::{RedisError, RedisResult};

use super::connect::Redis;
use super::error::translate;
use super::retract::into_error;
use super::served::Epoch;
use crate::ground::error::Error;
use crate::ground::refresh::Unit;

/// How many marks are asked about, or set, in one go.
const AT_A_TIME: usize = 512;

impl Redis {
    /// For how long each of the units needs no refresh; `None` for those that do. An account that may not ask knows of none.
    ///
    /// # Errors
    /// As connecting, and what Redis says.
    pub async fn fresh(&self, job: &str, units: Vec<Unit>) -> Result<Vec<Option<Duration>>, Error> {
        let job = job.to_owned();
        self.apart(move |redis| redis.fresh_marks(&job, &units)).await
    }

    /// Remembers that these units need no refresh for so long, unless the cache has lost its content since it was the one of `epoch`.
    ///
    /// # Errors
    /// As connecting, and what Redis says.
    pub async fn mark_fresh(&self, job: &str, units: Vec<(Unit, Duration)>, epoch: &Epoch) -> Result<(), Error> {
        let (job, epoch) = (job.to_owned(), epoch.clone());
        self.apart(move |redis| redis.set_fresh(&job, &units, &epoch)).await
    }

    fn fresh_mark(&self, job: &str, unit: Unit) -> String {
        format!("{}warm:fresh:{job}:{unit}", self.key_prefix())
    }

    fn fresh_marks(&self, job: &str, units: &[Unit]) -> Result<Vec<Option<Duration>>, Error> {
        let mut connected = self.connect()?;
        let mut fresh = Vec::with_capacity(units.len());
        for some in units.chunks(AT_A_TIME) {
            let mut pipe = redis::pipe();
            for unit in some {
                pipe.cmd("PTTL").arg(self.fresh_mark(job, *unit));
            }
            let lives: Vec<RedisResult<i64>> = pipe.ignore_errors().query(&mut connected.connection).map_err(fail)?;
            for life in lives {
                let life = match life {
                    Err(error) if error.code() == Some("NOPERM") => None,
                    life => Some(life.map_err(fail)?),
                };
                // Negative: there is no mark, or one that nobody of us has set.
                let life = life.and_then(|life| u64::try_from(life).ok()).filter(|life| *life > 0);
                fresh.push(life.map(Duration::from_millis));
            }
        }
        Ok(fresh)
    }

    fn set_fresh(&self, job: &str, units: &[(Unit, Duration)], epoch: &Epoch) -> Result<(), Error> {
        let mut connected = self.connect()?;
        let marker = redis::cmd("GET").arg(self.marker()).query::<Option<Vec<u8>>>(&mut connected.connection);
        if epoch.is_over(&connected, marker.map_err(fail)?.as_deref()) {
            return Ok(());
        }
        for some in units.chunks(AT_A_TIME) {
            let mut pipe = redis::pipe();
            for (unit, life) in some {
                let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX >> 2).max(1);
                pipe.cmd("SET").arg(self.fresh_mark(job, *unit)).arg(1).arg("PX").arg(life).ignore();
            }
            pipe.query::<()>(&mut connected.connection).map_err(fail)?;
        }
        Ok(())
    }
}

fn fail(error: RedisError) -> Error {
    into_error(translate(&error))
}
