//! How the reports of `warm --now` are shown: a table on a terminal, plain lines elsewhere, JSON on request.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

use crate::ground::drift::{Finding, What};
use crate::ground::job::Job;
use crate::ground::run::{Report, Stats};
use crate::ground::show::visible;
use crate::observe::{counted, human_bytes};

/// Prints the reports on standard output, and which of the jobs did not run because they are disabled.
pub(super) fn print(reports: &[Report], jobs: &[&Job], dry_run: bool, as_json: bool, code: u8) {
    let disabled: Vec<_> = jobs.iter().filter_map(|job| Some((job.name.as_str(), job.disabled()?))).collect();
    let text = if as_json {
        format!("{:#}\n", as_value(reports, &disabled, dry_run, code))
    } else {
        let text = match std::io::stdout().is_terminal() {
            true => table(reports, dry_run),
            false => reports.iter().map(|report| line(report, dry_run) + "\n").collect(),
        };
        let disabled = disabled.iter().map(|(job, why)| format!("{job}: not run: disabled: {why}\n"));
        text + &disabled.collect::<String>()
    };
    // A closed standard output takes nothing away from what was done.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn table(reports: &[Report], dry_run: bool) -> String {
    let mut table = Table::new();
    let keys = if dry_run { "WOULD WRITE" } else { "KEYS" };
    let all_notes: Vec<String> = reports.iter().map(|report| notes(report, dry_run).join(", ")).collect();
    let some_notes = all_notes.iter().any(|notes| !notes.is_empty());
    let mut header = vec!["JOB", keys, "ROWS", "BYTES", "TIME"];
    header.extend(some_notes.then_some("NOTES"));
    table.load_style(NOTHING).set_header(header);
    for (report, notes) in reports.iter().zip(all_notes) {
        let Stats { written, rows, bytes, .. } = &report.stats;
        let rows = if has_read(report) { rows.to_string() } else { "-".to_owned() };
        let mut row = vec![report.job.clone(), written.to_string(), rows, human_bytes(*bytes), time(report)];
        row.extend(some_notes.then_some(notes));
        table.add_row(row);
    }
    for column in 1..=4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let samples: String = reports.iter().filter(|_| dry_run).map(samples).collect();
    format!("{table}\n{samples}")
}

fn line(report: &Report, dry_run: bool) -> String {
    if let Some(why) = report.left_to_others() {
        return format!("{}: not run: {why}", report.job);
    }
    let Stats { written, rows, bytes, .. } = &report.stats;
    let verb = if dry_run { "would write" } else { "wrote" };
    let state = if report.failure.is_some() { "failed; " } else { "" };
    let done = if has_read(report) {
        let (keys, rows) = (counted(*written, "key", "keys"), counted(*rows, "row", "rows"));
        format!("{state}{verb} {keys} ({}) from {rows}", human_bytes(*bytes))
    } else {
        "failed before any row was read,".to_owned()
    };
    let mut line = format!("{}: {done} in {}", report.job, time(report));
    for note in stats_notes(&report.stats, dry_run) {
        line += &format!(", {note}");
    }
    if dry_run {
        line += &format!("\n{}", samples(report));
    }
    line.trim_end().to_owned()
}

/// Whether rows were asked for, or need not be: if not, that there were none says nothing about the query.
fn has_read(report: &Report) -> bool {
    report.failure.is_none() || report.stats.queries > 0 || report.stats.rows > 0
}

fn samples(report: &Report) -> String {
    // A key is made of values from the database, which may hold anything: it is made visible.
    let more = |count: u64, shown: usize, what: &str| match count.saturating_sub(shown as u64) {
        0 => String::new(),
        more => format!("  and {more} more{what}\n"),
    };
    let written = report.sample.iter().map(|sample| {
        let ttl = humantime::format_duration(Duration::from_secs(sample.ttl.as_secs()));
        format!("  {}  {}  TTL {ttl}\n", visible(&sample.key), human_bytes(sample.bytes as u64))
    });
    let swept = report.swept_sample.iter().map(|swept| format!("  {}  would be removed\n", visible(swept)));
    written.collect::<String>()
        + &more(report.stats.written, report.sample.len(), "")
        + &swept.collect::<String>()
        + &more(report.stats.swept, report.swept_sample.len(), " would be removed")
}

/// What a person should know beside the counts of success.
fn notes(report: &Report, dry_run: bool) -> Vec<String> {
    let failed = match report.left_to_others() {
        Some(why) => Some(format!("not run: {why}")),
        None => report.failure.is_some().then(|| "failed".to_owned()),
    };
    failed.into_iter().chain(stats_notes(&report.stats, dry_run)).collect()
}

pub(super) fn stats_notes(stats: &Stats, dry_run: bool) -> impl Iterator<Item = String> + use<> {
    let left = |count: u64, why: &str| (count > 0).then(|| format!("{count} left alone: {why}"));
    let some = |count: u64, one: &str, many: &str| (count > 0).then(|| counted(count, one, many));
    let notes = [
        (stats.renewed > 0).then(|| format!("{} of them unchanged", stats.renewed)),
        (stats.repaired > 0).then(|| format!("{} changed meanwhile and set right", stats.repaired)),
        (stats.withdrawn > 0).then(|| format!("{} changed meanwhile and removed", stats.withdrawn)),
        left(stats.overtaken, "changed, removed or evicted by others meanwhile"),
        (stats.unconfirmed > 0).then(|| format!("{} not verified, and left to die", stats.unconfirmed)),
        left(stats.present, "already present"),
        left(stats.other_type, "another type"),
        left(stats.no_ttl, "no TTL"),
        left(stats.unverified, "what would be written could not be verified"),
        (stats.too_large > 0).then(|| format!("{} refused: larger than max_value", stats.too_large)),
        (stats.no_room > 0).then(|| format!("{} refused: no room in Redis", stats.no_room)),
        some(stats.bad_rows, "row skipped", "rows skipped"),
        some(stats.duplicates, "duplicate key", "duplicate keys"),
        (stats.swept > 0).then(|| swept(stats.swept, dry_run)),
        some(u64::from(stats.attempts.saturating_sub(1)), "retry", "retries"),
    ];
    notes.into_iter().flatten().chain(stats.held_back())
}

fn swept(count: u64, dry_run: bool) -> String {
    match dry_run {
        true => format!("would remove {} whose rows are gone", counted(count, "key", "keys")),
        false => format!("{count} removed: their rows are gone"),
    }
}

fn time(report: &Report) -> String {
    match report.took.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds => format!("{seconds:.2} s"),
    }
}

/// A finding of a comparison.
pub(super) fn finding_value(finding: &Finding) -> Value {
    let (difference, other_type, ttl) = match &finding.what {
        What::Stale(difference) | What::OtherShape(_, difference) => (Some(difference), None, None),
        What::OtherType(ty) => (None, Some(ty), None),
        What::OtherTtl(left, most) => (None, None, Some((left.map(milliseconds), milliseconds(*most)))),
        What::Missing | What::Extra | What::Unopened(_) => (None, None, None),
    };
    let reason = match &finding.what {
        What::Unopened(why) | What::OtherShape(why, _) => Some(why),
        _ => None,
    };
    json!({
        "key": finding.key,
        "kind": finding.what.name(),
        "member": difference.map(|difference| difference.member.as_str()),
        "at": difference.map(|difference| difference.at),
        "expected": difference.and_then(|difference| difference.expected.as_deref()),
        "found": difference.and_then(|difference| difference.found.as_deref()),
        "reason": reason,
        "type": other_type,
        "left_ms": ttl.and_then(|(left, _)| left),
        "ttl_ms": ttl.map(|(_, most)| most),
    })
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn as_value(reports: &[Report], disabled: &[(&str, &str)], dry_run: bool, code: u8) -> Value {
    let jobs: Vec<_> = reports.iter().map(job_value).collect();
    let disabled: Vec<_> = disabled.iter().map(|(job, why)| json!({ "job": job, "reason": why })).collect();
    json!({ "dry_run": dry_run, "exit_code": code, "jobs": jobs, "disabled": disabled })
}

fn job_value(report: &Report) -> Value {
    let stats = &report.stats;
    let failure = report.failure.as_ref().map(|failure| {
        json!({
            "kind": format!("{:?}", failure.kind),
            "message": failure.message,
            "at": failure.place(&report.file),
            "advice": failure.kind.consequence().advice,
        })
    });
    let sample = report.sample.iter().map(|sample| {
        json!({ "key": sample.key, "bytes": sample.bytes, "ttl_ms": u64::try_from(sample.ttl.as_millis()).unwrap_or(u64::MAX) })
    });
    json!({
        "job": report.job,
        "ok": report.failure.is_none(),
        "error": failure,
        "milliseconds": report.took.as_secs_f64() * 1e3,
        "queries": stats.queries,
        "rows": stats.rows,
        "keys": stats.written,
        "bytes": stats.bytes,
        "renewed": stats.renewed,
        "repaired": stats.repaired,
        "withdrawn": stats.withdrawn,
        "overtaken": stats.overtaken,
        "unconfirmed": stats.unconfirmed,
        "left": {
            "present": stats.present,
            "other_type": stats.other_type,
            "no_ttl": stats.no_ttl,
            "too_large": stats.too_large,
            "no_room": stats.no_room,
            "unverified": stats.unverified,
        },
        "bad_rows": stats.bad_rows,
        "duplicates": stats.duplicates,
        "swept": stats.swept,
        "attempts": stats.attempts,
        "held_back": {
            "rate_ms": stats.waited.as_secs_f64() * 1e3,
            "latency_ms": stats.gave_way.as_secs_f64() * 1e3,
            "database_ms": stats.waited_for_database.as_secs_f64() * 1e3,
        },
        "sample": sample.collect::<Vec<_>>(),
        "swept_sample": report.swept_sample,
    })
}
