//! `warm diff`: compares cache and database.

use std::io::Write;
use std::sync::Arc;

use serde_json::{Value, json};

use super::now::{exit_code, observer};
use super::report::finding_value;
use super::show::other_ttl;
use super::{Failure, load, runner, runtime, select_enabled, signals};
use crate::cli::{Common, Diff};
use crate::ground::drift::{Drift, Finding, What};
use crate::ground::exit;
use crate::ground::request::Sample;
use crate::ground::run::Report;
use crate::ground::show::counted;

/// Compares the jobs' keys and reports; with `--repair` also writes what is missing or different, and compares again. 0 if all agree (at the end), 1 if not, else the code of the
/// failed job with the highest priority.
pub fn run(common: &Common, diff: &Diff) -> Result<u8, Failure> {
    let loaded = load(common)?;
    let jobs = select_enabled(&loaded.settings, &diff.jobs)?;
    let disabled = loaded.settings.jobs.iter().filter(|_| diff.jobs.is_empty());
    let disabled: Vec<_> = disabled.filter_map(|job| Some((&job.name, job.disabled()?))).collect();
    let runner = Arc::new(runner(&loaded.settings, observer())?);
    let sample = diff.sample.map_or(Sample::ALL, |share| Sample::new(share, fastrand::u64(..)));
    let (compared, caught) = runtime()?.block_on(async {
        let (stopped, caught) = signals::catch(false, &[|_| true]);
        let mut compared = Vec::new();
        for job in &jobs {
            let mut report = runner.compare(job, sample, stopped.clone()).await;
            let mut before = None;
            if diff.repair && report.failure.is_none() && report.drift.can_be_repaired() {
                let repair = runner.repair(job, &report.drift, stopped.clone()).await;
                let after = match repair.failure {
                    Some(failure) => Report { failure: Some(failure), ..report.clone() },
                    None => runner.compare(job, sample, stopped.clone()).await,
                };
                before = Some(std::mem::replace(&mut report, after).drift);
            }
            compared.push(Compared { report, before });
        }
        runner.close().await;
        (compared, caught)
    });
    let reports: Vec<_> = compared.iter().map(|compared| compared.report.clone()).collect();
    let agree = reports.iter().all(|report| report.drift.is_none());
    let code = caught.exit_code().unwrap_or_else(|| match exit_code(&reports) {
        exit::OK if !agree => exit::JOB_FAILED,
        code => code,
    });
    let text = match common.json {
        true => {
            let jobs: Vec<_> = compared.iter().map(Compared::value).collect();
            let disabled: Vec<_> = disabled.iter().map(|(job, why)| json!({ "job": job, "reason": why })).collect();
            format!("{:#}\n", json!({ "exit_code": code, "jobs": jobs, "disabled": disabled }))
        }
        false => {
            let disabled = disabled.iter().map(|(job, why)| format!("{job}: not compared: disabled: {why}\n"));
            compared.iter().map(Compared::text).chain(disabled).collect()
        }
    };
    // A closed standard output takes nothing away.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(code)
}

/// A job that was compared.
struct Compared {
    report: Report,
    /// What was found before it was repaired, if it was.
    before: Option<Drift>,
}

impl Compared {
    fn text(&self) -> String {
        let Report { job, drift, failure, stats, .. } = &self.report;
        if failure.is_some() {
            return format!("{job}: failed\n");
        }
        let mut same = format!("{} as in the database", counted(drift.same, "key", "keys"));
        if drift.sealed_otherwise > 0 {
            same += &format!(" ({} of them sealed in another way)", drift.sealed_otherwise);
        }
        let mut parts = vec![same];
        parts.extend(
            counts(drift).into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} {name}")),
        );
        let moving = stats.overtaken + stats.unverified;
        parts.extend((moving > 0).then(|| format!("{moving} changed meanwhile")));
        parts.extend((drift.unknown > 0).then(|| {
            format!("{} not known: without a fill_query, or nothing can be made of their rows", drift.unknown)
        }));
        let repaired = self.before.as_ref().map(|before| format!(" (before the repair: {})", in_short(before)));
        let mut text = format!("{job}: {}{}\n", parts.join(", "), repaired.unwrap_or_default());
        drift.shown.iter().for_each(|finding| text += &format!("  {}\n", line(finding)));
        let more = drift.findings().saturating_sub(drift.shown.len() as u64);
        text += &if more > 0 { format!("  and {more} more\n") } else { String::new() };
        text
    }

    fn value(&self) -> Value {
        let Report { job, drift, failure, stats, .. } = &self.report;
        let kinds = |drift: &Drift| {
            json!({
                "same": drift.same, "sealed_otherwise": drift.sealed_otherwise, "missing": drift.missing, "stale": drift.stale, "other_shape": drift.other_shape,
                "other_type": drift.other_type, "other_ttl": drift.other_ttl, "extra": drift.extra, "unknown": drift.unknown,
            })
        };
        json!({
            "job": job,
            "ok": failure.is_none(),
            "error": failure.as_ref().map(|failure| failure.message.clone()),
            "keys": kinds(drift),
            "before_repair": self.before.as_ref().map(kinds),
            "changed_meanwhile": stats.overtaken + stats.unverified,
            "findings": drift.shown.iter().map(finding_value).collect::<Vec<_>>(),
        })
    }
}

/// What drifts, in words.
fn counts(drift: &Drift) -> [(&'static str, u64); 6] {
    [
        ("missing", drift.missing),
        ("stale", drift.stale),
        ("of another shape", drift.other_shape),
        ("of another type", drift.other_type),
        ("with another TTL", drift.other_ttl),
        ("extra", drift.extra),
    ]
}

fn in_short(drift: &Drift) -> String {
    let parts = counts(drift).into_iter().filter(|(_, count)| *count > 0);
    parts.map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

fn line(Finding { key, what }: &Finding) -> String {
    match what {
        What::Missing => format!("{key}  missing"),
        What::Stale(difference) => format!("{key}  stale: {difference}"),
        What::OtherShape(how, difference) => format!("{key}  another shape: {how}; first difference {difference}"),
        What::Unopened(why) => format!("{key}  another shape: {why}"),
        What::OtherType(ty) => format!("{key}  another type: {ty}"),
        What::OtherTtl(left, most) => format!("{key}  another TTL: it {}", other_ttl(*left, *most)),
        What::Extra => format!("{key}  extra: no row makes it"),
    }
}
