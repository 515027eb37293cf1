//! What Redis does for everybody: its counts, how soon it answers, and what was slow. Nothing here reads, touches or changes a key.

use std::time::{Duration, Instant};

use redis::Value;

use super::connect::{Redis, field, number, time};
use super::error::translate;
use super::retract::into_error;
use crate::ground::error::Error;
use crate::ground::figures::Figures;
use crate::ground::slow::{Slow, SlowLog};

/// How many answers are timed.
const ANSWERS: usize = 100;
/// For how long at the most: Redis may be far away, or slow.
const LONGEST: Duration = Duration::from_secs(2);
/// How many slow commands are looked at.
const SLOW: usize = 128;

impl Redis {
    /// What the server counts; `None` when the account may not ask.
    ///
    /// # Errors
    /// When the server cannot be reached or rejects us.
    pub async fn figures(&self) -> Result<Option<Figures>, Error> {
        self.apart(|redis| Ok(redis.connect()?.info.as_deref().map(parse))).await
    }

    /// How long the server took for each of some answers to `TIME`, which is as much as it does for a small command, and the way there and back.
    ///
    /// # Errors
    /// When the server cannot be reached or rejects us.
    pub async fn answers(&self) -> Result<Vec<Duration>, Error> {
        self.apart(|redis| {
            let mut connection = redis.connect()?.connection;
            let begun = Instant::now();
            let mut answers = Vec::with_capacity(ANSWERS);
            while answers.len() < ANSWERS && begun.elapsed() < LONGEST {
                let asked = Instant::now();
                time(&mut connection).map_err(into_error)?;
                answers.push(asked.elapsed());
            }
            Ok(answers)
        })
        .await
    }

    /// The slow commands that the server has noted, or why it does not tell, in its words.
    ///
    /// # Errors
    /// When the server cannot be reached or rejects us.
    pub async fn slow_commands(&self) -> Result<Result<SlowLog, String>, Error> {
        self.apart(|redis| {
            let mut connection = redis.connect()?.connection;
            let mut ask = redis::pipe();
            ask.cmd("SLOWLOG").arg("LEN").cmd("SLOWLOG").arg("GET").arg(SLOW).ignore_errors();
            let answers: Vec<Value> = ask.query(&mut connection).map_err(|error| into_error(translate(&error)))?;
            Ok(match &answers[..] {
                [Value::Int(kept), Value::Array(entries)] => {
                    let own = format!("{}warm:", redis.key_prefix());
                    let last = entries.iter().filter_map(|entry| slow(entry, &own)).collect();
                    Ok(SlowLog { kept: kept.unsigned_abs(), last })
                }
                other => Err(words(other).unwrap_or_else(|| "the answer was not understood".to_owned())),
            })
        })
        .await
    }
}

/// What the server says against one of several commands.
pub(super) fn words(answers: &[Value]) -> Option<String> {
    answers.iter().find_map(|answer| match answer {
        Value::ServerError(error) => Some(error.details().unwrap_or(error.code()).to_owned()),
        _ => None,
    })
}

/// An entry of the slow log: its number, when, how many microseconds, the words, who.
fn slow(entry: &Value, own: &str) -> Option<Slow> {
    let Value::Array(fields) = entry else { return None };
    let [_, Value::Int(at), Value::Int(micros), Value::Array(words), ..] = &fields[..] else { return None };
    let word = |word: &Value| match word {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        _ => String::new(),
    };
    let words: Vec<_> = words.iter().map(word).collect();
    Some(Slow::of(Duration::from_micros(micros.unsigned_abs()), *at, &words, own))
}

fn parse(info: &str) -> Figures {
    let count = |name| number(info, name).unwrap_or(0);
    let text = |name| field(info, name).unwrap_or_default().trim().to_owned();
    Figures {
        run_id: text("run_id"),
        uptime: Duration::from_secs(count("uptime_in_seconds")),
        hits: count("keyspace_hits"),
        misses: count("keyspace_misses"),
        evicted: count("evicted_keys"),
        expired: count("expired_keys"),
        // Buffers for replicas and for the append-only file evict nothing.
        used: count("used_memory").saturating_sub(count("mem_not_counted_for_evict")),
        limit: number(info, "maxmemory").filter(|limit| *limit > 0),
        policy: text("maxmemory_policy"),
    }
}
