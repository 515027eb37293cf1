//! `warm list`: the jobs, as a table on a terminal, one plain line each elsewhere, JSON on request; with `--next`, when they are due.

mod coming;

use std::io::{IsTerminal, Write};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::{Value, json};

use super::{Failure, load};
use crate::cli::{Common, List};
use crate::config::show_duration;
use crate::ground::clock::{Clock, SystemClock};
use crate::ground::exit;
use crate::ground::job::Job;
use crate::ground::refresh::RefreshAhead;

/// Lists the jobs in order of priority.
pub fn run(common: &Common, list: &List) -> Result<u8, Failure> {
    let loaded = load(common)?;
    let jobs = &loaded.settings.jobs;
    // A job that is due at the given moment itself belongs to what comes.
    let given = list.from.and_then(|from| from.checked_sub_signed(TimeDelta::nanoseconds(1)));
    let after = given.unwrap_or_else(|| SystemClock.now());
    let text = match (common.json, std::io::stdout().is_terminal(), list.next) {
        (true, _, times) => {
            let jobs: Vec<_> = jobs.iter().map(|job| value(job, after, times)).collect();
            format!("{:#}\n", json!({ "jobs": jobs }))
        }
        (false, true, Some(times)) => coming::table(jobs, after, times),
        (false, true, None) => table(jobs, after),
        (false, false, Some(times)) => jobs.iter().map(|job| coming::lines(job, after, times)).collect(),
        (false, false, None) => jobs.iter().map(|job| line(job, after)).collect(),
    };
    // A closed standard output is the reader's decision.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(exit::OK)
}

fn table(jobs: &[Job], after: DateTime<Utc>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["JOB", "SCHEDULE", "NEXT RUN", "KEY", "TTL", "PRIORITY", "DESCRIPTION"]);
    for job in jobs {
        table.add_row([
            job.name.clone(),
            job.schedule.to_string(),
            next(job, after),
            job.key.to_string(),
            ahead(job).map_or(ttl(job), |share| format!("{} (refreshed at {share})", ttl(job))),
            job.priority.to_string(),
            description(job).unwrap_or_default(),
        ]);
    }
    format!("{table}\n")
}

fn line(job: &Job, after: DateTime<Utc>) -> String {
    let description = description(job).map(|text| format!(" ({text})")).unwrap_or_default();
    format!(
        "{}: key {}, ttl {}{}, schedule {}, next run {}, priority {}{description}\n",
        job.name,
        job.key,
        ttl(job),
        ahead(job).map_or_else(String::new, |share| format!(", refreshed when {share} of it is left")),
        job.schedule,
        next(job, after),
        job.priority
    )
}

fn value(job: &Job, after: DateTime<Utc>, times: Option<usize>) -> Value {
    let mut value = json!({
        "job": job.name,
        "description": job.description,
        "file": job.file,
        "schedule": job.schedule.to_string(),
        "timezone": job.schedule.zone().name(),
        "next": job.schedule.next(after).map(rfc3339),
        "splay_seconds": job.splay.most().as_secs_f64(),
        "key": job.key.to_string(),
        "ttl_seconds": job.ttl.base().as_secs_f64(),
        "refresh_ahead": job.refresh_ahead.map(RefreshAhead::share),
        "format": job.format,
        "priority": job.priority,
    });
    if let Some(times) = times {
        value["next_runs"] = coming::values(job, after, times);
    }
    value
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn ttl(job: &Job) -> String {
    show_duration(job.ttl.base())
}

/// The share of their life that keys have left when they are refreshed, if they are.
fn ahead(job: &Job) -> Option<String> {
    // As it was written: 0.15 is no binary fraction.
    job.refresh_ahead.map(|ahead| format!("{} %", (ahead.share() * 1e6).round() / 1e4))
}

/// The job's description in one line.
fn description(job: &Job) -> Option<String> {
    job.description.as_ref().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The next run in the job's time zone.
fn next(job: &Job, after: DateTime<Utc>) -> String {
    let time = job.schedule.next(after);
    time.map_or("never".to_owned(), |time| {
        time.with_timezone(&job.schedule.zone()).format("%Y-%m-%d %H:%M:%S %Z").to_string()
    })
}
