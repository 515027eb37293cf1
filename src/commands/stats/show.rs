//! How it is shown: lines for people, JSON on request.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

use super::{Cost, JobStats, Stats};
use crate::ground::figures::{Figures, Lookups, quantile};
use crate::ground::show::{counted, human_bytes, human_millis, human_seconds, visible};
use crate::ground::slow::{Slow, SlowLog};
use crate::ground::targets::{Figure, Judged, NAMES};

/// How many slow commands are shown.
const SLOWEST: usize = 5;
/// Why it cannot be told of a key whether it is read: `ground::uses` has it in full.
const UNTOLD: &str = " (written too recently, touched when the last run was, or written by others)";

/// The whole text.
pub(super) fn text(stats: &Stats, as_json: bool, code: u8) -> String {
    if as_json {
        return format!("{:#}\n", value(stats, code));
    }
    let mut lines = vec![format!("Redis at {}", stats.place)];
    match &stats.figures {
        Some(figures) => lines.extend(of_figures(figures, stats.window)),
        None => lines.push("  its counts and its memory are not known: the account lacks +info".to_owned()),
    }
    lines.extend(answers(&stats.answers));
    lines.extend(slow(stats));
    lines.extend(stats.jobs.iter().map(|job| of_job(job, &stats.cost)));
    lines.extend(stats.targets.iter().map(target));
    lines.extend(cost(&stats.cost));
    lines.join("\n") + "\n"
}

fn of_figures(figures: &Figures, window: Option<Lookups>) -> Vec<String> {
    let ratio = |lookups: Lookups, when: String| {
        let all = counted(lookups.hits + lookups.misses, "look-up", "look-ups");
        match lookups.ratio() {
            Some(ratio) => format!("  hit ratio {} {when}, of {all} in all databases", Figure::Share(ratio).shown()),
            None => format!("  nothing was looked up {when}"),
        }
    };
    let since = format!("since it began, {} ago", human_seconds(figures.uptime.as_secs_f64()));
    let watched = window.map(|lookups| ratio(lookups, format!("in {} watched", human_millis(lookups.over))));
    let limit = figures.limit.map(|limit| format!(" of {}", human_bytes(limit)));
    let share = figures.memory().map(|share| format!(" ({})", Figure::Share(share).shown())).unwrap_or_default();
    let memory = format!(
        "  memory {}{}{share}, maxmemory-policy {}",
        human_bytes(figures.used),
        limit.unwrap_or_else(|| " without a limit".to_owned()),
        visible(&figures.policy)
    );
    let gone = format!(
        "  {} evicted, {} expired {since}",
        counted(figures.evicted, "key", "keys"),
        counted(figures.expired, "key", "keys")
    );
    [ratio(figures.lookups(), since)].into_iter().chain(watched).chain([memory, gone]).collect()
}

fn answers(answers: &[Duration]) -> Option<String> {
    let (middle, late) = (quantile(answers, 0.5)?, quantile(answers, 0.99)?);
    Some(format!(
        "  answers within {} (p50) and {} (p99), of {}",
        human_millis(middle),
        human_millis(late),
        counted(answers.len() as u64, "answer", "answers")
    ))
}

/// The slowest commands first.
fn slowest(log: &SlowLog) -> Vec<&Slow> {
    let mut slowest: Vec<_> = log.last.iter().collect();
    slowest.sort_by_key(|slow| std::cmp::Reverse(slow.took));
    slowest
}

/// The job to which the key of a slow command belongs, which does not tell who gave the command.
fn job_of<'s>(slow: &Slow, stats: &'s Stats) -> Option<&'s str> {
    let key = slow.key.as_deref()?.strip_prefix(&stats.key_prefix)?;
    stats.key_space.owner(key.as_bytes()).ok()
}

fn slow(stats: &Stats) -> Vec<String> {
    let log = match &stats.slow {
        Ok(log) if log.kept == 0 => return vec!["  no slow commands in its slow log".to_owned()],
        Ok(log) => log,
        Err(words) => return vec![format!("  slow commands are not known: {}", visible(words))],
    };
    let ours = log.last.iter().filter(|slow| slow.ours).count();
    let jobs = log.last.iter().filter(|slow| job_of(slow, stats).is_some()).count();
    let head = format!(
        "  {} in its slow log; of the last {}, {jobs} about keys of jobs, {ours} about warm's own; the slowest:",
        counted(log.kept, "slow command", "slow commands"),
        log.last.len()
    );
    let line = |slow: &&Slow| {
        let key = slow.key.as_ref().map(|key| format!(" {}", visible(key))).unwrap_or_default();
        let job = job_of(slow, stats).map(|job| format!(" (a key of {job})")).unwrap_or_default();
        format!("    {} at {}: {}{key}{job}", human_millis(slow.took), moment(slow.at), visible(&slow.command))
    };
    std::iter::once(head).chain(slowest(log).iter().take(SLOWEST).map(line)).collect()
}

fn of_job(job: &JobStats, cost: &Cost) -> String {
    let name = &job.name;
    let Some((keys, _)) = job.last else {
        return format!(
            "{name}: nothing is known of its keys: no whole run of it is in the run history of this machine"
        );
    };
    let Some(present) = job.present else {
        let words = cost.refused.first().map(|words| format!(": {}", visible(words))).unwrap_or_default();
        return format!("{name}: whether its keys are there is not known{words}");
    };
    let share = present.share().map(|share| format!("{:.0} %", share * 100.0)).unwrap_or_default();
    let of = if keys > present.of { format!(", a sample of {}", counted(keys, "key", "keys")) } else { String::new() };
    let mut parts =
        vec![format!("warmth {share} ({} of {} there{of})", present.yes, counted(present.of, "key", "keys"))];
    parts.extend(reads(job));
    // What the account may not ask is told by itself.
    let why = if cost.refused.is_empty() { UNTOLD } else { "" };
    parts.extend((job.untold > 0).then(|| format!("of {} it cannot be told{why}", job.untold)));
    parts.extend(
        job.bytes.filter(|_| present.yes > 0).map(|bytes| format!("{} each", human_bytes(bytes / present.yes))),
    );
    format!("{name}: {}", parts.join(", "))
}

/// How many are read, and about how many are not.
fn reads(job: &JobStats) -> Option<String> {
    let (reads, judged) = (job.reads(), job.judged());
    let estimate = reads.estimate(judged)?;
    let when = if job.by_counter { "of late" } else { "since they were written" };
    let unread = |read: f64| (judged as f64 * (1.0 - read)).round() as u64;
    let rest = match (unread(estimate.high), unread(estimate.low)) {
        (least, most) if least == most => format!("{least} nobody has read"),
        (least, most) => {
            format!("about {} nobody has read ({least} to {most})", unread(estimate.share))
        }
    };
    Some(format!("{} of {} read {when} ({:.0} %), {rest}", reads.yes, reads.of, estimate.share * 100.0))
}

/// A target in a line.
pub(crate) fn target(target: &Judged) -> String {
    let bound = if target.name == NAMES[0] { "at least" } else { "at most" };
    let found = target.found.map(|found| format!("{}, ", found.shown())).unwrap_or_default();
    let (name, verdict, wanted) = (target.name, target.verdict().word(), target.wanted.shown());
    format!("target {name} {verdict}: {found}{bound} {wanted} is wanted ({})", target.about)
}

fn cost(cost: &Cost) -> Vec<String> {
    if cost.commands == 0 {
        return Vec::new();
    }
    let mut lines = vec![format!(
        "looking at keys took {} and {}, which Redis has counted as {} and {}",
        counted(cost.commands, "command", "commands"),
        human_millis(cost.took),
        counted(cost.hits, "hit", "hits"),
        counted(cost.misses, "miss", "misses")
    )];
    lines.extend(cost.refused.iter().map(|words| format!("not allowed: {}", visible(words))));
    lines
}

fn moment(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).map_or("-".to_owned(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn value(stats: &Stats, code: u8) -> Value {
    let lookups = |lookups: Lookups| {
        json!({
            "hits": lookups.hits, "misses": lookups.misses, "hit_ratio": lookups.ratio(), "seconds": lookups.over.as_secs_f64(),
        })
    };
    let figures = stats.figures.as_ref();
    let millis = |share| quantile(&stats.answers, share).map(|time| time.as_secs_f64() * 1e3);
    json!({
        "exit_code": code,
        "redis": {
            "since_start": figures.map(|figures| lookups(figures.lookups())),
            "watched": stats.window.map(lookups),
            "used_memory": figures.map(|figures| figures.used),
            "max_memory": figures.map(|figures| figures.limit.unwrap_or(0)),
            "eviction_policy": figures.map(|figures| &figures.policy),
            "evicted": figures.map(|figures| figures.evicted),
            "expired": figures.map(|figures| figures.expired),
            "answers": stats.answers.len(),
            "answer_p50_ms": millis(0.5),
            "answer_p99_ms": millis(0.99),
            "slow": stats.slow.as_ref().ok().map(|log| slow_value(log, stats)),
            "slow_unknown": stats.slow.as_ref().err(),
        },
        "jobs": stats.jobs.iter().map(job_value).collect::<Vec<_>>(),
        "targets": stats.targets.iter().map(target_value).collect::<Vec<_>>(),
        "cost": {
            "commands": stats.cost.commands,
            "milliseconds": stats.cost.took.as_secs_f64() * 1e3,
            "hits": stats.cost.hits,
            "misses": stats.cost.misses,
        },
        "refused": stats.cost.refused,
    })
}

fn slow_value(log: &SlowLog, stats: &Stats) -> Value {
    let one = |slow: &&Slow| {
        json!({
            "milliseconds": slow.took.as_secs_f64() * 1e3,
            "at": moment(slow.at),
            "command": slow.command,
            "key": slow.key,
            "job": job_of(slow, stats),
            "own": slow.ours,
        })
    };
    let slowest: Vec<_> = slowest(log).iter().take(SLOWEST).map(one).collect();
    json!({ "kept": log.kept, "looked_at": log.last.len(), "slowest": slowest })
}

fn job_value(job: &JobStats) -> Value {
    let estimate = job.reads().estimate(job.judged());
    json!({
        "job": job.name,
        "keys": job.last.map(|(keys, _)| keys),
        "sampled_at": job.last.map(|(_, ended)| ended.to_rfc3339_opts(SecondsFormat::Secs, true)),
        "sample": job.present.map(|present| present.of),
        "present": job.present.map(|present| present.yes),
        "warmth": job.present.and_then(|present| present.share()),
        "read": job.read,
        "unread": job.unread,
        "untold": job.untold,
        "read_by": if job.by_counter { "frequency" } else { "idle_time" },
        "read_share": estimate.map(|estimate| estimate.share),
        "read_share_low": estimate.map(|estimate| estimate.low),
        "read_share_high": estimate.map(|estimate| estimate.high),
        "bytes": job.bytes,
    })
}

/// A target as an object.
pub(crate) fn target_value(target: &Judged) -> Value {
    json!({
        "target": target.name,
        "verdict": target.verdict().word(),
        "wanted": target.wanted.number(),
        "found": target.found.map(Figure::number),
        "about": target.about,
    })
}
