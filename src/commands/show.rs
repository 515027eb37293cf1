//! `warm show`: where one key stands, in the cache and in the database. Nothing is changed.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::now::observer;
use super::one_key::{Owned, find};
use super::report::finding_value;
use super::{Failure, load, runner, runtime, signals};
use crate::cache::KeyState;
use crate::cli::{Common, Show};
use crate::ground::drift::What;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::exit;
use crate::ground::request::{Purpose, Request, Sample};
use crate::ground::run::Report;
use crate::ground::show::{human_bytes, human_seconds, visible};

/// Shows the key. 0 if it holds what it should, 1 if not, or if nobody can tell, and else as the server says that failed.
pub fn run(common: &Common, show: &Show) -> Result<u8, Failure> {
    let loaded = load(common)?;
    let owned = find(&loaded.settings, &show.key)?;
    let runner = Arc::new(runner(&loaded.settings, observer())?);
    let (seen, caught) = runtime()?.block_on(async {
        let (stopped, caught) = signals::catch(false, &[|_| true]);
        let request = Request::about_key(Arc::clone(&owned.key), None, Purpose::Compare(Sample::ALL));
        let state = runner.redis.look_at(&owned.key).await;
        // What cannot be asked is told below, and is no failure for the log.
        let asks = if owned.unfillable.is_some() { Arc::new(runner.unheard()) } else { Arc::clone(&runner) };
        let report = asks.run_one(Arc::clone(&owned.job), request, stopped).await;
        let narrowed = owned.job.for_key(&owned.key).ok().filter(|_| show.plan);
        let plan = match narrowed {
            Some(narrowed) => Some(runner.explain(&narrowed).await),
            None => None,
        };
        runner.close().await;
        (Seen { owned, state, report, plan }, caught)
    });
    let code = caught.exit_code().unwrap_or_else(|| seen.code());
    let text = if common.json { format!("{:#}\n", seen.value(code)) } else { seen.text() };
    // A closed standard output takes nothing away.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(code)
}

/// What was found out about a key.
struct Seen {
    owned: Owned,
    state: Result<KeyState, Error>,
    report: Report,
    plan: Option<Result<Vec<String>, Error>>,
}

impl Seen {
    fn code(&self) -> u8 {
        let failure = self.state.as_ref().err().or(self.report.failure.as_ref());
        match failure {
            Some(failure) => failure.kind.consequence().exit,
            None if self.agrees() => exit::OK,
            None => exit::JOB_FAILED,
        }
    }

    /// Whether cache and database agree: both have it, or neither.
    fn agrees(&self) -> bool {
        match self.has_row() {
            true => self.report.drift.is_none(),
            false => self.is_absent() && self.refused().is_none(),
        }
    }

    /// Whether the database has something to put there.
    fn has_row(&self) -> bool {
        self.report.drift.same > 0 || !self.report.drift.shown.is_empty()
    }

    /// Why nothing is made of a row that is there.
    fn refused(&self) -> Option<&'static str> {
        match &self.report.stats {
            stats if stats.too_large > 0 => Some("has a row, whose value is refused: it is larger than max_value"),
            stats if stats.bad_rows > 0 => Some("has a row, which cannot become a value and is skipped"),
            _ => None,
        }
    }

    fn is_absent(&self) -> bool {
        self.state.as_ref().is_ok_and(|state| state.ty.is_none())
    }

    fn text(&self) -> String {
        let Owned { job, shown, .. } = &self.owned;
        let values = job.key.matches(&self.owned.key).unwrap_or_default();
        let parts = job
            .key
            .names()
            .iter()
            .zip(values)
            .map(|(name, value)| format!("{name} = {}", visible(&String::from_utf8_lossy(value))));
        let parts = parts.collect::<Vec<_>>().join(", ");
        let ttl = human_seconds(job.ttl.of(&self.owned.key).as_secs_f64());
        let lines = [
            ("job", format!("{} ({})", job.name, job.file.display())),
            ("key", if parts.is_empty() { job.key.to_string() } else { format!("{}, {parts}", job.key) }),
            ("lifetime", ttl),
            ("Redis", self.in_redis()),
            ("PostgreSQL", self.in_database()),
        ];
        let mut text = format!("{}\n", visible(shown));
        lines.iter().for_each(|(name, what)| text += &format!("  {name:<12}{what}\n"));
        match &self.plan {
            Some(Ok(lines)) => lines.iter().for_each(|line| text += &format!("    {line}\n")),
            Some(Err(error)) => text += &format!("    no plan: {error}\n"),
            None => {}
        }
        text
    }

    fn in_redis(&self) -> String {
        match &self.state {
            Err(error) => format!("not known: {error}"),
            Ok(KeyState { ty: None, .. }) => "absent".to_owned(),
            Ok(KeyState { ty: Some(ty), bytes, left }) => {
                let bytes = bytes.map(|bytes| format!(", {}", human_bytes(bytes))).unwrap_or_default();
                let left = match left {
                    Some(left) => format!("dies in {}", human_seconds(left.as_secs_f64())),
                    None => "never dies".to_owned(),
                };
                let other = self.report.drift.shown.iter().find_map(|finding| match &finding.what {
                    What::OtherTtl(_, most) => {
                        Some(format!(", instead of after {} at the most", human_seconds(most.as_secs_f64())))
                    }
                    _ => None,
                });
                format!("{ty}{bytes}, {left}{}", other.unwrap_or_default())
            }
        }
    }

    fn in_database(&self) -> String {
        match &self.report.failure {
            Some(failure) if failure.kind == ErrorKind::NoValue => return "no row can have such a value".to_owned(),
            Some(_) => {
                let why = self.owned.unfillable.as_ref().map(|why| format!(": {why}"));
                return format!("not known{}", why.unwrap_or_default());
            }
            None => {}
        }
        if !self.has_row() {
            return self.refused().unwrap_or("no row makes this key").to_owned();
        }
        let told = self.report.drift.shown.iter().filter_map(|finding| match &finding.what {
            What::Missing => Some("has it, so that it could be filled".to_owned()),
            What::Stale(difference) => Some(format!("has other rows: {difference}")),
            What::OtherShape(how, difference) => {
                Some(format!("makes a value of another shape: {how}; first difference {difference}"))
            }
            What::Unopened(why) => Some(format!("makes another value than the one in Redis: {why}")),
            What::OtherType(_) => Some(format!("makes {}", self.owned.job.key_type.kind().in_words())),
            // That is said of Redis.
            What::OtherTtl(..) => None,
            What::Extra => None,
        });
        let told: Vec<String> = told.collect();
        match &told[..] {
            [] if self.report.drift.sealed_otherwise > 0 => "makes the same value, sealed in another way".to_owned(),
            [] => "makes the same value".to_owned(),
            _ => told.join("; "),
        }
    }

    fn value(&self, code: u8) -> Value {
        let state = self.state.as_ref().ok();
        let plan = self.plan.as_ref().and_then(|plan| plan.as_ref().ok());
        let failure = self.state.as_ref().err().or(self.report.failure.as_ref());
        json!({
            "exit_code": code,
            "key": self.owned.shown,
            "job": self.owned.job.name,
            "ttl_ms": millis(self.owned.job.ttl.of(&self.owned.key)),
            "type": state.and_then(|state| state.ty.as_deref()),
            "bytes": state.and_then(|state| state.bytes),
            "left_ms": state.and_then(|state| state.left).map(millis),
            "has_row": self.report.failure.is_none().then(|| self.has_row()),
            "same": self.report.failure.is_none().then(|| self.agrees()),
            "findings": self.report.drift.shown.iter().map(finding_value).collect::<Vec<_>>(),
            "plan": plan,
            "error": failure.map(|failure| failure.message.clone()),
        })
    }
}

/// What is wrong with how long a key lives.
pub(super) fn other_ttl(left: Option<Duration>, most: Duration) -> String {
    let most = human_seconds(most.as_secs_f64());
    match left {
        Some(left) => format!("lives for {}, longer than {most}", human_seconds(left.as_secs_f64())),
        None => format!("never dies, instead of after {most}"),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
