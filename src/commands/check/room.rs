//! How much the jobs would write, by the planner's own estimate, and whether Redis has room for it.

use serde_json::{Value, json};

use super::Finding;
use crate::cache::{Inspection, KEY_OVERHEAD};
use crate::ground::job::Job;
use crate::ground::row::Column;
use crate::ground::value::ValueShape;
use crate::observe::{counted, human_bytes};
use crate::runner::{Plan, Prepared};

/// What one job would write, roughly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Estimate {
    job: String,
    rows: u64,
    /// `None` where a column decides which rows share a key.
    keys: Option<u64>,
    /// Of keys and values.
    bytes: u64,
}

impl Estimate {
    /// Of a job whose query has this plan with the first combination of its parameters; the others are taken to be like it.
    /// `columns` are those of the query as it stands in the job's file.
    pub(super) fn new(
        job: &Job,
        prepared: &Prepared,
        plan: &Plan,
        columns: &[Column],
        lines: &[String],
    ) -> Option<Self> {
        let (rows, width) = rows_and_width(lines.first()?)?;
        let runs = plan.len() as u64;
        let rows = rows.saturating_mul(runs);
        let members: Option<usize> = prepared.key_columns.iter().map(|name| plan.list(name).map(<[_]>::len)).product();
        let keys = match (&job.value, members) {
            (ValueShape::Rows, Some(members)) => Some(runs.saturating_mul(members as u64)),
            (ValueShape::Rows, None) => None,
            (_, Some(_)) if prepared.key_columns.is_empty() => Some(runs),
            _ => Some(rows),
        };
        let value = match &job.value {
            ValueShape::Column(name) => width / columns.len().max(1) as u64 + name.len() as u64,
            _ => width + notation(columns, &job.hide),
        };
        let key = job.key.to_string().len() as u64;
        let bytes = rows.saturating_mul(value).saturating_add(keys.unwrap_or(rows).saturating_mul(key));
        Some(Estimate { job: job.name.clone(), rows, keys, bytes })
    }

    /// The bytes that Redis needs for it, if none of it is there yet.
    fn memory(&self) -> u64 {
        self.bytes.saturating_add(self.keys.unwrap_or(self.rows).saturating_mul(KEY_OVERHEAD as u64))
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let count = match self.keys {
            Some(keys) => counted(keys, "key", "keys"),
            None => format!("{} in fewer keys", counted(self.rows, "row", "rows")),
        };
        format!("{}: writes about {count}, {}", self.job, human_bytes(self.bytes))
    }

    /// For programs.
    pub(super) fn value(&self) -> Value {
        json!({ "job": self.job, "rows": self.rows, "keys": self.keys, "bytes": self.bytes })
    }
}

/// The first line of a plan: `Limit  (cost=0.15..2.31 rows=20 width=94)`.
fn rows_and_width(line: &str) -> Option<(u64, u64)> {
    let number = |name: &str| {
        let (_, rest) = line.rsplit_once(name)?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    Some((number(" rows=")?, number(" width=")?))
}

/// What a value has beside its columns' own bytes: names, punctuation, and for some types a notation much longer than PostgreSQL's own.
fn notation(columns: &[Column], hide: &[String]) -> u64 {
    let shown = columns.iter().filter(|column| !hide.contains(&column.name));
    let of_each = shown.map(|column| {
        let longer = match column.ty.oid {
            // Dates and times, UUIDs.
            1082 | 1083 | 1114 | 1184 | 1266 => 18,
            2950 => 22,
            _ => 0,
        };
        column.name.len() as u64 + 4 + longer
    });
    of_each.sum::<u64>() + 2
}

/// Whether there is room for what the jobs write, within `share` of Redis' limit.
pub(super) fn check(share: f64, inspection: &Inspection, estimates: &[Estimate]) -> Option<Finding> {
    let limit = inspection.max_memory.filter(|limit| *limit > 0)?;
    let used = inspection.used_memory?;
    let room = (limit as f64 * share) as u64;
    let percent = share * 100.0;
    let figures = format!("{} of {}", human_bytes(used), human_bytes(limit));
    if used >= room {
        let used = used.saturating_mul(100) / limit;
        let message = format!(
            "Redis uses {used} % of its memory ({figures}): beyond {percent} % (memory_limit) warm adds no key, and only gives those that are there new values of about the same size"
        );
        return Some(Finding::warning(message, "raise maxmemory, cache less, or raise memory_limit in [redis]"));
    }
    let wanted = estimates.iter().fold(0_u64, |sum, estimate| sum.saturating_add(estimate.memory()));
    if used.saturating_add(wanted) <= room {
        return None;
    }
    let wanted = human_bytes(wanted);
    let message = format!(
        "the jobs write about {wanted}, and Redis uses {figures}: beyond {percent} % (memory_limit) warm adds no key, so that some are refused unless most are there already"
    );
    let advice =
        "raise maxmemory, let the jobs write less (fewer rows, fewer columns), or raise memory_limit in [redis]";
    Some(Finding::warning(message, advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_planners_figures_are_those_of_the_whole_query() {
        let line = "Limit  (cost=0.15..2.31 rows=20 width=94)";
        assert_eq!(rows_and_width(line), Some((20, 94)));
        assert_eq!(rows_and_width("Seq Scan on \" rows=7 x\"  (cost=0.00..1.02 rows=2 width=8)"), Some((2, 8)));
        assert_eq!(rows_and_width("Result"), None);
    }
}
