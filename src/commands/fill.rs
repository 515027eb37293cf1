//! `warm fill`: fills single keys, each from its job.

use std::io::Write;
use std::sync::Arc;

use serde_json::{Value, json};

use super::now::observer;
use super::one_key::{Owned, find};
use super::report::stats_notes;
use super::{Failure, load, runner, runtime, signals};
use crate::cli::{Common, Fill};
use crate::ground::error::ErrorKind;
use crate::ground::exit;
use crate::ground::job::Mode;
use crate::ground::request::{Purpose, Request};
use crate::ground::run::Report;
use crate::ground::show::{human_bytes, visible};

/// Fills the keys one after the other and says what became of each; the exit code is that of the first one that was not filled.
pub fn run(common: &Common, fill: &Fill) -> Result<u8, Failure> {
    let loaded = load(common)?;
    // Before anything is written, all of them have to be known.
    let owned = |key| find(&loaded.settings, key).and_then(Owned::fillable);
    let keys: Vec<Owned> = fill.keys.iter().map(|key| owned(key)).collect::<Result<_, _>>()?;
    let runner = Arc::new(runner(&loaded.settings, observer())?);
    let mode = Some(if fill.missing { Mode::Missing } else { Mode::Refresh });
    let (reports, caught) = runtime()?.block_on(async {
        let (stopped, caught) = signals::catch(false, &[|_| true]);
        let mut reports = Vec::new();
        for Owned { job, key, .. } in &keys {
            let request = Request::about_key(Arc::clone(key), mode, Purpose::Write);
            reports.push(Arc::clone(&runner).run_one(Arc::clone(job), request, stopped.clone()).await);
        }
        runner.close().await;
        (reports, caught)
    });
    let codes = reports.iter().map(code);
    let code =
        caught.exit_code().unwrap_or_else(|| codes.into_iter().find(|code| *code != exit::OK).unwrap_or(exit::OK));
    let all = keys.iter().zip(&reports);
    let text = if common.json {
        let keys: Vec<Value> = all.map(|(key, report)| value(key, report)).collect();
        format!("{:#}\n", json!({ "exit_code": code, "keys": keys }))
    } else {
        all.map(|(key, report)| format!("{}: {}\n", visible(&key.shown), outcome(report))).collect()
    };
    // A closed standard output takes nothing away from what was done.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(code)
}

/// Whether the key holds what it should now.
fn is_filled(report: &Report) -> bool {
    report.failure.is_none() && report.stats.written + report.stats.present > 0
}

fn is_no_value(report: &Report) -> bool {
    report.failure.as_ref().is_some_and(|failure| failure.kind == ErrorKind::NoValue)
}

fn code(report: &Report) -> u8 {
    match &report.failure {
        Some(failure) => failure.kind.consequence().exit,
        None if is_filled(report) => exit::OK,
        None => exit::JOB_FAILED,
    }
}

fn outcome(report: &Report) -> String {
    let stats = &report.stats;
    let notes: Vec<String> = stats_notes(stats, false).collect();
    match report.sample.first() {
        _ if is_no_value(report) => "no row can have such a value; nothing was written".to_owned(),
        _ if report.failure.is_some() => "failed".to_owned(),
        Some(sample) => {
            let (bytes, ttl) = (human_bytes(sample.bytes as u64), humantime::format_duration(sample.ttl));
            let verb = if stats.renewed > 0 { "unchanged" } else { "written" };
            format!("{verb}, {bytes}, lives {ttl}")
        }
        None if notes.is_empty() => "no row makes this key; nothing was written".to_owned(),
        None => format!("not written: {}", notes.join(", ")),
    }
}

fn value(key: &Owned, report: &Report) -> Value {
    let sample = report.sample.first();
    json!({
        "key": key.shown,
        "job": report.job,
        "filled": is_filled(report),
        "outcome": outcome(report),
        "rows": report.stats.rows,
        "bytes": sample.map(|sample| sample.bytes),
        "ttl_ms": sample.map(|sample| u64::try_from(sample.ttl.as_millis()).unwrap_or(u64::MAX)),
        "milliseconds": report.took.as_secs_f64() * 1e3,
        "error": report.failure.as_ref().map(|failure| failure.message.clone()),
    })
}
