//! Deletes what an application, or an operator, says is stale.
//!
//! This is the one place that deletes keys of any type, whoever wrote them: they are named by somebody who knows that they are stale, and not by us. Whatever is
//! named, our own keys (`warm:…`) stay.
//!
//! ```text
//! keys      named: UNLINK, some at a time
//! patterns  one pass of SCAN over all of Redis' keys, for however many patterns of however many callers; what matches goes as above
//! ```
//!
//! Redis executes commands on one thread, so each step is small, and a slow Redis is given pauses ([`Pace`]). A pass that breaks off is begun again: what was looked at before says
//! nothing about what came since.

mod halt;
mod matcher;
mod pass;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Cmd, RedisResult, Value};

pub use self::halt::Halt;
use self::matcher::Matcher;
use super::connect::{Connected, Redis};
use super::error::{Trouble, translate};
use super::pace::Pace;
use super::rate::Cost;
use super::retract::into_error;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::invalidate::Targets;
use crate::ground::show::visible;

/// How many keys are deleted in one go.
const AT_A_TIME: usize = 64;
/// How often a pass is begun before a connection that keeps breaking is given up.
const TRIES: u32 = 4;
/// How often a server that asks for patience is asked again.
const PATIENCE: Duration = Duration::from_millis(250);
/// How many of the keys are told.
const SAMPLE: usize = 5;

/// What is done to keys that are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// They are deleted.
    Delete,
    /// They are counted.
    Look,
}

/// What became of one caller's targets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invalidated {
    /// Keys that were deleted, or would be. If a connection broke it may have been more.
    pub keys: u64,
    /// Some of them, with the installation's prefix.
    pub sample: Vec<Vec<u8>>,
}

impl Invalidated {
    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Invalidated) -> Self {
        self.keys += other.keys;
        self.sample.extend(other.sample);
        self.sample.truncate(SAMPLE);
        self
    }
}

impl Redis {
    /// Deletes, or counts, the keys that the targets name; for each caller what became of his.
    pub async fn invalidate_keys(
        &self,
        wanted: Vec<Arc<Targets>>,
        act: Act,
        halt: Halt,
    ) -> Vec<Result<Invalidated, Error>> {
        let callers = wanted.len();
        self.invalidate((callers, act, halt), move |work| {
            let mut keys = BTreeMap::<&[u8], Vec<usize>>::new();
            for (caller, targets) in wanted.iter().enumerate() {
                targets.keys().for_each(|key| keys.entry(key).or_default().push(caller));
            }
            let keys: Vec<Found> =
                keys.into_iter().map(|(key, callers)| Found { key: work.full(key), callers }).collect();
            keys.chunks(AT_A_TIME).try_for_each(|some| work.act(some))
        })
        .await
    }

    /// Deletes, or counts, the keys that match the targets' patterns, in one pass over all keys that are there; for each caller what became of his.
    /// Keys that a caller also names are not counted again.
    pub async fn invalidate_patterns(
        &self,
        wanted: Vec<Arc<Targets>>,
        act: Act,
        halt: Halt,
    ) -> Vec<Result<Invalidated, Error>> {
        let (callers, matcher) = (wanted.len(), Matcher::new(&wanted));
        if matcher.is_empty() {
            return vec![Ok(Invalidated::default()); callers];
        }
        self.invalidate((callers, act, halt), move |work| pass::run(work, &matcher, &wanted)).await
    }

    /// Does the work from its beginning to its end on one connection, however often that takes.
    async fn invalidate(
        &self,
        (callers, act, halt): (usize, Act, Halt),
        work: impl Fn(&mut Work<'_>) -> Result<(), Trouble> + Send + 'static,
    ) -> Vec<Result<Invalidated, Error>> {
        let done = self.apart(move |redis| {
            let mut results = vec![Answer::default(); callers];
            let (mut broken, mut waiting) = (0, None);
            loop {
                halt.sleep(Duration::ZERO).map_err(into_error)?;
                let connected = redis.connect()?;
                if act == Act::Look {
                    results.fill(Answer::default());
                }
                let pace = Pace::new(redis.latency_limit(), connected.round_trip);
                let mut trying = Work { redis, act, halt: &halt, connected, pace, answers: &mut results };
                match work(&mut trying) {
                    Ok(()) => return Ok(results),
                    Err(Trouble::Stop(error)) => return Err(error),
                    Err(Trouble::Wait(error)) => {
                        let since = *waiting.get_or_insert_with(Instant::now);
                        if since.elapsed() > redis.connect_timeout() {
                            return Err(not_done(error));
                        }
                        halt.sleep(PATIENCE).map_err(into_error)?;
                    }
                    Err(Trouble::Reconnect(error)) => {
                        broken += 1;
                        if broken == TRIES {
                            return Err(not_done(error));
                        }
                        if broken > 1 {
                            halt.sleep(PATIENCE).map_err(into_error)?;
                        }
                    }
                }
            }
        });
        match done.await {
            Ok(answers) => answers.into_iter().map(Answer::into_result).collect(),
            Err(error) => vec![Err(error); callers],
        }
    }
}

/// Nobody takes for whole what was given up.
fn not_done(error: Error) -> Error {
    Error { message: format!("{}; it was tried again and given up: keys may be left", error.message), ..error }
}

/// A key that is there, or may be, with the installation's prefix, and the callers who want it gone.
struct Found {
    key: Vec<u8>,
    callers: Vec<usize>,
}

/// What is known of one caller's targets so far.
#[derive(Debug, Clone, Default)]
struct Answer {
    done: Invalidated,
    /// The first key that Redis refused to delete, and how many.
    refused: Option<(Error, u64)>,
}

impl Answer {
    fn into_result(self) -> Result<Invalidated, Error> {
        match self.refused {
            None => Ok(self.done),
            Some((error, 1)) => Err(error),
            Some((error, count)) => {
                Err(Error { message: format!("{} (and {} more keys)", error.message, count - 1), ..error })
            }
        }
    }
}

/// One try.
struct Work<'r> {
    redis: &'r Redis,
    act: Act,
    halt: &'r Halt,
    connected: Connected,
    pace: Pace,
    answers: &'r mut Vec<Answer>,
}

impl Work<'_> {
    fn full(&self, key: &[u8]) -> Vec<u8> {
        [self.redis.key_prefix().as_bytes(), key].concat()
    }

    /// Deletes, or looks at, some keys. One that Redis refuses keeps no other from being deleted.
    fn act(&mut self, some: &[Found]) -> Result<(), Trouble> {
        let mut pipe = redis::pipe();
        let mut cost = Cost::default();
        for found in some {
            let name = match self.act {
                Act::Delete => "UNLINK",
                // For this the account has a right anyway.
                Act::Look => "TYPE",
            };
            pipe.cmd(name).arg(&found.key);
            cost.keys += 1;
            cost.bytes += found.key.len() as u64;
        }
        self.halt.sleep(self.redis.rate().claim(cost, Instant::now()))?;
        let bytes = usize::try_from(cost.bytes).unwrap_or(usize::MAX);
        let replies: Vec<RedisResult<Value>> =
            self.timed(|connected| pipe.ignore_errors().query(&mut connected.connection), |_| bytes)?;
        for (found, reply) in some.iter().zip(replies) {
            match reply {
                Ok(Value::Int(0)) => {}
                Ok(Value::SimpleString(kind)) if kind == "none" => {}
                Ok(_) => self.count(found),
                Err(error) => self.refused(found, translate(&error))?,
            }
        }
        Ok(())
    }

    fn count(&mut self, found: &Found) {
        for caller in &found.callers {
            let Some(Answer { done, .. }) = self.answers.get_mut(*caller) else { continue };
            done.keys += 1;
            if done.sample.len() < SAMPLE {
                done.sample.push(found.key.clone());
            }
        }
    }

    /// Remembers a key that may not be deleted; what concerns every key ends the work.
    fn refused(&mut self, found: &Found, trouble: Trouble) -> Result<(), Trouble> {
        let error = match trouble {
            Trouble::Stop(error) if error.kind == ErrorKind::RedisRefused && !error.message.contains(OF_COMMANDS) => {
                error
            }
            other => return Err(other),
        };
        for caller in &found.callers {
            let Some(Answer { refused, .. }) = self.answers.get_mut(*caller) else { continue };
            let message = || format!("{}: the key {}", error.message, visible(&String::from_utf8_lossy(&found.key)));
            refused.get_or_insert_with(|| (Error { message: message(), ..error.clone() }, 0)).1 += 1;
        }
        Ok(())
    }

    /// Asks Redis something, after a pause if it is slow. `size` is what the answer's length in bytes is.
    fn timed<T>(
        &mut self,
        ask: impl FnOnce(&mut Connected) -> RedisResult<T>,
        size: impl FnOnce(&T) -> usize,
    ) -> Result<T, Trouble> {
        self.halt.sleep(self.pace.pause(Instant::now()))?;
        let sent = Instant::now();
        let answer = ask(&mut self.connected).map_err(|error| translate(&error))?;
        self.pace.answered(sent, Instant::now(), size(&answer));
        Ok(answer)
    }

    fn ask<T: redis::FromRedisValue>(&mut self, command: &Cmd, size: impl FnOnce(&T) -> usize) -> Result<T, Trouble> {
        self.timed(|connected| command.query(&mut connected.connection), size)
    }
}

/// What Redis says when it refuses a command, whatever its keys.
const OF_COMMANDS: &str = "permissions to run the '";
