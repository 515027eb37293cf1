//! Reads single values for those who ask: on one connection, in one thread.
//!
//! Whoever asks while the thread waits for Redis is answered by the next round, together with all others who do: so many who ask at once cost few round trips, and never more than
//! one connection.

use std::time::Duration;

use redis::{Connection, Value};
use tokio::sync::{mpsc, oneshot};

use super::connect::{Connected, Redis};
use super::error::{Trouble, judge, translate};
use super::retract::into_error;
use crate::ground::error::{Error, ErrorKind};

/// How many keys are asked for in one round.
const TOGETHER: usize = 256;

/// A value that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Its bytes.
    pub value: Vec<u8>,
    /// How long it lives; `None` for ever.
    pub left: Option<Duration>,
}

type Answer = Result<Option<Live>, Error>;

struct Ask {
    /// With the installation's prefix.
    key: Vec<u8>,
    to: oneshot::Sender<Answer>,
}

/// Somebody who reads values. The thread ends when nobody can ask any more.
#[derive(Debug, Clone)]
pub struct Reader {
    asks: mpsc::UnboundedSender<Ask>,
    prefix: String,
}

impl Redis {
    /// A reader, which connects when somebody asks.
    ///
    /// # Errors
    /// [`ErrorKind::RedisUnreachable`] if there can be no thread.
    pub fn reader(&self) -> Result<Reader, Error> {
        let (asks, receiver) = mpsc::unbounded_channel();
        let redis = self.clone();
        let work = move || answer_all(&redis, receiver);
        std::thread::Builder::new()
            .name("warm-reader".to_owned())
            .spawn(work)
            .map_err(|error| Error::new(ErrorKind::RedisUnreachable, format!("no thread for reading: {error}")))?;
        Ok(Reader { asks, prefix: self.key_prefix().to_owned() })
    }
}

impl Reader {
    /// The string at a key, which is given without the installation's prefix; nothing if it is absent.
    ///
    /// # Errors
    /// When the server cannot be reached or rejects us; [`ErrorKind::Definition`] for a key of another type.
    pub async fn get(&self, key: &[u8]) -> Answer {
        let gone = || Error::new(ErrorKind::Panic, "the reader has ended");
        let (to, answer) = oneshot::channel();
        let key = [self.prefix.as_bytes(), key].concat();
        self.asks.send(Ask { key, to }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn answer_all(redis: &Redis, mut asks: mpsc::UnboundedReceiver<Ask>) {
    let mut connected = None;
    while let Some(first) = asks.blocking_recv() {
        let mut round = vec![first];
        while round.len() < TOGETHER
            && let Ok(next) = asks.try_recv()
        {
            round.push(next);
        }
        // Nobody listens any more if he has given up meanwhile.
        round.retain(|ask| !ask.to.is_closed());
        match ask_in_turn(redis, &mut connected, &round) {
            Ok(answers) => round.into_iter().zip(answers).for_each(|(ask, answer)| drop(ask.to.send(answer))),
            Err(error) => round.into_iter().for_each(|ask| drop(ask.to.send(Err(error.clone())))),
        }
    }
}

/// Asks for all; once more, if the connection was an old one and broke.
fn ask_in_turn(redis: &Redis, connected: &mut Option<Connected>, round: &[Ask]) -> Result<Vec<Answer>, Error> {
    for is_new in [false, true] {
        let Connected { connection, .. } = match connected {
            Some(connected) => connected,
            None => connected.insert(redis.connect_once().map_err(into_error)?),
        };
        match ask(connection, round) {
            Ok(answers) => return Ok(answers),
            Err(trouble) => {
                // It may still hold the answer to somebody else.
                *connected = None;
                if is_new || !matches!(trouble, Trouble::Reconnect(_)) {
                    return Err(into_error(trouble));
                }
            }
        }
    }
    Ok(Vec::new())
}

fn ask(connection: &mut Connection, round: &[Ask]) -> Result<Vec<Answer>, Trouble> {
    let mut commands = Vec::new();
    for Ask { key, .. } in round {
        commands.extend(redis::cmd("PTTL").arg(key).get_packed_command());
        commands.extend(redis::cmd("GET").arg(key).get_packed_command());
    }
    connection.send_packed_command(&commands).map_err(|error| translate(&error))?;
    let mut answers = Vec::with_capacity(round.len());
    for _ in round {
        let (left, value) = (reply(connection)?, reply(connection)?);
        answers.push(match (left, value) {
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(_), Ok(Value::Nil)) => Ok(None),
            (Ok(Value::Int(left)), Ok(Value::BulkString(value))) => {
                Ok(Some(Live { value, left: u64::try_from(left).ok().map(Duration::from_millis) }))
            }
            _ => {
                return Err(Trouble::Reconnect(Error::new(
                    ErrorKind::RedisReply,
                    "Redis gave an answer that fits no question",
                )));
            }
        });
    }
    Ok(answers)
}

/// One reply: the inner error is about this key only.
fn reply(connection: &mut Connection) -> Result<Result<Value, Error>, Trouble> {
    let (code, detail) = match connection.recv_response() {
        Ok(Value::ServerError(error)) => (error.code().to_owned(), error.details().unwrap_or_default().to_owned()),
        Ok(value) => return Ok(Ok(value)),
        Err(error) => match error.code() {
            Some(code) => (code.to_owned(), error.detail().unwrap_or_default().to_owned()),
            None => return Err(translate(&error)),
        },
    };
    if code == "WRONGTYPE" {
        return Ok(Err(Error::new(ErrorKind::Definition, "the key holds another type than a string")));
    }
    Ok(Err(into_error(judge(&code, &detail))))
}
