//! A few keys that stand for all keys of a job, taken while they pass: whoever asks later how warm a job is has to know which keys there should be.
//!
//! Each key has the same chance to be kept, however many come, and nobody has to know beforehand how many that will be: reservoir sampling, as Algorithm L
//! (K.-H. Li, "Reservoir-sampling algorithms of time complexity O(n(1 + log(N/n)))", ACM Transactions on Mathematical Software 20, 1994). It draws the
//! number of keys to pass over instead of a number for each key, so that a million keys cost about a thousand draws.

use chrono::{DateTime, Utc};
use fastrand::Rng;

/// How many keys are kept.
pub const ROOM: usize = 100;
/// The longest name that is kept; longer ones are passed over, so that a sample is 100 KiB at the most.
const LONGEST: usize = 1024;

/// Keys of one run, as they come.
#[derive(Debug, Default)]
pub struct Reservoir {
    names: Vec<Vec<u8>>,
    /// Keys that came so far.
    seen: u64,
    /// The number of the next key that is kept, counted from 1.
    next: u64,
    /// The largest of as many random numbers as there is room, each from 0 to 1, if every key had drawn one and the lowest had won.
    threshold: f64,
    random: Rng,
}

impl Reservoir {
    /// A key has come.
    pub fn offer(&mut self, key: &[u8]) {
        if key.len() > LONGEST {
            return;
        }
        self.seen += 1;
        if self.names.len() < ROOM {
            self.names.push(key.to_vec());
            if self.names.len() == ROOM {
                (self.threshold, self.next) = (1.0, self.seen);
                self.draw();
            }
        } else if self.seen == self.next {
            let place = self.random.usize(..ROOM);
            self.names[place] = key.to_vec();
            self.draw();
        }
    }

    /// Draws which key is kept next.
    fn draw(&mut self) {
        self.threshold *= (self.chance().ln() / ROOM as f64).exp();
        let passed_over = (self.chance().ln() / (1.0 - self.threshold).ln()).floor();
        // What is too large for a number is too far away to be reached.
        self.next = self.next.saturating_add(passed_over as u64).saturating_add(1);
    }

    /// Above 0 and up to 1: there is no logarithm of 0.
    fn chance(&mut self) -> f64 {
        1.0 - self.random.f64()
    }

    /// What was kept. A key that came twice is in it once.
    pub fn sample(&self) -> Sampled {
        let mut names = self.names.clone();
        names.sort_unstable();
        names.dedup();
        let all = self.seen <= ROOM as u64;
        Sampled { keys: if all { names.len() as u64 } else { self.seen }, names }
    }
}

/// A few keys of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sampled {
    /// Without the installation's prefix; each of them once.
    pub names: Vec<Vec<u8>>,
    /// How many keys they stand for.
    pub keys: u64,
}

/// Keys that a run has left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastSample {
    /// When the run ended.
    pub ended: DateTime<Utc>,
    /// A few of its keys.
    pub sampled: Sampled,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(seed: u64, keys: u64) -> Sampled {
        let mut reservoir = Reservoir { random: Rng::with_seed(seed), ..Reservoir::default() };
        (0..keys).for_each(|key| reservoir.offer(format!("k:{key}").as_bytes()));
        reservoir.sample()
    }

    #[test]
    fn a_few_keys_are_all_kept_and_of_many_a_hundred() {
        assert_eq!(of(1, 0), Sampled::default());
        assert_eq!((of(1, 7).keys, of(1, 7).names.len()), (7, 7));
        assert_eq!((of(1, 100).keys, of(1, 100).names.len()), (100, 100));
        assert_eq!((of(1, 5000).keys, of(1, 5000).names.len()), (5000, ROOM));
    }

    #[test]
    fn every_key_has_the_same_chance() {
        // Each of 1000 keys is kept by about 200 of 2000 runs; the deviation is 13.4.
        let mut kept = vec![0_u32; 1000];
        for seed in 0..2000 {
            for name in of(seed, 1000).names {
                let key: usize = String::from_utf8(name).unwrap()[2..].parse().unwrap();
                kept[key] += 1;
            }
        }
        assert_eq!(kept.iter().sum::<u32>(), 200_000);
        assert!(kept.iter().all(|times| (135..=265).contains(times)), "{kept:?}");
        // Not those that come first or last, either: their sums deviate by 127.
        let tenth = |part: &[u32]| f64::from(part.iter().sum::<u32>());
        for part in kept.chunks(100) {
            assert!((tenth(part) - 20_000.0).abs() < 640.0, "{}", tenth(part));
        }
    }

    #[test]
    fn keys_that_come_twice_count_once_and_long_ones_not_at_all() {
        let mut reservoir = Reservoir::default();
        for _ in 0..2 {
            (0..40).for_each(|key: u32| reservoir.offer(key.to_string().as_bytes()));
        }
        reservoir.offer(&[b'x'; LONGEST + 1]);
        assert_eq!((reservoir.sample().keys, reservoir.sample().names.len()), (40, 40));
    }
}
