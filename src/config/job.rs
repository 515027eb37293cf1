//! From a raw job file to a [`Job`] whose fields cannot be wrong.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use chrono_tz::Tz;

use super::diagnostic::{Collector, Diagnostic, Sources};
use super::raw::{self, Text};
use super::settings::{TIMEOUT_BOUNDS, TTL_BOUNDS, bounded, duration};
use super::units;
use crate::ground::job::{Job, Mode, OnBadRow, Parameter, Values};
use crate::ground::key::{KeyTemplate, is_name};
use crate::ground::schedule::Schedule;
use crate::ground::settings::Limits;
use crate::ground::sql::{Lines, NOW, Sql};
use crate::ground::ttl::{JobTtl, TtlPolicy};
use crate::ground::value::{BigInt, FormatInfo, ValueShape};

/// What a job file is read against.
pub(super) struct Context<'a> {
    pub(super) formats: &'a [FormatInfo],
    pub(super) ttl: &'a TtlPolicy,
    pub(super) limits: Limits,
    pub(super) defaults: raw::Defaults,
}

/// The job's name from its file's.
pub(super) fn name(file: &Path) -> Result<String, Diagnostic> {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let good = !stem.is_empty() && stem.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if good {
        return Ok(stem.to_owned());
    }
    Err(Diagnostic::about(file, "the file's name is the job's name: letters, digits, `-` and `_`, then `.toml`"))
}

/// Resolves a job. Everything that is wrong goes to the collector; then there is no job.
pub(super) fn resolve(
    name: String,
    file: &Path,
    raw: raw::Job,
    context: &Context<'_>,
    sources: &Sources,
    collector: &mut Collector,
) -> Option<Job> {
    let own_bigint = raw.bigint.clone();
    let raw = raw.with_defaults(&context.defaults);
    let guard = raw.guard.clone().unwrap_or_default();
    let reader = Reader { sources };
    let query = collector.take(reader.query(raw.query.as_ref()));
    let key = collector.take(reader.key(raw.key.as_ref()));
    let value = collector.take(reader.value(raw.value.as_ref()));
    let format = collector.take(reader.format(raw.format.as_ref(), context.formats));
    let bigint =
        collector.take(reader.choice(raw.bigint.as_ref(), &[("string", BigInt::String), ("number", BigInt::Number)]));
    if let Some((text, format)) = own_bigint.as_ref().zip(format.filter(|format| !format.chooses_bigint)) {
        let message = format!("the format `{}` leaves no choice of how a bigint is written", format.name);
        collector.push(sources.error(text.span(), message).help("remove this line"));
    }
    let hide = collector.take(reader.hide(raw.hide.as_deref().unwrap_or_default()));
    let for_each = collector.take(reader.for_each(&raw.for_each, context.limits.combinations));
    let schedule = collector.take(reader.schedule(raw.schedule.as_ref(), raw.timezone.as_ref()));
    let priority = collector.take(raw.priority.as_ref().map_or(Ok(0), |n| bounded(n, -1000..=1000, sources)));
    let retries = collector.take(raw.retries.as_ref().map_or(Ok(2), |n| bounded(n, 0..=10, sources)));
    let timeout = collector
        .take(raw.timeout.as_ref().map_or(Ok(Duration::from_secs(300)), |t| duration(t, TIMEOUT_BOUNDS, sources)));
    let on_bad_row =
        collector.take(reader.choice(raw.on_bad_row.as_ref(), &[("fail", OnBadRow::Fail), ("skip", OnBadRow::Skip)]));
    let mode =
        collector.take(reader.choice(raw.mode.as_ref(), &[("refresh", Mode::Refresh), ("missing", Mode::Missing)]));
    let max_value = collector.take(reader.max_value(guard.max_value.as_ref()));
    let jitter = collector.take(reader.jitter(raw.ttl_jitter.as_ref()));
    let (key, for_each, query) = (key?, for_each?, query?);
    reader.parameters(&raw, &query, &key, &for_each, collector);
    let ttl = collector.take(reader.ttl(&raw, &key, context.ttl))?.with_jitter(jitter?);
    if raw.ttl.is_some() && context.ttl.lookup(key.prefix()).is_none() {
        let message = format!(
            "the keys of this job begin with `{}`, which no prefix of [ttl] in the configuration covers",
            key.prefix()
        );
        let place = raw.key.as_ref().map_or(0..0, Text::span);
        collector.push(
            sources
                .error(place, message)
                .into_warning()
                .help("add the prefix to [ttl], so that the policy names all key families"),
        );
    }
    Some(Job {
        name,
        file: file.to_owned(),
        description: raw.description,
        schedule: schedule?,
        query,
        key,
        value: value?,
        format: format?.name,
        bigint: bigint?,
        hide: hide?,
        for_each,
        ttl,
        priority: priority?,
        timeout: timeout?,
        retries: retries?,
        on_bad_row: on_bad_row?,
        mode: mode?,
        max_value: max_value?,
    })
}

/// One function for each field; each error has its place.
struct Reader<'s> {
    sources: &'s Sources,
}

impl Reader<'_> {
    fn missing(&self, field: &str, help: &str) -> Diagnostic {
        self.sources.error_in_last(format!("the field `{field}` is missing")).help(help)
    }

    fn query(&self, text: Option<&Text>) -> Result<Sql, Diagnostic> {
        let text = text.ok_or_else(|| self.missing("query", "query = '''SELECT …'''"))?;
        self.sql(text)
    }

    fn sql(&self, text: &Text) -> Result<Sql, Diagnostic> {
        let sql = Sql::parse(text.get_ref())
            .map_err(|error| self.sources.error(self.inside(text, error.at, 1), error.message))?;
        let line = self.sources.line(self.inside(text, 0, 0).start);
        Ok(sql.on(if self.escaped(text) { Lines::On(line) } else { Lines::From(line) }))
    }

    fn key(&self, text: Option<&Text>) -> Result<KeyTemplate, Diagnostic> {
        let text = text.ok_or_else(|| self.missing("key", "key = \"event:{id}\""))?;
        KeyTemplate::parse(text.get_ref())
            .map_err(|error| self.sources.error(self.inside(text, error.at, 1), error.message))
    }

    fn value(&self, text: Option<&Text>) -> Result<ValueShape, Diagnostic> {
        let known =
            "value is \"row\" (a key for each row), \"rows\" (the rows of a key as an array) or \"column:NAME\"";
        let text = text.ok_or_else(|| self.missing("value", known))?;
        match text.get_ref().as_str() {
            "row" => Ok(ValueShape::Row),
            "rows" => Ok(ValueShape::Rows),
            other => match other.strip_prefix("column:") {
                Some(column) if !column.is_empty() => Ok(ValueShape::Column(column.to_owned())),
                _ => Err(self.sources.error(text.span(), format!("`{other}` is unknown; {known}"))),
            },
        }
    }

    fn format(&self, text: Option<&Text>, known: &[FormatInfo]) -> Result<FormatInfo, Diagnostic> {
        let wanted = |format: &&FormatInfo| text.is_none_or(|text| format.name == text.get_ref());
        known.iter().find(wanted).copied().ok_or_else(|| {
            let names: Vec<_> = known.iter().map(|format| format.name).collect();
            let (found, place) = text.map_or(("", 0..0), |text| (text.get_ref().as_str(), text.span()));
            self.sources.error(place, format!("`{found}` is unknown; the formats are {}", names.join(", ")))
        })
    }

    fn hide(&self, names: &[Text]) -> Result<Vec<String>, Diagnostic> {
        let mut hidden = Vec::new();
        for name in names {
            if hidden.contains(name.get_ref()) {
                return Err(self.sources.error(name.span(), format!("`{}` stands here twice", name.get_ref())));
            }
            hidden.push(name.get_ref().clone());
        }
        Ok(hidden)
    }

    fn for_each(
        &self,
        raw: &raw::Table<toml::Spanned<raw::Values>>,
        limit: usize,
    ) -> Result<Vec<Parameter>, Diagnostic> {
        let mut parameters = Vec::new();
        let mut product = 1_usize;
        for (name, values) in &raw.0 {
            let fail = |message: String| Err(self.sources.error(name.span(), message));
            if !is_name(name.get_ref()) || name.get_ref().contains('.') {
                return fail(format!("`{}` cannot name a parameter; use letters, digits and `_`", name.get_ref()));
            }
            if name.get_ref() == NOW {
                return fail("`:now` is the time at which the run began; it takes no values".to_owned());
            }
            let resolved = match values.get_ref() {
                raw::Values::List(list) => {
                    product = product.saturating_mul(list.len());
                    self.list(list, values.span())?
                }
                raw::Values::Query(text) => self.values_query(text)?,
            };
            parameters.push(Parameter { name: name.get_ref().clone(), values: resolved });
        }
        if product > limit {
            let message =
                format!("the lists give {product} combinations, more than combinations = {limit} in [limits]");
            let place = raw.0.first().map_or(0..0, |(name, _)| name.span());
            return Err(self.sources.error(place, message).help("narrow the lists, or raise the limit"));
        }
        Ok(parameters)
    }

    fn list(&self, list: &[toml::Spanned<raw::Scalar>], place: Range<usize>) -> Result<Values, Diagnostic> {
        if list.is_empty() {
            return Err(self.sources.error(place, "an empty list: the query would never run"));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = list.iter().find(|value| !seen.insert(value.get_ref())) {
            return Err(self.sources.error(twice.span(), format!("`{}` stands in this list twice", twice.get_ref().0)));
        }
        Ok(Values::List(list.iter().map(|value| value.get_ref().0.clone()).collect()))
    }

    fn values_query(&self, text: &Text) -> Result<Values, Diagnostic> {
        let sql = self.sql(text)?;
        if let Some(other) = sql.parameters().into_iter().find(|name| *name != NOW) {
            let place = sql.place(other).map_or(text.span(), |place| self.inside(text, place.start, place.len()));
            return Err(self
                .sources
                .error(place, format!("the query of a parameter may use `:now` only, not `:{other}`")));
        }
        Ok(Values::Query(sql))
    }

    fn schedule(&self, text: Option<&Text>, zone: Option<&Text>) -> Result<Schedule, Diagnostic> {
        let zone = match zone {
            None => Tz::UTC,
            Some(zone) => zone.get_ref().parse().map_err(|_| {
                let message = format!("`{}` is no time zone", zone.get_ref());
                self.sources
                    .error(zone.span(), message)
                    .help("use a name of the IANA database, such as `Africa/Lagos` or `UTC`")
            })?,
        };
        let schedule = Schedule::parse(text.map_or("@hourly", |text| text.get_ref().as_str()), zone);
        schedule.map_err(|message| self.sources.error(text.map_or(0..0, Text::span), message))
    }

    fn choice<T: Copy>(&self, text: Option<&Text>, choices: &[(&str, T)]) -> Result<T, Diagnostic> {
        let wanted = text.map_or(choices[0].0, |text| text.get_ref().as_str());
        let found = choices.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let known: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            self.sources
                .error(text.map_or(0..0, Text::span), format!("`{wanted}` is unknown; it is {}", known.join(" or ")))
        })
    }

    fn max_value(&self, text: Option<&Text>) -> Result<usize, Diagnostic> {
        /// Redis' own limit for a string.
        const MOST: usize = 512 << 20;
        let Some(text) = text else { return Ok(1 << 20) };
        match units::bytes(text.get_ref()) {
            Ok(bytes) if (1..=MOST).contains(&bytes) => Ok(bytes),
            Ok(_) => Err(self
                .sources
                .error(text.span(), format!("`{}` is out of bounds; Redis takes at most 512MiB", text.get_ref()))),
            Err(message) => Err(self.sources.error(text.span(), message)),
        }
    }

    fn jitter(&self, text: Option<&Text>) -> Result<f64, Diagnostic> {
        let Some(text) = text else { return Ok(0.0) };
        units::percent(text.get_ref(), 10.0).map_err(|message| self.sources.error(text.span(), message))
    }

    fn ttl(&self, raw: &raw::Job, key: &KeyTemplate, policy: &TtlPolicy) -> Result<JobTtl, Diagnostic> {
        if let Some(text) = &raw.ttl {
            return duration(text, TTL_BOUNDS, self.sources).map(JobTtl::fixed);
        }
        policy.for_keys(key.prefix()).ok_or_else(|| {
            let place = raw.key.as_ref().map_or(0..0, Text::span);
            let message = format!("these keys have no lifetime: no prefix in [ttl] covers `{}`", key.prefix());
            self.sources
                .error(place, message)
                .help("add the prefix to [ttl] in the configuration, or a ttl to this job")
        })
    }

    /// Checks that query, key and `[for_each]` agree on the parameters.
    fn parameters(
        &self,
        raw: &raw::Job,
        query: &Sql,
        key: &KeyTemplate,
        for_each: &[Parameter],
        collector: &mut Collector,
    ) {
        let given = |name: &str| for_each.iter().any(|parameter| parameter.name == name);
        for name in query.parameters().into_iter().filter(|name| *name != NOW && !given(name)) {
            let place = raw
                .query
                .as_ref()
                .zip(query.place(name))
                .map_or(0..0, |(text, place)| self.inside(text, place.start, place.len()));
            let help = format!("add `{name} = [\"…\"]` to [for_each]");
            collector.push(self.sources.error(place, format!("the parameter `:{name}` has no values")).help(help));
        }
        for (name, _) in &raw.for_each.0 {
            let used = query.parameters().contains(&name.get_ref().as_str());
            if !used {
                let message =
                    format!("the query does not use `:{}`, so it would give the same rows each time", name.get_ref());
                collector.push(self.sources.error(name.span(), message));
            }
        }
        if key.names().iter().any(|name| name == NOW) {
            let place = raw.key.as_ref().map_or(0..0, Text::span);
            collector.push(self.sources.error(place, "`{now}` cannot stand in a key: nobody could ever read it again"));
        }
    }

    /// Whether the text is written in a string with escapes.
    fn escaped(&self, text: &Text) -> bool {
        let raw = self.sources.raw(&text.span());
        raw.starts_with('"') && raw.contains('\\')
    }

    /// The place of `length` bytes at `offset` of a text's value. In a string with escapes that cannot be told, then it is the whole.
    fn inside(&self, text: &Text, offset: usize, length: usize) -> Range<usize> {
        let span = text.span();
        let raw = self.sources.raw(&span);
        if self.escaped(text) {
            return span;
        }
        let quote = ["'''", "\"\"\"", "'", "\""].into_iter().find(|quote| raw.starts_with(quote)).unwrap_or_default();
        let mut start = quote.len();
        if quote.len() == 3 {
            // A line break right after the opening quotes is no part of the value.
            start += if raw[start..].starts_with("\r\n") { 2 } else { usize::from(raw[start..].starts_with('\n')) };
        }
        let at = (span.start + start + offset).min(span.end);
        at..(at + length).min(span.end)
    }
}
