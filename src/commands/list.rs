//! `warm list`: the jobs.

use std::io::Write;

use chrono::{SecondsFormat, Utc};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::json;

use super::{Failure, load};
use crate::cli::Common;
use crate::ground::clock::{Clock, SystemClock};
use crate::ground::exit;
use crate::ground::job::Job;

/// Lists the jobs in order of priority.
pub fn run(common: &Common) -> Result<u8, Failure> {
    let loaded = load(common)?;
    let now = SystemClock.now();
    let next = |job: &Job| job.schedule.next(now);
    let text = if common.json {
        let jobs = loaded.settings.jobs.iter().map(|job| {
            json!({
                "job": job.name,
                "description": job.description,
                "file": job.file,
                "schedule": job.schedule.to_string(),
                "timezone": job.schedule.zone().name(),
                "next": next(job).map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true)),
                "key": job.key.to_string(),
                "ttl_seconds": job.ttl.base().as_secs_f64(),
                "format": job.format,
                "priority": job.priority,
            })
        });
        format!("{:#}\n", json!({ "jobs": jobs.collect::<Vec<_>>() }))
    } else {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(["JOB", "SCHEDULE", "NEXT RUN", "KEY", "TTL", "PRIORITY", "DESCRIPTION"]);
        for job in &loaded.settings.jobs {
            table.add_row([
                job.name.clone(),
                job.schedule.to_string(),
                next(job).map(|time| in_zone(job, time)).unwrap_or_default(),
                job.key.to_string(),
                humantime::format_duration(job.ttl.base()).to_string(),
                job.priority.to_string(),
                job.description.clone().unwrap_or_default(),
            ]);
        }
        format!("{table}\n")
    };
    // A closed standard output is the reader's decision.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(exit::OK)
}

fn in_zone(job: &Job, time: chrono::DateTime<Utc>) -> String {
    time.with_timezone(&job.schedule.zone()).format("%Y-%m-%d %H:%M:%S %Z").to_string()
}
