//! `type`, `element` and `score`: what a job's keys are in Redis, if they are no strings.

use std::ops::Range;

use super::diagnostic::{Collector, Diagnostic};
use super::fields::{Common, Reader};
use super::raw::{self, Text};
use super::settings::must_be;
use crate::ground::job::Verify;
use crate::ground::kind::{Element, KeyType};

/// The types, as a job file names them.
const TYPES: &str = "\"string\", \"hash\", \"list\", \"set\", \"zset\" or \"json\"";

impl Reader<'_> {
    /// `type`, with `element` and `score`; `None` if something is wrong.
    pub(super) fn key_type(&self, raw: &raw::Job, collector: &mut Collector) -> Option<KeyType> {
        let word = raw.key_type.as_ref().map_or("string", |text| text.get_ref());
        let element = match &raw.element {
            Some(text) => collector.take(self.element(text)),
            None => Some(Element::Row),
        };
        let mut is_good = true;
        let mut refuse = |field: &Option<Text>, name: &str, why: &str, help: &str| {
            if let Some(text) = field {
                let message = format!("`{name}` {why}, and this job writes type = \"{word}\"");
                collector.push(self.sources.error(text.span(), message).help(help));
                is_good = false;
            }
        };
        if !matches!(word, "list" | "set" | "zset") {
            let why = "is what each row becomes in a list, a set or a sorted set";
            refuse(&raw.element, "element", why, "remove it, or say type = \"list\", \"set\" or \"zset\"");
        }
        if word != "zset" {
            let why = "is the column that orders a sorted set";
            refuse(&raw.score, "score", why, "remove it, or say type = \"zset\"");
        }
        let key_type = match word {
            "string" => Some(KeyType::String),
            "hash" => Some(KeyType::Hash),
            "json" => Some(KeyType::Json),
            "list" => element.map(KeyType::List),
            "set" => element.map(KeyType::Set),
            "zset" => {
                self.score(raw, collector).zip(element).map(|(score, element)| KeyType::SortedSet { score, element })
            }
            _ => {
                let span = raw.key_type.as_ref().map_or(0..0, Text::span);
                collector.push(must_be("type", TYPES, span, self.sources));
                None
            }
        };
        let fits = self.fits_the_value(word, raw, collector);
        key_type.filter(|_| is_good && fits)
    }

    fn element(&self, text: &Text) -> Result<Element, Diagnostic> {
        match (text.get_ref().as_str(), text.get_ref().strip_prefix("column:")) {
            ("row", _) => Ok(Element::Row),
            (_, Some(column)) if !column.is_empty() => Ok(Element::Column(column.to_owned())),
            _ => Err(must_be("element", "\"row\" or \"column:NAME\"", text.span(), self.sources)),
        }
    }

    fn score(&self, raw: &raw::Job, collector: &mut Collector) -> Option<String> {
        let help = "score = \"points\" orders the elements by the column `points`, which must be a number";
        match &raw.score {
            Some(text) if !text.get_ref().is_empty() => Some(text.get_ref().clone()),
            Some(text) => {
                collector.push(must_be("score", "the name of a column", text.span(), self.sources).help(help));
                None
            }
            None => {
                let span = raw.key_type.as_ref().map_or(0..0, Text::span);
                let message = "type = \"zset\" needs a `score`, by which the elements are ordered";
                collector.push(self.sources.error(span, message).help(help));
                None
            }
        }
    }

    /// Whether rows become what the type is made of.
    fn fits_the_value(&self, word: &str, raw: &raw::Job, collector: &mut Collector) -> bool {
        let (Some(kind), Some(value)) = (&raw.key_type, &raw.value) else { return true };
        let at = self.behind(value.span());
        let (fits, wanted, why) = match word {
            "hash" => (value.get_ref() == "row", "\"row\"", "the columns of one row are the fields of a hash"),
            "list" | "set" | "zset" => (value.get_ref() == "rows", "\"rows\"", "each row of a key is an element"),
            "json" => {
                (!value.get_ref().starts_with("column:"), "\"row\" or \"rows\"", "only those are sure to be JSON")
            }
            _ => return true,
        };
        if !fits {
            let message = format!("type = \"{word}\" does not go with value = \"{}\"{at}: {why}", value.get_ref());
            collector.push(self.sources.error(kind.span(), message).help(format!("say value = {wanted}")));
        }
        let pages = raw.paginate.as_ref().filter(|_| matches!(word, "list" | "set" | "zset"));
        if let Some(paginate) = pages {
            let message = format!(
                "`paginate` cuts arrays of rows into pages, and type = \"{word}\"{} holds its elements one by one",
                self.behind(kind.span())
            );
            let help = "remove it: readers can ask Redis for some of the elements (LRANGE, ZRANGE, SSCAN)";
            collector.push(self.sources.error(paginate.span(), message).help(help));
        }
        fits && pages.is_none()
    }

    /// Refuses what is known of strings only: which of them are ours, byte for byte, and that a version stands for a value.
    pub(super) fn typed(&self, raw: &raw::Job, defaults: &raw::Defaults, common: &Common, collector: &mut Collector) {
        let Some(kind) = raw.key_type.as_ref().filter(|kind| kind.get_ref() != "string") else { return };
        let word = kind.get_ref();
        if let Some(sweep) = raw.sweep.as_ref().filter(|sweep| *sweep.get_ref()) {
            let message = format!(
                "`sweep` removes values that are ours byte for byte, which cannot be told of type = \"{word}\"{}",
                self.behind(kind.span())
            );
            let help = "remove `sweep`: keys whose rows are gone die at the end of their lifetime";
            collector.push(self.sources.error(sweep.span(), message).help(help));
        }
        let encrypt = raw.encrypt.as_ref().filter(|encrypt| *encrypt.get_ref()).map(toml::Spanned::span);
        let sealed = [("compress", raw.compress.as_ref().map(toml::Spanned::span)), ("encrypt", encrypt)];
        for (name, span) in sealed.into_iter().filter_map(|(name, span)| Some((name, span?))) {
            let message = format!(
                "`{name}` makes other bytes of a value as a whole, and type = \"{word}\"{} holds what Redis can look into",
                self.behind(kind.span())
            );
            let help = format!("remove `{name}`, or write strings");
            collector.push(self.sources.error(span, message).help(help));
        }
        if let Verify::Version(version) = &common.verify {
            let given = raw.verify.as_ref().or(defaults.verify.as_ref()).map(toml::Spanned::span);
            let message = format!(
                "type = \"{word}\" can be updated in place, so that its content is compared before it gets its full lifetime, and with verify = {{ version = \"{}\" }}{} it would not be read again",
                version.column,
                given.map(|span| self.behind(span)).unwrap_or_default()
            );
            collector.push(self.sources.error(kind.span(), message).help("say verify = \"requery\" in the job"));
        }
    }

    /// Where something stands, to be put behind it.
    fn behind(&self, span: Range<usize>) -> String {
        self.sources.place(span).map_or(String::new(), |place| format!(" ({})", place.position()))
    }
}
