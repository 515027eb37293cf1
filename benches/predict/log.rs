//! Access logs: generated, or recorded.

use std::collections::HashMap;
use std::fs;

/// Who read what, and when.
pub struct Log {
    /// Seconds from the beginning, and the key.
    pub reads: Vec<(f64, u32)>,
    /// What was most popular at the beginning: the static list.
    pub first: Vec<u32>,
}

/// A log whose popularity is Zipf's, and drifts.
pub struct Generated {
    pub events: usize,
    pub keys: usize,
    pub hours: f64,
    /// Each hour, this share of the most popular keys change places with any others.
    pub drift: f64,
    pub skew: f64,
    pub seed: u64,
}

impl Generated {
    pub fn log(&self, top: usize) -> Log {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut sums = Vec::with_capacity(self.keys);
        let mut sum = 0.0;
        for rank in 1..=self.keys {
            sum += (rank as f64).powf(-self.skew);
            sums.push(sum);
        }
        let mut of_rank: Vec<u32> = (0..self.keys as u32).collect();
        random.shuffle(&mut of_rank);
        let first = of_rank.iter().copied().take(top).collect();
        let mut reads = Vec::with_capacity(self.events);
        let (mut now, mut hour) = (0.0_f64, 0.0_f64);
        for _ in 0..self.events {
            now -= (1.0 - random.f64()).ln() * self.hours * 3600.0 / self.events as f64;
            while now >= (hour + 1.0) * 3600.0 {
                hour += 1.0;
                for rank in 0..(4 * top).min(self.keys) {
                    if random.f64() < self.drift {
                        of_rank.swap(rank, random.usize(..self.keys));
                    }
                }
            }
            let at = random.f64() * sum;
            reads.push((now, of_rank[sums.partition_point(|sum| *sum < at).min(self.keys - 1)]));
        }
        Log { reads, first }
    }
}

impl Log {
    /// The static list is what is read most in the first hour.
    pub fn read(file: &str, top: usize) -> Log {
        let text = fs::read_to_string(file).expect("a log, `SECONDS KEY` a line");
        let mut names: HashMap<&str, u32> = HashMap::new();
        let mut reads: Vec<(f64, u32)> = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let parts = line.trim().split_once(' ').and_then(|(time, key)| Some((time.parse::<f64>().ok()?, key)));
            let (time, key) =
                parts.unwrap_or_else(|| panic!("{file}:{}: found `{line}`, expected `SECONDS KEY`", number + 1));
            let next = names.len() as u32;
            reads.push((time, *names.entry(key).or_insert(next)));
        }
        let begin = reads.first().map_or(0.0, |(time, _)| *time);
        reads.iter_mut().for_each(|(time, _)| *time -= begin);
        assert!(reads.is_sorted_by(|a, b| a.0 <= b.0), "{file} is not in the order of time");
        let mut counts: HashMap<u32, usize> = HashMap::new();
        reads.iter().take_while(|(time, _)| *time < 3600.0).for_each(|(_, key)| *counts.entry(*key).or_default() += 1);
        let mut first: Vec<u32> = counts.keys().copied().collect();
        first.sort_by_key(|key| (std::cmp::Reverse(counts[key]), *key));
        first.truncate(top);
        Log { reads, first }
    }
}
