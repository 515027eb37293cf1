//! What is remembered of a job's keys from one process to the next: the most wanted ones, and those that are followed. The rest is learned again.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::reads::RememberedReads;
use super::{Count, Demand, Reads, SpaceSaving};

/// What is remembered. Keys that are no text are left out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Remembered {
    /// When, in milliseconds since 1970.
    at: i64,
    /// Hours that were watched, faded.
    watched: f64,
    again: (u64, u64),
    /// Keys, each with what was counted of it at the most and at least.
    counts: Vec<(String, f64, f64)>,
    followed: Vec<(String, RememberedReads)>,
}

impl Demand {
    /// What is to be remembered, with so many counted keys at the most.
    pub fn remember(&self, most: usize, now: DateTime<Utc>) -> Remembered {
        let text = |key: &[u8]| std::str::from_utf8(key).ok().map(str::to_owned);
        let counts = self.misses.counts(now).into_iter().take(most);
        let followed = self.followed.iter().filter_map(|(key, reads)| Some((text(key)?, reads.remember(now))));
        Remembered {
            at: now.timestamp_millis(),
            watched: self.window(now),
            again: self.again,
            counts: counts.filter_map(|Count { key, most, least }| Some((text(&key)?, most, least))).collect(),
            followed: followed.collect(),
        }
    }

    /// Goes on with what was remembered, which has faded meanwhile: nobody has watched since.
    pub fn recall(keys: usize, half_life: Duration, life: Duration, of: Remembered, now: DateTime<Utc>) -> Demand {
        let then = DateTime::from_timestamp_millis(of.at).unwrap_or(now).min(now);
        let passed = (now - then).as_seconds_f64();
        let left = (-passed / half_life.as_secs_f64().max(1e-3)).exp2();
        let mut demand = Demand::new(keys, half_life, life, now);
        (demand.before, demand.again) = (of.watched.max(0.0) * left, of.again);
        let counts = of.counts.into_iter().map(|(key, most, least)| {
            let key: Arc<[u8]> = Arc::from(key.into_bytes());
            Count { key, most: most.max(0.0) * left, least: least.clamp(0.0, most.max(0.0)) * left }
        });
        demand.misses = SpaceSaving::begin_with(keys, half_life, counts, now);
        let followed = of.followed.into_iter();
        let followed =
            followed.map(|(key, reads)| (Arc::from(key.into_bytes()), Reads::recall(reads, half_life, then, now)));
        demand.followed = followed.collect();
        demand
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_process_goes_on_where_another_one_ended() {
        let (hour, now) = (Duration::from_secs(3600), DateTime::UNIX_EPOCH);
        let mut demand = Demand::new(100, hour, hour, now);
        for minute in 0..60 {
            demand.missed(b"often", now + TimeDelta::minutes(minute));
            demand.missed(format!("{minute}").as_bytes(), now + TimeDelta::minutes(minute));
        }
        let end = now + TimeDelta::hours(1);
        demand.warmed(&[Arc::from(&b"7"[..])], end);
        let text = serde_json::to_string(&demand.remember(10, end)).expect("all of it is text");
        assert!(text.len() < 2000, "{text}");
        let remembered = serde_json::from_str(&text).expect("what was written is read");
        let later = end + TimeDelta::hours(3);
        let recalled = Demand::recall(100, hour, hour, remembered, later);
        let (before, after) = (demand.wanted(1, end), recalled.wanted(1, later));
        assert_eq!(before[0].key, after[0].key);
        assert!((before[0].per_hour / after[0].per_hour - 1.0).abs() < 0.01, "{before:?} {after:?}");
        assert_eq!(recalled.warm().count(), 1);
        assert_eq!(recalled.keys(), 10);
    }
}
