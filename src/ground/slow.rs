//! Commands that Redis was slow to do, without what they carried: a value, or what an application looks for, is nobody's business here. Of a command there is left
//! what it is called, and its first key, if it is known to have one in the first place.

use std::time::Duration;

/// Commands whose first argument is a key.
const KEYED: &str = " append decr decrby del dump exists expire expireat expiretime get getdel getex getrange getset hdel hexists hget hgetall hincrby \
    hkeys hlen hmget hmset hrandfield hscan hset hsetnx hstrlen hvals incr incrby incrbyfloat json.get json.set lindex linsert llen lpop lpos lpush lpushx lrange \
    lrem lset ltrim mget mset msetnx persist pexpire pexpireat pexpiretime psetex pttl rename restore rpop rpush rpushx sadd scard sdiff set setex setnx \
    setrange sinter sismember smembers smismember sort spop srandmember srem sscan strlen sunion touch ttl type unlink zadd zcard zcount zincrby zpopmax \
    zpopmin zrange zrangebylex zrangebyscore zrank zrem zremrangebyrank zremrangebyscore zrevrange zrevrangebyscore zrevrank zscan zscore ";

/// Those whose first argument is a script, or its name, and the second one the number of keys.
const SCRIPTED: [&str; 6] = ["eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "fcall_ro"];

/// The most characters of a word.
const SHORT: usize = 120;

/// What Redis has noted of slow commands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlowLog {
    /// How many it keeps.
    pub kept: u64,
    /// The last ones of them.
    pub last: Vec<Slow>,
}

/// A slow command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slow {
    /// How long it took Redis, without waiting.
    pub took: Duration,
    /// When, in seconds since 1970 on Redis' clock.
    pub at: i64,
    /// What it is called, in small letters.
    pub command: String,
    /// Its first key.
    pub key: Option<String>,
    /// Whether it is one of ours for certain: about a key that only this program uses.
    pub ours: bool,
}

impl Slow {
    /// From the words of the command; `own` is how warm's own keys begin.
    pub fn of(took: Duration, at: i64, words: &[String], own: &str) -> Slow {
        let command = words.first().map(|word| short(&word.to_ascii_lowercase())).unwrap_or_default();
        let is_scripted = SCRIPTED.contains(&&*command);
        let key = if is_scripted {
            words.get(3).filter(|_| words.get(2).is_some_and(|count| count != "0"))
        } else {
            words.get(1).filter(|_| KEYED.contains(&format!(" {command} ")))
        };
        let ours = key.is_some_and(|key| key.starts_with(own));
        Slow { took, at, command, key: key.map(|key| short(key)), ours }
    }
}

fn short(word: &str) -> String {
    let more = if word.chars().nth(SHORT).is_some() { "…" } else { "" };
    format!("{}{more}", word.chars().take(SHORT).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(words: &str) -> (String, Option<String>, bool) {
        let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
        let slow = Slow::of(Duration::ZERO, 0, &words, "p:warm:");
        (slow.command, slow.key, slow.ours)
    }

    #[test]
    fn what_a_command_carries_is_not_told() {
        let key = |key: &str| Some(key.to_owned());
        assert_eq!(slow("SET user:1 secret"), ("set".to_owned(), key("user:1"), false));
        assert_eq!(slow("KEYS *secret*"), ("keys".to_owned(), None, false));
        assert_eq!(slow("ACL SETUSER x >secret"), ("acl".to_owned(), None, false));
        assert_eq!(slow("EVALSHA abc 2 t:1 t:2 secret"), ("evalsha".to_owned(), key("t:1"), false));
        assert_eq!(slow("EVALSHA abcd 0 secret"), ("evalsha".to_owned(), None, false));
        assert_eq!(slow("EVAL secret 1 t:1"), ("eval".to_owned(), key("t:1"), false));
        assert_eq!(slow("GET p:warm:marker"), ("get".to_owned(), key("p:warm:marker"), true));
        assert_eq!(slow(&format!("GET {}", "x".repeat(200))).1, Some(format!("{}…", "x".repeat(SHORT))));
    }
}
