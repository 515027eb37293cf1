//! The scripts for keys that are no strings: hashes, lists, sets, sorted sets and JSON documents.
//!
//! They do what those of `scripts` do, step by step, and answer in the same way. A value is taken apart in Redis and written within one script, so that no
//! reader ever sees half of one, nor none where there was one before. Three things are different:
//!
//! - Contents are compared by their elements, since hashes and sets have no order of their own.
//! - An application may change such a key in place, and it keeps its time to live then: so the moment of its death does not prove that it still is what was
//!   written, and its content is compared before it gets its full lifetime.
//! - What is there is known by the SHA-1 of what `DUMP` gives, which stays the same while nobody changes it. If it should change all the same (Redis may arrange
//!   a big hash anew), the key counts as changed by others, and is left alone.

use crate::ground::kind::{Kind, put_part};

/// What all scripts begin with. `parts` takes a value apart; a thousand at a time is what Lua and Redis take as arguments.
const HEAD: &str = "local call, MANY = redis.call, 1000 \
    local function parts(s) \
      local t, at, n, part = {}, 1, #s \
      while at <= n do part, at = struct.unpack('<I4c0', s, at) t[#t + 1] = part end \
      return t \
    end \
    local function put_all(command, key, t) \
      for i = 1, #t, MANY do call(command, key, unpack(t, i, math.min(i + MANY - 1, #t))) end \
    end ";

/// For each type `put` (writes a value where nothing is), `same` (whether the key holds it) and `all` (what the key holds).
const HASH: &str = "local function put(key, s) put_all('HSET', key, parts(s)) end \
    local function all(key) return call('HGETALL', key) end \
    local function same(key, s) \
      local t = parts(s) \
      if call('HLEN', key) * 2 ~= #t then return false end \
      for i = 1, #t, MANY do \
        local names = {} \
        for j = i, math.min(i + MANY - 1, #t), 2 do names[#names + 1] = t[j] end \
        for j, v in ipairs(call('HMGET', key, unpack(names))) do \
          if v ~= t[i + 2 * j - 1] then return false end \
        end \
      end \
      return true \
    end ";

const LIST: &str = "local function put(key, s) put_all('RPUSH', key, parts(s)) end \
    local function all(key) return call('LRANGE', key, 0, -1) end \
    local function same(key, s) \
      local t = parts(s) \
      if call('LLEN', key) ~= #t then return false end \
      for i = 1, #t, MANY do \
        for j, v in ipairs(call('LRANGE', key, i - 1, i + MANY - 2)) do \
          if v ~= t[i + j - 1] then return false end \
        end \
      end \
      return true \
    end ";

const SET: &str = "local function put(key, s) put_all('SADD', key, parts(s)) end \
    local function all(key) return call('SMEMBERS', key) end \
    local function same(key, s) \
      local known, t = {}, {} \
      for _, v in ipairs(parts(s)) do \
        if not known[v] then known[v] = true t[#t + 1] = v end \
      end \
      if call('SCARD', key) ~= #t then return false end \
      for i = 1, #t, MANY do \
        for _, there in ipairs(call('SMISMEMBER', key, unpack(t, i, math.min(i + MANY - 1, #t)))) do \
          if there ~= 1 then return false end \
        end \
      end \
      return true \
    end ";

/// Scores come before their elements, as ZADD takes them. Of two for one element the last one counts.
const SORTED_SET: &str = "local function put(key, s) put_all('ZADD', key, parts(s)) end \
    local function all(key) return call('ZRANGE', key, 0, -1, 'WITHSCORES') end \
    local function same(key, s) \
      local t, scores, names = parts(s), {}, {} \
      for i = 1, #t, 2 do \
        if not scores[t[i + 1]] then names[#names + 1] = t[i + 1] end \
        scores[t[i + 1]] = tonumber(t[i]) \
      end \
      if call('ZCARD', key) ~= #names then return false end \
      for i = 1, #names, MANY do \
        for j, v in ipairs(call('ZMSCORE', key, unpack(names, i, math.min(i + MANY - 1, #names)))) do \
          if tonumber(v) ~= scores[names[i + j - 1]] then return false end \
        end \
      end \
      return true \
    end ";

/// The module prints a document in its own way, so that the same one may look like another: then it is written again.
const JSON: &str = "local function put(key, s) call('JSON.SET', key, '$', s) end \
    local function all(key) return {call('JSON.GET', key)} end \
    local function same(key, s) return call('JSON.GET', key) == s end ";

/// What the scripts have in common. A key that was there is replaced only if Redis takes more at all: the first command asks that (it does nothing, as the key
/// exists), since after one that removes, a script may no longer be stopped by a server that is full.
const TAIL: &str = "local function replace(key, s) \
      if call('TYPE', key)['ok'] ~= 'none' then call('SET', key, '', 'NX') call('UNLINK', key) end \
      put(key, s) \
    end \
    local function too_large(key, s) \
      local size = 0 \
      for _, part in ipairs(all(key)) do size = size + #part + 4 end \
      return #s > size * 1.1 + 64 \
    end \
    local function now() \
      local time = call('TIME') \
      return time[1] * 1000 + math.floor(time[2] / 1000) \
    end \
    local function digest(key, dies) return string.sub(redis.sha1hex(call('DUMP', key) .. dies), 1, 15) end \
    local key = KEYS[1] \
    local t = call('TYPE', key)['ok'] ";

/// Writes a key that is absent. ARGV: value, and when it shall die. 6: written, nothing: it is there.
const ADD: &str = "if t ~= 'none' then return false end \
    put(key, ARGV[1]) \
    call('PEXPIREAT', key, ARGV[2]) \
    return 6";

/// The same with a lifetime instead of a time.
const ADD_FOR: &str = "if t ~= 'none' then return false end \
    put(key, ARGV[1]) \
    call('PEXPIREAT', key, string.format('%.0f', now() + ARGV[2])) \
    return 6";

/// As `REPLACE` of `scripts`.
const REPLACE: &str = "if t ~= 'none' and t ~= KIND then return 2 end \
    if t == KIND and call('PTTL', key) == -1 then return 3 end \
    if ARGV[3] and (t == 'none' or too_large(key, ARGV[1])) then return 4 end \
    replace(key, ARGV[1]) \
    call('PEXPIREAT', key, string.format('%.0f', now() + ARGV[2])) \
    return t == 'none' and 6 or 1";

/// As `LOOK` of `scripts`.
const LOOK: &str = "if t == 'none' then \
      if ARGV[3] then return 4 end \
      put(key, ARGV[1]) \
      call('PEXPIREAT', key, ARGV[2]) \
      return 6 \
    end \
    if t ~= KIND then return 2 end \
    local dies = call('PEXPIRETIME', key) \
    if dies == -1 then return 3 end \
    if same(key, ARGV[1]) then return dies end \
    return digest(key, dies)";

/// As `CONFIRM` of `scripts`, with the values behind the two times: each must still be there.
const CONFIRM: &str = "local others, dies, full = {}, tonumber(ARGV[1]), ARGV[2] \
    for i, key in ipairs(KEYS) do \
      if call('PEXPIRETIME', key) == dies and call('TYPE', key)['ok'] == KIND and same(key, ARGV[i + 2]) then \
        call('PEXPIREAT', key, full) \
      else \
        others[#others + 1] = i \
      end \
    end \
    return others";

/// As `SWAP` of `scripts`.
const SWAP: &str = "if t ~= KIND then return 0 end \
    local dies = call('PEXPIRETIME', key) \
    if dies == -1 then return 0 end \
    if ARGV[1] == 'dies' then \
      if dies ~= tonumber(ARGV[2]) then return 0 end \
    elseif digest(key, dies) ~= ARGV[2] then return 0 end \
    if tonumber(ARGV[4]) <= now() then return 5 end \
    if ARGV[5] and too_large(key, ARGV[3]) then return 4 end \
    replace(key, ARGV[3]) \
    call('PEXPIREAT', key, ARGV[4]) \
    return 1";

/// As `COMPARE` of `compare`, but that another value comes in its parts.
const COMPARE: &str = "if t == 'none' then return -2 end \
    if t ~= KIND then return {t} end \
    local left = call('PTTL', key) \
    if same(key, ARGV[1]) then return left end \
    return {left, all(key)}";

/// Does everything that the others do with a key of its own, and leaves nothing behind. What comes first would fail before anything is written.
const TRY: &str = "call('UNLINK', key) \
    call('PEXPIREAT', key, 1) \
    put(key, ARGV[1]) \
    call('PEXPIREAT', key, string.format('%.0f', now() + 1000)) \
    same(key, ARGV[1]) \
    all(key) \
    digest(key, 0) \
    replace(key, ARGV[1]) \
    return call('UNLINK', key)";

/// The scripts of a type, but for the one that removes.
pub(super) struct Typed {
    pub(super) add: String,
    pub(super) add_for: String,
    pub(super) replace: String,
    pub(super) look: String,
    pub(super) confirm: String,
    pub(super) swap: String,
    pub(super) compare: String,
    /// Tries what the account may do.
    pub(super) attempt: String,
}

impl Typed {
    /// Those of a type; none for strings, which have their own.
    pub(super) fn new(kind: Kind) -> Option<Self> {
        let own = match kind {
            Kind::String => return None,
            Kind::Hash => HASH,
            Kind::List => LIST,
            Kind::Set => SET,
            Kind::SortedSet => SORTED_SET,
            Kind::Json => JSON,
        };
        let script = |body: &str| format!("local KIND = '{}' {HEAD}{own}{TAIL}{body}", kind.name());
        Some(Typed {
            add: script(ADD),
            add_for: script(ADD_FOR),
            replace: script(REPLACE),
            look: script(LOOK),
            confirm: script(CONFIRM),
            swap: script(SWAP),
            compare: script(COMPARE),
            attempt: script(TRY),
        })
    }

    /// A value of the type, and the rights that the scripts need beside those for strings.
    pub(super) fn example(kind: Kind) -> (Vec<u8>, &'static [&'static str]) {
        let (parts, rights): (&[&str], &'static [_]) = match kind {
            Kind::String => (&[], &[]),
            Kind::Hash => (&["a", "1"], &["hset", "hlen", "hmget", "hgetall", "dump"]),
            Kind::List => (&["a"], &["rpush", "llen", "lrange", "dump"]),
            Kind::Set => (&["a"], &["sadd", "scard", "smismember", "smembers", "dump"]),
            Kind::SortedSet => (&["1", "a"], &["zadd", "zcard", "zmscore", "zrange", "dump"]),
            Kind::Json => (&[], &["json.set", "json.get", "dump"]),
        };
        let mut value = if kind == Kind::Json { b"1".to_vec() } else { Vec::new() };
        parts.iter().for_each(|part| put_part(&mut value, part.as_bytes()));
        (value, rights)
    }
}
