//! Whether what was in Redis is gone: judged from one look at it and what was known before. No I/O.
//!
//! Two things tell. `run_id` names the server's process: another one may have lost everything, or gone back to what it had saved. The marker is a key
//! with a random token: a cache that was emptied does not have it any more, and where several processes watch, the first one sets another token, by
//! which the others notice. What a look finds is compared with what this process saw itself, so that each notices each loss once.
//!
//! | marker was | is now | means |
//! |---|---|---|
//! | never looked for | a token | nothing: others watch, or watched not long ago |
//! | never looked for | absent | [`Seen::Cold`]; a new token is set |
//! | a token | absent, or another token | [`Loss::Emptied`], but for an eviction; a new token is set |
//! | a token | absent, and Redis has evicted keys | an eviction: the same token is set again, so that nobody notices anything |
//!
//! A cache that is full evicts all the time, also in the second in which somebody empties it. What tells the two apart then is the number of keys: an
//! eviction takes the marker among few others, emptying takes everything. So more than half of the keys are no eviction.

use chrono::{DateTime, TimeDelta, Utc};

use super::connect::{field, number};
use crate::ground::watch::{Loss, Seen};

/// How long the marker lives without being renewed. It has to die some day, or else it would outlive its program, and the policies `volatile-…`
/// evict only what does; with days, `volatile-ttl` evicts it last. Who has not looked for so long cannot tell a marker that was lost from one that
/// died, and takes the cache for [`Seen::Cold`]: nobody kept it warm meanwhile, or his own token would be there.
pub(super) const LIFE: TimeDelta = TimeDelta::days(7);

/// What one look finds.
#[derive(Debug, Clone)]
pub(super) struct Look {
    /// When, by our clock.
    pub(super) at: DateTime<Utc>,
    /// `None` when the account may not ask. With a marker that is not as expected they are newer than that.
    pub(super) figures: Option<Figures>,
    pub(super) marker: Marker,
}

/// What `INFO` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) run_id: Option<String>,
    pub(super) used_memory: Option<u64>,
    pub(super) max_memory: Option<u64>,
    pub(super) is_replica: bool,
    evicted: Option<u64>,
    /// In our database.
    keys: u64,
}

impl Figures {
    pub(super) fn parse(info: &str, database: i64) -> Self {
        let keys =
            field(info, &format!("db{database}")).and_then(|words| words.strip_prefix("keys=")?.split(',').next());
        Figures {
            run_id: field(info, "run_id").map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()),
            used_memory: number(info, "used_memory"),
            max_memory: number(info, "maxmemory"),
            is_replica: field(info, "role").is_some_and(|role| role.trim() == "slave"),
            evicted: number(info, "evicted_keys"),
            // An empty database is not mentioned.
            keys: keys.and_then(|keys| keys.parse().ok()).unwrap_or(0),
        }
    }

    /// Whether what went since `before` can be evictions.
    fn evicts_since(&self, before: &Figures) -> bool {
        let (Some(then), Some(now)) = (before.evicted, self.evicted) else { return false };
        // A count that is lower was reset meanwhile (CONFIG RESETSTAT).
        now != then && now > 0 && self.keys.saturating_mul(2) >= before.keys
    }
}

/// The marker as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Marker {
    Token(Vec<u8>),
    Absent,
    /// It may not be looked at.
    Unknown,
}

/// The marker as it is expected.
#[derive(Debug, Default)]
enum Expected {
    /// Nobody has looked yet.
    #[default]
    Unseen,
    There(Vec<u8>),
    /// It is known to be away, and has to be set: to this token, or to a new one.
    Away(Option<Vec<u8>>),
}

/// What is known from earlier looks.
#[derive(Debug, Default)]
pub(super) struct Known {
    run_id: Option<String>,
    figures: Option<Figures>,
    expected: Expected,
    /// When the marker was seen last.
    sighted: Option<DateTime<Utc>>,
}

impl Known {
    /// Whether figures that are older than a look at the marker suffice to judge it.
    pub(super) fn expects(&self, marker: &Marker) -> bool {
        match (&self.expected, marker) {
            (Expected::There(token), Marker::Token(found)) => token == found,
            (Expected::There(_), Marker::Absent) => false,
            _ => true,
        }
    }

    /// Learns from a look; gives what it means, if anything.
    pub(super) fn learn(&mut self, look: Look) -> Option<Seen> {
        let run_id = look.figures.as_ref().and_then(|figures| figures.run_id.clone());
        let restarted = self.run_id.is_some() && run_id.is_some() && self.run_id != run_id;
        self.run_id = run_id.or(self.run_id.take());
        let evicts = match (&self.figures, &look.figures) {
            (Some(before), Some(now)) if !restarted => now.evicts_since(before),
            _ => false,
        };
        let seen = self.learn_marker(look.marker, look.at, evicts);
        self.figures = look.figures;
        if !restarted {
            return seen;
        }
        if let Expected::Away(token) = &mut self.expected {
            // It stands for what was there before.
            *token = None;
        }
        Some(Seen::Lost(Loss::Restarted))
    }

    fn learn_marker(&mut self, marker: Marker, at: DateTime<Utc>, evicts: bool) -> Option<Seen> {
        let unwatched = self.sighted.is_some_and(|sighted| at - sighted >= LIFE);
        if matches!(marker, Marker::Token(_)) {
            self.sighted = Some(at);
        }
        let emptied = Some(Seen::Lost(Loss::Emptied));
        let (expected, seen) = match (std::mem::take(&mut self.expected), marker) {
            (expected, Marker::Unknown) => (expected, None),
            (Expected::There(before), Marker::Token(token)) => {
                let seen = if before == token || evicts { None } else { emptied };
                (Expected::There(token), seen)
            }
            (_, Marker::Token(token)) => (Expected::There(token), None),
            (Expected::Unseen, Marker::Absent) => (Expected::Away(None), Some(Seen::Cold)),
            (Expected::Away(token), Marker::Absent) => (Expected::Away(token), None),
            (Expected::There(token), Marker::Absent) if evicts => (Expected::Away(Some(token)), None),
            (Expected::There(_), Marker::Absent) if unwatched => (Expected::Away(None), Some(Seen::Cold)),
            (Expected::There(_), Marker::Absent) => (Expected::Away(None), emptied),
        };
        self.expected = expected;
        seen
    }

    /// The token to set, where none is there.
    pub(super) fn missing(&self) -> Option<Vec<u8>> {
        match &self.expected {
            Expected::Away(token) => Some(token.clone().unwrap_or_else(new_token)),
            _ => None,
        }
    }

    /// Notes which token is there, after [`Known::missing`] was found to be away.
    pub(super) fn set(&mut self, token: Vec<u8>, at: DateTime<Utc>) {
        self.expected = Expected::There(token);
        self.sighted = Some(at);
    }
}

fn new_token() -> Vec<u8> {
    format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTIED: Option<Seen> = Some(Seen::Lost(Loss::Emptied));
    const RESTARTED: Option<Seen> = Some(Seen::Lost(Loss::Restarted));

    /// A look at this second, by an account that may ask: `run_id`, evicted keys, keys, marker.
    fn look(second: i64, figures: (&str, u64, u64), marker: &str) -> Look {
        let (run_id, evicted, keys) = figures;
        let info = format!(
            "# Server\r\nrun_id:{run_id}\r\nrole:master\r\nevicted_keys:{evicted}\r\n# Keyspace\r\ndb3:keys={keys},expires=0\r\ndb30:keys=9\r\n"
        );
        Look { figures: Some(Figures::parse(&info, 3)), ..blind_look(second, marker) }
    }

    /// The same by one that may not.
    fn blind_look(second: i64, marker: &str) -> Look {
        let at = DateTime::from_timestamp(second, 0).unwrap();
        let marker = if marker.is_empty() { Marker::Absent } else { Marker::Token(marker.as_bytes().to_vec()) };
        Look { at, figures: None, marker }
    }

    /// What is known after a look at a server with a marker.
    fn known(figures: (&str, u64, u64)) -> Known {
        let mut known = Known::default();
        assert_eq!(known.learn(look(0, figures, "one")), None, "the first look is the baseline");
        known
    }

    #[test]
    fn another_process_is_a_loss_whatever_it_holds() {
        for marker in ["one", "two", ""] {
            let mut known = known(("a", 0, 10));
            assert_eq!(known.learn(look(1, ("b", 0, 10), marker)), RESTARTED);
            assert_eq!(known.learn(look(2, ("b", 0, 10), marker)), None, "told once");
        }
    }

    #[test]
    fn a_marker_that_is_gone_or_another_is_a_loss_once() {
        for marker in ["two", ""] {
            let mut known = known(("a", 0, 10));
            assert_eq!(known.learn(look(1, ("a", 0, 0), marker)), EMPTIED);
            assert_eq!(known.learn(look(2, ("a", 0, 0), marker)), None);
            assert_eq!(known.learn(look(3, ("a", 0, 0), "two")), None, "somebody has set it after the same loss");
            assert_eq!(known.learn(look(4, ("a", 0, 0), "three")), EMPTIED);
        }
    }

    #[test]
    fn a_new_token_is_set_after_a_loss_and_the_old_one_after_an_eviction() {
        let mut lost = known(("a", 5, 10));
        assert_eq!(lost.missing(), None);
        lost.learn(look(1, ("a", 5, 0), ""));
        assert!(lost.missing().is_some_and(|token| token.len() == 32), "{:?}", lost.missing());
        let mut evicted = known(("a", 5, 10));
        assert_eq!(evicted.learn(look(1, ("a", 6, 9), "")), None);
        assert_eq!(evicted.missing().as_deref(), Some(&b"one"[..]));
        evicted.set(b"one".to_vec(), DateTime::UNIX_EPOCH);
        assert_eq!(evicted.learn(look(2, ("a", 6, 9), "")), EMPTIED, "nothing was evicted since");

        let mut restarted = known(("a", 5, 10));
        restarted.learn(look(1, ("a", 6, 9), ""));
        assert_eq!(restarted.learn(look(2, ("b", 0, 0), "")), RESTARTED);
        assert_ne!(restarted.missing().as_deref(), Some(&b"one"[..]), "it stood for what is gone");
    }

    #[test]
    fn an_eviction_leaves_most_other_keys() {
        // Evicted keys before and then, keys before and then → whether the marker was evicted.
        for (evicted, keys, eviction) in [
            ((5, 6), (100, 99), true),
            ((5, 6), (100, 50), true),
            ((5, 6), (100, 49), false),
            ((5, 5), (100, 99), false),
            ((5, 2), (100, 99), true),
            ((5, 0), (100, 99), false),
        ] {
            for marker in ["two", ""] {
                let mut known = known(("a", evicted.0, keys.0));
                let seen = known.learn(look(1, ("a", evicted.1, keys.1), marker));
                assert_eq!(seen, if eviction { None } else { EMPTIED }, "{evicted:?} {keys:?} {marker}");
            }
        }
    }

    #[test]
    fn who_may_not_ask_goes_by_the_marker_alone() {
        let mut known = known(("a", 0, 10));
        assert_eq!(known.learn(blind_look(1, "one")), None);
        assert_eq!(known.learn(blind_look(2, "")), EMPTIED);
        assert_eq!(known.learn(look(3, ("b", 0, 10), "")), RESTARTED, "once he may again, he compares");
        let mut hidden = Known::default();
        for second in 0..2 {
            let hide = Look { marker: Marker::Unknown, ..blind_look(second, "") };
            assert_eq!((hidden.learn(hide), hidden.missing()), (None, None));
        }
    }

    #[test]
    fn a_cache_that_nobody_watched_is_cold() {
        let mut first = Known::default();
        assert_eq!(first.learn(look(0, ("a", 0, 0), "")), Some(Seen::Cold));
        assert_eq!(first.learn(look(1, ("a", 0, 0), "")), None);

        let week = LIFE.num_seconds();
        let mut paused = known(("a", 0, 10));
        assert_eq!(paused.learn(look(week, ("a", 0, 10), "")), Some(Seen::Cold), "it has died");
        let mut awake = known(("a", 0, 10));
        assert_eq!(awake.learn(look(week - 1, ("a", 0, 10), "")), EMPTIED);
    }

    #[test]
    fn figures_are_asked_for_again_where_they_matter() {
        let known = known(("a", 0, 10));
        let token = |text: &str| Marker::Token(text.as_bytes().to_vec());
        assert!(known.expects(&token("one")) && known.expects(&Marker::Unknown));
        assert!(!known.expects(&token("two")) && !known.expects(&Marker::Absent));
        assert!(Known::default().expects(&Marker::Absent));
    }
}
