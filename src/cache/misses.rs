//! Hears of misses: Redis says the name of each key that somebody wanted and that was not there (`keymiss`), to whoever subscribes to it.
//!
//! It does so only if `notify-keyspace-events` has the letters `E` and `m`. Whether it has is not asked, since the right to run `CONFIG` shows passwords as well: a key of our own that cannot be
//! there is read, on another connection, and Redis has to say so. That tells of the account's rights and of the database, too, and costs one miss for each connection.
//!
//! Nothing is queued here: who cannot keep up is disconnected by Redis, and that is told as lost.

use std::mem::ManuallyDrop;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use redis::{Connection, PubSub};

use super::connect::Redis;
use super::error::{Trouble, translate};
use super::retract::into_error;
use crate::ground::backoff::pause_between_tries;
use crate::ground::error::{Error, ErrorKind};

/// How long is waited for the next miss before it is asked whether Redis is there, and the most by which a listener outlives its use.
const QUIET: Duration = Duration::from_secs(1);

/// What is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'k> {
    /// Somebody missed this key, which is given without the installation's prefix.
    Miss(&'k [u8]),
    /// Nothing for a while.
    Quiet,
    /// The connection broke; what was missed until the next word is not known.
    Lost(&'k Error),
}

/// Who is told of it, and says whether he wants to hear more.
pub trait Ear: FnMut(Heard<'_>) -> ControlFlow<()> + Send + 'static {}

impl<T: FnMut(Heard<'_>) -> ControlFlow<()> + Send + 'static> Ear for T {}

/// A connection on which misses are told.
pub struct Misses {
    redis: Redis,
    connection: Connection,
    /// The first ones, which came before somebody listened.
    early: Vec<Vec<u8>>,
}

impl Redis {
    /// Where misses in the database are told.
    fn channel(&self) -> String {
        format!("__keyevent@{}__:keymiss", self.database())
    }

    /// Begins to hear of misses, once Redis has told of one.
    ///
    /// # Errors
    /// As connecting; [`ErrorKind::RedisRefused`] if Redis tells of none, or not this account.
    pub async fn misses(&self) -> Result<Misses, Error> {
        self.apart(Redis::begin_to_hear).await
    }

    /// Misses a key of our own: whoever listens has heard all that was missed before when he hears of it.
    ///
    /// # Errors
    /// As connecting.
    pub async fn miss(&self, key: OwnKey) -> Result<(), Error> {
        self.apart(move |redis| redis.miss_now(&key)).await
    }

    fn miss_now(&self, OwnKey(key): &OwnKey) -> Result<(), Error> {
        let mut connection = self.connect()?.connection;
        let get = redis::cmd("GET").arg([self.key_prefix().as_bytes(), key].concat()).exec(&mut connection);
        get.map_err(|error| into_error(translate(&error)))
    }

    fn begin_to_hear(&self) -> Result<Misses, Error> {
        let mut connection = self.connect()?.connection;
        let (channel, own) = (self.channel(), OwnKey::new());
        let probe = [self.key_prefix().as_bytes(), &own.0].concat();
        // The driver's own way to subscribe passes over a refusal.
        redis::cmd("SUBSCRIBE").arg(&channel).exec(&mut connection).map_err(|error| lacks(&error))?;
        let mut early = Vec::new();
        with_messages(&mut connection, |messages| {
            messages.set_read_timeout(Some(QUIET)).map_err(|error| into_error(translate(&error)))?;
            self.miss_now(&own)?;
            let latest = Instant::now() + QUIET;
            while Instant::now() < latest {
                match messages.get_message() {
                    Ok(message) if message.get_payload_bytes() == probe => return Ok(()),
                    Ok(message) => early.push(message.get_payload_bytes().to_vec()),
                    Err(error) if error.is_timeout() => break,
                    Err(error) => return Err(into_error(translate(&error))),
                }
            }
            Err(is_silent(&channel))
        })?;
        Ok(Misses { redis: self.clone(), connection, early })
    }
}

/// A key of our own that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnKey(Vec<u8>);

impl OwnKey {
    /// One that nobody else knows.
    #[expect(clippy::new_without_default, reason = "no two are the same")]
    pub fn new() -> Self {
        OwnKey(format!("warm:check:{:016x}", fastrand::u64(..)).into_bytes())
    }

    /// Whether it is this one.
    pub fn is(&self, key: &[u8]) -> bool {
        self.0 == key
    }
}

impl Misses {
    /// Listens from a thread of its own, until `ear` has heard enough. If the connection breaks, another one is made.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn listen(self, ear: impl Ear) -> Result<(), Error> {
        let listen = std::thread::Builder::new().name("warm-misses".to_owned()).spawn(move || self.go_on(ear));
        let no_thread = |error| Error::new(ErrorKind::RedisUnreachable, format!("no thread for listening: {error}"));
        listen.map(|_| ()).map_err(no_thread)
    }

    fn go_on(mut self, mut ear: impl Ear) {
        loop {
            let Err(error) = self.hear(&mut ear) else { return };
            if ear(Heard::Lost(&error)).is_break() {
                return;
            }
            let redis = self.redis.clone();
            // Nobody is to be told twice on the old connection while there is a new one.
            drop(self);
            self = loop {
                match redis.begin_to_hear() {
                    Ok(again) => break again,
                    Err(error) if ear(Heard::Lost(&error)).is_break() => return,
                    Err(_) => std::thread::sleep(pause_between_tries()),
                }
            };
        }
    }

    /// Until the ear has had enough, or the connection breaks.
    fn hear(&mut self, ear: &mut impl Ear) -> Result<(), Error> {
        let (prefix, channel) = (self.redis.key_prefix().as_bytes().to_vec(), self.redis.channel());
        let mut tell = |key: Option<&[u8]>| match key.map(|key| key.strip_prefix(&prefix[..])) {
            Some(Some(key)) => ear(Heard::Miss(key)),
            // Another installation's.
            Some(None) => ControlFlow::Continue(()),
            None => ear(Heard::Quiet),
        };
        for key in std::mem::take(&mut self.early) {
            if tell(Some(&key)).is_break() {
                return Ok(());
            }
        }
        with_messages(&mut self.connection, |messages| {
            loop {
                let flow = match messages.get_message() {
                    Ok(message) => tell(Some(message.get_payload_bytes())),
                    Err(error) if error.is_timeout() => {
                        // A peer that is gone looks like a quiet one. To subscribe once more changes nothing, and needs no further right, as PING would.
                        messages.subscribe(&channel).map_err(|error| into_error(translate(&error)))?;
                        tell(None)
                    }
                    Err(error) => return Err(into_error(translate(&error))),
                };
                if flow.is_break() {
                    return Ok(());
                }
            }
        })
    }
}

/// Does something with a connection that is used for messages only from now on.
fn with_messages<T>(
    connection: &mut Connection,
    work: impl FnOnce(&mut PubSub<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    // Dropped, it would send UNSUBSCRIBE, for which the account needs no right, and wait for the answer.
    let mut messages = ManuallyDrop::new(connection.as_pubsub());
    work(&mut messages)
}

fn is_silent(channel: &str) -> Error {
    let message = format!(
        "Redis tells nobody of misses (nothing came on {channel} for a key that was missed): add the letters `Em` to \
         `notify-keyspace-events`, in redis.conf and, as its administrator, by `CONFIG SET notify-keyspace-events` on the running server; `CONFIG GET` shows which it has"
    );
    Error::new(ErrorKind::RedisRefused, message)
}

fn lacks(error: &redis::RedisError) -> Error {
    match (error.code(), translate(error)) {
        (Some("NOPERM"), Trouble::Stop(Error { message, .. })) => {
            let way_out = "grant +subscribe and &__keyevent@*__:keymiss, as config/redis-acl.conf does";
            Error::new(
                ErrorKind::RedisRefused,
                format!("the Redis account may not hear of misses: {message}; {way_out}"),
            )
        }
        (_, trouble) => into_error(trouble),
    }
}
