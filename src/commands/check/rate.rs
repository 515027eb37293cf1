//! Whether the jobs can be done within their time-outs at the rate that `[redis]` allows, by the planner's own estimate.

use std::sync::Arc;
use std::time::Duration;

use super::Finding;
use super::room::Estimate;
use crate::config::show_duration;
use crate::ground::job::{Job, Verify};
use crate::ground::settings::Restraint;
use crate::observe::{counted, human_bytes};

/// Looks at each job by itself, as if it had all of the rate.
pub(super) fn check(restraint: &Restraint, jobs: &[Arc<Job>], estimates: &[Estimate]) -> Vec<Finding> {
    let job_of = |estimate: &Estimate| jobs.iter().find(|job| job.name == estimate.job);
    estimates.iter().filter_map(|estimate| too_slow(restraint, job_of(estimate)?, estimate)).collect()
}

fn too_slow(restraint: &Restraint, job: &Job, estimate: &Estimate) -> Option<Finding> {
    let verified = job.verify != Verify::None;
    let commands = estimate.keys.unwrap_or(0).saturating_mul(if verified { 2 } else { 1 });
    let limits = [
        (commands, restraint.keys_per_second, "keys_per_second"),
        (estimate.bytes, restraint.bytes_per_second, "bytes_per_second"),
    ];
    let times = limits.into_iter().filter_map(|(units, rate, field)| Some((units / rate?.max(1), field)));
    let (seconds, field) = times.max()?;
    if seconds <= job.timeout.as_secs() {
        return None;
    }
    let what = match estimate.keys {
        Some(keys) if field == "keys_per_second" => {
            counted(keys, "key", "keys") + if verified { ", each with two commands (verify)" } else { "" }
        }
        _ => human_bytes(estimate.bytes),
    };
    let message = format!(
        "it cannot end within its timeout of {}: it writes about {what}, which takes {} at {field} in [redis]",
        show_duration(job.timeout),
        show_duration(Duration::from_secs(seconds))
    );
    Some(Finding::warning_of(job, message, "raise the job's timeout, raise the rate, or let it write less"))
}
