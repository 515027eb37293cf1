//! Reads single values for those who ask: on one connection, in one thread.
//!
//! Whoever asks while the thread waits for Redis is answered by the next round, together with all others who do: so many who ask at once cost few round trips, and never more than
//! one connection.
//!
//! Anybody may have written what is read, and of any length: what is longer than wanted is not fetched. Each value goes on its way as soon as it has come, so that few are held here.

use std::collections::VecDeque;
use std::time::Duration;

use redis::{Cmd, Connection, Value};
use tokio::sync::{mpsc, oneshot};

use super::connect::{Connected, Redis};
use super::error::{Trouble, judge, translate};
use super::retract::into_error;
use crate::ground::error::{Error, ErrorKind};

/// How many keys are asked for in one round.
const TOGETHER: usize = 256;

/// What `PTTL` says of a key that is absent.
const ABSENT: i64 = -2;

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

/// Asks for the first bytes of each value, one more than are wanted. Of an absent key they are those of an empty string: where that may be one, the whole value is asked for.
fn ask(connection: &mut Connection, round: &mut VecDeque<Ask>) -> Result<(), Trouble> {
    let first = |Ask { key, most, .. }: &Ask| redis::cmd("GETRANGE").arg(key).arg(0).arg(most).take();
    let mut empty = VecDeque::new();
    let result = exchange(connection, round, first, Some(&mut empty))
        .and_then(|()| exchange(connection, &mut empty, |Ask { key, .. }| redis::cmd("GET").arg(key).take(), None));
    round.append(&mut empty);
    result
}

/// Asks for these and answers them, but for values that seem to be empty, which are put aside if it is said where.
fn exchange(
    connection: &mut Connection,
    asks: &mut VecDeque<Ask>,
    value_of: impl Fn(&Ask) -> Cmd,
    mut aside: Option<&mut VecDeque<Ask>>,
) -> Result<(), Trouble> {
    let mut commands = Vec::new();
    for ask in asks.iter() {
        commands.extend(redis::cmd("PTTL").arg(&ask.key).get_packed_command());
        commands.extend(value_of(ask).get_packed_command());
    }
    if commands.is_empty() {
        return Ok(());
    }
    connection.send_packed_command(&commands).map_err(|error| translate(&error))?;
    while !asks.is_empty() {
        let both = (reply(connection)?, reply(connection)?);
        let Some(ask) = asks.pop_front() else { break };
        let answer = match both {
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(Value::Int(ABSENT)), Ok(Value::BulkString(value))) if value.is_empty() => Ok(None),
            (Ok(Value::Int(left)), Ok(Value::BulkString(value))) => match &mut aside {
                Some(aside) if value.is_empty() => {
                    aside.push_back(ask);
                    continue;
                }
                _ if value.len() > ask.most => Err(too_long(ask.most)),
                _ => Ok(Some(Live { value, left: u64::try_from(left).ok().map(Duration::from_millis) })),
            },
            (Ok(_), Ok(Value::Nil)) => Ok(None),
            _ => {
                asks.push_front(ask);
                let message = "Redis gave an answer that fits no question";
                return Err(Trouble::Reconnect(Error::new(ErrorKind::RedisReply, message)));
            }
        };
        // He may have given up.
        let _ = ask.to.send(answer);
    }
    Ok(())
}

fn too_long(most: usize) -> Error {
    let why = format!("the value in Redis is longer than max_value allows ({most} bytes, as it stands there)");
    Error::new(ErrorKind::Definition, why)
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
