//! From a raw job file to a [`Job`] whose fields cannot be wrong.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::diagnostic::{Collector, Diagnostic, Place};
use super::fields::{Common, Reader};
use super::raw::{self, Text};
use super::sources::Sources;
use crate::ground::job::{Invalidates, Job, Parameter, Values, Verify};
use crate::ground::key::KeyTemplate;
use crate::ground::near::nearest;
use crate::ground::schedule::Splay;
use crate::ground::sealing::Keyring;
use crate::ground::settings::Limits;
use crate::ground::sql::{NOW, Sql};
use crate::ground::ttl::TtlPolicy;
use crate::ground::value::FormatInfo;

/// What a job file is read against.
pub(super) struct Context<'a> {
    pub(super) formats: &'a [FormatInfo],
    pub(super) ttl: &'a TtlPolicy,
    pub(super) limits: Limits,
    pub(super) statement_timeout: Duration,
    pub(super) defaults: raw::Defaults,
    /// What values are encrypted with.
    pub(super) keys: Option<&'a Arc<Keyring>>,
}

/// A job, and where its key stands.
pub(super) struct Read {
    pub(super) job: Job,
    pub(super) key: Place,
}

/// The job's name from its file's.
pub(super) fn name(file: &Path) -> Result<String, Diagnostic> {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    // A name that begins with a hyphen could not be told from an option.
    if !stem.is_empty() && !stem.starts_with('-') && stem.chars().all(good) {
        return Ok(stem.to_owned());
    }
    let help = "the file's name is the job's name: letters, digits, `-` and `_`, then `.toml`";
    Err(Diagnostic::about(file, "this file's name cannot be a job's name").help(help))
}

/// Resolves a job. Everything that is wrong goes to the collector; then there is no job, or none that may be used.
pub(super) fn resolve(
    name: String,
    file: &Path,
    raw: raw::Job,
    context: &Context<'_>,
    sources: &Sources,
    collector: &mut Collector,
) -> Option<Read> {
    let reader = Reader { sources, statement_timeout: context.statement_timeout };
    // Without a query of its own a job fills single keys only, by the other one.
    let on_demand = raw.query.is_none() && raw.fill_query.is_some();
    let query = collector.take(reader.query(raw.query.as_ref().or(raw.fill_query.as_ref())));
    let key = collector.take(reader.key(raw.key.as_ref()));
    let key_span = raw.key.as_ref().map_or(0..0, Text::span);
    let value = collector.take(reader.value(raw.value.as_ref()));
    let hide = collector.take(reader.hide(raw.hide.as_ref()));
    let sealing = collector.take(reader.sealing(raw.compress.as_ref(), raw.encrypt.as_ref(), context.keys));
    let for_each = reader.for_each(&raw.for_each, context.limits.combinations, collector);
    let common = reader.common(&raw.with_defaults(&context.defaults), context.formats, collector);
    if let Some((text, format)) = raw.bigint.as_ref().zip(common.as_ref().map(|common| common.format))
        && !format.chooses_bigint
    {
        let message = format!("the format `{}` leaves no choice of how a bigint is written", format.name);
        collector.push(sources.error(text.span(), message).help("remove this line"));
    }
    let ttl = key.as_ref().map(|key| reader.ttl(raw.ttl.as_ref(), key, context.ttl, key_span.clone()));
    let ttl = ttl.and_then(|ttl| collector.take(ttl));
    if let Some(key) = key.as_ref().filter(|key| raw.ttl.is_some() && context.ttl.lookup(key.prefix()).is_none()) {
        let message = format!(
            "the keys of this job begin with `{}`, which no prefix of [ttl] in the configuration covers",
            key.prefix()
        );
        let warning = sources.error(key_span.clone(), message).into_warning();
        collector.push(warning.help("add the prefix to [ttl], so that the policy names all key families"));
    }
    let value = value.zip(key.as_ref()).and_then(|(value, key)| reader.paginate(value, &raw, key, collector));
    let key_type = reader.key_type(&raw, collector);
    let partition = key.as_ref().and_then(|key| reader.partition(&raw, key, collector));
    let predict = reader.predict(&raw, collector);
    let on_change = collector.take(reader.on_change(&raw));
    let (key, for_each, query, common) = (key?, for_each?, query?, common?);
    match on_demand {
        true => reader.runs_never(&raw, collector),
        false => agree(&reader, &raw, (&query, &key, &for_each), key_span.clone(), collector),
    }
    let fill_query = reader.fill_query(&raw, &key, collector);
    let sweep = raw.sweep.as_ref().filter(|sweep| *sweep.get_ref());
    sweep.inspect(|sweep| reader.sweep(sweep.span(), &raw, &context.defaults, &common, collector));
    reader.typed(&raw, &context.defaults, &common, collector);
    reader.verified_pages(&common.verify, &raw, &context.defaults, collector);
    idle_invalidates(sources, &raw, &context.defaults, &common).into_iter().for_each(|warning| collector.push(warning));
    let description = raw.description.clone();
    let job = Job {
        splay: Splay::new(common.splay, &name),
        name,
        file: file.to_owned(),
        description,
        schedule: common.schedule,
        query,
        fill_query: fill_query?,
        on_demand,
        columns_of: None,
        only: None,
        key,
        value: value?,
        key_type: key_type?,
        format: common.format.name,
        bigint: common.bigint,
        hide: hide?,
        sealing: sealing?,
        partition: partition?,
        for_each,
        ttl: ttl?.with_jitter(common.jitter),
        priority: common.priority,
        timeout: common.timeout,
        row_timeouts: common.row_timeouts,
        retries: common.retries,
        on_bad_row: common.on_bad_row,
        mode: common.mode,
        verify: common.verify,
        invalidates: common.invalidates,
        max_value: common.max_value,
        guard: common.guard,
        sweep: sweep.is_some(),
        catch_up: common.catch_up,
        misfire_grace: common.misfire_grace,
        overlap: common.overlap,
        refresh_ahead: common.refresh_ahead,
        max_age: common.max_age,
        predict,
        on_change: on_change?,
    };
    reader.predicts_what_can_be_filled(&raw, &job, collector);
    reader.rewrites_what_can_be_filled(&raw, &job, collector);
    Some(Read { job, key: sources.place(key_span)? })
}

/// Warns about `invalidates` where nothing is verified, so that it changes nothing: but not of a default from which the job's own `verify` departs.
fn idle_invalidates(
    sources: &Sources,
    raw: &raw::Job,
    defaults: &raw::Defaults,
    common: &Common,
) -> Option<Diagnostic> {
    let departs = raw.verify.is_some() && raw.invalidates.is_none();
    if common.verify != Verify::None || common.invalidates != Invalidates::BeforeCommit || departs {
        return None;
    }
    let invalidates = raw.invalidates.as_ref().or(defaults.invalidates.as_ref())?;
    let verify = raw.verify.as_ref().or(defaults.verify.as_ref())?;
    let at = sources.place(verify.span()).map_or(String::new(), |place| format!(" ({})", place.position()));
    let message = format!(
        "`invalidates` has no effect beside verify = \"none\"{at}: it says what a second look at the database waits for, and there is none"
    );
    let help = "remove this line, or say verify = \"requery\"";
    Some(sources.error(invalidates.span(), message).into_warning().help(help))
}

/// Checks that query, key and `[for_each]` agree on the parameters.
fn agree(
    reader: &Reader<'_>,
    raw: &raw::Job,
    (query, key, for_each): (&Sql, &KeyTemplate, &[Parameter]),
    key_span: Range<usize>,
    collector: &mut Collector,
) {
    let sources = reader.sources;
    let used = query.parameters();
    let given: Vec<&str> = for_each.iter().map(|parameter| parameter.name.as_str()).collect();
    for name in used.iter().filter(|name| **name != NOW && !given.contains(name)) {
        let text = raw.query.as_ref().zip(query.place(name));
        let place = text.map_or(0..0, |(text, place)| reader.inside(text, place.start, place.len()));
        let unused = given.iter().copied().filter(|other| !used.contains(other));
        let help = match nearest(name, unused.chain([NOW])) {
            Some(near) => format!("did you mean `:{near}`?"),
            None => format!("add `{name} = [\"…\"]` to [for_each]"),
        };
        collector.push(sources.error(place, format!("the parameter `:{name}` has no values")).help(help));
    }
    for (name, values) in &raw.for_each.0 {
        let parameter = for_each.iter().find(|parameter| parameter.name == *name.get_ref());
        if !used.contains(&name.get_ref().as_str()) {
            let message =
                format!("the query does not use `:{}`, so it would give the same rows each time", name.get_ref());
            let help = "use the parameter in the query, or remove it here";
            collector.push(sources.error(name.span(), message).help(help));
        }
        let empty = |values: &Values| matches!(values, Values::List(list) if list.iter().any(String::is_empty));
        if key.names().contains(name.get_ref()) && parameter.is_some_and(|parameter| empty(&parameter.values)) {
            let message = format!("an empty value of `{}` can make no key", name.get_ref());
            collector.push(sources.error(values.span(), message).help("remove the empty text from this list"));
        }
    }
    if key.names().iter().any(|name| name == NOW) {
        collector.push(sources.error(key_span, "`{now}` cannot stand in a key: nobody could ever read it again"));
    }
}
