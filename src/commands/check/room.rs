//! How much the jobs would write, by the planner's own estimate, and whether Redis has room for it.

use std::num::NonZeroUsize;

use serde_json::{Value, json};

use super::Finding;
use super::explained::Explained;
use crate::cache::{Inspection, KEY_OVERHEAD};
use crate::ground::job::Job;
use crate::ground::row::Column;
use crate::ground::value::ValueShape;
use crate::observe::{counted, human_bytes};
use crate::runner::{Plan, Prepared};

/// The most combinations of a job whose plans are looked at. Each costs a round trip.
const PLANNED: usize = 32;

/// What one job would write, roughly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Estimate {
    pub(super) job: String,
    rows: u64,
    /// `None` where a column decides which rows share a key.
    pub(super) keys: Option<u64>,
    /// Of keys and values.
    pub(super) bytes: u64,
    /// How many queries give them: each part of each combination.
    pub(super) queries: usize,
    /// How many combinations of the parameters were planned, of how many.
    planned: (usize, usize),
    /// The tables of which the planner knows little.
    never_analyzed: Vec<String>,
}

/// Which of so many combinations are planned: all if they are few, else some from the first to the last.
pub(super) fn planned(combinations: usize) -> impl Iterator<Item = usize> {
    let planned = combinations.min(PLANNED);
    (0..planned).map(move |at| at * combinations / planned)
}

impl Estimate {
    /// Of a job whose query has these plans, those of the [`planned`] combinations; the others are taken to be like them.
    /// `columns` are those of the query as it stands in the job's file.
    pub(super) fn new(
        job: &Job,
        prepared: &Prepared,
        plan: &Plan,
        columns: &[Column],
        plans: &[Explained],
    ) -> Option<Self> {
        let figures = plans.iter().map(Explained::rows_and_width).collect::<Option<Vec<_>>>()?;
        let runs = plan.combinations() as u64;
        let all = |sum: u64| u64::try_from(u128::from(sum) * u128::from(runs) / figures.len().max(1) as u128);
        let rows = figures.iter().fold(0_u64, |sum, (rows, _)| sum.saturating_add(*rows));
        let rows = all(rows).unwrap_or(u64::MAX);
        let members: Option<usize> = prepared.key_columns.iter().map(|name| plan.list(name).map(<[_]>::len)).product();
        let keys = match (&job.value, members) {
            (ValueShape::Rows, Some(members)) => Some(runs.saturating_mul(members as u64)),
            (ValueShape::Pages(size), Some(members)) => Some(pages(rows, runs.saturating_mul(members as u64), *size)),
            (ValueShape::Rows | ValueShape::Pages(_), None) => None,
            (_, Some(_)) if prepared.key_columns.is_empty() => Some(runs),
            _ => Some(rows),
        };
        let value = |width: u64| match &job.value {
            ValueShape::Column(name) => width / columns.len().max(1) as u64 + name.len() as u64,
            _ => width + notation(columns, &job.hide),
        };
        let values =
            figures.iter().fold(0_u64, |sum, (rows, width)| sum.saturating_add(rows.saturating_mul(value(*width))));
        let key = job.key.to_string().len() as u64;
        let bytes = all(values).unwrap_or(u64::MAX).saturating_add(keys.unwrap_or(rows).saturating_mul(key));
        let planned = (figures.len(), plan.combinations());
        let (job, queries) = (job.name.clone(), plan.len());
        Some(Estimate { job, rows, keys, bytes, queries, planned, never_analyzed: Vec::new() })
    }

    /// The same, which rests on tables that were never analyzed.
    pub(super) fn without_statistics_of(self, never_analyzed: Vec<String>) -> Self {
        Estimate { never_analyzed, ..self }
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
        format!("{}: writes about {count}, {}{}", self.job, human_bytes(self.bytes), self.basis())
    }

    /// What it rests on, if that is not all that could be known.
    fn basis(&self) -> String {
        let mut basis = Vec::new();
        if let (planned, all) = self.planned
            && planned < all
        {
            basis.push(format!("from the plans of {planned} of {all} combinations"));
        }
        match &self.never_analyzed[..] {
            [] => {}
            [table] => basis.push(format!("{table} was never analyzed: ANALYZE it for a better figure")),
            tables => {
                basis.push(format!("{} were never analyzed: ANALYZE them for a better figure", tables.join(", ")))
            }
        }
        if basis.is_empty() { String::new() } else { format!(" ({})", basis.join("; ")) }
    }

    /// For programs.
    pub(super) fn value(&self) -> Value {
        let (planned, combinations) = self.planned;
        json!({
            "job": self.job,
            "rows": self.rows,
            "keys": self.keys,
            "bytes": self.bytes,
            "combinations": combinations,
            "planned": planned,
            "never_analyzed": self.never_analyzed,
        })
    }
}

/// How many pages of that size so many rows make, in groups that are taken to be of one size. One without rows has a page, too.
fn pages(rows: u64, groups: u64, size: NonZeroUsize) -> u64 {
    let of_each = rows.div_ceil(groups.max(1)).div_ceil(size.get() as u64);
    groups.saturating_mul(of_each.max(1))
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
    fn groups_of_rows_make_pages_and_empty_ones_one() {
        let size = NonZeroUsize::new(20).unwrap_or(NonZeroUsize::MIN);
        assert_eq!([pages(0, 3, size), pages(60, 3, size), pages(61, 3, size), pages(200, 1, size)], [3, 3, 6, 10]);
    }

    #[test]
    fn few_combinations_are_all_planned_and_of_many_some_of_each_part() {
        assert_eq!(Vec::from_iter(planned(0)), [0; 0]);
        assert_eq!(Vec::from_iter(planned(3)), [0, 1, 2]);
        assert!(planned(32).eq(0..32));
        let some = Vec::from_iter(planned(100));
        assert_eq!((some.len(), some[0], some[1], some[31]), (32, 0, 3, 96));
    }
}
