//! Reads single values for those who ask: on one connection, in one thread.
//!
//! Whoever asks while the thread waits for Redis is answered by the next round, together with all others who do: so many who ask at once cost few round trips, and never more than
//! one connection.
//!
//! Anybody may have written what is read, and of any length: what is longer than wanted is not fetched. Each value goes on its way as soon as it has come, so that few are held here.

use std::collections::VecDeque;
use std::time::Duration;

use redis::{Connection, Value};
use tokio::sync::{mpsc, oneshot};

use super::connect::{Connected, Redis};
use super::error::{Trouble, judge, translate};
use super::retract::into_error;
use crate::ground::error::{Error, ErrorKind};

/// How many keys are asked for in one round.
const TOGETHER: usize = 256;

/// Looks how long a value is, and gives it only if that is no more than wanted, behind the milliseconds that it still lives: else its length alone.
const GET: &str = "local length = redis.call('STRLEN', KEYS[1]) \
    if length > tonumber(ARGV[1]) then return length end \
    local value = redis.call('GET', KEYS[1]) \
    return value and {redis.call('PTTL', KEYS[1]), value}";

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
    /// The most bytes that are wanted.
    most: usize,
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
    /// The string of at most so many bytes at a key, which is given without the installation's prefix; nothing if it is absent.
    ///
    /// # Errors
    /// When the server cannot be reached or rejects us; [`ErrorKind::Definition`] for a key of another type, or a longer string.
    pub async fn get(&self, key: &[u8], most: usize) -> Answer {
        let gone = || Error::new(ErrorKind::Panic, "the reader has ended");
        let (to, answer) = oneshot::channel();
        let key = [self.prefix.as_bytes(), key].concat();
        self.asks.send(Ask { key, most, to }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn answer_all(redis: &Redis, mut asks: mpsc::UnboundedReceiver<Ask>) {
    let mut connected = None;
    while let Some(first) = asks.blocking_recv() {
        let mut round = VecDeque::from([first]);
        while round.len() < TOGETHER
            && let Ok(next) = asks.try_recv()
        {
            round.push_back(next);
        }
        // Nobody listens any more if he has given up meanwhile.
        round.retain(|ask| !ask.to.is_closed());
        if let Err(error) = ask_in_turn(redis, &mut connected, &mut round) {
            round.into_iter().for_each(|ask| drop(ask.to.send(Err(error.clone()))));
        }
    }
}

/// Asks for all, and answers; asks once more for what has no answer, if the connection was an old one and broke.
fn ask_in_turn(redis: &Redis, connected: &mut Option<Connected>, round: &mut VecDeque<Ask>) -> Result<(), Error> {
    for is_new in [false, true] {
        let Connected { connection, .. } = match connected {
            Some(connected) => connected,
            None => connected.insert(redis.connect_once().map_err(into_error)?),
        };
        match ask(connection, round) {
            Ok(()) => return Ok(()),
            Err(trouble) => {
                // It may still hold the answer to somebody else.
                *connected = None;
                if is_new || !matches!(trouble, Trouble::Reconnect(_)) {
                    return Err(into_error(trouble));
                }
            }
        }
    }
    Ok(())
}

fn ask(connection: &mut Connection, round: &mut VecDeque<Ask>) -> Result<(), Trouble> {
    let mut commands = Vec::new();
    for Ask { key, most, .. } in round.iter() {
        commands.extend(redis::cmd("EVAL").arg(GET).arg(1).arg(key).arg(most).get_packed_command());
    }
    connection.send_packed_command(&commands).map_err(|error| translate(&error))?;
    while let Some(Ask { most, .. }) = round.front() {
        let answer = reply(connection)?.map_or_else(|error| Some(Err(error)), |value| understood(value, *most));
        let Some(answer) = answer else {
            let message = "Redis gave an answer that fits no question";
            return Err(Trouble::Reconnect(Error::new(ErrorKind::RedisReply, message)));
        };
        if let Some(ask) = round.pop_front() {
            // He may have given up.
            let _ = ask.to.send(answer);
        }
    }
    Ok(())
}

/// What [`GET`] gave; `None` if it cannot have been that.
fn understood(value: Value, most: usize) -> Option<Answer> {
    match value {
        Value::Nil => Some(Ok(None)),
        Value::Int(length) => {
            let why = format!("the value in Redis is {length} bytes long, more than max_value allows ({most})");
            Some(Err(Error::new(ErrorKind::Definition, why)))
        }
        Value::Array(both) => match <[Value; 2]>::try_from(both) {
            Ok([Value::Int(left), Value::BulkString(value)]) => {
                Some(Ok(Some(Live { value, left: u64::try_from(left).ok().map(Duration::from_millis) })))
            }
            _ => None,
        },
        _ => None,
    }
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
