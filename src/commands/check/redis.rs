//! What Redis says: its memory and eviction policy, and the rights of the account.

use super::{Finding, Said};
use crate::cache::{Inspection, NO_JSON, Redis, RefusedType, Unseen};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::kind::Kind;
use crate::observe::human_bytes;

/// What Redis says when it refuses a command, and when it refuses one inside a script.
const OF_COMMANDS: &str = "permissions to run the '";
const OF_SCRIPTS: &str = "can't run this command";
const JSON_ADVICE: &str = "load the module into Redis, or write strings";

/// Checks the server and the account's rights under each literal prefix; also gives what the server says about itself. Blocks.
pub(super) fn check(redis: &Redis, mut prefixes: Vec<String>, kinds: &[Kind]) -> (Said, Inspection) {
    let mut said = Said::default();
    let inspection = match redis.inspect() {
        Ok(inspection) => inspection,
        Err(error) => {
            said.findings.push(Finding::error(&error));
            return (said, Inspection::default());
        }
    };
    server(redis, &inspection, &mut said);
    prefixes.sort_unstable();
    prefixes.dedup();
    match redis.rights(&prefixes.iter().map(String::as_str).collect::<Vec<_>>(), kinds) {
        Ok(rights) => {
            // What a script may not do is said of its commands already.
            let commands = rights.refused.iter().any(|words| words.contains(OF_COMMANDS));
            for words in rights.refused.iter().filter(|words| !commands || !words.contains(OF_SCRIPTS)) {
                // Several commands may be refused for one reason.
                let finding = refused(words, &prefixes, redis.key_prefix());
                if !said.findings.contains(&finding) {
                    said.findings.push(finding);
                }
            }
            said.findings.extend(rights.refused_types.iter().map(refused_type));
            if rights.lacks_json {
                said.findings.push(Finding::error(&Error::new(ErrorKind::Definition, NO_JSON)).advise(JSON_ADVICE));
            }
            said.findings.extend(refused_own(&rights.refused_own, redis.key_prefix()));
            if rights.may_flush {
                let advice = "use an account that may do only what warm does: config/redis-acl.conf has one";
                let message = "the Redis account may do everything, even empty the server";
                said.findings.push(Finding::warning(message, advice));
            }
        }
        Err(error) => said.findings.push(Finding::error(&error)),
    }
    // A server that is gone meanwhile has been told of.
    said.findings.extend(unseen(redis.unseen().unwrap_or_default()));
    (said, inspection)
}

/// What a refused command means; `words` may begin with the prefix of the keys that it was tried on.
fn refused(words: &str, prefixes: &[String], key_prefix: &str) -> Finding {
    let of_prefix = |prefix: &&String| words.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with("*: "));
    let prefix = prefixes.iter().filter(of_prefix).max_by_key(|prefix| prefix.len());
    let (keys, words) = match prefix {
        Some(prefix) => (format!(" for keys {key_prefix}{prefix}*"), &words[prefix.len() + 3..]),
        None => (String::new(), words),
    };
    // A command is refused whatever its keys.
    let keys = if words.contains(OF_COMMANDS) || words.contains(OF_SCRIPTS) { String::new() } else { keys };
    // A server that is full refuses what the account may do.
    if words.starts_with("Redis: ") {
        return Finding::error(&Error::new(ErrorKind::RedisFull, words));
    }
    let error = Error::new(ErrorKind::RedisRefused, format!("the Redis account lacks a right{keys}: {words}"));
    Finding::error(&error).advise("grant it: config/redis-acl.conf has all that is needed")
}

/// What it means that keys of a type other than strings cannot be written.
fn refused_type(RefusedType { kind, needs, words }: &RefusedType) -> Finding {
    let needs = needs.iter().map(|command| format!("+{command}")).collect::<Vec<_>>().join(" ");
    let message =
        format!("the Redis account lacks a right that type = \"{}\" needs, one of {needs}: {words}", kind.word());
    let error = Error::new(ErrorKind::RedisRefused, message);
    Finding::error(&error).advise("grant them: config/redis-acl.conf says which type needs which")
}

/// What `warm stats`, `warm status` and the metrics will not tell.
fn unseen(unseen: Unseen) -> Vec<Finding> {
    let Unseen { presence, uses, slow } = unseen;
    let warmth = match uses {
        true => {
            "the Redis account may not ask whether keys are there without being counted (MEMORY USAGE), nor for their use, so that how warm jobs are is not known"
        }
        false => {
            "the Redis account may not ask whether keys are there without being counted (MEMORY USAGE): where one is absent, looking how warm jobs are counts as a miss"
        }
    };
    let uses_words = "the Redis account may not ask how keys are used (OBJECT IDLETIME, OBJECT FREQ), so that `warm stats` does not show which are read";
    let slow_words =
        "the Redis account may not read the slow log (SLOWLOG), so that `warm stats` does not show slow commands";
    [
        (presence, warmth, "grant +memory|usage (config/redis-acl.conf)"),
        (uses, uses_words, "grant +object|idletime +object|freq (config/redis-acl.conf)"),
        (
            slow,
            slow_words,
            "grant +slowlog|len +slowlog|get (config/redis-acl.conf), if it may see what others' slow commands carry",
        ),
    ]
    .into_iter()
    .filter(|(lacks, ..)| *lacks)
    .map(|(_, message, advice)| Finding::warning(message, advice))
    .collect()
}

/// What it means that warm's own keys are refused; a command that is refused whatever its keys has been told of already, and so has a server that is full.
fn refused_own(refused: &[String], key_prefix: &str) -> Option<Finding> {
    let of_all_keys = [OF_COMMANDS, OF_SCRIPTS, "Redis: "];
    let words = refused.iter().find(|words| !of_all_keys.iter().any(|other| words.contains(other)))?;
    let message = format!(
        "the Redis account has no right to keys {key_prefix}warm:*, by which a scheduler notices that Redis was emptied and knows what has run: {words}"
    );
    let advice = format!("add ~{key_prefix}warm:* to the account, as config/redis-acl.conf does");
    Some(Finding::warning(message, advice))
}

fn server(redis: &Redis, inspection: &Inspection, said: &mut Said) {
    let version = inspection.version.as_deref().unwrap_or("of unknown version");
    let used = inspection.used_memory.map(|bytes| format!(", {} in use", human_bytes(bytes))).unwrap_or_default();
    let limit = match inspection.max_memory {
        Some(0) => " without a limit".to_owned(),
        Some(bytes) => format!(" of {}", human_bytes(bytes)),
        None => String::new(),
    };
    said.facts.push(format!("Redis {version} at {}{used}{limit}", redis.describe()));
    if inspection.version.is_none() {
        let message = "the Redis account may not ask for INFO, so that memory and restarts cannot be watched";
        said.findings.push(Finding::warning(message, "grant +info (config/redis-acl.conf)"));
    }
    let major = inspection.version.as_deref().and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    if major.is_some_and(|major| major < 7) {
        let error = Error::new(ErrorKind::RedisRefused, format!("Redis {version} is too old"));
        said.findings.push(
            Finding::error(&error).advise("use Redis 7.0 or later, or Valkey: older ones do not tell when a key dies"),
        );
    }
    if inspection.role.as_deref() == Some("slave") {
        let message = "this Redis server is a replica: it refuses writes";
        said.findings.push(Finding::warning(message, "name the primary in REDIS_URL"));
    }
    said.findings.extend(memory(inspection));
}

/// What is unwise about the server's memory, for a cache.
fn memory(inspection: &Inspection) -> Vec<Finding> {
    let Some(limit) = inspection.max_memory else { return Vec::new() };
    if limit == 0 {
        let message =
            "Redis has no memory limit (maxmemory is 0): a cache that grows can take the machine's last memory";
        return vec![Finding::warning(message, "set maxmemory, with maxmemory-policy allkeys-lru for a cache")];
    }
    let mut findings = Vec::new();
    match inspection.eviction_policy.as_deref() {
        Some("noeviction") => {
            let message = format!(
                "Redis keeps every key until {} are full, and then refuses writes (maxmemory-policy noeviction)",
                human_bytes(limit)
            );
            findings.push(Finding::warning(message, "for a cache, use maxmemory-policy allkeys-lru"));
        }
        Some(policy) if policy.starts_with("volatile-") => {
            let message = format!(
                "when Redis is full it evicts only keys that have a TTL (maxmemory-policy {policy}): those that warm writes go, and keys without a TTL stay for ever"
            );
            findings.push(Finding::warning(message, "for a cache, use maxmemory-policy allkeys-lru"));
        }
        Some("allkeys-random") => {
            let message = "when Redis is full it evicts any keys, much-used ones too (maxmemory-policy allkeys-random)";
            findings.push(Finding::warning(message, "for a cache, use maxmemory-policy allkeys-lru"));
        }
        _ => {}
    }
    findings
}
