//! From the misses of a whole server to what is known of each job's keys.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Demand, Remembered};
use crate::ground::job::Job;
use crate::ground::keyspace::KeySpace;

/// What is known of several jobs' keys. A key of none of them is dropped at once.
#[derive(Debug, Clone)]
pub struct Demands {
    space: KeySpace,
    /// The longest key that any job writes.
    longest: usize,
    memory: Memory,
    jobs: HashMap<String, Demand>,
    /// Misses of keys of none of them.
    others: u64,
}

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Keys with a counter, for each job.
    pub keys: usize,
    /// In which time half of what was seen is forgotten.
    pub half_life: Duration,
}

impl Default for Memory {
    fn default() -> Self {
        Memory { keys: 4096, half_life: Duration::from_secs(2 * 3600) }
    }
}

impl Demands {
    /// Nothing is known yet of these jobs; `space` has the templates of all that there are.
    pub fn new<'j>(
        jobs: impl Iterator<Item = &'j Job>,
        space: KeySpace,
        longest: usize,
        memory: Memory,
        now: DateTime<Utc>,
    ) -> Self {
        let demand = |job: &Job| Demand::new(memory.keys, memory.half_life, job.ttl.shortest(), now);
        let jobs = jobs.map(|job| (job.name.clone(), demand(job))).collect();
        Demands { space, longest, memory, jobs, others: 0 }
    }

    /// Somebody missed a key, which is given without the installation's prefix.
    pub fn missed(&mut self, key: &[u8], now: DateTime<Utc>) {
        let owner = self.space.owner(key).ok().filter(|_| key.len() <= self.longest);
        match owner.and_then(|owner| self.jobs.get_mut(owner)) {
            Some(demand) => demand.missed(key, now),
            None => self.others += 1,
        }
    }

    /// The same, but for keys of which the owner warms by itself.
    pub fn missed_but(&mut self, key: &[u8], now: DateTime<Utc>, is_warmed: impl Fn(&str) -> bool) {
        if !self.space.owner(key).is_ok_and(is_warmed) {
            self.missed(key, now);
        }
    }

    /// Goes on with what was remembered of a job; what nobody can have written is nothing.
    pub fn recall(&mut self, job: &Job, text: &str, now: DateTime<Utc>) {
        if let Ok(remembered) = serde_json::from_str::<Remembered>(text) {
            let Memory { keys, half_life } = self.memory;
            let demand = Demand::recall(keys, half_life, job.ttl.shortest(), remembered, now);
            self.jobs.insert(job.name.clone(), demand);
        }
    }

    /// What is to be remembered of a job, with so many counted keys at the most.
    pub fn remember(&self, job: &Job, most: usize, now: DateTime<Utc>) -> Option<String> {
        serde_json::to_string(&self.jobs.get(&job.name)?.remember(most, now)).ok()
    }

    /// What is known of a job, to learn more.
    pub fn of_mut(&mut self, job: &str) -> Option<&mut Demand> {
        self.jobs.get_mut(job)
    }

    /// What is known of a job.
    pub fn of(&self, job: &str) -> Option<&Demand> {
        self.jobs.get(job)
    }

    /// Misses of keys of none of them.
    pub fn others(&self) -> u64 {
        self.others
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::key::KeyTemplate;

    #[test]
    fn a_key_is_counted_for_its_job_and_for_no_other() {
        let template = |text| KeyTemplate::parse(text).expect("good");
        let space = KeySpace::new(vec![
            ("events".to_owned(), template("event:{id}")),
            ("lists".to_owned(), template("event:list:{state}")),
        ]);
        let now = DateTime::UNIX_EPOCH;
        let demand = Demand::new(8, Duration::from_secs(60), Duration::from_secs(60), now);
        let jobs = HashMap::from([("events".to_owned(), demand)]);
        let mut demands = Demands { space, longest: 12, memory: Memory::default(), jobs, others: 0 };
        for key in ["event:7", "event:list:Lagos", "user:7", "event:1234567", "event:7"] {
            demands.missed(key.as_bytes(), now);
        }
        assert_eq!(demands.others(), 3, "another job's, nobody's, and one that is too long");
        assert_eq!(demands.of("events").map(|demand| (demand.heard(), demand.keys())), Some((2, 1)));
        assert!(demands.of("lists").is_none());
    }
}
