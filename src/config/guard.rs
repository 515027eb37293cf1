//! `[guard]`: bounds of what a run may publish, and that they can be judged at all.

use super::diagnostic::Collector;
use super::fields::Reader;
use super::raw::{self, Text};
use super::settings::{bounded, must_be};
use super::units;
use crate::ground::guard::Guard;

impl Reader<'_> {
    /// `[guard]` without `max_value`, which is about one value. What can stop no run is as good as not written. `missing` is what says that the
    /// job writes absent keys only.
    pub(super) fn guard(&self, raw: &raw::Guard, missing: Option<&Text>, collector: &mut Collector) -> Option<Guard> {
        let mut rows = |field: &str, number: Option<&raw::Number>| match number {
            Some(number) => collector.take(bounded(field, number, 0..=1_000_000_000, self.sources)).map(Some),
            None => Some(None),
        };
        let min_rows = rows("guard.min_rows", raw.min_rows.as_ref());
        let max_rows = rows("guard.max_rows", raw.max_rows.as_ref());
        let max_shrink = raw.max_shrink.as_ref().map(|share| {
            let wrong = |expected: String| must_be("guard.max_shrink", &expected, share.span(), self.sources);
            collector.take(units::percent(&share.get_ref().0, 0.0..=100.0).map_err(wrong))
        });
        let (min_rows, max_rows): (Option<u64>, Option<u64>) = (min_rows?, max_rows?);
        let max_shrink = max_shrink.map_or(Some(None), |share| share.map(Some))?;
        let guard = Guard {
            min_rows: min_rows.filter(|least| *least > 0),
            max_rows,
            max_shrink: max_shrink.filter(|share| *share < 1.0),
            same_columns: raw.same_columns.as_ref().is_some_and(|same| *same.get_ref()),
        };
        let possible = self.leaves_something(&guard, raw, collector);
        let comparable = missing.is_none_or(|mode| self.looks_at_one_run(&guard, raw, mode, collector));
        (possible && comparable).then_some(guard)
    }

    /// Whether some number of rows can pass.
    fn leaves_something(&self, guard: &Guard, raw: &raw::Guard, collector: &mut Collector) -> bool {
        let (Some(least), Some(most), Some(place)) = (guard.min_rows, guard.max_rows, raw.max_rows.as_ref()) else {
            return true;
        };
        if least > most {
            // One of them may be a default.
            let other = raw.min_rows.as_ref().and_then(|number| self.sources.place(number.span()));
            let other = other.map_or(String::new(), |place| format!(" ({})", place.position()));
            let message =
                format!("`guard.max_rows` is {most}, but `guard.min_rows` is {least}{other}: no run could pass");
            let help = "raise max_rows, or give a smaller min_rows here";
            collector.push(self.sources.error(place.span(), message).help(help));
        }
        least <= most
    }

    /// Whether nothing is compared with an earlier run: one that writes absent keys only does not read everything, and is no measure.
    fn looks_at_one_run(&self, guard: &Guard, raw: &raw::Guard, mode: &Text, collector: &mut Collector) -> bool {
        let mode = self.sources.place(mode.span()).map_or(String::new(), |place| format!(" ({})", place.position()));
        let shrink = raw.max_shrink.as_ref().filter(|_| guard.max_shrink.is_some());
        let columns = raw.same_columns.as_ref().filter(|_| guard.same_columns);
        let demands = [
            shrink.map(|share| (share.span(), "max_shrink", "\"100%\"")),
            columns.map(|same| (same.span(), "same_columns", "false")),
        ];
        for (place, field, off) in demands.iter().flatten() {
            let message = format!(
                "`guard.{field}` compares with the last good run, but with mode = \"missing\"{mode} no run reads everything, so that there never is one"
            );
            let help = format!("remove it, say guard.{field} = {off} in the job, or mode = \"refresh\"");
            collector.push(self.sources.error(place.clone(), message).help(help));
        }
        demands.iter().all(Option::is_none)
    }
}
