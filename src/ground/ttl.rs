//! Lifetimes: the policy by key prefix, a job's own TTL, and the jitter that spreads expiry.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

/// The `[ttl]` table: key prefix → lifetime. The longest matching prefix wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TtlPolicy {
    /// Longest prefix first.
    entries: Vec<(String, Duration)>,
}

impl TtlPolicy {
    /// A policy from prefixes and lifetimes, in any order.
    pub fn new(mut entries: Vec<(String, Duration)>) -> Self {
        entries.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.0.cmp(&b.0)));
        TtlPolicy { entries }
    }

    /// The prefixes, longest first.
    pub fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(prefix, _)| prefix.as_str())
    }

    /// The lifetime of keys that begin with `prefix`, and the policy's own prefix that says so.
    pub fn lookup(&self, prefix: &str) -> Option<(&str, Duration)> {
        self.entries
            .iter()
            .find(|(candidate, _)| prefix.starts_with(candidate.as_str()))
            .map(|(candidate, ttl)| (candidate.as_str(), *ttl))
    }

    /// Resolves the policy for all keys that begin with the literal `prefix`: `None` when it names no lifetime for some
    /// of them.
    pub fn for_keys(&self, prefix: &str) -> Option<JobTtl> {
        let (_, base) = self.lookup(prefix)?;
        let longer = self
            .entries
            .iter()
            .filter(|(candidate, _)| candidate.len() > prefix.len() && candidate.starts_with(prefix))
            .map(|(candidate, ttl)| (candidate.clone().into_bytes(), *ttl))
            .collect();
        Some(JobTtl { base, longer, jitter: 0.0 })
    }
}

/// The lifetimes of one job's keys, resolved once.
#[derive(Debug, Clone, PartialEq)]
pub struct JobTtl {
    base: Duration,
    /// Policy prefixes that only some of the job's keys begin with, longest first.
    longer: Vec<(Vec<u8>, Duration)>,
    /// The largest share (0 … 0.1) by which a lifetime is shortened.
    jitter: f64,
}

impl JobTtl {
    /// One lifetime for all keys of the job (`ttl = "…"` in the job file).
    pub fn fixed(ttl: Duration) -> Self {
        JobTtl { base: ttl, longer: Vec::new(), jitter: 0.0 }
    }

    /// The same with jitter: each lifetime is shortened by at most `share` (0 … 0.1). The amount depends on the key alone, so
    /// that a re-run gives a key the same lifetime.
    pub fn with_jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// The lifetime of the job's usual keys, before jitter.
    pub fn base(&self) -> Duration {
        self.base
    }

    /// The largest share by which jitter shortens a lifetime.
    pub fn jitter(&self) -> f64 {
        self.jitter
    }

    /// The shortest lifetime that a usual key may have.
    pub fn shortest(&self) -> Duration {
        self.base.mul_f64(1.0 - self.jitter)
    }

    /// The lifetime of `key`.
    pub fn of(&self, key: &[u8]) -> Duration {
        let ttl = self.longer.iter().find(|(prefix, _)| key.starts_with(prefix)).map_or(self.base, |(_, ttl)| *ttl);
        if self.jitter == 0.0 {
            return ttl;
        }
        let spread = xxh3_64(key) as f64 / u64::MAX as f64;
        ttl.mul_f64(1.0 - self.jitter * spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(n: u64) -> Duration {
        Duration::from_secs(60 * n)
    }

    fn policy() -> TtlPolicy {
        TtlPolicy::new(vec![
            ("event:".into(), minutes(30)),
            ("event:list:".into(), minutes(5)),
            ("user:".into(), minutes(60)),
        ])
    }

    #[test]
    fn the_longest_prefix_wins() {
        assert_eq!(policy().lookup("event:list:state:"), Some(("event:list:", minutes(5))));
        assert_eq!(policy().lookup("event:"), Some(("event:", minutes(30))));
        assert_eq!(policy().lookup("ticket:"), None);
    }

    #[test]
    fn a_key_that_grows_into_a_longer_prefix_gets_its_lifetime() {
        let ttl = policy().for_keys("event:").expect("event: has a lifetime");
        assert_eq!(ttl.of(b"event:42"), minutes(30));
        assert_eq!(ttl.of(b"event:list:all"), minutes(5));
    }

    #[test]
    fn jitter_shortens_by_at_most_its_share_and_the_same_each_time() {
        let ttl = JobTtl::fixed(minutes(10)).with_jitter(0.1);
        let lifetimes: Vec<_> = (0..1000).map(|n| ttl.of(format!("key:{n}").as_bytes())).collect();
        assert!(lifetimes.iter().all(|t| (minutes(9)..=minutes(10)).contains(t)));
        assert!(lifetimes.iter().any(|t| *t < minutes(10) - Duration::from_secs(45)), "spread over the range");
        assert_eq!(ttl.of(b"key:1"), ttl.of(b"key:1"));
    }
}
