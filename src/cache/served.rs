//! Which due time of each job was served last: kept in Redis, where every host sees it, so that none makes up for a run that another one did.
//!
//! A mark is lost with the cache; then what it stood for is to be done again anyway. A run that began before a loss leaves none behind it: what it
//! has written may be gone.

use chrono::{DateTime, TimeDelta, Utc};
use redis::{RedisError, RedisResult, Value};

use super::connect::{Connected, Redis, number};
use super::error::translate;
use super::retract::into_error;
use crate::ground::error::{Error, ErrorKind};

/// How long a mark lives: longer than the time from one run to the next of a job that runs once a year.
const LIFE: TimeDelta = TimeDelta::days(400);

/// The longest number that is a mark: milliseconds up to the year 33658, which Lua, too, compares exactly.
const DIGITS: usize = 15;

/// Moves a mark forward. ARGV: the due time, lifetime, the longest number, the latest time that a mark may have: one that lies further in the future
/// was written by a clock that was wrong, and must not stand for ever; what stood at the second key when the run began. 1: the mark stands there or later,
/// 0: the key holds another type, 2: the cache is another one than it was. What is no number is no mark.
const FORWARD: &str = "local m = redis.pcall('GET', KEYS[2]) \
    if type(m) ~= 'string' then m = '' end \
    if m ~= ARGV[5] then return 2 end \
    local t = redis.call('TYPE', KEYS[1])['ok'] \
    if t ~= 'none' and t ~= 'string' then return 0 end \
    if t == 'string' then \
      local v = redis.call('GET', KEYS[1]) \
      if #v <= tonumber(ARGV[3]) and string.find(v, '^%d+$') and tonumber(v) > tonumber(ARGV[1]) \
        and tonumber(v) <= tonumber(ARGV[4]) then return 1 end \
    end \
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) \
    return 1";

/// What is known of the due time that was served last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// The due time, as it stands there, even in the future.
    pub due: DateTime<Utc>,
    /// Whether this was written by the Redis process of now: what it has loaded from its disk says nothing about the rest of what was there.
    pub since_start: bool,
}

/// By what a cache is told from the one that it is after it has lost its content: the process, and the marker that each loss takes away (`watch.rs`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Epoch {
    run_id: Option<String>,
    marker: Option<Vec<u8>>,
}

impl Epoch {
    /// Of a process that cannot be told nobody knows that it is another one.
    pub(super) fn is_over(&self, connected: &Connected, marker: Option<&[u8]>) -> bool {
        let another = connected.run_id().zip(self.run_id.as_deref()).is_some_and(|(now, then)| now != then);
        another || marker != self.marker.as_deref()
    }
}

impl Redis {
    /// The due time of each of the jobs that was served last, if it is known: in one round trip. An account that may not ask knows none. Waits for
    /// as long as connecting and one answer may take.
    ///
    /// # Errors
    /// As connecting, and what Redis says.
    pub async fn served(&self, jobs: Vec<String>) -> Result<Vec<Option<Served>>, Error> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.apart(move |redis| redis.marks(&jobs)).await?.0)
    }

    /// The same of one job, with what tells this cache from a later one.
    ///
    /// # Errors
    /// As [`Redis::served`].
    pub async fn served_now(&self, job: &str) -> Result<(Option<Served>, Epoch), Error> {
        let job = vec![job.to_owned()];
        let (served, epoch) = self.apart(move |redis| redis.marks(&job)).await?;
        Ok((served.into_iter().next().flatten(), epoch))
    }

    /// Remembers that the due time of a job was served, unless a later one was, up to `latest`: the next due time is the last one that can be true; and unless the cache has lost its content
    /// since it was the one of `epoch`. Waits as [`Redis::served`] does.
    ///
    /// # Errors
    /// As connecting, and what Redis says; also when somebody else's value, of another type, stands in the mark's place: it is left alone.
    pub async fn serve(
        &self,
        job: &str,
        due: DateTime<Utc>,
        latest: DateTime<Utc>,
        epoch: &Epoch,
    ) -> Result<(), Error> {
        let (key, epoch) = (self.mark(job), epoch.clone());
        self.apart(move |redis| redis.move_mark(&key, due, latest, &epoch)).await
    }

    fn mark(&self, job: &str) -> String {
        format!("{}warm:served:{job}", self.key_prefix())
    }

    fn marks(&self, jobs: &[String]) -> Result<(Vec<Option<Served>>, Epoch), Error> {
        let mut connected = self.connect()?;
        let uptime = connected.info.as_deref().and_then(|info| number(info, "uptime_in_seconds"));
        let mut pipe = redis::pipe();
        pipe.cmd("GET").arg(self.marker());
        for job in jobs {
            // Not MGET: for this the account has a right anyway.
            pipe.cmd("GET").arg(self.mark(job)).cmd("PTTL").arg(self.mark(job));
        }
        let fail = |error: RedisError| into_error(translate(&error));
        let answers: Vec<RedisResult<Value>> = pipe.ignore_errors().query(&mut connected.connection).map_err(fail)?;
        let mark = |answer: &[RedisResult<Value>]| match answer {
            [Ok(Value::BulkString(text)), life] => {
                let life = if let Ok(Value::Int(life)) = life { Some(*life) } else { None };
                let since_start = uptime.zip(life).is_some_and(|(uptime, life)| is_younger(life, uptime));
                Ok(parse(text).map(|due| Served { due, since_start }))
            }
            [Err(error), _] if !matches!(error.code(), Some("WRONGTYPE" | "NOPERM")) => Err(fail(error.clone())),
            _ => Ok(None),
        };
        let Some((marker, answers)) = answers.split_first() else { return Ok(Default::default()) };
        let marker = if let Ok(Value::BulkString(token)) = marker { Some(token.clone()) } else { None };
        let epoch = Epoch { run_id: connected.run_id().map(str::to_owned), marker };
        Ok((answers.chunks(2).map(mark).collect::<Result<_, _>>()?, epoch))
    }

    fn move_mark(&self, key: &str, due: DateTime<Utc>, latest: DateTime<Utc>, epoch: &Epoch) -> Result<(), Error> {
        let mut connected = self.connect()?;
        if epoch.is_over(&connected, epoch.marker.as_deref()) {
            return Ok(());
        }
        let mut eval = redis::cmd("EVAL");
        eval.arg(FORWARD)
            .arg(2)
            .arg(key)
            .arg(self.marker())
            .arg(due.timestamp_millis())
            .arg(LIFE.num_milliseconds())
            .arg(DIGITS);
        eval.arg(latest.timestamp_millis()).arg(epoch.marker.as_deref().unwrap_or_default());
        match eval.query::<u8>(&mut connected.connection) {
            Ok(1 | 2) => Ok(()),
            Ok(_) => {
                let message = format!(
                    "the key {key} holds no string, but something that is not warm's; it was left alone: see who writes it, then delete it"
                );
                Err(Error::new(ErrorKind::RedisRefused, message))
            }
            Err(error) => Err(into_error(translate(&error))),
        }
    }
}

/// Whether a mark that has so many milliseconds left was written within so many seconds: both on the server's own clock.
fn is_younger(life: i64, uptime: u64) -> bool {
    let age = LIFE.num_milliseconds().checked_sub(life).and_then(|age| u64::try_from(age).ok());
    age.is_some_and(|age| age < uptime.saturating_mul(1000))
}

/// A due time, if the text is one.
fn parse(text: &[u8]) -> Option<DateTime<Utc>> {
    let plain = text.len() <= DIGITS && text.iter().all(u8::is_ascii_digit);
    let millis = std::str::from_utf8(text).ok()?.parse().ok().filter(|_| plain)?;
    DateTime::from_timestamp_millis(millis)
}
