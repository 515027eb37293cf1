//! The thread that watches Redis: once a second it looks whether Redis answers, and whether what was in it is still there (`loss.rs` judges).
//!
//! ```text
//!          ┌── every second ──┐
//!  connect ─► INFO, GET marker ─► judge ─► set the marker if it is away ─► health, then what was seen
//!     ▲            │ no answer in time, connection lost, refused, LOADING
//!     └── 1 … 2 s ─┴─► Down, once for each reason
//! ```
//!
//! A connection of its own is kept open, so that a look costs Redis two cheap commands, and a restart breaks it. The marker is the only key that is
//! written; reading it once a second also keeps it from being evicted before others. It is renewed by the hour only, lest an idle server writes
//! something into its append-only file every second.
//!
//! What was known before is kept while Redis is down, and compared when it is back.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use redis::{Connection, RedisResult};
use tokio::sync::{mpsc, watch};

use super::connect::{Connected, Redis, time};
use super::error::{Trouble, translate};
use super::loss::{Figures, Known, LIFE, Look, Marker};
use super::retract::into_error;
use crate::ground::backoff::pause_between_tries;
use crate::ground::clock::Clock;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::watch::{CacheHealth, Link, Seen};

/// How often Redis is to be looked at.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How long a server is left alone that refuses us: only its operator can change that, and each try may go into its log, but who has changed it
/// should not have to wait. (Redis' ACL LOG counts the tries of a minute in one entry.)
const REFUSED: Duration = Duration::from_secs(2);
/// How many reasons of one outage are told as new ones: a proxy may find ever other words.
const REASONS: usize = 16;
/// How long a command is not tried again that the account may not run, on one connection: each try goes into Redis' ACL LOG.
const FORBIDDEN: Duration = Duration::from_secs(60);
/// How often the marker's life is renewed, beside once for each connection.
const RENEWAL: Duration = Duration::from_secs(3600);

/// A watch over a cache. Dropped, it ends: at once, or when Redis' answer that is waited for has come or timed out.
#[derive(Debug)]
pub struct Watch {
    seen: mpsc::UnboundedReceiver<Seen>,
    health: watch::Receiver<CacheHealth>,
    _alive: Sender<Infallible>,
}

impl Watch {
    /// Waits for the next thing to be noticed. Nothing is lost when this is dropped and called again; whoever does not call it lets a few bytes pile
    /// up for each thing. `None`: the watch has ended, which is a defect.
    ///
    /// The first is [`Seen::Up`] or [`Seen::Down`]. What was lost while the cache was down is told after [`Seen::Up`].
    pub async fn next(&mut self) -> Option<Seen> {
        self.seen.recv().await
    }

    /// How the cache is at present, brought up to date by each look, before what it has seen is told.
    pub fn health(&self) -> watch::Receiver<CacheHealth> {
        self.health.clone()
    }
}

impl Redis {
    /// The key that is lost with everything else.
    pub(super) fn marker(&self) -> String {
        format!("{}warm:marker", self.key_prefix())
    }

    /// Begins to watch the server, from a thread of its own, with a look every [`WATCH_INTERVAL`], or as often as a test needs. Nothing is waited for, and
    /// no state of the server is an error.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn watch(&self, every: Duration, clock: Arc<dyn Clock>) -> Result<Watch, Error> {
        let (tell, seen) = mpsc::unbounded_channel();
        let (publish, health) = watch::channel(CacheHealth::default());
        let (alive, life) = channel();
        let watcher = Watcher {
            marker: self.marker(),
            redis: self.clone(),
            every,
            clock,
            connected: None,
            known: Known::default(),
            no_info: None,
            no_look: None,
            no_write: None,
            renewed: None,
            pending: None,
            reasons: Vec::new(),
            health: publish,
            tell,
        };
        std::thread::Builder::new()
            .name("warm-watch".to_owned())
            .spawn(move || watcher.run(&life))
            .map_err(|error| Error::new(ErrorKind::RedisUnreachable, format!("no thread for watching: {error}")))?;
        Ok(Watch { seen, health, _alive: alive })
    }
}

/// A command that Redis refuses, in its words.
#[derive(Debug, Clone)]
struct Refusal {
    words: String,
    at: Instant,
}

/// Tells a refusal, which will last, from an answer.
fn unless_refused<T>(answer: RedisResult<T>) -> Result<Result<T, Refusal>, Trouble> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(error) if matches!(error.code(), Some("NOPERM" | "WRONGTYPE" | "OOM" | "MISCONF")) => {
            Ok(Err(Refusal { words: into_error(translate(&error)).message, at: Instant::now() }))
        }
        Err(error) => Err(translate(&error)),
    }
}

fn lasts(refusal: &Option<Refusal>) -> bool {
    refusal.as_ref().is_some_and(|refusal| refusal.at.elapsed() < FORBIDDEN)
}

/// The thread's state.
struct Watcher {
    redis: Redis,
    every: Duration,
    clock: Arc<dyn Clock>,
    /// The marker's key.
    marker: String,
    connected: Option<Connected>,
    known: Known,
    /// What is refused: `INFO`, to look at the marker, to set or renew it.
    no_info: Option<Refusal>,
    no_look: Option<Refusal>,
    no_write: Option<Refusal>,
    /// When the marker's life was renewed last, on this connection.
    renewed: Option<Instant>,
    /// What a look found that did not come to its end: told when Redis is up.
    pending: Option<Seen>,
    /// Why it is down, and has been since it was up last: what has been told of that.
    reasons: Vec<String>,
    health: watch::Sender<CacheHealth>,
    tell: mpsc::UnboundedSender<Seen>,
}

impl Watcher {
    /// Looks until nobody holds the other end of `life` any more.
    fn run(mut self, life: &Receiver<Infallible>) {
        loop {
            let pause = self.step();
            if life.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// One look, or one try; gives the pause after it.
    fn step(&mut self) -> Duration {
        let was_connected = self.connected.is_some();
        match self.look() {
            Ok(figures) => {
                self.is_up(figures.unwrap_or_default());
                self.every
            }
            // A connection whose server asks for patience is kept. Any other may still get an answer, to a question that is no longer asked.
            Err(Trouble::Wait(error)) => {
                self.is_down(error);
                pause_between_tries()
            }
            Err(Trouble::Reconnect(error)) => {
                self.connected = None;
                self.is_down(error);
                // A connection that broke, perhaps after hours, says little about the next one.
                if was_connected { Duration::ZERO } else { pause_between_tries() }
            }
            Err(Trouble::Stop(error)) => {
                self.connected = None;
                self.is_down(error);
                REFUSED
            }
        }
    }

    fn look(&mut self) -> Result<Option<Figures>, Trouble> {
        let mut connected = match self.connected.take() {
            Some(connected) => connected,
            None => {
                (self.no_info, self.no_look, self.no_write, self.renewed) = (None, None, None, None);
                self.redis.connect_once()?
            }
        };
        let looked = self.look_through(&mut connected.connection);
        // `step` drops it where the trouble asks for that.
        self.connected = Some(connected);
        looked
    }

    fn look_through(&mut self, connection: &mut Connection) -> Result<Option<Figures>, Trouble> {
        let mut figures = self.ask_for_figures(connection)?;
        let marker = self.ask_for_marker(connection)?;
        if !self.known.expects(&marker) {
            // An eviction between the two answers would not be in the first one.
            figures = self.ask_for_figures(connection)?;
        }
        let visible = marker != Marker::Unknown;
        let look = Look { at: self.clock.now(), figures: figures.clone(), marker };
        self.pending = self.known.learn(look).or(self.pending.take());
        if visible && !lasts(&self.no_write) {
            self.keep_marker(connection, figures.as_ref().is_some_and(|figures| figures.is_replica))?;
        }
        Ok(figures)
    }

    /// `None` when the account may not ask.
    fn ask_for_figures(&mut self, connection: &mut Connection) -> Result<Option<Figures>, Trouble> {
        if lasts(&self.no_info) {
            return Ok(None);
        }
        let info = unless_refused(redis::cmd("INFO").query::<String>(connection))?;
        let figures = info.map(|info| Figures::parse(&info, self.redis.database()));
        self.no_info = figures.as_ref().err().cloned();
        Ok(figures.ok())
    }

    fn ask_for_marker(&mut self, connection: &mut Connection) -> Result<Marker, Trouble> {
        if lasts(&self.no_look) {
            return Ok(Marker::Unknown);
        }
        let token = unless_refused(redis::cmd("GET").arg(&self.marker).query(connection))?;
        self.no_look = token.as_ref().err().cloned();
        Ok(match token {
            Ok(None) => Marker::Absent,
            Ok(Some(token)) => Marker::Token(token),
            Err(_) => Marker::Unknown,
        })
    }

    /// Sets the marker if it is away, where nobody else has done so; renews its life if it is time.
    fn keep_marker(&mut self, connection: &mut Connection, is_replica: bool) -> Result<(), Trouble> {
        let refusal = match self.known.missing() {
            Some(token) => self.set_marker(connection, token)?,
            // The server of this connection may have become a replica, and another one the primary: a replica refuses this.
            None if is_replica || self.renewed.is_none_or(|at| at.elapsed() >= RENEWAL) => {
                // The account needs no right for PEXPIRE then.
                let dies = time(connection)?.saturating_add(LIFE.num_milliseconds().unsigned_abs());
                unless_refused(redis::cmd("PEXPIREAT").arg(&self.marker).arg(dies).exec(connection))?.err()
            }
            None => return Ok(()),
        };
        self.renewed = refusal.is_none().then(Instant::now);
        self.no_write = refusal;
        Ok(())
    }

    fn set_marker(&mut self, connection: &mut Connection, token: Vec<u8>) -> Result<Option<Refusal>, Trouble> {
        let life = LIFE.num_milliseconds();
        let set = redis::cmd("SET").arg(&self.marker).arg(&token).arg("NX").arg("PX").arg(life).query(connection);
        match unless_refused::<Option<String>>(set)? {
            Err(refusal) => return Ok(Some(refusal)),
            Ok(Some(_)) => self.known.set(token, self.clock.now()),
            // Somebody else was first.
            Ok(None) => {
                if let Marker::Token(token) = self.ask_for_marker(connection)? {
                    self.known.set(token, self.clock.now());
                }
            }
        }
        Ok(None)
    }

    fn is_up(&mut self, figures: Figures) {
        self.reasons.clear();
        let (now, blind, lost) = (self.clock.now(), self.blindness(), self.pending.take());
        let (mut was_up, mut was_blind) = (false, None);
        self.health.send_modify(|health| {
            was_up = matches!(health.link, Link::Up { .. });
            was_blind = health.blind.take();
            if !was_up {
                health.link = Link::Up { since: now };
            }
            if let Some(Seen::Lost(loss)) = lost {
                health.lost = Some((now, loss));
            }
            health.looked = Some(now);
            (health.run_id, health.used_memory) = (figures.run_id, figures.used_memory);
            (health.max_memory, health.blind) = (figures.max_memory, blind.clone());
        });
        let blind = blind.clone().filter(|_| blind != was_blind).map(|reason| Seen::Blind { reason });
        for seen in (!was_up).then_some(Seen::Up).into_iter().chain(blind).chain(lost) {
            // Nobody listens any more when the watch is about to end.
            let _ = self.tell.send(seen);
        }
    }

    fn is_down(&mut self, Error { kind, message, .. }: Error) {
        let (now, advice) = (self.clock.now(), kind.consequence().advice);
        let reason = format!("{message}, at {}; advice: {advice}", self.redis.describe());
        let mut is_news = false;
        self.health.send_modify(|health| {
            let since = match &health.link {
                Link::Down { since, reason: before } => {
                    is_news = *before != reason;
                    *since
                }
                _ => {
                    is_news = true;
                    now
                }
            };
            health.link = Link::Down { since, reason: reason.clone() };
        });
        if !is_news {
            return;
        }
        let again = self.reasons.contains(&reason) || self.reasons.len() >= REASONS;
        if !again {
            self.reasons.push(reason.clone());
        }
        // As above.
        let _ = self.tell.send(Seen::Down { reason, again });
    }

    /// Which losses cannot be noticed.
    fn blindness(&self) -> Option<String> {
        let no_info = self.no_info.as_ref().map(|Refusal { words, .. }| {
            format!(
                "a restart of Redis after which its keys are there again cannot be noticed, and an evicted marker looks as if Redis had \
                 been emptied ({words}): grant +info, as config/redis-acl.conf does"
            )
        });
        let no_marker = self.no_look.as_ref().or(self.no_write.as_ref()).map(|Refusal { words, .. }| {
            format!(
                "that Redis was emptied cannot be noticed, since the key {} cannot be kept ({words}): see to it that the account has the \
                 rights of config/redis-acl.conf for it, and that nobody else uses this key",
                self.marker
            )
        });
        match (no_info, no_marker) {
            (Some(info), Some(marker)) => Some(format!("{info}; {marker}")),
            (one, other) => one.or(other),
        }
    }
}
