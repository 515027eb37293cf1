//! `warm list`: the jobs, as a table on a terminal, one plain line each elsewhere, JSON on request.

use std::io::{IsTerminal, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::{Value, json};

use super::{Failure, load};
use crate::cli::Common;
use crate::config::show_duration;
use crate::ground::clock::{Clock, SystemClock};
use crate::ground::exit;
use crate::ground::job::Job;

/// Lists the jobs in order of priority.
pub fn run(common: &Common) -> Result<u8, Failure> {
    let loaded = load(common)?;
    let jobs = &loaded.settings.jobs;
    let now = SystemClock.now();
    let text = if common.json {
        let jobs: Vec<_> = jobs.iter().map(|job| value(job, now)).collect();
        format!("{:#}\n", json!({ "jobs": jobs }))
    } else if std::io::stdout().is_terminal() {
        table(jobs, now)
    } else {
        jobs.iter().map(|job| line(job, now)).collect()
    };
    // A closed standard output is the reader's decision.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(exit::OK)
}

fn table(jobs: &[Job], now: DateTime<Utc>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["JOB", "SCHEDULE", "NEXT RUN", "KEY", "TTL", "PRIORITY", "DESCRIPTION"]);
    for job in jobs {
        table.add_row([
            job.name.clone(),
            job.schedule.to_string(),
            next(job, now),
            job.key.to_string(),
            show_duration(job.ttl.base()),
            job.priority.to_string(),
            description(job).unwrap_or_default(),
        ]);
    }
    format!("{table}\n")
}

fn line(job: &Job, now: DateTime<Utc>) -> String {
    let description = description(job).map(|text| format!(" ({text})")).unwrap_or_default();
    format!(
        "{}: key {}, ttl {}, schedule {}, next run {}, priority {}{description}\n",
        job.name,
        job.key,
        show_duration(job.ttl.base()),
        job.schedule,
        next(job, now),
        job.priority
    )
}

fn value(job: &Job, now: DateTime<Utc>) -> Value {
    json!({
        "job": job.name,
        "description": job.description,
        "file": job.file,
        "schedule": job.schedule.to_string(),
        "timezone": job.schedule.zone().name(),
        "next": job.schedule.next(now).map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true)),
        "key": job.key.to_string(),
        "ttl_seconds": job.ttl.base().as_secs_f64(),
        "format": job.format,
        "priority": job.priority,
    })
}

/// The job's description in one line.
fn description(job: &Job) -> Option<String> {
    job.description.as_ref().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The next run in the job's time zone.
fn next(job: &Job, now: DateTime<Utc>) -> String {
    let time = job.schedule.next(now);
    time.map_or("never".to_owned(), |time| {
        time.with_timezone(&job.schedule.zone()).format("%Y-%m-%d %H:%M:%S %Z").to_string()
    })
}
