//! `warm pause` and `warm resume`: jobs that begin no run by themselves on this machine, until a moment that comes by itself.
//!
//! Both do what they can where job files are wrong: that is when somebody wants a pause.
//!
//! Nothing is asked of the service, which may not run, or may be another user's: a file in the state folder says what is paused, and whoever runs jobs on their schedules looks at it.

use std::io::{IsTerminal, Write};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::json;

use super::{Failure, load_partly, pause_file};
use crate::cli::{Common, Pause};
use crate::config::{Changed, Diagnostics, PauseFile, show_duration};
use crate::ground::clock::{Clock, SystemClock};
use crate::ground::exit;
use crate::ground::pause::{Pauses, latest};
use crate::ground::settings::Settings;

/// How long a pause is when nobody says.
const USUAL: TimeDelta = TimeDelta::hours(1);

/// Pauses jobs, all if none is named.
pub fn pause(common: &Common, pause: &Pause) -> Result<u8, Failure> {
    let now = SystemClock.now();
    let length = pause.length.and_then(|length| TimeDelta::from_std(length).ok());
    let until = pause.until.unwrap_or(now + length.unwrap_or(USUAL));
    // In whole seconds, as it is said; never less than was asked for.
    let until =
        DateTime::from_timestamp(until.timestamp() + i64::from(until.timestamp_subsec_nanos() > 0), 0).unwrap_or(until);
    if until <= now {
        return Err(Failure::usage(format!("{} has passed; --until wants a moment that comes", show(until))));
    }
    if until > latest(now) + TimeDelta::seconds(1) {
        let most = show(latest(now));
        return Err(Failure::usage(format!("a pause ends within 30 days, so that no job is forgotten: by {most}")));
    }
    let known = load_partly(common)?;
    let (jobs, file) = (known.names(&pause.jobs)?, file(&known.loaded.settings)?);
    let changed = change(&file, now, |pauses| jobs.iter().for_each(|job| pauses.pause(job.clone(), until)))?;
    report(common, &file, &jobs, &changed.before, Some(until), now);
    Ok(exit::OK)
}

/// Lets jobs go on, all if none is named.
pub fn resume(common: &Common, names: &[String]) -> Result<u8, Failure> {
    let known = load_partly(common)?;
    let (jobs, file, now) = (known.names(names)?, file(&known.loaded.settings)?, SystemClock.now());
    let changed = change(&file, now, |pauses| jobs.iter().for_each(|job| pauses.resume(job)))?;
    report(common, &file, &jobs, &changed.before, None, now);
    Ok(exit::OK)
}

fn file(settings: &Settings) -> Result<PauseFile, Failure> {
    pause_file(settings).ok_or_else(|| {
        Failure::usage(
            "no folder is known in which it could be kept that a job is paused; set one of `state` in the configuration, $STATE_DIRECTORY, $XDG_STATE_HOME or $HOME: the one that the service has",
        )
    })
}

/// Changes the file, and says if it had to be begun anew.
fn change(file: &PauseFile, now: DateTime<Utc>, change: impl FnOnce(&mut Pauses)) -> Result<Changed, Failure> {
    let changed = file.change(now, change).map_err(Diagnostics::from)?;
    if let Some(damage) = &changed.damage {
        // Nobody can be told that nobody can be told.
        let _ = writeln!(std::io::stderr(), "{}", damage.render(std::io::stderr().is_terminal()));
    }
    Ok(changed)
}

fn report(
    common: &Common,
    file: &PauseFile,
    jobs: &[String],
    before: &Pauses,
    until: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) {
    let was = |job: &String| before.until(job, now);
    let text = if common.json {
        let job = |job: &String| json!({ "job": job, "paused_until": until.map(show), "was_paused_until": was(job).map(show) });
        let jobs: Vec<_> = jobs.iter().map(job).collect();
        format!("{:#}\n", json!({ "exit_code": exit::OK, "file": file.path(), "jobs": jobs }))
    } else {
        let line = |job: &String| match (until, was(job)) {
            (Some(until), None) => format!("{}: paused until {} ({})\n", job, show(until), length(until - now)),
            (Some(until), Some(was)) => {
                format!(
                    "{}: paused until {} ({}), no longer until {}\n",
                    job,
                    show(until),
                    length(until - now),
                    show(was)
                )
            }
            (None, Some(was)) => format!("{}: goes on; it was paused until {}\n", job, show(was)),
            (None, None) => format!("{}: was not paused\n", job),
        };
        let (lines, path): (String, _) = (jobs.iter().map(line).collect(), file.path());
        let path = path.display();
        match until {
            Some(_) => format!("{lines}kept in {path}, where `warm serve` sees it within 2 s\n"),
            // Whoever looks in the wrong folder should see it.
            None if jobs.iter().all(|job| was(job).is_none()) => format!("{lines}{path} has no pause of these jobs\n"),
            None => lines,
        }
    };
    // A closed standard output is the reader's decision.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// A length of time in whole seconds. The end was rounded up, and so this is rounded down: an hour is an hour.
fn length(length: TimeDelta) -> String {
    show_duration(std::time::Duration::from_secs(length.num_seconds().unsigned_abs()))
}

fn show(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
