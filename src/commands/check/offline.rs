//! What can be said without servers: whether keys live long enough for their schedule.

use super::Finding;
use crate::ground::clock::{Clock, SystemClock};
use crate::ground::job::Job;
use crate::ground::settings::Settings;

/// Looks at every job by itself.
pub(super) fn check(settings: &Settings) -> Vec<Finding> {
    settings.jobs.iter().filter_map(warmth).collect()
}

/// Says how long keys are cold if they die before the schedule strikes again.
fn warmth(job: &Job) -> Option<Finding> {
    // Jitter shortens lifetimes; the shortest one decides.
    let ttl = job.ttl.base().mul_f64(1.0 - job.ttl.jitter());
    let share = job.schedule.warm_share(ttl, SystemClock.now());
    if share >= 1.0 {
        return None;
    }
    let shown = humantime::format_duration(job.ttl.base());
    Some(Finding::warning(
        Some(&job.name),
        format!(
            "its keys live {shown}, but are written on the schedule `{}`: they are warm {:.0} % of the time and cold for the rest",
            job.schedule,
            (share * 100.0).floor()
        ),
        format!(
            "run it more often than its keys die (schedule = \"every {}\"), or give them a longer ttl if the application allows it",
            often(job)
        ),
    ))
}

/// An interval that keeps the job's keys warm with a fifth of their life to spare.
fn often(job: &Job) -> String {
    let seconds = (job.ttl.base().as_secs_f64() * (1.0 - job.ttl.jitter()) * 0.8).floor().max(1.0);
    // Whole minutes read better, where there are some.
    let seconds = if seconds >= 120.0 { (seconds / 60.0).floor() * 60.0 } else { seconds };
    humantime::format_duration(std::time::Duration::from_secs_f64(seconds)).to_string().replace(' ', "")
}
