//! How it is shown: a table on a terminal, plain lines elsewhere, JSON on request.

use std::io::IsTerminal;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::{Value, json};

use super::feed::Followed;
use super::probe::{Server, Service, State};
use super::{JobStatus, Status};
use crate::commands::stats::show::{target, target_value};
use crate::ground::history::PastRun;
use crate::ground::show::{counted, human_bytes, human_seconds, visible};
use crate::source::Holder;

/// The most characters of an error message in a table.
const SHORT: usize = 60;

/// The whole text.
pub(super) fn text(status: &Status, as_json: bool, code: u8) -> String {
    if as_json {
        return format!("{:#}\n", value(status, code));
    }
    let mut servers = vec![service_line(&status.service)];
    servers.extend(status.service.unready.iter().map(|reason| format!("  not ready: {reason}")));
    servers.extend(status.service.changes.iter().map(Followed::line));
    servers.extend([server("Redis", &status.redis), server("PostgreSQL", &status.postgres)]);
    servers.extend(status.targets.iter().map(target));
    let servers = servers.join("\n");
    if std::io::stdout().is_terminal() {
        return format!("{}\n\n{servers}\n", table(status));
    }
    let jobs = status.jobs.iter().map(|job| line(job, status.now) + "\n").collect::<String>();
    format!("{jobs}{servers}\n")
}

fn table(status: &Status) -> Table {
    let mut table = Table::new();
    let head = ["JOB", "LAST SUCCESS", "KEYS", "WARM", "LAST RUN", "ENDED WELL", "NEXT RUN", "NOTES"];
    table.load_style(NOTHING).set_header(head);
    for job in &status.jobs {
        let JobStatus { job: definition, runs, .. } = job;
        let last = runs.last_run.as_ref().map_or("-", |run| if run.failure.is_some() { "failed" } else { "ok" });
        table.add_row([
            definition.name.clone(),
            job.age(status.now).map_or("-".to_owned(), ago),
            runs.keys.map_or("-".to_owned(), |keys| keys.to_string()),
            warm(job).unwrap_or_else(|| "-".to_owned()),
            last.to_owned(),
            ratio(job),
            job.next(status.now).map_or("never".to_owned(), time),
            notes(job, SHORT).join("; "),
        ]);
    }
    table
}

fn line(job: &JobStatus, now: DateTime<Utc>) -> String {
    let success = match (job.runs.last_success, job.age(now)) {
        (Some(last), Some(age)) => format!("last success {} ({})", time(last), ago(age)),
        (Some(last), None) => format!("last success {}, in the future", time(last)),
        (None, _) => "no success known".to_owned(),
    };
    let next = job.next(now).map_or("never".to_owned(), time);
    let keys = job.runs.keys.map(|keys| format!("{} then", counted(keys, "key", "keys")));
    let warmth = warm(job).map(|share| format!("{share} of its keys are there"));
    let last_run = job.runs.last_run.as_ref().filter(|run| run.failure.is_none());
    let last_run = last_run.map(|run| format!("last run {} ok", time(run.ended)));
    let rest = [format!("{} ended well", ratio(job)), format!("next run {next}")];
    let parts: Vec<String> = [success]
        .into_iter()
        .chain(keys)
        .chain(last_run)
        .chain(rest)
        .chain(warmth)
        .chain(notes(job, usize::MAX))
        .collect();
    format!("{}: {}", job.job.name, parts.join(", "))
}

fn ago(age: Duration) -> String {
    format!("{} ago", human_seconds(age.as_secs_f64()))
}

/// The share of its keys that are there.
fn warm(job: &JobStatus) -> Option<String> {
    job.warmth.as_ref()?.present.share().map(|share| format!("{:.0} %", share * 100.0))
}

/// How many of the runs that are known ended well.
fn ratio(job: &JobStatus) -> String {
    let all = job.runs.succeeded + job.runs.failed;
    format!("{} of {}", job.runs.succeeded, counted(all, "run", "runs"))
}

/// What is out of the ordinary.
fn notes(job: &JobStatus, most: usize) -> Vec<String> {
    let disabled = job.job.disabled().map(|why| format!("disabled: {why}"));
    let stale = job.stale.as_ref().map(|stale| format!("stale: {stale}"));
    let paused = job.paused_until.map(|until| format!("paused until {}", time(until)));
    let running = job.holder.as_ref().map(|holder| format!("run now by {holder}"));
    let failed = |when: &str, run: &PastRun| {
        let (kind, message) = run.failure.as_ref()?;
        let message = visible(message);
        let short: String = message.chars().take(most).collect();
        let more = if short.len() < message.len() { "…" } else { "" };
        Some(format!("{when} {}: {kind}: {short}{more}", time(run.ended)))
    };
    let when = if job.last_failed() { "last run failed" } else { "last failure" };
    let failure = job.runs.last_failure.as_ref().and_then(|run| failed(when, run));
    let refresh = job.runs.failed_refresh.as_ref().and_then(|run| failed("refresh ahead failed", run));
    [disabled, stale, paused, running, failure, refresh].into_iter().flatten().collect()
}

fn service_line(service: &Service) -> String {
    let message = service.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    let runs = if service.ending { "is about to end" } else { "runs" };
    match (service.state, service.address) {
        (State::Running, Some(address)) if message.is_empty() => format!("warm serve {runs}, and listens on {address}"),
        (State::Running, _) => format!("warm serve {runs}{message}"),
        (State::Stuck, _) => format!("warm serve is stuck{message}"),
        (State::Away, _) => format!("warm serve does not run here{message}"),
        (State::Unknown, _) => {
            "whether warm serve runs is not known: it listens nowhere (`listen` in [serve]), and never ran with this state folder".to_owned()
        }
    }
}

fn server(name: &str, server: &Server) -> String {
    let Server { place, error, version, used_memory, max_memory } = server;
    if let Some(error) = error {
        return format!("{name} is away: {error}; advice: {}", error.kind.consequence().advice);
    }
    let version = version.as_deref().unwrap_or("of unknown version");
    let limit = max_memory.filter(|limit| *limit > 0).map(|limit| format!(" of {}", human_bytes(limit)));
    let used = used_memory.map(|used| format!(", {} in use{}", human_bytes(used), limit.unwrap_or_default()));
    format!("{name} {version} at {place}{}", used.unwrap_or_default())
}

fn value(status: &Status, code: u8) -> Value {
    let state = match status.service.state {
        State::Running => "running",
        State::Stuck => "stuck",
        State::Away => "away",
        State::Unknown => "unknown",
    };
    let Service { address, ending, message, unready, .. } = &status.service;
    let Server { error, version, used_memory, max_memory, .. } = &status.redis;
    let message_of = |server: &Server| server.error.as_ref().map(|error| error.message.clone());
    json!({
        "exit_code": code,
        "service": {
            "state": state,
            "address": address.map(|address| address.to_string()),
            "ending": ending,
            "message": message,
            "not_ready": unready,
        },
        "redis": {
            "up": error.is_none(),
            "version": version,
            "used_memory": used_memory,
            "max_memory": max_memory,
            "message": message_of(&status.redis),
        },
        "postgres": {
            "up": status.postgres.error.is_none(),
            "version": status.postgres.version,
            "message": message_of(&status.postgres),
        },
        "changes": status.service.changes.as_ref().map(Followed::value),
        "targets": status.targets.iter().map(target_value).collect::<Vec<_>>(),
        "jobs": status.jobs.iter().map(|job| job_value(job, status.now)).collect::<Vec<_>>(),
    })
}

fn job_value(job: &JobStatus, now: DateTime<Utc>) -> Value {
    let runs = &job.runs;
    let run = |run: &PastRun| {
        let (kind, message) = run.failure.clone().unzip();
        json!({ "ended": time(run.ended), "ok": run.failure.is_none(), "keys": run.keys, "kind": kind, "message": message })
    };
    let holder = |holder: &Holder| {
        json!({
            "pid": holder.pid,
            "application": holder.application_name,
            "address": holder.client_addr,
            "since": holder.since.map(time),
        })
    };
    json!({
        "job": job.job.name,
        "last_success": runs.last_success.map(time),
        "age_seconds": job.age(now).map(|age| age.as_secs_f64()),
        "keys": runs.keys,
        "warmth": job.warmth.as_ref().and_then(|warmth| warmth.present.share()),
        "warmth_sample": job.warmth.as_ref().map(|warmth| warmth.present.of),
        "max_age_seconds": job.job.max_age.map(|age| age.as_secs_f64()),
        "stale": job.stale.is_some(),
        "next": job.next(now).map(time),
        "disabled": job.job.disabled(),
        "paused_until": job.paused_until.map(time),
        "succeeded": runs.succeeded,
        "failed": runs.failed,
        "last_run": runs.last_run.as_ref().map(run),
        "last_failure": runs.last_failure.as_ref().map(run),
        "failed_refresh": runs.failed_refresh.as_ref().map(run),
        "held_by": job.holder.as_ref().map(holder),
    })
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
