//! What `warm check` wants to know about a Redis server. Nothing here changes anything.

use redis::{Connection, Value};

use super::connect::{Redis, field};
use super::error::{Trouble, translate};
use super::retract::into_error;
use crate::ground::error::Error;

/// What a server says about itself. A number is `None` when the account may not ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// `redis_version`.
    pub version: Option<String>,
    /// Bytes in use.
    pub used_memory: Option<u64>,
    /// The limit in bytes; 0 means none.
    pub max_memory: Option<u64>,
    /// What happens at the limit (`allkeys-lru`, `noeviction`, …).
    pub eviction_policy: Option<String>,
    /// `master` or `slave`.
    pub role: Option<String>,
}

/// What the account may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// What is needed and refused, in Redis' words, one for each key prefix and command.
    pub refused: Vec<String>,
    /// Whether the account may even empty the server.
    pub may_flush: bool,
}

impl Redis {
    /// Asks the server about itself. Blocks.
    ///
    /// # Errors
    /// When the server cannot be reached or rejects us.
    pub fn inspect(&self) -> Result<Inspection, Error> {
        let mut connection = self.connect()?.connection;
        let info = match redis::cmd("INFO").query::<String>(&mut connection) {
            Ok(info) => info,
            Err(error) if error.code() == Some("NOPERM") => return Ok(Inspection::default()),
            Err(error) => return Err(into_error(translate(&error))),
        };
        let text = |name| field(&info, name).map(|value| value.trim().to_owned());
        let number = |name| field(&info, name).and_then(|value| value.trim().parse().ok());
        Ok(Inspection {
            version: text("redis_version"),
            used_memory: number("used_memory"),
            max_memory: number("maxmemory"),
            eviction_policy: text("maxmemory_policy"),
            role: text("role"),
        })
    }

    /// Tries the commands that a run needs on a key that nobody has, under each of the literal prefixes. `SET … XX` on an absent key writes nothing,
    /// but asks for the right to write. Blocks.
    ///
    /// # Errors
    /// When the server cannot be reached or rejects us altogether.
    pub fn rights(&self, prefixes: &[&str]) -> Result<Rights, Error> {
        let mut connection = self.connect()?.connection;
        let mut rights = Rights::default();
        for prefix in prefixes {
            let key = format!("{}{prefix}warm-check-{:016x}", self.key_prefix(), fastrand::u64(..));
            let probes = [
                redis::cmd("SET").arg(&key).arg("").arg("XX").arg("PX").arg(1).take(),
                redis::cmd("TYPE").arg(&key).take(),
                redis::cmd("PTTL").arg(&key).take(),
                redis::cmd("EVAL").arg("return redis.call('EXISTS', KEYS[1])").arg(1).arg(&key).take(),
            ];
            for probe in &probes {
                if let Some(words) = refusal(&mut connection, probe)? {
                    rights.refused.push(format!("{prefix}*: {words}"));
                }
            }
        }
        let load = redis::cmd("SCRIPT").arg("LOAD").arg("return 0").take();
        rights.refused.extend(refusal(&mut connection, &load)?);
        rights.may_flush = may_flush(&mut connection);
        Ok(rights)
    }
}

/// Redis' words when it refuses the command for lack of rights.
fn refusal(connection: &mut Connection, command: &redis::Cmd) -> Result<Option<String>, Error> {
    match command.query::<Value>(connection) {
        Ok(_) => Ok(None),
        Err(error) if error.code() == Some("NOPERM") => Ok(Some(error.detail().unwrap_or("no permission").to_owned())),
        Err(error) => match translate(&error) {
            Trouble::Stop(error) if error.kind == crate::ground::error::ErrorKind::RedisFull => Ok(Some(error.message)),
            other => Err(into_error(other)),
        },
    }
}

/// Whether the account could empty the server. Only an account that may inspect accounts can be asked; that one is told apart by
/// being allowed to ask at all.
fn may_flush(connection: &mut Connection) -> bool {
    let Ok(name) = redis::cmd("ACL").arg("WHOAMI").query::<String>(connection) else { return false };
    let answer = redis::cmd("ACL").arg("DRYRUN").arg(name).arg("FLUSHALL").query::<Value>(connection);
    matches!(answer, Ok(Value::Okay))
}
