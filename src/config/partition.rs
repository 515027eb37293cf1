//! `partition_by`: that a query may be read in parts, side by side, which see the database at different moments.
//!
//! That is right only if each key is made of one part alone. So the parts are ranges of a column of the key: a row that moves to another range has
//! another key then.

use toml::Spanned;

use super::diagnostic::{Collector, Diagnostic};
use super::fields::Reader;
use super::raw::{self, Text};
use super::settings::bounded;
use crate::ground::job::Partition;
use crate::ground::key::{KeyTemplate, PAGE};
use crate::ground::sql::{FROM, TO, leaves_out};

/// Bounds of the number of parts. More would be read one after the other anyway.
const PARTS: (usize, usize) = (2, 64);

impl Reader<'_> {
    /// `partition_by`; the outer `None` if something is wrong.
    pub(super) fn partition(
        &self,
        raw: &raw::Job,
        key: &KeyTemplate,
        collector: &mut Collector,
    ) -> Option<Option<Partition>> {
        let Some(given) = &raw.partition_by else { return Some(None) };
        let raw::PartitionBy { column, parts } = given.get_ref();
        let parts = bounded("partition_by.parts", parts, PARTS.0..=PARTS.1, self.sources);
        let parts = collector.take(parts);
        let sound = [self.stands_in_the_key(column, raw, key), self.reads_all(given, raw), self.names_are_free(raw)];
        let sound = sound.map(|wrong| wrong.map(|wrong| collector.push(wrong)).is_none());
        let at = self.sources.place(column.span()).map(|place| place.line()).unwrap_or_default();
        let partition = Partition { column: column.get_ref().clone(), parts: parts?, at };
        sound.iter().all(|sound| *sound).then_some(Some(partition))
    }

    /// What is wrong if the column does not decide in which part the rows of a key are.
    fn stands_in_the_key(&self, column: &Text, raw: &raw::Job, key: &KeyTemplate) -> Option<Diagnostic> {
        let name = column.get_ref();
        let is_parameter = raw.for_each.0.iter().any(|(other, _)| other.get_ref() == name);
        let is_page = name == PAGE && raw.paginate.is_some();
        if key.names().contains(name) && !is_parameter && !is_page {
            return None;
        }
        let why = match (is_parameter, is_page) {
            (true, _) => format!("`{name}` is a parameter"),
            (_, true) => format!("`{name}` is the page's number"),
            _ => format!("`{name}` is not in the key `{key}`"),
        };
        let message = format!(
            "`partition_by` needs a column of the key, and {why}: the parts are read at different moments, and rows of one key, or a row that moves, must not be in two of them"
        );
        let help = "name a column that stands in the key, such as `id` in `event:{id}`";
        Some(self.sources.error(column.span(), message).help(help))
    }

    /// What is wrong if the query gives other rows when it is run for each part.
    fn reads_all(&self, given: &Spanned<raw::PartitionBy>, raw: &raw::Job) -> Option<Diagnostic> {
        let query = raw.query.as_ref()?;
        let word = leaves_out(query.get_ref())?;
        let name = query.get_ref()[word.clone()].to_uppercase();
        let at = self.sources.place(given.span()).map_or(String::new(), |place| format!(" ({})", place.position()));
        let message = format!(
            "`partition_by`{at} reads the query in parts, at different moments, and with {name} each could leave other rows out"
        );
        let help = format!("remove {name} from the query, or `partition_by` from the job");
        Some(self.sources.error(self.inside(query, word.start, word.len()), message).help(help))
    }

    /// What is wrong if a parameter has a name that a range needs.
    fn names_are_free(&self, raw: &raw::Job) -> Option<Diagnostic> {
        let (name, _) = raw.for_each.0.iter().find(|(name, _)| [FROM, TO].contains(&name.get_ref().as_str()))?;
        let message = format!("`{}` is where a part of `partition_by` begins or ends", name.get_ref());
        Some(self.sources.error(name.span(), message).help("give the parameter another name"))
    }
}
