//! Whether the jobs can be done within their time-outs at the rate that `[redis]` allows, by the planner's own estimate.

use std::sync::Arc;
use std::time::Duration;

use super::Finding;
use super::room::Estimate;
use crate::config::show_duration;
use crate::ground::job::{Job, Verify};
use crate::ground::settings::{Restraint, Settings};
use crate::observe::{counted, human_bytes};

/// Looks at each job by itself, as if it had all of the rate.
pub(super) fn check(settings: &Settings, jobs: &[Arc<Job>], estimates: &[Estimate]) -> Vec<Finding> {
    let restraint = &settings.redis.restraint;
    let of = |estimate: &Estimate| {
        let job = jobs.iter().find(|job| job.name == estimate.job)?;
        let whole = too_slow(restraint, job, estimate);
        let pass = Pass::of(restraint, estimate);
        let ended = pass.as_ref().and_then(|pass| pass.ended(job, settings.postgres.statement_timeout));
        let unconfirmed = pass.and_then(|pass| pass.unconfirmed(job));
        Some(whole.into_iter().chain(ended).chain(unconfirmed).collect::<Vec<_>>())
    };
    estimates.iter().filter_map(of).flatten().collect()
}

fn too_slow(restraint: &Restraint, job: &Job, estimate: &Estimate) -> Option<Finding> {
    let verified = job.verify != Verify::None;
    let commands = estimate.keys.unwrap_or(0).saturating_mul(if verified { 2 } else { 1 });
    let (takes, field) = slowest(restraint, commands, estimate.bytes)?;
    if takes <= job.timeout {
        return None;
    }
    let twice = if verified && field == KEYS { ", each with two commands (verify)" } else { "" };
    let what = amount(estimate.keys, estimate.bytes, field) + twice;
    let message = format!(
        "it cannot end within its timeout of {}: it writes about {what}, which takes {} at {field} in [redis]",
        show_duration(job.timeout),
        show_duration(takes)
    );
    Some(Finding::warning_of(job, message, "raise the job's timeout, raise the rate, or let it write less"))
}

const KEYS: &str = "keys_per_second";

/// How long so much takes at the rate, and which setting says so.
fn slowest(restraint: &Restraint, commands: u64, bytes: u64) -> Option<(Duration, &'static str)> {
    let limits = [(commands, restraint.keys_per_second, KEYS), (bytes, restraint.bytes_per_second, "bytes_per_second")];
    let times = limits.into_iter().filter_map(|(units, rate, field)| Some((units / rate?.max(1), field)));
    times.max().map(|(seconds, field)| (Duration::from_secs(seconds), field))
}

/// So much, in what the setting counts.
fn amount(keys: Option<u64>, bytes: u64, field: &str) -> String {
    keys.filter(|_| field == KEYS).map_or_else(|| human_bytes(bytes), |keys| counted(keys, "key", "keys"))
}

/// One query, read and written once. It is open all the while: its rows are taken no faster than they are written.
struct Pass {
    takes: Duration,
    /// How much it is, at which setting.
    what: String,
}

impl Pass {
    /// Of a query like all the others of the job.
    fn of(restraint: &Restraint, estimate: &Estimate) -> Option<Self> {
        let of_one = |all: u64| all.div_ceil(estimate.queries.max(1) as u64);
        let (keys, bytes) = (estimate.keys.map(of_one), of_one(estimate.bytes));
        let (takes, field) = slowest(restraint, keys.unwrap_or(0), bytes)?;
        let amount = amount(keys, bytes, field);
        let what =
            format!("one query gives about {amount}, which takes {} at {field} in [redis]", show_duration(takes));
        Some(Pass { takes, what })
    }

    fn ended(&self, job: &Job, statement_timeout: Duration) -> Option<Finding> {
        (self.takes > statement_timeout).then(|| {
            let message = format!(
                "PostgreSQL may end its query at statement_timeout = {}, which counts until the last row is taken: {}",
                show_duration(statement_timeout),
                self.what
            );
            let advice =
                "raise statement_timeout in [postgres] or the rate, or read in parts (partition_by, [for_each])";
            Finding::warning_of(job, message, advice)
        })
    }

    /// A value lives for half of its time at most until the rows have been read again, which takes as long as before.
    fn unconfirmed(&self, job: &Job) -> Option<Finding> {
        let provisional = job.ttl.shortest() / 2;
        (job.verify != Verify::None && self.takes > provisional).then(|| {
            let message = format!(
                "its values die before they can be confirmed if anything is committed meanwhile: until then they live for half of their ttl at most, {}, and {}",
                show_duration(provisional),
                self.what
            );
            let advice =
                "raise the rate, let the keys live longer, or read fewer at a time ([for_each], partition_by)";
            Finding::warning_of(job, message, advice)
        })
    }
}
