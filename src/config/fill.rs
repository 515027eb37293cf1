//! `fill_query`: the rows of one key, for a job whose own query cannot tell them from none.

use std::ops::Range;

use super::diagnostic::Collector;
use super::fields::Reader;
use super::raw;
use crate::ground::key::{KeyTemplate, PAGE};
use crate::ground::near::nearest;
use crate::ground::sql::{NOW, Sql};

impl Reader<'_> {
    /// Refuses what says something about runs, where there are none.
    pub(super) fn runs_never(&self, raw: &raw::Job, collector: &mut Collector) {
        let first = raw.for_each.0.first().map(|(name, _)| ("[for_each]", name.span()));
        let fields = [
            first,
            raw.schedule.as_ref().map(|given| ("`schedule`", given.span())),
            raw.refresh_ahead.as_ref().map(|given| ("`refresh_ahead`", given.span())),
            raw.max_age.as_ref().map(|given| ("`max_age`", given.span())),
            raw.sweep.as_ref().map(|given| ("`sweep`", given.span())),
            raw.mode.as_ref().map(|given| ("`mode`", given.span())),
            rows(raw.guard.as_ref()),
            raw.partition_by.as_ref().map(|given| ("`partition_by`", given.span())),
            raw.predict.as_ref().map(|given| ("`predict`", given.span())),
        ];
        for (field, span) in fields.into_iter().flatten() {
            let message = format!("{field} is about runs, and a job without `query` has none: it fills single keys");
            collector.push(self.sources.error(span, message).help("remove it, or say which rows a run reads: `query`"));
        }
    }

    /// `fill_query`; `None` if something is wrong with it.
    pub(super) fn fill_query(
        &self,
        raw: &raw::Job,
        key: &KeyTemplate,
        collector: &mut Collector,
    ) -> Option<Option<Sql>> {
        let Some(text) = &raw.fill_query else { return Some(None) };
        let sql = collector.take(self.sql(text))?;
        let cuts_pages = raw.paginate.is_some();
        let known: Vec<&str> =
            key.names().iter().map(String::as_str).filter(|name| !(cuts_pages && *name == PAGE)).collect();
        let mut is_good = true;
        for name in sql.parameters().into_iter().filter(|name| *name != NOW && !known.contains(name)) {
            let place = sql.place(name).map_or(text.span(), |place| self.inside(text, place.start, place.len()));
            let (message, help) = match name {
                PAGE if cuts_pages => (
                    "`:page` is no parameter beside `paginate`: a fill query gives all rows, of which the page is cut"
                        .to_owned(),
                    "remove it, and LIMIT and OFFSET".to_owned(),
                ),
                _ => (
                    format!("a fill query knows what stands in the key `{key}`, and `:{name}` does not"),
                    match nearest(name, known.iter().copied().chain([NOW])) {
                        Some(near) => format!("did you mean `:{near}`?"),
                        None => "use the key's placeholders as parameters, and `:now`".to_owned(),
                    },
                ),
            };
            collector.push(self.sources.error(place, message).help(help));
            is_good = false;
        }
        let used = |name: &&str| sql.parameters().contains(name);
        if is_good && let Some(unused) = known.iter().find(|name| !used(name)) {
            let message = format!(
                "this query does not use `:{unused}`, so that it would give the same rows for each `{{{unused}}}` of the key `{key}`"
            );
            collector.push(self.sources.error(text.span(), message).help(format!("compare it: WHERE … = :{unused}")));
            is_good = false;
        }
        is_good.then_some(Some(sql))
    }
}

/// What a guard demands of the rows of a run.
fn rows(guard: Option<&raw::Guard>) -> Option<(&'static str, Range<usize>)> {
    let guard = guard?;
    let numbers = [("`min_rows`", &guard.min_rows), ("`max_rows`", &guard.max_rows)];
    let number = numbers.into_iter().find_map(|(name, given)| Some((name, given.as_ref()?.span())));
    let shrink = guard.max_shrink.as_ref().map(|given| ("`max_shrink`", given.span()));
    number.or(shrink).or_else(|| guard.same_columns.as_ref().map(|given| ("`same_columns`", given.span())))
}
