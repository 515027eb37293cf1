//! How long to wait between two tries.

use std::time::Duration;

/// The pause between two tries to reach a server: more than a second, so that a server in trouble sees at most one try a second, and
/// random up to two, so that many clients do not come back in step.
pub fn pause_between_tries() -> Duration {
    Duration::from_millis(1000 + fastrand::u64(1..1000))
}

/// The pause before attempt `attempt` (from 2) of a job: full jitter over a ceiling that doubles from half a second up to 30 s
/// ("Exponential Backoff And Jitter", M. Brooker, AWS Architecture Blog, 2015).
pub fn pause_before_attempt(attempt: u32) -> Duration {
    let ceiling = 500_u64.saturating_mul(1 << attempt.saturating_sub(2).min(6)).min(30_000);
    Duration::from_millis(fastrand::u64(0..=ceiling))
}

/// The pause before a job is run again that failed `failures` times in a row for a reason that may pass: full jitter over a ceiling that doubles from 10 s
/// up to 5 minutes, and a second at least.
pub fn pause_before_another_run(failures: u32) -> Duration {
    let ceiling = 10_000_u64.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(300_000);
    Duration::from_millis(fastrand::u64(1000..=ceiling))
}

/// The pause before a database that was busy or behind is looked at again, for the `looks`th time: it doubles from half a second up to 5 s, and is shortened by
/// chance by up to a half, so that those who wait do not begin in step.
pub fn pause_before_look(looks: u32) -> Duration {
    let ceiling = 500_u64.saturating_mul(1 << looks.saturating_sub(1).min(6)).min(5000);
    Duration::from_millis(fastrand::u64(ceiling / 2..=ceiling))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_stay_within_their_bounds() {
        for attempt in 2..40 {
            assert!(pause_before_attempt(attempt) <= Duration::from_secs(30));
            assert!(pause_between_tries() > Duration::from_secs(1));
            let looks = Duration::from_millis(250)..=Duration::from_secs(5);
            assert!(looks.contains(&pause_before_look(attempt - 1)));
            let again = pause_before_another_run(attempt);
            assert!((Duration::from_secs(1)..=Duration::from_secs(300)).contains(&again));
        }
        assert!(pause_before_attempt(2) <= Duration::from_millis(500));
    }
}
