//! What can be said without servers: whether keys live long enough for their schedule, and what the URLs ask for.

use std::sync::Arc;
use std::time::Duration;

use super::Finding;
use crate::config::show_duration;
use crate::ground::clock::{Clock, SystemClock};
use crate::ground::job::{Job, Mode, Overlap};
use crate::source::Postgres;

/// Looks at the URLs, and at each of the jobs by itself.
pub(super) fn check(jobs: &[Arc<Job>], source: &Postgres) -> Vec<Finding> {
    let unknown = source.target().unknown.iter().map(|name| {
        let message = format!("the PostgreSQL URL has a parameter `{name}` that nobody knows; it is ignored");
        Finding::warning(message, "remove it, or correct its spelling")
    });
    let unverified = source.target().trusts_everybody().then(|| {
        let message = "`sslmode=require` encrypts, but does not look at PostgreSQL's certificate: whoever stands between can answer in its place";
        Finding::warning(message, "use sslmode=verify-full; sslrootcert=FILE names an authority of your own")
    });
    let alone = (!source.has_room_for_leases() && wants_leases(jobs)).then(|| {
        let message = "several machines would run the same job at the same time: the lease of a running job needs a connection to PostgreSQL beside the one that reads, and only one is allowed";
        let advice = "let `connections` in [postgres] be 2 or more, and `connection_limit` in the URLs, where it is there; on one machine, `warm serve` needs no lease";
        Finding::warning(message, advice)
    });
    let of_jobs = jobs.iter().filter(|job| job.runs()).flat_map(|job| warmth(job).into_iter().chain(impatience(job)));
    unknown.chain(unverified).chain(alone).chain(of_jobs).collect()
}

/// Says that a job counts as stale although all is well, if its `max_age` is over before it is read as a whole again.
fn impatience(job: &Job) -> Option<Finding> {
    let max_age = job.max_age?;
    let refreshed = job.refresh_ahead.is_some();
    // Each refresh is a success, then, and one comes in each life.
    let refreshed_whole = refreshed && (job.is_refreshed_whole() || job.for_each.is_empty());
    if refreshed_whole && max_age >= job.ttl.base() {
        return None;
    }
    // A run takes its time, and begins a little late.
    let share = job.schedule.warm_share(max_age.saturating_sub(Duration::from_secs(1)), SystemClock.now());
    if share >= 1.0 {
        return None;
    }
    let message = format!(
        "it counts as stale {} of the time even if all is well: max_age is {}, and everything is read on the schedule `{}`{}",
        percent(1.0 - share),
        show_duration(max_age),
        job.schedule,
        if refreshed { " only: a refresh ahead reads a part" } else { "" }
    );
    let advice = "give it a max_age that is longer than the time between two starts, and than a failure or two may take, or run it more often";
    Some(Finding::warning_of(job, message, advice.to_owned()))
}

/// Whether some job is to be run by one machine at a time.
pub(super) fn wants_leases(jobs: &[Arc<Job>]) -> bool {
    jobs.iter().any(|job| job.overlap != Overlap::Allow)
}

/// Says how long keys are cold if they die before they are written again.
fn warmth(job: &Job) -> Option<Finding> {
    // The service writes them again before they die, whatever the schedule.
    if job.refresh_ahead.is_some() {
        return None;
    }
    let ttl = shortest(job);
    let share = warm_share(job, ttl);
    let jittered =
        if ttl < job.ttl.base() { format!(" ({} after ttl_jitter)", show_duration(ttl)) } else { String::new() };
    let lives = format!("its keys live {}{jittered}", show_duration(job.ttl.base()));
    let often = format!("schedule = \"every {}\"", often(ttl));
    if share < 1.0 {
        let why = match job.mode {
            Mode::Refresh => format!("are written on the schedule `{}`", job.schedule),
            Mode::Missing => format!("are written only once they are gone, on the schedule `{}`", job.schedule),
        };
        let advice = match job.mode {
            Mode::Refresh => format!(
                "let `warm serve` write them again before they die (refresh_ahead = true), run it more often than they die ({often}), or give them a longer ttl if the application allows it"
            ),
            Mode::Missing => {
                format!("write them before they die: mode = \"refresh\" with refresh_ahead = true, or with {often}")
            }
        };
        let message = format!("{lives}, but {why}: they are warm {} of the time and cold for the rest", percent(share));
        return Some(Finding::warning_of(job, message, advice));
    }
    // A run takes its time: keys that die the moment it begins are gone until it reaches them.
    let spare = Duration::from_secs(1);
    if job.mode == Mode::Refresh && warm_share(job, ttl.saturating_sub(spare)) < 1.0 {
        let message = format!(
            "{lives}, exactly until the schedule `{}` strikes again: whenever a run is a little late they are cold",
            job.schedule
        );
        return Some(Finding::warning_of(
            job,
            message,
            format!("leave some time to spare: refresh_ahead = true, {often}, or a longer ttl"),
        ));
    }
    None
}

/// The shortest lifetime of a usual key: jitter takes its share.
fn shortest(job: &Job) -> Duration {
    let ttl = job.ttl.shortest();
    // A part of a second is nothing to plan with, unless there is no more.
    if ttl >= Duration::from_secs(1) { Duration::from_secs(ttl.as_secs()) } else { ttl }
}

/// The share of time (0 … 1) in which a key with this lifetime exists.
fn warm_share(job: &Job, ttl: Duration) -> f64 {
    let now = SystemClock.now();
    if job.mode == Mode::Refresh {
        return job.schedule.warm_share(ttl, now);
    }
    // A key is written, dies, and is written again by the first run after that.
    let (Some(mut written), Ok(ttl)) = (job.schedule.next(now), chrono::TimeDelta::from_std(ttl)) else { return 0.0 };
    let (mut warm, mut total) = (0.0, 0.0);
    for _ in 0..200 {
        let Some(next) = job.schedule.next(written + ttl - chrono::TimeDelta::milliseconds(1)) else { break };
        warm += ttl.as_seconds_f64();
        total += (next - written).as_seconds_f64();
        written = next;
    }
    if total == 0.0 { 0.0 } else { warm / total }
}

fn percent(share: f64) -> String {
    match (share * 100.0).floor() {
        whole if whole < 1.0 => "less than 1 %".to_owned(),
        whole => format!("{whole:.0} %"),
    }
}

/// An interval that keeps keys warm with a fifth of their life to spare.
fn often(ttl: Duration) -> String {
    let seconds = (ttl.as_secs_f64() * 0.8).floor().max(1.0);
    // Whole minutes read better, where there are some.
    let seconds = if seconds >= 120.0 { (seconds / 60.0).floor() * 60.0 } else { seconds };
    show_duration(Duration::from_secs_f64(seconds)).replace(' ', "")
}
