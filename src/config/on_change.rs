//! `on_change`: what becomes of a key when a row that it is made of changes, where changes of the database are followed.

use super::diagnostic::{Collector, Diagnostic};
use super::fields::Reader;
use super::raw;
use crate::ground::job::{Job, OnChange};

impl Reader<'_> {
    /// Whether such a key is deleted or written again.
    pub(super) fn on_change(&self, raw: &raw::Job) -> Result<OnChange, Diagnostic> {
        let ways = [("delete", OnChange::Delete), ("rewrite", OnChange::Rewrite)];
        self.choice("on_change", raw.on_change.as_ref(), &ways)
    }

    /// Refuses to write single keys again that cannot be filled.
    pub(super) fn rewrites_what_can_be_filled(&self, raw: &raw::Job, job: &Job, collector: &mut Collector) {
        let given = raw.on_change.as_ref().filter(|_| job.on_change == OnChange::Rewrite);
        if let Some((given, why)) = given.zip(job.lacks_fill_query()) {
            let message = format!("on_change = \"rewrite\" fills single keys, and {why}");
            collector.push(self.sources.error(given.span(), message));
        }
    }
}
