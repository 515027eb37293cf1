//! A cache in which keys are read, die, and are warmed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use warm::ground::demand::Demand;

use crate::log::Log;

/// The bytes of a warmed key: name, value of an event, and what Redis adds.
const KEY: usize = 1_500;
/// The estimator's counters and half-life, as `warm learn` has them.
const COUNTERS: usize = 4096;
const HALF_LIFE: Duration = Duration::from_secs(7200);

/// How warming goes on.
#[derive(Clone, Copy)]
pub struct Plan {
    pub top: usize,
    /// Seconds between two runs.
    pub every: f64,
    /// Seconds that a key lives.
    pub life: f64,
    /// Seconds between two looks at the warmed keys.
    pub look: f64,
    /// Whether the application writes what it has missed.
    pub fills: bool,
}

pub struct Outcome {
    hits: usize,
    reads: usize,
    pub estimator: usize,
    pub warmed: usize,
}

impl Outcome {
    pub fn ratio(&self) -> f64 {
        self.hits as f64 / self.reads as f64
    }
}

/// Who chooses the keys.
pub trait Policy {
    fn missed(&mut self, _key: u32, _now: f64) {}
    /// Time to look at the warmed keys.
    fn look(&mut self, _now: f64, _cache: &Cache) {}
    /// Those that are warmed now; what comes until the next run is only for who can see into the future.
    fn choose(&mut self, now: f64, cache: &Cache, future: &[(f64, u32)]) -> Vec<u32>;
    fn bytes(&self) -> usize {
        0
    }
}

#[derive(Default)]
pub struct Cache(HashMap<u32, Entry>);

struct Entry {
    read: f64,
    dies: f64,
}

impl Cache {
    fn write(&mut self, key: u32, now: f64, life: f64) {
        self.0.insert(key, Entry { read: now, dies: now + life });
    }

    fn dies(&self, key: u32) -> f64 {
        self.0.get(&key).map_or(f64::NEG_INFINITY, |entry| entry.dies)
    }

    /// What `OBJECT IDLETIME` says, in whole seconds.
    fn idle(&self, key: u32, now: f64) -> Option<Duration> {
        let entry = self.0.get(&key).filter(|entry| entry.dies > now)?;
        Some(Duration::from_secs((now - entry.read) as u64))
    }
}

pub fn replay(log: &Log, plan: Plan, policy: &mut dyn Policy) -> Outcome {
    let mut cache = Cache::default();
    let mut outcome = Outcome { hits: 0, reads: 0, estimator: 0, warmed: 0 };
    let (mut next, mut from, mut look) = (0.0_f64, 0, 0.0);
    for (place, (now, key)) in log.reads.iter().enumerate() {
        while *now >= next.min(look) {
            if look < next {
                policy.look(look, &cache);
                look += plan.look;
                continue;
            }
            from += log.reads[from..].partition_point(|(time, _)| *time < next);
            let until = from + log.reads[from..].partition_point(|(time, _)| *time < next + plan.every);
            let keys = policy.choose(next, &cache, &log.reads[from..until]);
            assert!(keys.len() <= plan.top && from <= place);
            outcome.warmed = outcome.warmed.max(keys.len() * KEY);
            keys.into_iter().for_each(|key| cache.write(key, next, plan.life));
            next += plan.every;
        }
        outcome.reads += 1;
        match cache.0.get_mut(key).filter(|entry| entry.dies > *now) {
            Some(entry) => {
                entry.read = *now;
                outcome.hits += 1;
            }
            None => {
                policy.missed(*key, *now);
                if plan.fills {
                    cache.write(*key, *now, plan.life);
                }
            }
        }
        outcome.estimator = outcome.estimator.max(if place % 1000 == 0 { policy.bytes() } else { 0 });
    }
    outcome
}

pub struct Static(pub Vec<u32>);

impl Policy for Static {
    fn choose(&mut self, _now: f64, _cache: &Cache, _future: &[(f64, u32)]) -> Vec<u32> {
        self.0.clone()
    }
}

/// What is shipped.
pub struct Predict {
    demand: Demand,
    top: usize,
}

impl Predict {
    pub fn new(plan: Plan) -> Self {
        let life = Duration::from_secs_f64(plan.life);
        Predict { demand: Demand::new(COUNTERS, HALF_LIFE, life, at(0.0)), top: plan.top }
    }
}

fn at(seconds: f64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::microseconds((seconds * 1e6) as i64)
}

fn name(key: u32) -> Arc<[u8]> {
    Arc::from(format!("event:cm{key:06}e0000000000000000").as_bytes())
}

fn number(name: &[u8]) -> u32 {
    std::str::from_utf8(&name[8..14]).unwrap().parse().unwrap()
}

impl Policy for Predict {
    fn missed(&mut self, key: u32, now: f64) {
        self.demand.missed(&name(key), at(now));
    }

    fn look(&mut self, now: f64, cache: &Cache) {
        let warm: Vec<_> = self.demand.warm().cloned().collect();
        for key in warm {
            self.demand.looked(&key, cache.idle(number(&key), now), at(now));
        }
    }

    fn choose(&mut self, now: f64, _cache: &Cache, _future: &[(f64, u32)]) -> Vec<u32> {
        let keys: Vec<_> = self.demand.wanted(self.top, at(now)).into_iter().map(|wanted| wanted.key).collect();
        self.demand.warmed(&keys, at(now));
        keys.iter().map(|key| number(key)).collect()
    }

    fn bytes(&self) -> usize {
        self.demand.bytes()
    }
}

/// Whoever knows what comes until the next run: the keys that would be missed most until then.
pub struct Oracle(Plan);

impl Oracle {
    pub fn new(plan: Plan) -> Self {
        Oracle(plan)
    }
}

impl Policy for Oracle {
    fn choose(&mut self, _now: f64, cache: &Cache, future: &[(f64, u32)]) -> Vec<u32> {
        let mut misses: HashMap<u32, (usize, f64)> = HashMap::new();
        for (time, key) in future {
            let (count, dies) = misses.entry(*key).or_insert((0, cache.dies(*key)));
            if *dies <= *time {
                *count += 1;
                *dies = if self.0.fills { time + self.0.life } else { *dies };
            }
        }
        let mut keys: Vec<u32> = misses.keys().copied().collect();
        keys.sort_by_key(|key| (std::cmp::Reverse(misses[key].0), *key));
        keys.truncate(self.0.top);
        keys
    }
}
