//! What is done to a key in one step, as Lua that Redis runs.
//!
//! Between a look and a write of our own the application could change the key; inside a script nobody can. Times are absolute, on Redis' clock
//! (`PXAT`, Redis 7.0): a command that was held up on its way, and arrives when we have given it up, can then do no harm that outlives them.
//!
//! These are for strings; for keys of other types there are those of `typed`.

use redis::Connection;

use super::compare::COMPARE;
use super::error::{Trouble, translate};
use super::strategy::Policy;
use super::typed::Typed;
use crate::ground::kind::Kind;

/// Replaces a string with a TTL, or writes an absent key. ARGV: value, lifetime, and perhaps that memory is tight: then an absent key stays absent, and
/// a value may grow by a tenth, or 64 bytes. 1: written, 2: another type, 3: no TTL, 4: no room, 6: written, and nothing was there.
const REPLACE: &str = "local t = redis.call('TYPE', KEYS[1])['ok'] \
    if t ~= 'none' and t ~= 'string' then return 2 end \
    if t == 'string' and redis.call('PTTL', KEYS[1]) == -1 then return 3 end \
    if ARGV[3] and (t == 'none' or #ARGV[1] > redis.call('STRLEN', KEYS[1]) * 1.1 + 64) then return 4 end \
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) \
    return t == 'none' and 6 or 1";

/// Looks at a key that was there, and writes it if it is no longer. ARGV: value, when it shall die, and perhaps that memory is tight: then nothing is written.
/// 6: written, 2: another type, 3: no TTL, 4: no room, a time: the same value, which dies then; text: the digest of another value and of
/// when it dies, since a value may go and come back.
const LOOK: &str = "local t = redis.call('TYPE', KEYS[1])['ok'] \
    if t == 'none' then \
      if ARGV[3] then return 4 end \
      redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2]) return 6 \
    end \
    if t ~= 'string' then return 2 end \
    local dies = redis.call('PEXPIRETIME', KEYS[1]) \
    if dies == -1 then return 3 end \
    local v = redis.call('GET', KEYS[1]) \
    if v == ARGV[1] then return dies end \
    return string.sub(redis.sha1hex(v .. dies), 1, 15)";

/// Gives values their full lifetime; many keys at once, since each costs Redis less than a command of its own would. ARGV: when they die if they still
/// are the ones that are meant, and when they shall die, which must not be earlier. Returns which are not, counted from 1.
const CONFIRM: &str = "local others, call, dies, full = {}, redis.call, tonumber(ARGV[1]), ARGV[2] \
    for i, key in ipairs(KEYS) do \
      if call('PEXPIRETIME', key) == dies then call('PEXPIREAT', key, full) else others[#others + 1] = i end \
    end \
    return others";

/// Replaces a value if it is still the one that is meant. ARGV: `digest` or `dies`, that, the new value, when it shall die, and perhaps that memory is
/// tight. 1: done, 0: it is another, 4: no room, 5: the command comes too late.
const SWAP: &str = "if redis.call('TYPE', KEYS[1])['ok'] ~= 'string' then return 0 end \
    local dies = redis.call('PEXPIRETIME', KEYS[1]) \
    if dies == -1 then return 0 end \
    if ARGV[1] == 'dies' then \
      if dies ~= tonumber(ARGV[2]) then return 0 end \
    elseif string.sub(redis.sha1hex(redis.call('GET', KEYS[1]) .. dies), 1, 15) ~= ARGV[2] then return 0 end \
    local now = redis.call('TIME') \
    if tonumber(ARGV[4]) <= now[1] * 1000 + math.floor(now[2] / 1000) then return 5 end \
    if ARGV[5] and #ARGV[3] > redis.call('STRLEN', KEYS[1]) * 1.1 + 64 then return 4 end \
    redis.call('SET', KEYS[1], ARGV[3], 'PXAT', ARGV[4]) \
    return 1";

/// Removes a value if it is still the one that is meant. ARGV: when it dies. 1: done, 0: it is another.
pub(super) const WITHDRAW: &str = "if redis.call('PEXPIRETIME', KEYS[1]) ~= tonumber(ARGV[1]) then return 0 end \
    return redis.call('UNLINK', KEYS[1])";

/// The hashes by which a server knows the scripts.
#[derive(Debug, Clone, Default)]
pub(super) struct Scripts {
    /// The type of the keys that they are for.
    pub(super) kind: Kind,
    /// Writes an absent key; a string needs no script for that.
    pub(super) add: Vec<u8>,
    pub(super) replace: Vec<u8>,
    pub(super) look: Vec<u8>,
    pub(super) confirm: Vec<u8>,
    pub(super) swap: Vec<u8>,
    pub(super) withdraw: Vec<u8>,
    pub(super) compare: Vec<u8>,
}

impl Scripts {
    /// Loads what a run needs that does so.
    pub(super) fn load(connection: &mut Connection, policy: Policy, kind: Kind) -> Result<Self, Trouble> {
        let mut scripts = Scripts { kind, ..Scripts::default() };
        let typed = Typed::new(kind);
        let typed = typed.as_ref();
        let mut wanted: Vec<(&mut Vec<u8>, &str)> = Vec::new();
        if policy.compares() {
            wanted.push((&mut scripts.compare, typed.map_or(COMPARE, |typed| &typed.compare)));
        } else if !policy.only_looks() {
            let verified = policy.verified();
            wanted.extend(typed.map(|typed| (&mut scripts.add, if verified { &*typed.add } else { &typed.add_for })));
            if verified {
                wanted.push((&mut scripts.look, typed.map_or(LOOK, |typed| &typed.look)));
                wanted.push((&mut scripts.confirm, typed.map_or(CONFIRM, |typed| &typed.confirm)));
                wanted.push((&mut scripts.swap, typed.map_or(SWAP, |typed| &typed.swap)));
                wanted.push((&mut scripts.withdraw, WITHDRAW));
            } else if !policy.only_missing() {
                wanted.push((&mut scripts.replace, typed.map_or(REPLACE, |typed| &typed.replace)));
            }
        }
        if wanted.is_empty() {
            return Ok(scripts);
        }
        let mut pipe = redis::pipe();
        for (_, script) in &wanted {
            pipe.cmd("SCRIPT").arg("LOAD").arg(script);
        }
        let hashes: Vec<String> = pipe.query(connection).map_err(|error| translate(&error))?;
        wanted.into_iter().zip(hashes).for_each(|((place, _), hash)| *place = hash.into_bytes());
        Ok(scripts)
    }
}
