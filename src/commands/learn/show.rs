//! What was learned, as people and programs read it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::ground::demand::{Demand, Demands, Proposal, Wanted};
use crate::ground::error::Error;
use crate::ground::job::Job;
use crate::ground::show::{counted, human_bytes, human_seconds, visible};

/// Whoever watched for less is told what was counted, too.
const LONG: Duration = Duration::from_mins(10);

/// What was learned.
pub(super) struct Learned<'l> {
    pub(super) jobs: &'l [Arc<Job>],
    pub(super) demands: &'l Demands,
    pub(super) gaps: u64,
    pub(super) lost: Option<&'l Error>,
    pub(super) watched: Duration,
    pub(super) now: DateTime<Utc>,
    /// Before each key.
    pub(super) prefix: &'l str,
    /// How many keys of each job are shown.
    pub(super) top: usize,
}

impl Learned<'_> {
    fn all(&self) -> impl Iterator<Item = OfJob<'_>> {
        self.jobs.iter().filter_map(|job| {
            let demand = self.demands.of(&job.name)?;
            let keys = demand.wanted(self.top, self.now);
            Some(OfJob { job, demand, keys, learned: self })
        })
    }

    pub(super) fn text(&self) -> String {
        let mut text: String = self.all().map(|of_job| of_job.text()).collect();
        let watched = human_seconds(self.watched.as_secs_f64().round());
        let (heard, others) = (self.all().map(|of_job| of_job.demand.heard()).sum::<u64>(), self.demands.others());
        text +=
            &format!("{} of these jobs' keys in {watched}, and {others} of others\n", counted(heard, "miss", "misses"));
        if self.gaps > 0 {
            let times = counted(self.gaps, "time", "times");
            text += &format!("the connection to Redis broke {times}: what was missed meanwhile was not heard\n");
        }
        if let Some(error) = self.lost {
            text += &format!("Redis is away: {error}\n");
        }
        text
    }

    pub(super) fn value(&self, code: u8) -> Value {
        json!({
            "exit_code": code,
            "watched_ms": u64::try_from(self.watched.as_millis()).unwrap_or(u64::MAX),
            "gaps": self.gaps,
            "error": self.lost.map(|error| error.message.clone()),
            "other_misses": self.demands.others(),
            "jobs": self.all().map(|of_job| of_job.value()).collect::<Vec<_>>(),
        })
    }
}

/// What was learned of a job.
struct OfJob<'l> {
    job: &'l Job,
    demand: &'l Demand,
    keys: Vec<Wanted>,
    learned: &'l Learned<'l>,
}

impl OfJob<'_> {
    fn text(&self) -> String {
        let Job { name, .. } = self.job;
        if self.keys.is_empty() {
            return format!("{name}: nothing was missed\n");
        }
        let (heard, known) = (self.demand.heard(), self.demand.keys() as u64);
        let keys = counted(known, "key", "keys");
        let bytes = human_bytes(self.demand.bytes() as u64);
        let mut text = format!("{name}: {}, {keys} counted in {bytes}", counted(heard, "miss", "misses"));
        text += match self.demand.fills() {
            Some(true) => "; others seem to write what they have missed\n",
            Some(false) => "; nobody seems to write what was missed\n",
            None => "\n",
        };
        let error = self.demand.error_per_hour(self.learned.now);
        if error >= 0.5 {
            text +=
                &format!("  there were more keys than counters: each may be missed {error:.0} times an hour more\n");
        }
        for wanted in &self.keys {
            let mut notes = vec![self.misses(wanted)];
            notes.extend(self.words(wanted).map(str::to_owned));
            text += &format!("  {}  {}\n", visible(&self.shown(wanted)), notes.join(", "));
        }
        text += &self.block();
        text
    }

    /// What is to be said of a key beside how often it is missed.
    fn words(&self, wanted: &Wanted) -> Option<&'static str> {
        match (self.job.writes(&wanted.key), self.job.for_key(&wanted.key)) {
            (Some(true), _) => Some("the job warms it"),
            (_, Err(_)) => Some("cannot be filled: see `warm check`"),
            (Some(false), _) => None,
            (None, _) => Some("its query decides whether it warms it"),
        }
    }

    /// What may be copied: the parameters' values into the job's file, or else a command.
    fn block(&self) -> String {
        let (mut lists, mut of_queries) = (String::new(), String::new());
        for (name, proposal) in self.proposal() {
            match proposal {
                Proposal::List(values) => lists += &format!("  {name} = {}\n", list(&values)),
                Proposal::OfQuery(values) => {
                    of_queries += &format!(
                        "  # {name} comes from a query of [for_each], which would have to give {}\n",
                        list(&values)
                    );
                }
            }
        }
        if !lists.is_empty() {
            return format!("  [for_each]\n{lists}{of_queries}");
        }
        let fillable = self.keys.iter().filter(|wanted| self.job.for_key(&wanted.key).is_ok());
        let words: String = fillable.map(|wanted| format!(" {}", quoted(&self.shown(wanted)))).collect();
        if words.is_empty() { of_queries } else { format!("{of_queries}  warm fill{words}\n") }
    }

    fn proposal(&self) -> Vec<(&str, Proposal)> {
        self.job.proposal(self.keys.iter().map(|wanted| &*wanted.key))
    }

    /// How often it is missed. Of a short while, an hour's misses are a long way off.
    fn misses(&self, wanted: &Wanted) -> String {
        let per_hour = wanted.per_hour;
        if self.learned.watched >= LONG {
            return format!("{per_hour:.0} misses an hour");
        }
        let count = (per_hour * self.learned.watched.as_secs_f64() / 3600.0).round() as u64;
        format!("{}, or {per_hour:.0} an hour", counted(count, "miss", "misses"))
    }

    fn value(&self) -> Value {
        let keys = self.keys.iter().map(|wanted| {
            json!({
                "key": self.shown(wanted),
                "misses_per_hour": wanted.per_hour,
                "error_per_hour": wanted.error,
                "warmed": self.job.writes(&wanted.key),
                "fillable": self.job.for_key(&wanted.key).is_ok(),
            })
        });
        // A query is not replaced by a list.
        let lists = self.proposal().into_iter().filter_map(|(name, proposal)| match proposal {
            Proposal::List(values) => Some((name.to_owned(), json!(values))),
            Proposal::OfQuery(_) => None,
        });
        let for_each: Map<String, Value> = lists.collect();
        json!({
            "job": self.job.name,
            "misses": self.demand.heard(),
            "misses_per_hour": self.demand.per_hour(self.learned.now),
            "error_per_hour": self.demand.error_per_hour(self.learned.now),
            "counted_keys": self.demand.keys(),
            "filled_by_others": self.demand.fills(),
            "keys": keys.collect::<Vec<_>>(),
            "for_each": for_each,
        })
    }

    fn shown(&self, wanted: &Wanted) -> String {
        format!("{}{}", self.learned.prefix, String::from_utf8_lossy(&wanted.key))
    }
}

/// As TOML has it: whole numbers as they are, anything else as text.
fn list(values: &[String]) -> String {
    let are_numbers = values.iter().all(|value| value.parse::<i64>().is_ok_and(|number| number.to_string() == *value));
    let value = |value: &String| if are_numbers { value.clone() } else { Value::from(value.as_str()).to_string() };
    format!("[{}]", values.iter().map(value).collect::<Vec<_>>().join(", "))
}

/// As a shell has it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-:./=@%+,".contains(c);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_is_read_as_it_was() {
        let texts = |values: &[&str]| list(&values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
        assert_eq!(texts(&["Lagos", "a \"b\""]), r#"["Lagos", "a \"b\""]"#);
        assert_eq!(texts(&["1", "20"]), "[1, 20]");
        assert_eq!(texts(&["1", "01"]), r#"["1", "01"]"#);
        assert_eq!(quoted("event:7"), "event:7");
        assert_eq!(quoted("t:it's $x"), r"'t:it'\''s $x'");
    }
}
