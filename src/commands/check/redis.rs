//! What Redis says: its memory and eviction policy, and the rights of the account.

use super::{Finding, Said};
use crate::cache::{Inspection, Redis};
use crate::observe::human_bytes;

/// Checks the server and the account's rights under each literal prefix. Blocks.
pub(super) fn check(redis: &Redis, prefixes: &[String]) -> Said {
    let mut said = Said::default();
    match redis.inspect() {
        Ok(inspection) => server(redis, &inspection, &mut said),
        Err(error) => {
            said.findings.push(Finding::error(None, &error));
            return said;
        }
    }
    let mut prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    match redis.rights(&prefixes) {
        Ok(rights) => {
            said.findings.extend(rights.refused.iter().map(|words| Finding {
                error: Some(crate::ground::exit::REDIS),
                job: None,
                message: format!("the Redis account lacks a right: {words}"),
                advice: "grant it: config/redis-acl.conf has all that is needed".to_owned(),
            }));
            if rights.may_flush {
                let advice = "use an account that may do only what warm does: config/redis-acl.conf has one";
                said.findings.push(Finding::warning(
                    None,
                    "the Redis account may do everything, even empty the server",
                    advice,
                ));
            }
        }
        Err(error) => said.findings.push(Finding::error(None, &error)),
    }
    said
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
        said.findings.push(Finding::warning(None, message, "grant +info (config/redis-acl.conf)"));
    }
    if inspection.role.as_deref() == Some("slave") {
        said.findings.push(Finding::warning(
            None,
            "this Redis server is a replica: it refuses writes",
            "name the primary in REDIS_URL",
        ));
    }
    if inspection.max_memory == Some(0) {
        let message =
            "Redis has no memory limit (maxmemory is 0): a cache that grows can take the machine's last memory";
        said.findings.push(Finding::warning(
            None,
            message,
            "set maxmemory, with maxmemory-policy allkeys-lru for a cache",
        ));
    }
    if let (Some(limit @ 1..), Some("noeviction")) = (inspection.max_memory, inspection.eviction_policy.as_deref()) {
        let message = format!(
            "Redis keeps every key until {} are full, and then refuses writes (maxmemory-policy noeviction)",
            human_bytes(limit)
        );
        said.findings.push(Finding::warning(None, message, "for a cache, use maxmemory-policy allkeys-lru"));
    }
}
