//! `warm list`: the jobs, as a table on a terminal, one plain line each elsewhere, JSON on request; with `--next`, when they are due.

mod coming;

use std::io::{IsTerminal, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::{Value, json};

use super::now::observer;
use super::setup::pauses;
use super::{Failure, load};
use crate::cli::{Common, List};
use crate::config::show_duration;
use crate::ground::clock::{Clock, SystemClock};
use crate::ground::exit;
use crate::ground::job::Job;
use crate::ground::kind::Kind;
use crate::ground::pause::Pauses;
use crate::ground::refresh::RefreshAhead;
use crate::ground::sealing::Encrypt;
use crate::observe::{counted, human_bytes};

/// Lists the jobs in order of priority.
pub fn run(common: &Common, list: &List) -> Result<u8, Failure> {
    let loaded = load(common)?;
    let jobs = &loaded.settings.jobs;
    let pauses = pauses(&loaded.settings, observer().as_ref()).1;
    let from = list.from.unwrap_or_else(|| SystemClock.now());
    let next = |job: &Job| Next::of(job, &pauses, from);
    let text = match (common.json, std::io::stdout().is_terminal(), list.next) {
        (true, _, times) => {
            let jobs: Vec<_> = jobs.iter().map(|job| value(job, &next(job), from, times)).collect();
            format!("{:#}\n", json!({ "jobs": jobs }))
        }
        (false, true, Some(times)) => coming::table(jobs, &pauses, from, times),
        (false, true, None) => table(jobs, next),
        (false, false, Some(times)) => jobs.iter().map(|job| coming::lines(job, &pauses, from, times)).collect(),
        (false, false, None) => jobs.iter().map(|job| line(job, &next(job))).collect(),
    };
    // A closed standard output is the reader's decision.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(exit::OK)
}

/// When a job runs next.
struct Next {
    time: Option<DateTime<Utc>>,
    paused_until: Option<DateTime<Utc>>,
}

impl Next {
    /// A paused job is not looked at before its pause is over; what starts at its very end is on time.
    fn of(job: &Job, pauses: &Pauses, from: DateTime<Utc>) -> Self {
        let paused_until = pauses.until(&job.name, from);
        let time = job.next_due(paused_until.unwrap_or(from)).filter(|_| job.runs());
        Next { time, paused_until }
    }

    /// In the job's time zone.
    fn show(&self, job: &Job) -> String {
        if let Some(why) = job.disabled() {
            return format!("never (disabled: {why})");
        }
        if job.on_demand {
            return "on demand".to_owned();
        }
        let time = self.time.map_or("never".to_owned(), |time| local(job, time));
        self.paused_until.map_or(time.clone(), |until| format!("{time} (paused until {})", local(job, until)))
    }
}

/// A moment in the job's time zone.
fn local(job: &Job, time: DateTime<Utc>) -> String {
    time.with_timezone(&job.schedule.zone()).format("%Y-%m-%d %H:%M:%S %Z").to_string()
}

fn table(jobs: &[Job], next: impl Fn(&Job) -> Next) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["JOB", "SCHEDULE", "NEXT RUN", "KEY", "TTL", "PRIORITY", "DESCRIPTION"]);
    for job in jobs {
        table.add_row([
            job.name.clone(),
            schedule(job),
            next(job).show(job),
            key(job),
            ahead(job).map_or(ttl(job), |share| format!("{} (refreshed at {share})", ttl(job))),
            job.priority.to_string(),
            description(job).unwrap_or_default(),
        ]);
    }
    format!("{table}\n")
}

fn schedule(job: &Job) -> String {
    if job.on_demand { "none".to_owned() } else { job.schedule.to_string() }
}

fn line(job: &Job, next: &Next) -> String {
    let description = description(job).map(|text| format!(" ({text})")).unwrap_or_default();
    format!(
        "{}: key {}, ttl {}{}, schedule {}, next run {}, priority {}{description}\n",
        job.name,
        key(job),
        ttl(job),
        ahead(job).map_or_else(String::new, |share| format!(", refreshed when {share} of it is left")),
        schedule(job),
        next.show(job),
        job.priority
    )
}

fn value(job: &Job, next: &Next, from: DateTime<Utc>, times: Option<usize>) -> Value {
    let mut value = json!({
        "job": job.name,
        "description": job.description,
        "file": job.file,
        "schedule": job.schedule.to_string(),
        "timezone": job.schedule.zone().name(),
        "next": next.time.map(rfc3339),
        "on_demand": job.on_demand,
        "disabled": job.disabled(),
        "paused_until": next.paused_until.map(rfc3339),
        "splay_seconds": job.splay.most().as_secs_f64(),
        "key": job.key.to_string(),
        "type": job.key_type.kind().word(),
        "paginate": job.value.page_size(),
        "partition_by": job.partition.as_ref().map(|by| json!({ "column": by.column, "parts": by.parts })),
        "ttl_seconds": job.ttl.base().as_secs_f64(),
        "refresh_ahead": job.refresh_ahead.map(RefreshAhead::share),
        "predict": job.predict,
        "format": job.format,
        "compress": job.sealing.compress.map(|by| json!({ "with": by.with.name(), "above": by.above })),
        "encrypt": !matches!(job.sealing.encrypt, Encrypt::No),
        "priority": job.priority,
    });
    if let Some(times) = times {
        value["next_runs"] = coming::values(job, next.paused_until, from, times);
    }
    value
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// The key's template, what its keys are if they are no strings, how many rows make a page where there are pages, in how many parts the query is read where it is cut,
/// and what is done to values.
fn key(job: &Job) -> String {
    let kind = Some(job.key_type.kind()).filter(|kind| *kind != Kind::String).map(|kind| kind.word().to_owned());
    let pages = job.value.page_size().map(|size| format!("pages of {}", counted(size.get() as u64, "row", "rows")));
    let parts = job.partition.as_ref().map(|by| format!("read in {} parts by {}", by.parts, by.column));
    let compressed =
        job.sealing.compress.map(|by| format!("{} above {}", by.with.name(), human_bytes(by.above as u64)));
    let encrypted = (!matches!(job.sealing.encrypt, Encrypt::No)).then(|| "encrypted".to_owned());
    let predicted = job.predict.map(|top| format!("and the {top} that are missed most"));
    match kind
        .into_iter()
        .chain(pages)
        .chain(parts)
        .chain(compressed)
        .chain(encrypted)
        .chain(predicted)
        .collect::<Vec<_>>()
    {
        more if more.is_empty() => job.key.to_string(),
        more => format!("{} ({})", job.key, more.join(", ")),
    }
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
