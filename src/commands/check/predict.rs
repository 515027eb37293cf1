//! Whether Redis tells of misses, where a job predicts. Without that the job runs as any other: so a lack is a warning.

use std::sync::Arc;

use super::Finding;
use crate::cache::Redis;
use crate::ground::job::Job;

/// Asks whether misses are told, and idle times.
pub(super) async fn check(redis: &Redis, jobs: &[Arc<Job>], policy: Option<&str>) -> Vec<Finding> {
    let names: Vec<_> = jobs.iter().filter(|job| job.predict.is_some()).map(|job| job.name.as_str()).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let (names, mut findings) = (names.join(", "), Vec::new());
    if let Err(error) = redis.misses().await {
        let message = format!("nothing is learned for predict = true ({names}): {error}");
        findings.push(Finding::warning(message, "do so, or remove `predict`; docs/learning.md has more of it"));
    }
    if let Err(error) = redis.idle(vec![Arc::from(&b"warm:check"[..])]).await {
        let message = format!("for predict = true ({names}) nobody can tell which warmed keys are still read: {error}");
        findings.push(Finding::warning(message, "grant +object|idletime, as config/redis-acl.conf does"));
    }
    let policy = policy.filter(|policy| policy.ends_with("-lfu"));
    findings.extend(policy.map(|policy| {
        let message = format!("for predict = true ({names}) nobody can tell which warmed keys are still read: there are no idle times (maxmemory-policy {policy})");
        let advice = "use maxmemory-policy allkeys-lru, or let warmed keys be left out now and then, to see whether they are missed";
        Finding::warning(message, advice)
    }));
    findings
}
