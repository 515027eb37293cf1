//! What the writer's thread does when Redis asks for patience, a connection breaks, or nobody waits any longer.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Pipeline;
use crate::cache::connect::{Connected, Redis};
use crate::cache::error::Trouble;
use crate::cache::inspect::NO_JSON;
use crate::cache::retract::into_error;
use crate::cache::scripts::Scripts;
use crate::cache::strategy::Policy;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::kind::Kind;

/// How often a server that asks for patience is asked again.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often one batch is sent before a connection that keeps breaking is given up.
const TRIES: u32 = 4;

impl Pipeline {
    /// Does what the trouble asks for, then sends everything again that has no reply.
    pub(super) fn recover(&mut self, trouble: Trouble) -> Result<(), Error> {
        if let Trouble::Stop(error) = trouble {
            // It came as a reply, so that the connection is good, and others follow.
            self.count_what_is_left();
            return Err(error);
        }
        let (mut trouble, mut broken) = (trouble, 0);
        loop {
            let error = match trouble {
                Trouble::Stop(error) => return Err(error),
                Trouble::Wait(error) => {
                    let since = *self.waiting.get_or_insert_with(Instant::now);
                    if since.elapsed() > self.redis.connect_timeout() {
                        return Err(error);
                    }
                    std::thread::sleep(PATIENCE);
                    self.window.iter_mut().for_each(|item| item.tries = 0);
                    error
                }
                Trouble::Reconnect(error) => {
                    self.tally.loses_sight();
                    broken += 1;
                    if broken > 1 {
                        std::thread::sleep(PATIENCE);
                    }
                    error
                }
            };
            let given_up = broken > TRIES || self.halted.load(Ordering::Relaxed);
            if given_up || self.window.iter().any(|item| item.tries >= TRIES) {
                return Err(error);
            }
            match self.start_again() {
                Ok(()) => return Ok(()),
                Err(next) => trouble = next,
            }
        }
    }

    /// After a failure of a command, or when nobody waits any longer: reads the replies that are still coming, so that the counts say what was written.
    pub(super) fn count_what_is_left(&mut self) {
        self.failed = true;
        while !self.window.is_empty() {
            if let Err(Trouble::Reconnect(_)) = self.settle_oldest() {
                // A connection with an unread reply is never used again.
                return self.tally.loses_sight();
            }
        }
    }

    /// A new connection, and everything in the window on it.
    fn start_again(&mut self) -> Result<(), Trouble> {
        let connected = self.redis.connect().map_err(Trouble::Stop)?;
        if connected.run_id() != self.connected.run_id() {
            return Err(Trouble::Stop(Error::new(
                ErrorKind::RedisRestarted,
                "Redis was restarted in the middle of the run",
            )));
        }
        self.connected = connected;
        self.pace.begin_again();
        self.scripts = load_scripts(&self.redis, &mut self.connected, self.policy, self.scripts.kind)?;
        if let Some(info) = &self.connected.info {
            self.guard.observe(info).map_err(Trouble::Stop)?;
        }
        if self.halted.load(Ordering::Relaxed) {
            // Connecting took its time, and it has been told already what was sent.
            return Err(Trouble::Stop(Error::new(ErrorKind::RedisUnreachable, "nobody waits for it any longer")));
        }
        (0..self.window.len()).try_for_each(|index| self.put_on_wire(index))
    }
}

/// A connection that is ready to write. One that breaks before that is made anew.
pub(super) fn connect(redis: &Redis, policy: Policy, kind: Kind) -> Result<(Connected, Scripts), Error> {
    for tries in 1.. {
        let mut connected = redis.connect()?;
        match load_scripts(redis, &mut connected, policy, kind) {
            Ok(scripts) => return Ok((connected, scripts)),
            Err(Trouble::Reconnect(_)) if tries < TRIES => {}
            Err(trouble) => return Err(into_error(trouble)),
        }
    }
    Err(Error::new(ErrorKind::RedisUnreachable, "no connection to Redis lasts"))
}

fn load_scripts(redis: &Redis, connected: &mut Connected, policy: Policy, kind: Kind) -> Result<Scripts, Trouble> {
    let scripts = Scripts::load(&mut connected.connection, policy, kind)?;
    if kind == Kind::Json && !redis.knows_json(&mut connected.connection)? {
        return Err(Trouble::Stop(Error::new(ErrorKind::Definition, NO_JSON)));
    }
    Ok(scripts)
}
