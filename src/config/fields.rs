//! The fields of a job file, one function for each; each error has its place.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use chrono::TimeDelta;
use chrono_tz::Tz;

use super::cron;
use super::diagnostic::{Collector, Diagnostic};
use super::raw::{self, Text};
use super::settings::{TIMEOUT_BOUNDS, TTL_BOUNDS, bounded, duration, must_be, size};
use super::sources::Sources;
use super::units;
use crate::ground::guard::Guard;
use crate::ground::job::{
    CatchUp, Invalidates, Mode, OnBadRow, Overlap, Parameter, RowTimeouts, Values, Verify, Version,
};
use crate::ground::key::{KeyTemplate, is_name};
use crate::ground::refresh::RefreshAhead;
use crate::ground::schedule::Schedule;
use crate::ground::sql::{Lines, NOW, Sql};
use crate::ground::ttl::{JobTtl, TtlPolicy};
use crate::ground::value::{BigInt, FormatInfo, ValueShape};

/// Bounds of the delay of a job that is due.
const SPLAY_BOUNDS: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(3600));

/// What the fields say that `[defaults]` has too.
pub(super) struct Common {
    pub(super) format: FormatInfo,
    pub(super) bigint: BigInt,
    pub(super) schedule: Schedule,
    pub(super) splay: Duration,
    pub(super) priority: i32,
    pub(super) retries: u32,
    pub(super) timeout: Duration,
    pub(super) row_timeouts: RowTimeouts,
    pub(super) on_bad_row: OnBadRow,
    pub(super) mode: Mode,
    pub(super) verify: Verify,
    pub(super) invalidates: Invalidates,
    pub(super) catch_up: CatchUp,
    pub(super) misfire_grace: TimeDelta,
    pub(super) overlap: Overlap,
    pub(super) refresh_ahead: Option<RefreshAhead>,
    pub(super) max_age: Option<Duration>,
    pub(super) max_value: usize,
    pub(super) guard: Guard,
    pub(super) jitter: f64,
}

/// Reads fields whose places are in the given texts.
pub(super) struct Reader<'s> {
    pub(super) sources: &'s Sources,
    /// `statement_timeout` in `[postgres]`.
    pub(super) statement_timeout: Duration,
}

impl Reader<'_> {
    /// The fields that `[defaults]` has too. Everything that is wrong goes to the collector; then there are none.
    pub(super) fn common(
        &self,
        raw: &raw::Defaults,
        formats: &[FormatInfo],
        collector: &mut Collector,
    ) -> Option<Common> {
        let sources = self.sources;
        let raw_guard = raw.guard.clone().unwrap_or_default();
        let format = collector.take(self.format(raw.format.as_ref(), formats));
        let bigints = [("string", BigInt::String), ("number", BigInt::Number)];
        let bigint = collector.take(self.choice("bigint", raw.bigint.as_ref(), &bigints));
        let schedule = collector.take(self.schedule(raw.schedule.as_ref(), raw.timezone.as_ref()));
        let splay = raw.splay.as_ref().map(|length| duration("splay", length, SPLAY_BOUNDS, sources));
        let splay = collector.take(splay.unwrap_or(Ok(Duration::from_secs(30))));
        let priority = raw.priority.as_ref().map_or(Ok(0), |n| bounded("priority", n, -1000..=1000, sources));
        let priority = collector.take(priority);
        let retries = raw.retries.as_ref().map_or(Ok(2), |n| bounded("retries", n, 0..=10, sources));
        let retries = collector.take(retries);
        let timeout = raw.timeout.as_ref().map(|length| duration("timeout", length, TIMEOUT_BOUNDS, sources));
        let timeout = collector.take(timeout.unwrap_or(Ok(Duration::from_secs(300))));
        let first = collector.take(self.row_timeout("first_row_timeout", raw.first_row_timeout.as_ref()));
        let next = collector.take(self.row_timeout("next_row_timeout", raw.next_row_timeout.as_ref()));
        let ways = [("fail", OnBadRow::Fail), ("skip", OnBadRow::Skip)];
        let on_bad_row = collector.take(self.choice("on_bad_row", raw.on_bad_row.as_ref(), &ways));
        let modes = [("refresh", Mode::Refresh), ("missing", Mode::Missing)];
        let mode = collector.take(self.choice("mode", raw.mode.as_ref(), &modes));
        let verify = collector.take(self.verify(raw.verify.as_ref()));
        let times = [("after-commit", Invalidates::AfterCommit), ("before-commit", Invalidates::BeforeCommit)];
        let invalidates = collector.take(self.choice("invalidates", raw.invalidates.as_ref(), &times));
        let policies = [("latest", CatchUp::Latest), ("all", CatchUp::All), ("none", CatchUp::None)];
        let catch_up = collector.take(self.choice("catch_up", raw.catch_up.as_ref(), &policies));
        let misfire_grace = collector.take(self.misfire_grace(raw.misfire_grace.as_ref()));
        let policies = [("skip", Overlap::Skip), ("replace", Overlap::Replace), ("allow", Overlap::Allow)];
        let overlap = collector.take(self.choice("overlap", raw.overlap.as_ref(), &policies));
        let max_age = raw.max_age.as_ref().map(|length| duration("max_age", length, TTL_BOUNDS, sources));
        let max_age = collector.take(max_age.transpose());
        let max_value = collector.take(self.max_value(raw_guard.max_value.as_ref()));
        let missing = raw.mode.as_ref().filter(|_| mode == Some(Mode::Missing));
        let guard = self.guard(&raw_guard, missing, collector);
        let ahead = raw.refresh_ahead.as_ref();
        let refresh_ahead = ahead.map_or(Some(None), |ahead| self.refresh_ahead(ahead, missing, collector));
        let jitter = collector.take(self.jitter(raw.ttl_jitter.as_ref()));
        Some(Common {
            format: format?,
            bigint: bigint?,
            schedule: schedule?,
            splay: splay?,
            priority: priority?,
            retries: retries?,
            timeout: timeout?,
            row_timeouts: RowTimeouts { first: first?, next: next? },
            on_bad_row: on_bad_row?,
            mode: mode?,
            verify: verify?,
            invalidates: invalidates?,
            catch_up: catch_up?,
            misfire_grace: misfire_grace?,
            overlap: overlap?,
            refresh_ahead: refresh_ahead?,
            max_age: max_age?,
            max_value: max_value?,
            guard: guard?,
            jitter: jitter?,
        })
    }

    fn missing(&self, field: &str, help: &str) -> Diagnostic {
        self.sources.error_in_last(format!("the field `{field}` is missing")).help(help)
    }

    /// `query`.
    pub(super) fn query(&self, text: Option<&Text>) -> Result<Sql, Diagnostic> {
        let text = text.ok_or_else(|| {
            self.missing(
                "query",
                "query = '''SELECT …''' gives the rows (a job for single keys only has `fill_query` instead)",
            )
        })?;
        self.sql(text)
    }

    /// A query, with the place of what is wrong with it.
    pub(super) fn sql(&self, text: &Text) -> Result<Sql, Diagnostic> {
        let sql = Sql::parse(text.get_ref())
            .map_err(|error| self.sources.error(self.inside(text, error.at, 1), error.message))?;
        let line = self.sources.line(self.inside(text, 0, 0).start);
        Ok(sql.on(if self.escaped(text) { Lines::On(line) } else { Lines::From(line) }))
    }

    /// `key`.
    pub(super) fn key(&self, text: Option<&Text>) -> Result<KeyTemplate, Diagnostic> {
        let help = "key = \"event:{id}\" makes a key of the column or parameter `id`";
        let text = text.ok_or_else(|| self.missing("key", help))?;
        KeyTemplate::parse(text.get_ref())
            .map_err(|error| self.sources.error(self.inside(text, error.at, 1), error.message))
    }

    /// `value`.
    pub(super) fn value(&self, text: Option<&Text>) -> Result<ValueShape, Diagnostic> {
        let known = "\"row\" makes a key of each row, \"rows\" an array of the rows of each key, \"column:NAME\" takes one column";
        let text = text.ok_or_else(|| self.missing("value", known))?;
        match text.get_ref().as_str() {
            "row" => Ok(ValueShape::Row),
            "rows" => Ok(ValueShape::Rows),
            other => match other.strip_prefix("column:") {
                Some(column) if !column.is_empty() => Ok(ValueShape::Column(column.to_owned())),
                _ => {
                    Err(must_be("value", "\"row\", \"rows\" or \"column:NAME\"", text.span(), self.sources).help(known))
                }
            },
        }
    }

    fn format(&self, text: Option<&Text>, known: &[FormatInfo]) -> Result<FormatInfo, Diagnostic> {
        let wanted = |format: &&FormatInfo| text.is_none_or(|text| format.name == text.get_ref());
        known.iter().find(wanted).copied().ok_or_else(|| {
            let names: Vec<_> = known.iter().map(|format| format!("\"{}\"", format.name)).collect();
            must_be("format", &format!("one of {}", names.join(", ")), text.map_or(0..0, Text::span), self.sources)
        })
    }

    /// `hide`.
    pub(super) fn hide(&self, names: Option<&raw::Texts>) -> Result<Vec<String>, Diagnostic> {
        let mut hidden = Vec::new();
        for name in names.map(|names| names.0.as_slice()).unwrap_or_default() {
            if hidden.contains(name.get_ref()) {
                return Err(self.sources.error(name.span(), format!("`{}` stands here twice", name.get_ref())));
            }
            hidden.push(name.get_ref().clone());
        }
        Ok(hidden)
    }

    /// `[for_each]`.
    pub(super) fn for_each(
        &self,
        raw: &raw::Table<toml::Spanned<raw::Values>>,
        limit: usize,
        collector: &mut Collector,
    ) -> Option<Vec<Parameter>> {
        let resolved: Vec<_> = raw.0.iter().map(|(name, values)| collector.take(self.values(name, values))).collect();
        let parameters: Vec<Parameter> = resolved.into_iter().collect::<Option<_>>()?;
        let lengths = parameters.iter().filter_map(|parameter| match &parameter.values {
            Values::List(list) => Some(list.len()),
            Values::Query(_) => None,
        });
        let product = lengths.fold(1_usize, usize::saturating_mul);
        if product > limit {
            let message =
                format!("the lists give {product} combinations, more than combinations = {limit} in [limits]");
            let place = raw.0.first().map_or(0..0, |(name, _)| name.span());
            collector.push(self.sources.error(place, message).help("narrow the lists, or raise the limit"));
            return None;
        }
        Some(parameters)
    }

    fn values(&self, name: &Text, values: &toml::Spanned<raw::Values>) -> Result<Parameter, Diagnostic> {
        let fail = |message: String| Err(self.sources.error(name.span(), message));
        if !is_name(name.get_ref()) || name.get_ref().contains('.') {
            return fail(format!("`{}` cannot name a parameter; use letters, digits and `_`", name.get_ref()));
        }
        if name.get_ref() == NOW {
            return fail("`:now` is the time at which the run began; it takes no values".to_owned());
        }
        let values = match values.get_ref() {
            raw::Values::List(list) => self.list(list, values.span())?,
            raw::Values::Query(text) => self.values_query(text)?,
        };
        Ok(Parameter { name: name.get_ref().clone(), values })
    }

    fn list(&self, list: &[toml::Spanned<raw::Scalar>], place: Range<usize>) -> Result<Values, Diagnostic> {
        if list.is_empty() {
            return Err(self.sources.error(place, "this list is empty, so the query would never run"));
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
                .error(place, format!("a query of [for_each] may use `:now` only, not `:{other}`")));
        }
        Ok(Values::Query(sql))
    }

    fn schedule(&self, text: Option<&Text>, zone: Option<&Text>) -> Result<Schedule, Diagnostic> {
        let zone = match zone {
            None => Tz::UTC,
            Some(zone) => zone.get_ref().parse().map_err(|_| {
                let expected = "a name of the IANA database, such as \"Africa/Lagos\" or \"UTC\"";
                must_be("timezone", expected, zone.span(), self.sources)
            })?,
        };
        let Some(text) = text else {
            return Schedule::parse("@hourly", zone).map_err(Diagnostic::error);
        };
        Schedule::parse(text.get_ref(), zone).map_err(|reason| {
            let fault = cron::fault(text.get_ref(), &reason);
            let place = self.inside(text, fault.place.start, fault.place.len());
            self.sources.error(place, fault.message).help(fault.help)
        })
    }

    pub(super) fn choice<T: Copy>(
        &self,
        field: &str,
        text: Option<&Text>,
        choices: &[(&str, T)],
    ) -> Result<T, Diagnostic> {
        let wanted = text.map_or(choices[0].0, |text| text.get_ref().as_str());
        let found = choices.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let known: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            must_be(field, &known.join(" or "), text.map_or(0..0, Text::span), self.sources)
        })
    }

    fn verify(&self, given: Option<&toml::Spanned<raw::Verify>>) -> Result<Verify, Diagnostic> {
        let Some(given) = given else { return Ok(Verify::Requery) };
        match given.get_ref() {
            raw::Verify::Version(column) if !column.get_ref().is_empty() => {
                let at = self.sources.place(column.span()).map(|place| place.line()).unwrap_or_default();
                Ok(Verify::Version(Version { column: column.get_ref().clone(), at }))
            }
            raw::Verify::Word(word) if word == "requery" => Ok(Verify::Requery),
            raw::Verify::Word(word) if word == "none" => Ok(Verify::None),
            _ => {
                Err(must_be("verify", "\"requery\", \"none\" or { version = \"COLUMN\" }", given.span(), self.sources))
            }
        }
    }

    /// `first_row_timeout` and `next_row_timeout`. One that PostgreSQL's own time-out comes before would never be reached.
    fn row_timeout(
        &self,
        field: &str,
        given: Option<&toml::Spanned<raw::Length>>,
    ) -> Result<Option<Duration>, Diagnostic> {
        let Some(given) = given else { return Ok(None) };
        let limit = duration(field, given, TIMEOUT_BOUNDS, self.sources)?;
        if limit < self.statement_timeout {
            return Ok(Some(limit));
        }
        let whole = units::show_duration(self.statement_timeout);
        let message = format!(
            "`{field}` must be shorter than statement_timeout = {whole}, after which PostgreSQL ends the query anyway"
        );
        let help = "shorten it, remove it, or raise statement_timeout in [postgres]";
        Err(self.sources.error(given.span(), message).help(help))
    }

    /// Below a second every start would be late: the schedule is looked at once a second.
    fn misfire_grace(&self, given: Option<&toml::Spanned<raw::Length>>) -> Result<TimeDelta, Diagnostic> {
        let bounds = (Duration::from_secs(2), Duration::from_secs(7 * 86_400));
        let grace = given.map(|length| duration("misfire_grace", length, bounds, self.sources)).transpose()?;
        Ok(grace.and_then(|grace| TimeDelta::from_std(grace).ok()).unwrap_or(TimeDelta::minutes(1)))
    }

    fn max_value(&self, value: Option<&toml::Spanned<raw::Size>>) -> Result<usize, Diagnostic> {
        /// Redis' own limit for a string.
        const MOST: usize = 512 << 20;
        let shown = "between 1 byte and 512MiB, the most that Redis takes";
        value.map_or(Ok(1 << 20), |value| size("guard.max_value", value, 1..=MOST, shown, self.sources))
    }

    fn jitter(&self, share: Option<&toml::Spanned<raw::Share>>) -> Result<f64, Diagnostic> {
        let Some(share) = share else { return Ok(0.0) };
        units::percent(&share.get_ref().0, 0.0..=10.0)
            .map_err(|expected| must_be("ttl_jitter", &expected, share.span(), self.sources))
    }

    /// `ttl`, else what the policy says about the keys, which stand at `place`.
    pub(super) fn ttl(
        &self,
        own: Option<&toml::Spanned<raw::Length>>,
        key: &KeyTemplate,
        policy: &TtlPolicy,
        place: Range<usize>,
    ) -> Result<JobTtl, Diagnostic> {
        if let Some(length) = own {
            return duration("ttl", length, TTL_BOUNDS, self.sources).map(JobTtl::fixed);
        }
        policy.for_keys(key.prefix()).ok_or_else(|| {
            let message = format!("these keys have no lifetime: no prefix in [ttl] covers `{}`", key.prefix());
            self.sources
                .error(place, message)
                .help("add the prefix to [ttl] in the configuration, or a ttl to this job")
        })
    }

    /// Whether the text is written in a string with escapes.
    fn escaped(&self, text: &Text) -> bool {
        let raw = self.sources.raw(&text.span());
        raw.starts_with('"') && raw.contains('\\')
    }

    /// The place of `length` bytes at `offset` of a text's value. In a string with escapes that cannot be told, then it is the whole.
    pub(super) fn inside(&self, text: &Text, offset: usize, length: usize) -> Range<usize> {
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
