//! `[changes]`: where changes of the database are told, and of which tables.
//!
//! What is stale when a row changes is written as in `then` of a set, with columns in the place of parameters: `"Ticket" = "ticket id={id} userId={userId}"`.

use super::diagnostic::{Collector, Diagnostic};
use super::fields::Reader;
use super::invalidate::{ReadSet, words};
use super::raw::{self, Text};
use super::settings;
use crate::ground::changes::{Call, ChangesSettings, Feed, Missed, Slot, Watched};
use crate::ground::near::nearest;

/// The longest name in PostgreSQL, in bytes.
const NAME: usize = 63;
/// The least that a slot may keep: a segment of the log is 16 MiB, and some are always kept.
const LEAST_LIMIT: usize = 64 << 20;
/// What it may keep unless it is said: an hour of 300 kB/s.
const LIMIT: u64 = 1 << 30;

impl Reader<'_> {
    /// What is followed, if anything is.
    pub(super) fn changes(
        &self,
        raw: &raw::Changes,
        sets: &[ReadSet],
        collector: &mut Collector,
    ) -> Option<ChangesSettings> {
        let policies = [("delete", Missed::Delete), ("keep", Missed::Keep)];
        let missed = collector.take(self.choice("changes.missed", raw.missed.as_ref(), &policies));
        let tables: Vec<_> =
            raw.tables.0.iter().filter_map(|(table, calls)| self.watched(table, &calls.0, sets, collector)).collect();
        let feed = self.feed(raw, collector)?;
        if let (Some(slot), []) = (&raw.slot, raw.tables.0.as_slice()) {
            let message = "a slot tells of tables, and none is named";
            let help = "[changes.tables] names them: \"Event\" = [\"event id={id}\"]";
            collector.push(self.sources.error(slot.span(), message).help(help));
        }
        Some(ChangesSettings { feed, missed: missed?, tables })
    }

    /// How changes are told; `None` if that is said nowhere, or wrongly.
    fn feed(&self, raw: &raw::Changes, collector: &mut Collector) -> Option<Feed> {
        let limit = raw.slot_limit.as_ref().map(|size| {
            let least = format!("at least {} MiB: a segment of PostgreSQL's log has 16", LEAST_LIMIT >> 20);
            settings::size("changes.slot_limit", size, LEAST_LIMIT..=usize::MAX, &least, self.sources)
        });
        let limit = limit.map_or(Some(LIMIT), |limit| collector.take(limit).map(|bytes| bytes as u64));
        match (&raw.channel, &raw.slot) {
            (Some(channel), Some(slot)) => {
                let message = "changes come on a channel or through a slot, not both";
                let help = format!("leave out `slot`, or `channel = {:?}`", channel.get_ref());
                collector.push(self.sources.error(slot.span(), message).help(help));
                None
            }
            (Some(channel), None) => {
                if let Some(limit) = &raw.slot_limit {
                    let message = "slot_limit is for a slot, and changes come on a channel";
                    collector.push(self.sources.error(limit.span(), message).help("leave it out"));
                }
                let is_good = |c: char| c.is_ascii_alphanumeric() || "_-:.".contains(c);
                let what = "a channel has a name of 1 to 63 letters, digits, `_`, `-`, `:` and `.`";
                Some(Feed::Channel(self.name(channel, is_good, what, collector)?))
            }
            (None, Some(slot)) => {
                let is_good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                let what = "a slot has a name of 1 to 63 small letters, digits and `_`";
                Some(Feed::Slot(Slot { name: self.name(slot, is_good, what, collector)?, limit: limit? }))
            }
            (None, None) => {
                if let Some((table, _)) = raw.tables.0.first() {
                    let message = "tables are named, but nothing by which their changes are told";
                    let help = "in [changes], channel = \"warm_changes\" names a channel for messages of triggers, and slot = \"warm_changes\" a replication slot";
                    collector.push(self.sources.error(table.span(), message).help(help));
                }
                None
            }
        }
    }

    fn name(
        &self,
        text: &Text,
        is_good: impl Fn(char) -> bool,
        what: &str,
        collector: &mut Collector,
    ) -> Option<String> {
        let name = text.get_ref();
        if name.is_empty() || name.len() > NAME || !name.chars().all(is_good) {
            collector.push(self.sources.error(text.span(), what));
            return None;
        }
        Some(name.clone())
    }

    fn watched(&self, table: &Text, calls: &[Text], sets: &[ReadSet], collector: &mut Collector) -> Option<Watched> {
        let (schema, name) = match table.get_ref().split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, table.get_ref().as_str()),
        };
        let is_name = |name: &str| !name.is_empty() && name.len() <= NAME && !name.contains('\0');
        if !is_name(name) || !schema.is_none_or(is_name) {
            let message = format!("`{}` is no table: it is written \"Ticket\" or \"public.Ticket\"", table.get_ref());
            collector.push(self.sources.error(table.span(), message));
            return None;
        }
        if calls.is_empty() {
            let message = format!("nothing is stale when `{}` changes", table.get_ref());
            let help = "\"Event\" = [\"event id={id}\"] names a set of [invalidate], and columns for its parameters";
            collector.push(self.sources.error(table.span(), message).help(help));
        }
        let before = collector.errors();
        let calls: Vec<_> = calls.iter().filter_map(|text| self.call(text, sets, collector)).collect();
        let watched = Watched { schema: schema.map(str::to_owned), table: name.to_owned(), calls };
        (collector.errors() == before).then_some(watched)
    }

    fn call(&self, text: &Text, sets: &[ReadSet], collector: &mut Collector) -> Option<Call> {
        let words = words(text.get_ref());
        let ((at, name), arguments) = words.split_first().or_else(|| {
            let help = "it is written as on the command line, with columns in braces: \"event id={id}\"";
            collector.push(self.sources.error(text.span(), "this names no set").help(help));
            None
        })?;
        let Some(read) = sets.iter().find(|read| read.set.name == *name) else {
            collector.push(self.no_set(text, *at, name, sets));
            return None;
        };
        let arguments = self.arguments(text, arguments, &read.set, collector)?;
        Some(Call { set: (*name).to_owned(), arguments })
    }

    fn no_set(&self, text: &Text, at: usize, name: &str, sets: &[ReadSet]) -> Diagnostic {
        let known = sets.iter().map(|read| read.set.name.as_str());
        let help = match nearest(name, known.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if sets.is_empty() => format!("a table [invalidate.{name}] makes one"),
            None => format!("the sets of [invalidate] are {}", known.collect::<Vec<_>>().join(", ")),
        };
        self.sources.error(self.inside(text, at, name.len()), format!("there is no set `{name}`")).help(help)
    }
}
