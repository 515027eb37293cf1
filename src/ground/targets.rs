//! What the operator wants of the cache, and whether it is so.

use std::time::Duration;

use super::figures::{Lookups, quantile};
use super::show::human_millis;

/// `[targets]`: what is wanted, as far as anything is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Targets {
    /// The least share (0 … 1) of look-ups that find their key.
    pub hit_ratio: Option<f64>,
    /// The longest time for 99 of 100 answers of Redis.
    pub cache_answer: Option<Duration>,
    /// The longest time for a job's query, until its last row.
    pub query: Option<Duration>,
    /// The largest share (0 … 1) of Redis' memory limit in use.
    pub memory: Option<f64>,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// How look-ups went.
    pub lookups: Option<Lookups>,
    /// How long Redis took for some answers.
    pub answers: Vec<Duration>,
    /// The slowest query of the last runs, and its job.
    pub query: Option<(Duration, String)>,
    /// The share of Redis' memory limit in use.
    pub memory: Option<f64>,
}

/// A figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// A share (0 … 1).
    Share(f64),
    /// A length of time.
    Time(Duration),
}

impl Figure {
    /// As people write it.
    pub fn shown(self) -> String {
        match self {
            Figure::Share(share) => format!("{:.1} %", share * 100.0),
            Figure::Time(time) => human_millis(time),
        }
    }

    /// As a number: a share from 0 to 1, or seconds.
    pub fn number(self) -> f64 {
        match self {
            Figure::Share(share) => share,
            Figure::Time(time) => time.as_secs_f64(),
        }
    }
}

/// Whether a target is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Met,
    /// It is not.
    Missed,
    /// Nothing is known that it could be compared with.
    Unknown,
}

impl Verdict {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Met => "met",
            Verdict::Missed => "missed",
            Verdict::Unknown => "unknown",
        }
    }
}

/// A target that is set, beside what was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Its name in `[targets]`.
    pub name: &'static str,
    /// What is wanted.
    pub wanted: Figure,
    /// What there is.
    pub found: Option<Figure>,
    /// Of what, or why it is not known.
    pub about: String,
}

/// The names of all targets.
pub const NAMES: [&str; 4] = ["hit_ratio", "cache_answer", "query", "memory"];

impl Judged {
    /// Whether it is met.
    pub fn verdict(&self) -> Verdict {
        let Some(found) = self.found else { return Verdict::Unknown };
        let (found, wanted) = (found.number(), self.wanted.number());
        let met = if self.name == NAMES[0] { found >= wanted } else { found <= wanted };
        if met { Verdict::Met } else { Verdict::Missed }
    }
}

impl Targets {
    /// Compares what is wanted with what was found.
    pub fn judge(&self, found: &Found) -> Vec<Judged> {
        let judged = |name, wanted: Option<Figure>, (found, about): (Option<Figure>, String)| {
            Some(Judged { name, wanted: wanted?, found, about })
        };
        let answer = quantile(&found.answers, 0.99).map(Figure::Time);
        let query = match &found.query {
            Some((took, job)) => (Some(Figure::Time(*took)), format!("the slowest query of the last runs, of {job}")),
            None => (None, "no run is known that had a query".to_owned()),
        };
        let memory = match found.memory {
            Some(share) => (Some(Figure::Share(share)), "of maxmemory".to_owned()),
            None => (None, "Redis has no limit (maxmemory), or does not say".to_owned()),
        };
        let answers = match answer {
            Some(_) => format!("99 of 100 answers; {} were asked for", found.answers.len()),
            None => "Redis was not asked".to_owned(),
        };
        [
            judged(NAMES[0], self.hit_ratio.map(Figure::Share), hit_ratio(found.lookups)),
            judged(NAMES[1], self.cache_answer.map(Figure::Time), (answer, answers)),
            judged(NAMES[2], self.query.map(Figure::Time), query),
            judged(NAMES[3], self.memory.map(Figure::Share), memory),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn hit_ratio(lookups: Option<Lookups>) -> (Option<Figure>, String) {
    let Some(lookups) = lookups else { return (None, "Redis does not say".to_owned()) };
    let over = humantime::format_duration(Duration::from_secs(lookups.over.as_secs_f64().round() as u64));
    let since = if lookups.window { format!("in the last {over}") } else { format!("since Redis began, {over} ago") };
    match lookups.ratio() {
        Some(ratio) => (Some(Figure::Share(ratio)), since),
        None => (None, format!("nothing was looked up {since}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_that_is_set_is_met_missed_or_unknown() {
        let ms = Duration::from_millis;
        let targets =
            Targets { hit_ratio: Some(0.8), cache_answer: Some(ms(50)), query: Some(ms(500)), memory: Some(0.8) };
        let verdicts = |found: &Found| targets.judge(found).iter().map(Judged::verdict).collect::<Vec<_>>();
        assert_eq!(verdicts(&Found::default()), [Verdict::Unknown; 4]);
        let lookups = Lookups { hits: 80, misses: 20, over: ms(10_000), window: true };
        let query = Some((ms(500), "a".to_owned()));
        let good = Found { lookups: Some(lookups), answers: vec![ms(50)], query, memory: Some(0.8) };
        assert_eq!(verdicts(&good), [Verdict::Met; 4], "the figure itself is good enough");
        let bad = Found {
            lookups: Some(Lookups { misses: 21, ..lookups }),
            answers: vec![ms(51)],
            query: Some((ms(501), "a".to_owned())),
            memory: Some(0.801),
        };
        assert_eq!(verdicts(&bad), [Verdict::Missed; 4]);
        let one = Targets { memory: Some(0.5), ..Targets::default() }.judge(&good);
        assert_eq!((one.len(), one[0].name, one[0].verdict()), (1, "memory", Verdict::Missed));
        assert_eq!(one[0].found.map(Figure::shown).as_deref(), Some("80.0 %"));
    }

    #[test]
    fn a_hit_ratio_says_of_when_it_is() {
        let lookups = |hits, window| Lookups { hits, misses: 0, over: Duration::from_secs(90), window };
        assert_eq!(hit_ratio(Some(lookups(1, true))).1, "in the last 1m 30s");
        assert_eq!(hit_ratio(Some(lookups(1, false))).1, "since Redis began, 1m 30s ago");
        assert_eq!(hit_ratio(Some(lookups(0, true))), (None, "nothing was looked up in the last 1m 30s".to_owned()));
    }
}
