//! Which keys of a job are worth warming: what is learned from misses.
//!
//! To warm a key is worth as many misses as there would be without it, and Redis tells of misses. So a key that is cold is worth what [`SpaceSaving`] counts of it, over the time in which
//! that was counted; each costs one query, so that no more than this decides. It holds for an application that caches by itself what it misses, as well: then a key that is read a thousand
//! times in its life has one miss, and that one is all that warming saves.
//!
//! A key that is warm tells nothing so: nobody misses it. It is not forgotten for that, nor warmed for ever. A few times an hour Redis is asked how long ago it was read last (`OBJECT IDLETIME`),
//! and from a key's [`Reads`] follows how often it is read (`reads.rs` has the estimator). What that is worth in misses depends on the application: `r` reads an hour are `r` misses if it
//! never writes the key itself, and `r / (1 + r·T)` if it does, for a life of `T` hours. Which of both it is, misses tell, too: where it does, hardly a key is missed twice within its life.
//!
//! Warmed keys are so compared with cold ones in one currency, misses saved in an hour; whoever is left out is soon seen by its misses again, if it was wrong.

mod jobs;
mod proposal;
mod reads;
mod space_saving;
mod state;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

pub use jobs::{Demands, Memory};
pub use proposal::Proposal;
pub use reads::Reads;
pub use space_saving::{Count, SpaceSaving};
pub use state::Remembered;

/// Seconds in an hour.
const HOUR: f64 = 3600.0;
/// The shortest time between two misses of a key that tells anything: several readers may miss it at once.
const AT_ONCE: TimeDelta = TimeDelta::seconds(2);

/// What is known of a job's keys.
#[derive(Debug, Clone)]
pub struct Demand {
    misses: SpaceSaving,
    /// How many there were, from the beginning.
    heard: u64,
    /// Since when it is counted, and the hours before that, faded as they were then.
    since: DateTime<Utc>,
    before: f64,
    half_life: Duration,
    /// How long a key of the job lives.
    life: Duration,
    /// How often a key was missed again within half a life, and how often within half a life after a whole one.
    again: (u64, u64),
    /// The keys that are warmed, and those that were until lately.
    followed: HashMap<Arc<[u8]>, Reads>,
}

/// A key that is worth warming.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The key.
    pub key: Arc<[u8]>,
    /// How many misses warming it saves, in an hour.
    pub per_hour: f64,
    /// By how much that may be too low, for lack of counters.
    pub error: f64,
}

impl Demand {
    /// Nothing is known yet. `keys` is the number of counters, `life` how long a key of the job lives.
    pub fn new(keys: usize, half_life: Duration, life: Duration, now: DateTime<Utc>) -> Self {
        let misses = SpaceSaving::new(keys, half_life, now);
        Demand { misses, heard: 0, since: now, before: 0.0, half_life, life, again: (0, 0), followed: HashMap::new() }
    }

    /// A key was missed.
    pub fn missed(&mut self, key: &[u8], now: DateTime<Utc>) {
        self.heard += 1;
        if let Some(last) = self.misses.add(key, now).filter(|last| now - *last > AT_ONCE) {
            let lives = (now - last).as_seconds_f64() / self.life.as_secs_f64().max(1e-3);
            self.again.0 += u64::from(lives < 0.5);
            self.again.1 += u64::from((1.0..1.5).contains(&lives));
        }
        let life = self.is_filled_by_others().then_some(self.life);
        if let Some(reads) = self.followed.get_mut(key) {
            reads.missed(life, now);
        }
    }

    /// Somebody looked at a warmed key: for how long nobody has read or written it, if it is there and that can be told.
    pub fn looked(&mut self, key: &[u8], idle: Option<Duration>, now: DateTime<Utc>) {
        if let Some(reads) = self.followed.get_mut(key) {
            reads.looked(idle, now);
        }
    }

    /// The keys that are most worth warming, the best first, and no more than so many.
    pub fn wanted(&self, most: usize, now: DateTime<Utc>) -> Vec<Wanted> {
        let window = self.window(now);
        let cold = self.misses.counts(now).into_iter().filter(|count| !self.followed.contains_key(&count.key));
        let cold = cold.map(|Count { key, most, least }| Wanted {
            key,
            per_hour: least / window,
            error: (most - least) / window,
        });
        let followed = self.followed.iter().map(|(key, reads)| Wanted {
            key: Arc::clone(key),
            per_hour: self.worth(reads.per_hour(now)),
            error: 0.0,
        });
        let mut wanted: Vec<Wanted> = cold.chain(followed).filter(|wanted| wanted.per_hour > 0.0).collect();
        wanted.sort_by(|a, b| b.per_hour.total_cmp(&a.per_hour).then_with(|| a.key.cmp(&b.key)));
        wanted.truncate(most);
        wanted
    }

    /// These keys have been warmed now, and no others. Of those that were warmed before, misses are followed for two more half-lives: until then what [`SpaceSaving`] counts knows of a
    /// time in which nobody could miss them.
    pub fn warmed(&mut self, keys: &[Arc<[u8]>], now: DateTime<Utc>) {
        let chosen: HashSet<&Arc<[u8]>> = keys.iter().collect();
        for key in keys {
            if !self.followed.contains_key(key) {
                let worth = self.misses.count(key, now).map_or(0.0, |count| count.least / self.window(now));
                let reads = Reads::new(self.reads(worth), self.half_life, now);
                self.followed.insert(Arc::clone(key), reads);
            }
        }
        for (key, reads) in &mut self.followed {
            match chosen.contains(key) {
                true => reads.warmed(self.life, now),
                false => reads.left_out(now),
            }
        }
        let latest = now - TimeDelta::from_std(2 * self.half_life).unwrap_or(TimeDelta::MAX);
        self.followed.retain(|_, reads| reads.left.is_none_or(|left| left > latest));
        self.forget_the_oldest(2 * keys.len());
    }

    /// The keys that are warmed.
    pub fn warm(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        self.followed.iter().filter(|(_, reads)| reads.left.is_none()).map(|(key, _)| key)
    }

    /// How many misses there were, from the beginning.
    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// Misses of all its keys in an hour.
    pub fn per_hour(&self, now: DateTime<Utc>) -> f64 {
        self.misses.total(now) / self.window(now)
    }

    /// The most by which an estimate may be too low, and what a key may have that is not known at all.
    pub fn error_per_hour(&self, now: DateTime<Utc>) -> f64 {
        self.misses.error(now) / self.window(now)
    }

    /// Whether the application writes keys itself that it misses, if that can be told.
    pub fn fills(&self) -> Option<bool> {
        // Of misses that come by chance, more come in the first half of a life than in any other.
        let (soon, later) = self.again;
        (soon + later > 0).then_some(soon <= later)
    }

    fn is_filled_by_others(&self) -> bool {
        self.fills().unwrap_or(true)
    }

    /// How many keys have a counter.
    pub fn keys(&self) -> usize {
        self.misses.len()
    }

    /// How many bytes it takes, about.
    pub fn bytes(&self) -> usize {
        self.misses.bytes()
            + self.followed.keys().map(|key| key.len() + 2 * std::mem::size_of::<Reads>()).sum::<usize>()
    }

    /// The time in hours over which fading counts have come together: the sum of all its moments, faded as they are.
    fn window(&self, now: DateTime<Utc>) -> f64 {
        let half_life = self.half_life.as_secs_f64().max(1e-3);
        let left = (-(now - self.since).as_seconds_f64().max(1e-3) / half_life).exp2();
        self.before * left + half_life / std::f64::consts::LN_2 * (1.0 - left) / HOUR
    }

    /// What reads in an hour are worth in misses.
    fn worth(&self, reads: f64) -> f64 {
        match self.is_filled_by_others() {
            true => reads / (1.0 + reads * self.life.as_secs_f64() / HOUR),
            false => reads,
        }
    }

    /// The same the other way round. How often a key is read that is missed whenever it dies, nobody can tell: more than nine times in a life is all the same.
    fn reads(&self, worth: f64) -> f64 {
        let cached = (worth * self.life.as_secs_f64() / HOUR).min(0.9);
        if self.is_filled_by_others() { worth / (1.0 - cached) } else { worth }
    }

    fn forget_the_oldest(&mut self, most: usize) {
        let mut left: Vec<_> =
            self.followed.iter().filter_map(|(key, reads)| Some((reads.left?, Arc::clone(key)))).collect();
        left.sort();
        let too_many = self.followed.len().saturating_sub(most).min(left.len());
        for (_, key) in left.drain(..too_many) {
            self.followed.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
