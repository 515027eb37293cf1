//! What `warm check` wants to know about a Redis server. Nothing here changes anything that lasts.

use redis::{Cmd, Connection, Value};

use super::connect::{Redis, field, number};
use super::error::{Trouble, translate};
use super::retract::into_error;
use super::typed::Typed;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::kind::Kind;

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
    /// The same for warm's own keys.
    pub refused_own: Vec<String>,
    /// What of it the jobs with keys of other types need, for each of these types.
    pub refused_types: Vec<RefusedType>,
    /// Whether jobs write JSON documents, of which the server knows nothing.
    pub lacks_json: bool,
    /// Whether the account may even empty the server.
    pub may_flush: bool,
}

/// A type of keys that the account may not write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedType {
    /// The type.
    pub kind: Kind,
    /// The commands that it needs.
    pub needs: &'static [&'static str],
    /// Redis' words.
    pub words: String,
}

/// What is said where a job writes JSON documents and the server knows none.
pub const NO_JSON: &str = "type = \"json\" needs the commands of RedisJSON (Redis 8, Redis Stack, or a module), which this server does not have";

/// What Redis says of a command in a script.
const OF_SCRIPTS: &str = "can't run this command";

/// What the account may not see of the server's use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Whether keys are there, without a trace of asking.
    pub presence: bool,
    /// Whether they are read.
    pub uses: bool,
    /// Slow commands.
    pub slow: bool,
}

/// What the account lacks for deleting what somebody names stale, each in Redis' words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Withheld {
    /// Looking for keys.
    pub scan: Option<String>,
    /// Deleting keys: which of those that were asked about, by their places, and why the first of them.
    pub keys: Option<(Vec<usize>, String)>,
}

/// What Redis says of a command that is refused whatever its keys.
const OF_COMMAND: &str = "permissions to run the '";

/// A script that needs no right of its own beyond those that a run needs anyway.
const LOOK: &str = "return redis.call('TYPE', KEYS[1])";

impl Redis {
    /// Whether the server knows JSON documents.
    pub(super) fn knows_json(&self, connection: &mut Connection) -> Result<bool, Trouble> {
        let ask = redis::cmd("JSON.GET").arg(format!("{}warm:check", self.key_prefix())).take();
        match ask.query::<Value>(connection) {
            // It is asked whether there is such a command before it is asked who may use it.
            Err(error) if error.detail().unwrap_or_default().starts_with("unknown command") => Ok(false),
            Err(error) if error.code().is_none() => Err(translate(&error)),
            _ => Ok(true),
        }
    }

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
        Ok(Inspection {
            version: text("redis_version"),
            used_memory: number(&info, "used_memory"),
            max_memory: number(&info, "maxmemory"),
            eviction_policy: text("maxmemory_policy"),
            role: text("role"),
        })
    }

    /// Asks for the rights that a run needs, on keys that begin with the given literal prefixes. A prefix may be a whole key and exist: nothing is
    /// written. Keys of other types than strings are tried with one of warm's own, which is gone again at once. Blocks.
    ///
    /// # Errors
    /// When the server cannot be reached or rejects us altogether.
    pub fn rights(&self, prefixes: &[&str], kinds: &[Kind]) -> Result<Rights, Error> {
        let mut connection = self.connect()?.connection;
        let mut rights = Rights::default();
        let load = redis::cmd("SCRIPT").arg("LOAD").arg(LOOK).take();
        rights.refused.extend(refusal(&mut connection, &load)?);
        // Without the right to load it, the script is unknown, which is no refusal.
        let script = load.query::<String>(&mut connection).unwrap_or_else(|_| "0".repeat(40));
        for prefix in prefixes {
            for probe in probes(&format!("{}{prefix}", self.key_prefix()), &script) {
                let words = refusal(&mut connection, &probe)?;
                rights.refused.extend(words.map(|words| format!("{prefix}*: {words}")));
            }
        }
        let own = format!("{}warm:check:{:016x}", self.key_prefix(), fastrand::u64(..));
        for probe in probes(&own, &script) {
            rights.refused_own.extend(refusal(&mut connection, &probe)?);
        }
        rights.refused.extend(refusal(&mut connection, &redis::cmd("TIME"))?);
        for kind in kinds {
            self.rights_for(&mut connection, (*kind, &own), &mut rights)?;
        }
        // A key of which nobody knows; whether it is one of the account's own does not matter.
        let unlink = redis::cmd("UNLINK").arg(own).take();
        rights.refused.extend(refusal(&mut connection, &unlink)?.filter(|words| words.contains("'unlink'")));
        rights.may_flush = may_flush(&mut connection);
        Ok(rights)
    }

    /// Asks for the rights that deleting keys needs that begin so, or, if so it is said, are so; and if wanted, for the one to look for keys. What a run needs as
    /// well is not asked for again. Nothing is written. Blocks.
    ///
    /// # Errors
    /// When the server cannot be reached or rejects us altogether.
    pub fn withheld(&self, keys: &[(&str, bool)], scan: bool) -> Result<Withheld, Error> {
        let mut connection = self.connect()?.connection;
        let mut withheld = Withheld::default();
        if scan {
            withheld.scan = refusal(&mut connection, redis::cmd("SCAN").arg(0).arg("COUNT").arg(1))?;
        }
        for (place, (start, whole)) in keys.iter().enumerate() {
            // A key of which nobody knows, where there is a choice.
            let rest = if *whole { String::new() } else { format!("{:016x}", fastrand::u64(..)) };
            // As to rights on keys, writing one and deleting it are the same.
            let key = format!("{}{start}{rest}", self.key_prefix());
            let probe = redis::cmd("SET").arg(key).arg("").arg("NX").arg("XX").take();
            let words = refusal(&mut connection, &probe)?.filter(|words| words.contains("keys"));
            if let Some(words) = words {
                withheld.keys.get_or_insert_with(|| (Vec::new(), words)).0.push(place);
            }
        }
        Ok(withheld)
    }

    /// What of its use the account may not see: for each thing, the commands that it lacks. Nothing is changed. Blocks.
    ///
    /// # Errors
    /// When the server cannot be reached or rejects us altogether.
    pub fn unseen(&self) -> Result<Unseen, Error> {
        let mut connection = self.connect()?.connection;
        // A key of which nobody knows.
        let own = format!("{}warm:check:{:016x}", self.key_prefix(), fastrand::u64(..));
        let mut lacks = |command: &str, words: &[&str]| {
            let ask = redis::cmd(command).arg(words).take();
            // That warm's own keys are refused is said elsewhere.
            Ok::<_, Error>(refusal(&mut connection, &ask)?.is_some_and(|words| words.contains(OF_COMMAND)))
        };
        Ok(Unseen {
            presence: lacks("MEMORY", &["USAGE", &own])?,
            uses: lacks("OBJECT", &["IDLETIME", &own])? || lacks("OBJECT", &["FREQ", &own])?,
            slow: lacks("SLOWLOG", &["LEN"])? || lacks("SLOWLOG", &["GET", "1"])?,
        })
    }

    fn rights_for(
        &self,
        connection: &mut Connection,
        (kind, own): (Kind, &str),
        rights: &mut Rights,
    ) -> Result<(), Error> {
        let Some(typed) = Typed::new(kind) else { return Ok(()) };
        if kind == Kind::Json && !self.knows_json(connection).map_err(into_error)? {
            rights.lacks_json = true;
            return Ok(());
        }
        let (value, needs) = Typed::example(kind);
        let attempt = redis::cmd("EVAL").arg(typed.attempt).arg(1).arg(own).arg(value).take();
        // That warm's own keys are refused, or EVAL, is said elsewhere.
        let words = refusal(connection, &attempt)?.filter(|words| words.contains(OF_SCRIPTS));
        rights.refused_types.extend(words.map(|words| RefusedType { kind, needs, words }));
        Ok(())
    }
}

/// What is done to keys, in a way that changes nothing.
fn probes(key: &str, script: &str) -> [Cmd; 10] {
    [
        // Asking for both NX and XX is an error, but one that comes after the account's rights.
        redis::cmd("SET").arg(key).arg("").arg("NX").arg("XX").take(),
        redis::cmd("GET").arg(key).take(),
        redis::cmd("STRLEN").arg(key).take(),
        redis::cmd("GETRANGE").arg(key).arg(0).arg(0).take(),
        redis::cmd("TYPE").arg(key).take(),
        redis::cmd("PTTL").arg(key).take(),
        redis::cmd("PEXPIRETIME").arg(key).take(),
        // Not a number: an error, but one that comes after the account's rights.
        redis::cmd("PEXPIREAT").arg(key).arg("x").take(),
        redis::cmd("EVAL").arg(LOOK).arg(1).arg(key).take(),
        redis::cmd("EVALSHA").arg(script).arg(1).arg(key).take(),
    ]
}

/// Redis' words when it refuses the command for lack of rights.
fn refusal(connection: &mut Connection, command: &Cmd) -> Result<Option<String>, Error> {
    match command.query::<Value>(connection) {
        Ok(_) => Ok(None),
        Err(error) => match (error.code(), error.detail().unwrap_or_default()) {
            (Some("NOPERM"), words) => Ok(Some(words.to_owned())),
            // What a script says for its commands.
            (_, words) if words.contains(OF_SCRIPTS) => Ok(Some(words.to_owned())),
            // The probes' own mistakes: the rights were there.
            (Some("ERR" | "NOSCRIPT" | "WRONGTYPE"), _) => Ok(None),
            _ => match translate(&error) {
                Trouble::Stop(error) if error.kind == ErrorKind::RedisFull => Ok(Some(error.message)),
                other => Err(into_error(other)),
            },
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
