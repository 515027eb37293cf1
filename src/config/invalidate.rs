//! `[invalidate]`: the sets, each with what it takes from others (`then`) written out.
//!
//! `then = ["event id={eventId}"]` is written as on the command line. A set that another one needs is read first; so cycles show, and what is wrong with
//! a set is said once, where it stands, not again for each that needs it.

use super::diagnostic::{Collector, Diagnostic, Place};
use super::fields::Reader;
use super::job::Read;
use super::raw::{self, Text};
use super::sources::Sources;
use crate::ground::invalidate::{Set, Template};
use crate::ground::key::TemplateError;
use crate::ground::near::nearest;
use crate::ground::ttl::TtlPolicy;

/// The most sets. They may need one another, as deep as they like.
const MOST_SETS: usize = 500;
/// The most keys of a set, those of others included: each may come by many ways.
const MOST_KEYS: usize = 1000;

/// A set, and where its own keys stand.
pub(super) struct ReadSet {
    pub(super) set: Set,
    own: Vec<(Template, Option<Place>)>,
}

/// How far a set has been read.
enum State {
    Begun,
    /// `None`: something is wrong with it, which has been said.
    Done(Option<ReadSet>),
}

/// Reads sets, each once.
struct Sets<'a> {
    raw: &'a [(Text, raw::Invalidate)],
    reader: &'a Reader<'a>,
    /// One for each set.
    states: Vec<Option<State>>,
    /// The sets that are being read, each needed by the one before it.
    path: Vec<usize>,
}

impl Reader<'_> {
    /// The sets that are right.
    pub(super) fn sets(&self, raw: &raw::Table<raw::Invalidate>, collector: &mut Collector) -> Vec<ReadSet> {
        if let Some((name, _)) = raw.0.get(MOST_SETS) {
            let message = format!("[invalidate] has more than {MOST_SETS} sets");
            collector.push(self.sources.error(name.span(), message));
            return Vec::new();
        }
        let states = raw.0.iter().map(|_| None).collect();
        let mut sets = Sets { raw: &raw.0, reader: self, states, path: Vec::new() };
        (0..raw.0.len()).for_each(|index| sets.read(index, collector));
        let done = |state| if let Some(State::Done(read)) = state { read } else { None };
        sets.states.into_iter().filter_map(done).collect()
    }

    /// A value for each parameter of the set.
    pub(super) fn arguments(
        &self,
        text: &Text,
        words: &[(usize, &str)],
        set: &Set,
        collector: &mut Collector,
    ) -> Option<Vec<(String, Template)>> {
        let before = collector.errors();
        let (mut given, mut arguments) = (Vec::new(), Vec::new());
        for (at, word) in words {
            let wrong = |message: String| self.sources.error(self.inside(text, *at, word.len()), message);
            let Some((name, value)) = word.split_once('=') else {
                collector.push(wrong(format!("`{word}` is no param=value")).help(usage(set)));
                continue;
            };
            if !set.parameters.iter().any(|known| known == name) {
                let near = nearest(name, set.parameters.iter().map(String::as_str));
                let help = near.map_or_else(|| usage(set), |near| format!("did you mean `{near}`?"));
                collector.push(wrong(format!("the set `{}` has no parameter `{name}`", set.name)).help(help));
            } else if given.contains(&name) {
                collector.push(wrong(format!("`{name}` is given twice")));
            } else {
                given.push(name);
                let value = Template::argument(value).map_err(|error| self.mistake(text, at + name.len() + 1, error));
                arguments.extend(collector.take(value).map(|value| (name.to_owned(), value)));
            }
        }
        let missing = set.parameters.iter().filter(|name| !given.contains(&name.as_str()));
        let missing: Vec<_> = missing.map(|name| format!("`{name}`")).collect();
        if !missing.is_empty() && collector.errors() == before {
            let message = format!("the set `{}` needs {}, too", set.name, missing.join(" and "));
            collector.push(self.sources.error(text.span(), message).help(usage(set)));
        }
        (collector.errors() == before).then_some(arguments)
    }

    fn mistake(&self, text: &Text, offset: usize, error: TemplateError) -> Diagnostic {
        self.sources.error(self.inside(text, offset + error.at, 1), error.message)
    }
}

impl Sets<'_> {
    /// Reads a set, if that has not been done.
    fn read(&mut self, index: usize, collector: &mut Collector) {
        if self.states[index].is_some() {
            return;
        }
        self.states[index] = Some(State::Begun);
        self.path.push(index);
        let read = self.set(index, collector);
        self.path.pop();
        self.states[index] = Some(State::Done(read));
    }

    fn set(&mut self, index: usize, collector: &mut Collector) -> Option<ReadSet> {
        let (name, raw) = &self.raw[index];
        let before = collector.errors();
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.get_ref().is_empty() || name.get_ref().starts_with('-') || !name.get_ref().chars().all(good) {
            let help = "a name is made of letters, digits, `-` and `_`, and begins with no `-`";
            let message = format!("`{}` cannot be the name of a set", name.get_ref());
            collector.push(self.sources().error(name.span(), message).help(help));
        }
        let texts = |texts: &Option<raw::Texts>| texts.as_ref().map(|texts| texts.0.clone()).unwrap_or_default();
        let (keys, then) = (texts(&raw.keys), texts(&raw.then));
        if keys.is_empty() && then.is_empty() {
            let help = "keys = [\"event:{id}\", \"event:list:*\"] names the keys that are deleted";
            let message = format!("the set `{}` has no keys", name.get_ref());
            collector.push(self.sources().error(name.span(), message).help(help));
        }
        let mut own = Vec::new();
        for text in &keys {
            let key = Template::key(text.get_ref()).map_err(|error| self.reader.mistake(text, 0, error));
            own.extend(collector.take(key).map(|key| (key, self.sources().place(text.span()))));
        }
        let mut all: Vec<Template> = own.iter().map(|(key, _)| key.clone()).collect();
        for text in &then {
            match self.then(text, collector) {
                Some(more) => all.extend(more),
                None => continue,
            }
            if all.len() > MOST_KEYS {
                let message = format!("with this the set `{}` has more than {MOST_KEYS} keys", name.get_ref());
                collector.push(self.sources().error(text.span(), message).help("let it need fewer sets"));
                return None;
            }
        }
        (collector.errors() == before).then(|| ReadSet { set: flat(name.get_ref(), all), own })
    }

    /// The keys of another set, `NAME param=value…`, with these values in place of its parameters. `None` if something is wrong, which has been said.
    fn then(&mut self, text: &Text, collector: &mut Collector) -> Option<Vec<Template>> {
        let words = words(text.get_ref());
        let Some(((at, name), arguments)) = words.split_first() else {
            let help = "it is written as on the command line: then = [\"event id={eventId}\"]";
            collector.push(self.sources().error(text.span(), "this names no set").help(help));
            return None;
        };
        let place = self.reader.inside(text, *at, name.len());
        let Some(index) = self.raw.iter().position(|(known, _)| known.get_ref() == name) else {
            let known = self.raw.iter().map(|(known, _)| known.get_ref().as_str());
            let help = match nearest(name, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the sets of [invalidate] are {}", known.collect::<Vec<_>>().join(", ")),
            };
            collector.push(self.sources().error(place, format!("there is no set `{name}`")).help(help));
            return None;
        };
        if let Some(State::Begun) = self.states[index] {
            let from = self.path.iter().position(|other| *other == index).unwrap_or_default();
            let round = self.path[from..].iter().chain([&index]).map(|index| self.raw[*index].0.get_ref().as_str());
            let message = format!("this leads back to where it began: {}", round.collect::<Vec<_>>().join(" → "));
            let help = "leave it out: what both need can be a set of its own";
            collector.push(self.sources().error(place, message).help(help));
            return None;
        }
        self.read(index, collector);
        let Some(State::Done(Some(ReadSet { set, .. }))) = &self.states[index] else { return None };
        let arguments = self.reader.arguments(text, arguments, set, collector)?;
        Some(set.keys.iter().map(|key| key.with(&arguments)).collect())
    }

    fn sources(&self) -> &Sources {
        self.reader.sources
    }
}

/// A set of these keys. What comes by several ways is deleted once.
fn flat(name: &str, all: Vec<Template>) -> Set {
    let mut set = Set { name: name.to_owned(), parameters: Vec::new(), keys: Vec::new() };
    for key in all {
        for name in key.names() {
            if !set.parameters.iter().any(|known| known == name) {
                set.parameters.push(name.to_owned());
            }
        }
        if !set.keys.contains(&key) {
            set.keys.push(key);
        }
    }
    set
}

fn usage(set: &Set) -> String {
    match set.parameters.is_empty() {
        true => format!("it has no parameters: \"{}\"", set.name),
        false => format!("it is called \"{}\"", set.usage()),
    }
}

/// The words of a text, with their places.
pub(super) fn words(text: &str) -> Vec<(usize, &str)> {
    let start = text.as_ptr() as usize;
    text.split_whitespace().map(|word| (word.as_ptr() as usize - start, word)).collect()
}

/// Warns of keys that nobody is known to write: a slip of the finger deletes nothing, and nobody notices.
pub(super) fn idle_keys(sets: &[ReadSet], ttl: &TtlPolicy, jobs: &[Read], collector: &mut Collector) {
    let known: Vec<&str> = ttl.prefixes().chain(jobs.iter().map(|read| read.job.key.prefix())).collect();
    let is_known = |key: &str| known.iter().any(|known| known.starts_with(key) || key.starts_with(known));
    for (key, place) in sets.iter().flat_map(|read| &read.own) {
        let Some(place) = place.clone().filter(|_| !is_known(key.prefix())) else { continue };
        let message =
            format!("nobody is known to write keys such as `{key}`: neither a job nor a prefix of [ttl] has them");
        let warning = Diagnostic::at(place, message);
        collector.push(
            warning
                .help("correct it, or add the prefix to [ttl], so that the policy names all key families")
                .into_warning(),
        );
    }
}
