//! Which of some keys are there, and what Redis remembers of their use, without leaving a trace of our own.
//!
//! ```text
//!                     counts as a hit or miss   touches the key   keymiss event of an absent one
//! MEMORY USAGE                 no                     no                    no
//! OBJECT IDLETIME, FREQ        yes                    no                    no
//! PTTL, TYPE, EXISTS           yes                    no                    yes
//! GET                          yes                    yes                   yes
//! ```
//!
//! So all keys are asked for by `MEMORY USAGE`, and only those that are there by `OBJECT` and `PTTL`: nothing counts as a miss, and what counts as a hit is counted
//! here, too, for whoever subtracts it. (`MEMORY USAGE` looks for the key where it is stored, and so finds for a moment also one whose time is over and that
//! Redis has not removed yet; `PTTL` tells.) An account without the right to it gets by with `OBJECT` alone, which has the misses counted.

use std::time::Duration;

use redis::{Cmd, Connection, Value};

use super::connect::Redis;
use super::error::translate;
use super::figures::words;
use super::retract::into_error;
use crate::ground::error::Error;
use crate::ground::uses::Trace;

/// How many commands are sent in one go: a tenth of a millisecond of Redis' time.
const AT_A_TIME: usize = 100;

/// How much is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Only which keys are there.
    Presence,
    /// Also how long they live, and when they were used.
    Uses,
}

/// A key that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traced {
    /// The memory that it takes, its name included.
    pub bytes: Option<u64>,
    /// How long it lives; `None` for ever, or if nobody asked.
    pub left: Option<Duration>,
    /// What Redis remembers of its use.
    pub trace: Option<Trace>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uses {
    /// The keys in their order, `None` for those that are absent; nothing at all if the account has none of the rights.
    pub keys: Option<Vec<Option<Traced>>>,
    /// How many hits Redis has counted of it.
    pub hits: u64,
    /// And misses.
    pub misses: u64,
    /// Commands that were sent.
    pub commands: u64,
    /// What the account may not do, in Redis' words.
    pub refused: Vec<String>,
}

impl Redis {
    /// Looks at keys, which are given without the installation's prefix.
    ///
    /// # Errors
    /// When the server cannot be reached or rejects us.
    pub async fn traces(&self, keys: Vec<Vec<u8>>, depth: Depth) -> Result<Uses, Error> {
        self.apart(move |redis| {
            let connection = redis.connect()?.connection;
            let prefix = redis.key_prefix().as_bytes();
            let keys: Vec<_> = keys.iter().map(|key| [prefix, key].concat()).collect();
            Asking { connection, found: Uses::default(), counter: false }.all(&keys, depth)
        })
        .await
    }
}

struct Asking {
    connection: Connection,
    found: Uses,
    /// Whether the server keeps counters, and no idle times.
    counter: bool,
}

impl Asking {
    fn all(mut self, keys: &[Vec<u8>], depth: Depth) -> Result<Uses, Error> {
        let mut traced = match self.sizes(keys)? {
            Some(sizes) => sizes,
            None => match self.uses(keys)? {
                Some(traces) => traces.iter().map(|trace| trace.map(|_| Traced::default())).collect(),
                None => return Ok(self.found),
            },
        };
        if depth == Depth::Uses {
            let there: Vec<_> = (0..keys.len()).filter(|place| traced[*place].is_some()).collect();
            let names: Vec<_> = there.iter().map(|place| keys[*place].clone()).collect();
            let uses = self.uses(&names)?.unwrap_or_else(|| vec![None; names.len()]);
            let lives = self.ask(&names, |key| redis::cmd("PTTL").arg(key).take())?;
            for (index, place) in there.into_iter().enumerate() {
                let Some(key) = &mut traced[place] else { continue };
                key.trace = uses[index];
                match &lives[index] {
                    // It has died since, or its time was over.
                    Value::Int(-2) => (traced[place], self.found.misses) = (None, self.found.misses + 1),
                    Value::Int(left) => {
                        self.found.hits += 1;
                        key.left = u64::try_from(*left).ok().map(Duration::from_millis);
                    }
                    _ => {}
                }
            }
        }
        self.found.keys = Some(traced);
        Ok(self.found)
    }

    /// Which keys are there, and what they take. `None` if the account may not ask.
    fn sizes(&mut self, keys: &[Vec<u8>]) -> Result<Option<Vec<Option<Traced>>>, Error> {
        let usage = |key: &[u8]| redis::cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(1).take();
        let answers = self.ask(keys, usage)?;
        if self.is_refused(&answers) {
            return Ok(None);
        }
        let traced = |answer: &Value| match answer {
            Value::Int(bytes) => Some(Traced { bytes: u64::try_from(*bytes).ok(), ..Traced::default() }),
            _ => None,
        };
        Ok(Some(answers.iter().map(traced).collect()))
    }

    /// What is remembered of each key; nothing of one that is absent. `None` if the account may not ask.
    fn uses(&mut self, keys: &[Vec<u8>]) -> Result<Option<Vec<Option<Trace>>>, Error> {
        // Which of both there is, the first key tells; the question about it counts as a look-up, too.
        if let Some(first) = keys.first() {
            let one = std::slice::from_ref(first);
            let first = self.ask(one, |key| redis::cmd("OBJECT").arg("IDLETIME").arg(key).take())?;
            self.count(&first);
            self.counter = words(&first).is_some_and(|words| words.contains("LFU"));
        }
        let what = if self.counter { "FREQ" } else { "IDLETIME" };
        let answers = self.ask(keys, |key| redis::cmd("OBJECT").arg(what).arg(key).take())?;
        if self.is_refused(&answers) {
            return Ok(None);
        }
        self.count(&answers);
        let counter = self.counter;
        let trace = |answer: &Value| match answer {
            Value::Int(count) if counter => Some(Trace::Counter(count.unsigned_abs())),
            Value::Int(seconds) => Some(Trace::Idle(Duration::from_secs(seconds.unsigned_abs()))),
            _ => None,
        };
        Ok(Some(answers.iter().map(trace).collect()))
    }

    /// Counts what Redis has counted of questions to `OBJECT`.
    fn count(&mut self, answers: &[Value]) {
        for answer in answers {
            match answer {
                Value::Nil => self.found.misses += 1,
                // It looks the key up before it says that it keeps no such figure.
                Value::Int(_) => self.found.hits += 1,
                Value::ServerError(error) if error.details().is_some_and(|words| words.contains("LFU")) => {
                    self.found.hits += 1;
                }
                _ => {}
            }
        }
    }

    /// Whether no key was told of, and the account is why.
    fn is_refused(&mut self, answers: &[Value]) -> bool {
        let all = !answers.is_empty() && answers.iter().all(|answer| matches!(answer, Value::ServerError(_)));
        let words = words(answers).filter(|words| !self.found.refused.contains(words));
        self.found.refused.extend(words);
        all
    }

    fn ask(&mut self, keys: &[Vec<u8>], command: impl Fn(&[u8]) -> Cmd) -> Result<Vec<Value>, Error> {
        let mut answers = Vec::with_capacity(keys.len());
        for some in keys.chunks(AT_A_TIME) {
            let mut pipe = redis::pipe();
            for key in some {
                pipe.add_command(command(key));
            }
            let given: Vec<Value> =
                pipe.ignore_errors().query(&mut self.connection).map_err(|error| into_error(translate(&error)))?;
            self.found.commands += some.len() as u64;
            answers.extend(given);
        }
        Ok(answers)
    }
}
