//! `paginate`: that rows can be cut into pages, each of which has a key of its own and can be verified by itself.

use std::num::NonZeroUsize;
use std::ops::Range;

use super::diagnostic::Collector;
use super::fields::Reader;
use super::raw::{self, Number, Text};
use super::settings::bounded;
use crate::ground::job::Verify;
use crate::ground::key::{KeyTemplate, PAGE};
use crate::ground::sql::orders;
use crate::ground::value::ValueShape;

/// Bounds of the rows of a page. Nobody turns pages of more rows.
const BOUNDS: (usize, usize) = (1, 10_000);

impl Reader<'_> {
    /// `value` as it is with `paginate`; `None` if something is wrong.
    pub(super) fn paginate(
        &self,
        value: ValueShape,
        raw: &raw::Job,
        key: &KeyTemplate,
        collector: &mut Collector,
    ) -> Option<ValueShape> {
        let Some(given) = &raw.paginate else { return Some(value) };
        let size = collector.take(bounded("paginate", given, BOUNDS.0..=BOUNDS.1, self.sources));
        if value != ValueShape::Rows {
            let value = raw.value.as_ref();
            let written = value.map_or("", |text| text.get_ref());
            let at = self.position(value.map(Text::span));
            let message = format!(
                "`paginate` cuts arrays of rows into pages, but value = \"{written}\"{at} makes a key of each row"
            );
            collector
                .push(self.sources.error(given.span(), message).help("say value = \"rows\", or remove `paginate`"));
            return None;
        }
        if let Some(query) = raw.query.as_ref().or(raw.fill_query.as_ref()).filter(|query| !orders(query.get_ref())) {
            let at = self.position(Some(given.span()));
            let message = format!(
                "`paginate`{at} cuts rows into pages in the query's order, and this query has none: each reading may put other rows on each page"
            );
            let help = "add ORDER BY, with a unique column at its end, so that no two rows may change places";
            collector.push(self.sources.error(query.span(), message).into_warning().help(help));
        }
        let is_apart = self.has_a_place_for_the_page(given, raw, key, collector);
        let size = size.and_then(NonZeroUsize::new).filter(|_| is_apart)?;
        Some(ValueShape::Pages(size))
    }

    /// Whether the page's number stands in the key, and nothing else has its name.
    fn has_a_place_for_the_page(
        &self,
        paginate: &Number,
        raw: &raw::Job,
        key: &KeyTemplate,
        collector: &mut Collector,
    ) -> bool {
        let at = self.position(Some(paginate.span()));
        if let Some((name, _)) = raw.for_each.0.iter().find(|(name, _)| name.get_ref() == PAGE) {
            let message =
                format!("`{PAGE}` cannot be a parameter beside `paginate`{at}: in the key it is the page's number");
            let help = "remove it here, and from the query LIMIT and OFFSET, since all rows are read and then cut into pages; or give the parameter another name";
            collector.push(self.sources.error(name.span(), message).help(help));
            return false;
        }
        if key.names().iter().any(|name| name == PAGE) {
            return true;
        }
        let message = format!(
            "the key `{key}` has no `{{{PAGE}}}`, the page's number, so that with `paginate`{at} each page would overwrite the one before"
        );
        let help = format!("put it into the key, such as `{key}:page:{{{PAGE}}}`, or remove `paginate`");
        collector.push(self.sources.error(raw.key.as_ref().map_or(0..0, Text::span), message).help(help));
        false
    }

    /// Refuses to tell pages apart by a version: the row that has moved to a page from the next one may have the same version as the one before.
    pub(super) fn verified_pages(
        &self,
        verify: &Verify,
        raw: &raw::Job,
        defaults: &raw::Defaults,
        collector: &mut Collector,
    ) {
        let (Verify::Version(version), Some(paginate)) = (verify, &raw.paginate) else { return };
        let at = self.position(raw.verify.as_ref().or(defaults.verify.as_ref()).map(toml::Spanned::span));
        let message = format!(
            "`paginate` moves rows from page to page when others come or go, and verify = {{ version = \"{}\" }}{at} would not see it: two rows may have the same version",
            version.column
        );
        collector.push(self.sources.error(paginate.span(), message).help("say verify = \"requery\" in the job"));
    }

    /// Where something stands, to be put behind it.
    fn position(&self, span: Option<Range<usize>>) -> String {
        let place = span.and_then(|span| self.sources.place(span));
        place.map_or(String::new(), |place| format!(" ({})", place.position()))
    }
}
