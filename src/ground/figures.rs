//! What a Redis server says of what it does for everybody, and what follows from it.

use std::time::Duration;

/// Counts since the server began, and what is in use now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Which process of the server counts: another one begins at zero.
    pub run_id: String,
    /// How long it has run.
    pub uptime: Duration,
    /// Keys that were looked up and found, and those that were not: by whoever asked, in all databases.
    pub hits: u64,
    /// Keys that were looked up in vain.
    pub misses: u64,
    /// Keys that were thrown out to make room.
    pub evicted: u64,
    /// Keys whose time was over.
    pub expired: u64,
    /// Bytes in use, as far as Redis holds them against its limit.
    pub used: u64,
    /// The limit in bytes; `None` where there is none.
    pub limit: Option<u64>,
    /// Which keys go first at the limit (`maxmemory-policy`).
    pub policy: String,
}

impl Figures {
    /// The share of the limit that is in use.
    pub fn memory(&self) -> Option<f64> {
        self.limit.map(|limit| self.used as f64 / limit as f64)
    }

    /// How look-ups went since the server began.
    pub fn lookups(&self) -> Lookups {
        Lookups { hits: self.hits, misses: self.misses, over: self.uptime, window: false }
    }

    /// The same since an earlier look; `None` if the server was begun anew meanwhile, or its counts were set back.
    pub fn since(&self, earlier: &Figures, over: Duration) -> Option<Lookups> {
        let hits = self.hits.checked_sub(earlier.hits)?;
        let misses = self.misses.checked_sub(earlier.misses)?;
        (self.run_id == earlier.run_id).then_some(Lookups { hits, misses, over, window: true })
    }
}

/// How look-ups went for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookups {
    /// Keys that were found.
    pub hits: u64,
    /// Keys that were not.
    pub misses: u64,
    /// For how long they were counted.
    pub over: Duration,
    /// Whether that is a time that was watched, and not all of the server's life.
    pub window: bool,
}

impl Lookups {
    /// The share that was found; `None` if nothing was looked up.
    pub fn ratio(&self) -> Option<f64> {
        let all = self.hits + self.misses;
        (all > 0).then(|| self.hits as f64 / all as f64)
    }

    /// Without what we have caused ourselves.
    pub fn without(self, hits: u64, misses: u64) -> Lookups {
        Lookups { hits: self.hits.saturating_sub(hits), misses: self.misses.saturating_sub(misses), ..self }
    }
}

/// The time that this share of the answers (0 … 1) did not exceed: the nearest rank. `None` without an answer.
pub fn quantile(answers: &[Duration], share: f64) -> Option<Duration> {
    let mut sorted = answers.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_what_came_since_and_none_across_a_restart() {
        let at = |run_id: &str, hits, misses| Figures { run_id: run_id.to_owned(), hits, misses, ..Figures::default() };
        let second = Duration::from_secs(1);
        let window = at("a", 190, 20).since(&at("a", 100, 10), second).unwrap();
        assert_eq!((window.hits, window.misses, window.ratio()), (90, 10, Some(0.9)));
        assert_eq!(window.without(80, 99).ratio(), Some(1.0));
        assert_eq!(at("b", 190, 20).since(&at("a", 100, 10), second), None);
        assert_eq!(at("a", 5, 20).since(&at("a", 100, 10), second), None, "CONFIG RESETSTAT");
        assert_eq!(at("a", 5, 5).since(&at("a", 5, 5), second).unwrap().ratio(), None);
    }

    #[test]
    fn a_quantile_is_an_answer_that_there_was() {
        let answers: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(quantile(&answers, 0.5), Some(Duration::from_millis(50)));
        assert_eq!(quantile(&answers, 0.99), Some(Duration::from_millis(99)));
        assert_eq!(quantile(&answers[..1], 0.01), Some(Duration::from_millis(100)));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
