//! `[changes]`: where changes of the database are told, and of which tables.
//!
//! What is stale when a row changes is written as in `then` of a set, with columns in the place of parameters: `"Ticket" = "ticket id={id} userId={userId}"`.

use super::diagnostic::{Collector, Diagnostic};
use super::fields::Reader;
use super::invalidate::{ReadSet, words};
use super::raw::{self, Text};
use crate::ground::changes::{Call, ChangesSettings, Missed, Watched};
use crate::ground::near::nearest;

/// The longest name in PostgreSQL, in bytes.
const NAME: usize = 63;

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
        let Some(channel) = &raw.channel else {
            if let Some((table, _)) = raw.tables.0.first() {
                let message = "tables are named, but no channel on which their changes are told";
                collector.push(
                    self.sources.error(table.span(), message).help("channel = \"warm_changes\" in [changes] names one"),
                );
            }
            return None;
        };
        let name = channel.get_ref();
        let is_good = |c: char| c.is_ascii_alphanumeric() || "_-:.".contains(c);
        if name.is_empty() || name.len() > NAME || !name.chars().all(is_good) {
            let message = format!("a channel has a name of 1 to {NAME} letters, digits, `_`, `-`, `:` and `.`");
            collector.push(self.sources.error(channel.span(), message));
        }
        Some(ChangesSettings { channel: name.clone(), missed: missed?, tables })
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
