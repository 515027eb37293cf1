//! `warm list --next`: when jobs are due and start, and what a change of the clocks, or a pause, does to a run.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Timelike, Utc};
use chrono_tz::Tz;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::{Value, json};

use super::{local, rfc3339};
use crate::config::show_duration;
use crate::ground::job::Job;
use crate::ground::pause::Pauses;
use crate::ground::schedule::Shift;

/// A run that is to come.
struct Run {
    due: DateTime<Tz>,
    start: DateTime<Utc>,
    note: Option<String>,
}

/// The next runs of a job, those included that a pause keeps from beginning; none of one that is disabled.
fn runs(
    job: &Job,
    paused_until: Option<DateTime<Utc>>,
    from: DateTime<Utc>,
    times: usize,
) -> impl Iterator<Item = Run> {
    let times = if job.runs() { times } else { 0 };
    job.all_due(from).take(times).map(move |due| {
        let (at, start) = (due.with_timezone(&job.schedule.zone()), job.start_of(due));
        let shift = job.schedule.shift(due).map(|shift| note(shift, at.naive_local()));
        let paused = paused_until.filter(|until| start < *until);
        let paused = paused.map(|until| format!("does not begin: paused until {}", local(job, until)));
        let notes: Vec<String> = paused.into_iter().chain(shift).collect();
        Run { due: at, start, note: (!notes.is_empty()).then(|| notes.join("; ")) }
    })
}

/// A row for each run of each job.
pub(super) fn table(jobs: &[Job], pauses: &Pauses, from: DateTime<Utc>, times: usize) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["JOB", "DUE", "STARTS", "NOTE"]);
    for job in jobs {
        if job.on_demand {
            table.add_row([job.name.clone(), "on demand".to_owned(), String::new(), String::new()]);
        } else if let Some(why) = job.disabled() {
            table.add_row([job.name.clone(), "never".to_owned(), String::new(), format!("disabled: {why}")]);
        }
        for run in runs(job, pauses.until(&job.name, from), from, times) {
            table.add_row([job.name.clone(), run.due(), run.delay(), run.note.unwrap_or_default()]);
        }
    }
    format!("{table}\n")
}

/// A line for each run of a job.
pub(super) fn lines(job: &Job, pauses: &Pauses, from: DateTime<Utc>, times: usize) -> String {
    let line = |run: Run| {
        let note = run.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        format!("{}: due {}, starts {}{note}\n", job.name, run.due(), run.delay())
    };
    let disabled = job.disabled().map(|why| format!("{}: disabled: {why}\n", job.name));
    let on_demand = job.on_demand.then(|| format!("{}: on demand\n", job.name));
    disabled
        .into_iter()
        .chain(on_demand)
        .chain(runs(job, pauses.until(&job.name, from), from, times).map(line))
        .collect()
}

/// The runs of a job for programs.
pub(super) fn values(job: &Job, paused_until: Option<DateTime<Utc>>, from: DateTime<Utc>, times: usize) -> Value {
    let value = |run: Run| {
        json!({
            "due": rfc3339(run.due.to_utc()),
            "local": run.due.to_rfc3339_opts(SecondsFormat::AutoSi, false),
            "start": rfc3339(run.start),
            "note": run.note,
        })
    };
    runs(job, paused_until, from, times).map(value).collect()
}

impl Run {
    /// The due time in the job's time zone.
    fn due(&self) -> String {
        self.due.format("%Y-%m-%d %H:%M:%S%.f %:z").to_string()
    }

    /// How long after it is due the run starts.
    fn delay(&self) -> String {
        let delay = (self.start - self.due.to_utc()).to_std().unwrap_or_default();
        match delay.as_secs() {
            0 if delay.is_zero() => "at once".to_owned(),
            0 => format!("{} later", show_duration(delay)),
            seconds => format!("{} later", show_duration(Duration::from_secs(seconds))),
        }
    }
}

/// What happened to a run that is due at the local time `due`.
fn note(shift: Shift, due: NaiveDateTime) -> String {
    let time = |time: NaiveDateTime| time.format(if time.second() == 0 { "%H:%M" } else { "%H:%M:%S" }).to_string();
    match shift {
        Shift::LeftOut { first, more } => {
            let day = if first.date() == due.date() { "this day".to_owned() } else { first.date().to_string() };
            let first = time(first);
            match more {
                false => format!("{first} does not exist on {day}: runs right after the gap"),
                true => format!("{first} and later times do not exist on {day}: one run right after the gap"),
            }
        }
        Shift::FirstOfTwo => format!("{} comes twice on this day: runs at the first of the two", time(due)),
        Shift::BothOfTwo { first } => {
            let which = if first { "first" } else { "second" };
            format!("{} comes twice on this day: runs both times, this is the {which}", time(due))
        }
    }
}
