//! Counts of a stream of keys in bounded memory: Space-Saving, with weights that fade.
//!
//! The algorithm is that of A. Metwally, D. Agrawal and A. El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams" (ICDT 2005). It keeps `m` counters.
//! A key that has one adds to it; a key that has none takes over the smallest one, and that one's count with it, which is noted as the error. So, with `W` for the sum of all that
//! was added:
//!
//! - a key's count is never less than the truth, and more by its error at the most;
//! - an error is `W / m` at the most;
//! - a key of which more than `W / m` was added has a counter.
//!
//! What was added fades with a half-life. Instead of shrinking all counters all the time, later additions weigh more (forward decay: G. Cormode, V. Shkapenyuk, D. Srivastava and
//! B. Xu, "Forward Decay", ICDE 2009): one at `t` adds `2^((t - landmark) / half_life)`, and what is asked for at `t` is divided by the same. All three sentences stay true of weights.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

/// How many half-lives the landmark may lie back: beyond it, sums of weights would lose digits of what is in them.
const FARTHEST: f64 = 64.0;
/// What a counter takes beside its key, about: the counter, its entry in the table, and what allocating costs.
const OVERHEAD: usize = 96;

/// The counters.
#[derive(Debug, Clone)]
pub struct SpaceSaving {
    capacity: usize,
    /// In seconds.
    half_life: f64,
    landmark: DateTime<Utc>,
    /// A heap: the smallest counter is the first, and none is smaller than the one at half its place.
    counters: Vec<Counter>,
    places: HashMap<Arc<[u8]>, usize>,
    /// The sum of all weights.
    total: f64,
}

#[derive(Debug, Clone)]
struct Counter {
    key: Arc<[u8]>,
    weight: f64,
    error: f64,
    last: DateTime<Utc>,
}

/// What is known of a key: what was added, faded as it is by now.
#[derive(Debug, Clone, PartialEq)]
pub struct Count {
    /// The key.
    pub key: Arc<[u8]>,
    /// At the most so much.
    pub most: f64,
    /// At least so much.
    pub least: f64,
}

impl SpaceSaving {
    /// At least one counter; times are those of a clock that may be set back, which makes nothing younger than it is.
    pub fn new(capacity: usize, half_life: Duration, now: DateTime<Utc>) -> Self {
        SpaceSaving {
            capacity: capacity.max(1),
            half_life: half_life.as_secs_f64().max(1e-3),
            landmark: now,
            counters: Vec::new(),
            places: HashMap::new(),
            total: 0.0,
        }
    }

    /// The same, going on with what was counted; the first ones, if there are too many.
    pub fn begin_with(
        capacity: usize,
        half_life: Duration,
        counts: impl Iterator<Item = Count>,
        now: DateTime<Utc>,
    ) -> Self {
        let mut begun = SpaceSaving::new(capacity, half_life, now);
        for Count { key, most, least } in counts.take(capacity.max(1)) {
            if begun.places.insert(Arc::clone(&key), begun.counters.len()).is_some() {
                continue;
            }
            begun.total += most;
            begun.counters.push(Counter { key, weight: most, error: most - least, last: now });
        }
        // No counter is smaller than the one at half its place, if they are in order.
        begun.counters.sort_by(|a, b| a.weight.total_cmp(&b.weight));
        begun.places = begun.counters.iter().enumerate().map(|(place, of)| (Arc::clone(&of.key), place)).collect();
        begun
    }

    /// Counts the key once more. When it was counted before, if it has a counter.
    pub fn add(&mut self, key: &[u8], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let weight = self.weight(now);
        self.total += weight;
        if let Some(place) = self.places.get(key).copied() {
            let counter = &mut self.counters[place];
            counter.weight += weight;
            let before = std::mem::replace(&mut counter.last, now);
            self.sink(place);
            return Some(before);
        }
        let key: Arc<[u8]> = Arc::from(key);
        if self.counters.len() < self.capacity {
            self.places.insert(Arc::clone(&key), self.counters.len());
            self.counters.push(Counter { key, weight, error: 0.0, last: now });
            self.rise(self.counters.len() - 1);
        } else if let Some(least) = self.counters.first_mut() {
            self.places.remove(&least.key);
            self.places.insert(Arc::clone(&key), 0);
            *least = Counter { key, weight: least.weight + weight, error: least.weight, last: now };
            self.sink(0);
        }
        None
    }

    /// What is known of the key, if it has a counter.
    pub fn count(&self, key: &[u8], now: DateTime<Utc>) -> Option<Count> {
        self.places.get(key).map(|place| self.counters[*place].count(self.unit(now)))
    }

    /// All that have a counter, those first of which most is certain.
    pub fn counts(&self, now: DateTime<Utc>) -> Vec<Count> {
        let unit = self.unit(now);
        let mut counts: Vec<Count> = self.counters.iter().map(|counter| counter.count(unit)).collect();
        counts.sort_by(|a, b| b.least.total_cmp(&a.least).then_with(|| a.key.cmp(&b.key)));
        counts
    }

    /// The most by which a count may be too high, and the most that was added of a key without a counter.
    pub fn error(&self, now: DateTime<Utc>) -> f64 {
        let is_full = self.counters.len() == self.capacity;
        self.counters.first().filter(|_| is_full).map_or(0.0, |least| least.weight / self.unit(now))
    }

    /// All that was added.
    pub fn total(&self, now: DateTime<Utc>) -> f64 {
        self.total / self.unit(now)
    }

    /// How many keys have a counter.
    pub fn len(&self) -> usize {
        self.counters.len()
    }

    /// Whether nothing was counted yet.
    pub fn is_empty(&self) -> bool {
        self.counters.is_empty()
    }

    /// How many bytes it takes, about.
    pub fn bytes(&self) -> usize {
        self.counters.iter().map(|counter| counter.key.len() + OVERHEAD).sum()
    }

    /// What something weighs that is added now.
    fn weight(&mut self, now: DateTime<Utc>) -> f64 {
        let passed = self.half_lives(now);
        if passed < FARTHEST {
            return passed.exp2();
        }
        let shrink = (-passed).exp2();
        self.total *= shrink;
        for counter in &mut self.counters {
            counter.weight *= shrink;
            counter.error *= shrink;
        }
        self.landmark = now;
        1.0
    }

    fn unit(&self, now: DateTime<Utc>) -> f64 {
        self.half_lives(now).exp2()
    }

    fn half_lives(&self, now: DateTime<Utc>) -> f64 {
        (now - self.landmark).as_seconds_f64().max(0.0) / self.half_life
    }

    /// Moves a counter that has become heavier away from the first place.
    fn sink(&mut self, mut place: usize) {
        loop {
            let below = [2 * place + 1, 2 * place + 2].into_iter().filter(|below| *below < self.counters.len());
            let weight = |at: &usize| self.counters[*at].weight;
            let lightest = below.min_by(|a, b| weight(a).total_cmp(&weight(b)));
            match lightest.filter(|below| weight(below) < weight(&place)) {
                Some(below) => place = self.swap(place, below),
                None => return,
            }
        }
    }

    /// Moves a new counter towards the first place.
    fn rise(&mut self, mut place: usize) {
        while place > 0 && self.counters[place].weight < self.counters[(place - 1) / 2].weight {
            place = self.swap(place, (place - 1) / 2);
        }
    }

    fn swap(&mut self, from: usize, to: usize) -> usize {
        self.counters.swap(from, to);
        for place in [from, to] {
            if let Some(known) = self.places.get_mut(&self.counters[place].key) {
                *known = place;
            }
        }
        to
    }
}

impl Counter {
    fn count(&self, unit: f64) -> Count {
        let least = (self.weight - self.error).max(0.0) / unit;
        Count { key: Arc::clone(&self.key), most: self.weight / unit, least }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[test]
    fn what_fits_is_counted_exactly() {
        let mut counts = SpaceSaving::new(3, HOUR, at(0));
        assert_eq!(counts.add(b"a", at(0)), None);
        assert_eq!(counts.add(b"b", at(0)), None);
        assert_eq!(counts.add(b"a", at(0)), Some(at(0)));
        let known: Vec<_> =
            counts.counts(at(0)).iter().map(|count| (count.key.to_vec(), count.least, count.most)).collect();
        assert_eq!(known, [(b"a".to_vec(), 2.0, 2.0), (b"b".to_vec(), 1.0, 1.0)]);
        assert_eq!(counts.error(at(0)), 0.0);
    }

    #[test]
    fn whoever_is_new_takes_the_smallest_counter_with_what_it_holds() {
        let mut counts = SpaceSaving::new(2, HOUR, at(0));
        for key in [b"a", b"a", b"b", b"c"] {
            counts.add(key, at(0));
        }
        assert_eq!(counts.count(b"b", at(0)), None);
        let c = counts.count(b"c", at(0)).expect("the last one has a counter");
        assert_eq!((c.least, c.most), (1.0, 2.0));
    }

    #[test]
    fn half_of_it_is_left_after_a_half_life() {
        let mut counts = SpaceSaving::new(2, HOUR, at(0));
        counts.add(b"a", at(0));
        counts.add(b"a", at(3600));
        let a = counts.count(b"a", at(7200)).expect("counted");
        assert!((a.most - 0.75).abs() < 1e-9, "{a:?}");
        assert!((counts.total(at(7200)) - 0.75).abs() < 1e-9);
    }

    #[test]
    fn nothing_overflows_in_ten_years_and_a_clock_set_back_makes_nothing_young() {
        let mut counts = SpaceSaving::new(4, HOUR, at(0));
        for hour in 0..87_600 {
            counts.add(b"a", at(hour * 3600));
        }
        let now = at(87_599 * 3600);
        let a = counts.count(b"a", now).expect("counted");
        assert!((a.most - 2.0).abs() < 1e-6, "{a:?}");
        let before = counts.count(b"a", at(0)).expect("counted");
        assert!(before.most.is_finite() && counts.add(b"a", at(0)).is_some());
    }

    proptest! {
        #[test]
        fn the_bounds_hold(
            stream in prop::collection::vec((0_u8..40, 0_i64..600), 1..600), capacity in 1_usize..24,
        ) {
            let half_life = Duration::from_secs(7000);
            let mut counts = SpaceSaving::new(capacity, half_life, at(0));
            let mut now = 0;
            let mut added: HashMap<u8, Vec<i64>> = HashMap::new();
            for (key, pause) in &stream {
                now += pause;
                counts.add(&[*key], at(now));
                added.entry(*key).or_default().push(now);
            }
            let truth = |key: u8| added[&key].iter().map(|then| (-((now - then) as f64) / 7000.0).exp2()).sum::<f64>();
            let total: f64 = added.keys().map(|key| truth(*key)).sum();
            let (bound, hair) = (total / capacity as f64, 1e-9 * total + 1e-9);
            prop_assert!((counts.total(at(now)) - total).abs() < hair);
            prop_assert!(counts.error(at(now)) <= bound + hair);
            prop_assert!(counts.len() <= capacity);
            for key in added.keys() {
                match counts.count(&[*key], at(now)) {
                    Some(Count { most, least, .. }) => {
                        prop_assert!(truth(*key) <= most + hair && least <= truth(*key) + hair);
                        prop_assert!(most - least <= bound + hair);
                    }
                    None => prop_assert!(truth(*key) <= counts.error(at(now)) + hair),
                }
            }
        }
    }
}
