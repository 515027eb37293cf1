//! Who does not answer is left in peace for a moment, and those who ask are told so at once: a circuit breaker.
//!
//! It opens when an answer failed, or when for [`PATIENCE`] somebody has waited and nobody was answered: that is noticed while they wait, since a server that hangs fails nothing. While it is open,
//! one asks each [`PAUSE`] to see whether the server is back. The first answer closes it.
//!
//! Source: Michael Nygard, *Release It!*, "Circuit Breaker".

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ground::error::{Error, ErrorKind};

/// How long somebody waits, and nobody is answered, until others do not wait as well.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long nobody else asks.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of one server's answers.
#[derive(Debug)]
pub(super) struct Breaker {
    /// Whom it is about, for people.
    name: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When those who wait for an answer asked, the first one first.
    waiting: Vec<Instant>,
    answered: Option<Instant>,
    failure: Option<Error>,
    /// When somebody asked although it is open.
    tried: Option<Instant>,
}

/// Somebody who asks, until he is answered or gives up.
#[derive(Debug)]
pub(super) struct Asking<'b> {
    breaker: &'b Breaker,
    since: Instant,
}

impl Breaker {
    /// One that is closed.
    pub(super) fn new(name: impl Into<String>) -> Self {
        Breaker { name: name.into(), state: Mutex::default() }
    }

    /// Asks now, if it makes sense.
    ///
    /// # Errors
    /// What the last answer failed with, or that there is none.
    pub(super) fn ask(&self, now: Instant) -> Result<Asking<'_>, Error> {
        let mut state = self.state();
        if let Some(error) = state.trouble(&self.name, now) {
            if state.tried.is_some_and(|tried| now.duration_since(tried) < PAUSE) {
                return Err(error);
            }
            state.tried = Some(now);
        }
        state.waiting.push(now);
        Ok(Asking { breaker: self, since: now })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn trouble(&mut self, name: &str, now: Instant) -> Option<Error> {
        if self.failure.is_some() {
            return self.failure.clone();
        }
        let silent_since = self.waiting.first().copied().max(self.answered).filter(|_| !self.waiting.is_empty())?;
        let silent = now.saturating_duration_since(silent_since);
        let message = || format!("{name} has not answered for {} s", silent.as_secs());
        (silent >= PATIENCE).then(|| Error::new(ErrorKind::JobTimeout, message()))
    }
}

impl Asking<'_> {
    /// What became of it: an error that says that the server is there is an answer as well.
    pub(super) fn ended(self, error: Option<&Error>, now: Instant) {
        let mut state = self.breaker.state();
        let Some(error) = error.filter(|error| is_no_answer(error.kind)) else {
            (state.answered, state.failure, state.tried) = (Some(now), None, None);
            return;
        };
        // What was asked before the last answer says less than that.
        if state.answered.is_none_or(|answered| answered <= self.since) {
            (state.failure, state.tried) = (Some(error.clone()), Some(now));
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut state = self.breaker.state();
        if let Some(place) = state.waiting.iter().position(|since| *since == self.since) {
            state.waiting.remove(place);
        }
    }
}

fn is_no_answer(kind: ErrorKind) -> bool {
    use ErrorKind::*;
    let of_postgres = matches!(kind, PostgresUnreachable | PostgresFull | PostgresLost | StatementTimeout | RowTimeout);
    of_postgres || matches!(kind, RedisUnreachable | RedisReply | JobTimeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    fn error() -> Error {
        Error::new(ErrorKind::RedisUnreachable, "away")
    }

    #[test]
    fn after_a_failure_one_a_second_asks_until_there_is_an_answer() {
        let (breaker, start) = (Breaker::new("Redis"), Instant::now());
        breaker.ask(start).unwrap().ended(Some(&error()), at(start, 0.1));
        assert_eq!(breaker.ask(at(start, 0.9)).unwrap_err(), error());
        let probe = breaker.ask(at(start, 1.2)).unwrap();
        assert_eq!(breaker.ask(at(start, 1.3)).unwrap_err(), error(), "only one asks");
        probe.ended(None, at(start, 1.4));
        breaker.ask(at(start, 1.5)).unwrap().ended(None, at(start, 1.5));
    }

    #[test]
    fn who_hangs_is_noticed_while_others_wait() {
        let (breaker, start) = (Breaker::new("PostgreSQL"), Instant::now());
        let first = breaker.ask(start).unwrap();
        let second = breaker.ask(at(start, 4.9)).unwrap();
        let probe = breaker.ask(at(start, 5.1)).unwrap();
        let error = breaker.ask(at(start, 5.2)).unwrap_err();
        assert_eq!(error.message, "PostgreSQL has not answered for 5 s");
        second.ended(None, at(start, 5.3));
        let next = breaker.ask(at(start, 5.4)).unwrap();
        assert!(breaker.ask(at(start, 10.2)).is_ok(), "it has answered since the first one asked");
        drop((first, probe, next));
    }

    #[test]
    fn who_gave_up_does_not_count_and_an_old_failure_says_nothing() {
        let (breaker, start) = (Breaker::new("Redis"), Instant::now());
        drop(breaker.ask(start).unwrap());
        let old = breaker.ask(at(start, 10.0)).unwrap();
        breaker.ask(at(start, 11.0)).unwrap().ended(None, at(start, 11.5));
        old.ended(Some(&error()), at(start, 12.0));
        assert!(breaker.ask(at(start, 12.1)).is_ok());
    }
}
