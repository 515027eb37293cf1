//! What to write into a job's file, so that it warms what is wanted.

use crate::ground::job::{Job, Values};

/// The values of a parameter with which a job warms what it warms now, and what is wanted as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proposal {
    /// The job's own list, in its order, and after it what is wanted.
    List(Vec<String>),
    /// A query gives the list. These are what it would have to give.
    OfQuery(Vec<String>),
}

impl Job {
    /// What to write for those parameters of the job that are in its key, so that these keys are warmed, too: without repetition, and in the order of the keys.
    pub fn proposal<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Vec<(&str, Proposal)> {
        let mut wanted: Vec<(usize, &str, Vec<String>)> = Vec::new();
        for (place, name) in self.key.names().iter().enumerate() {
            if self.parameter(name).is_some() {
                wanted.push((place, name, Vec::new()));
            }
        }
        for of_key in keys.filter_map(|key| self.key.matches(key)) {
            for (place, _, known) in &mut wanted {
                let value = std::str::from_utf8(of_key[*place]).ok().map(str::to_owned);
                known.extend(value.filter(|value| !known.contains(value)));
            }
        }
        wanted.retain(|(_, _, values)| !values.is_empty());
        wanted.into_iter().map(|(_, name, values)| (name, self.with_present(name, values))).collect()
    }

    fn with_present(&self, name: &str, wanted: Vec<String>) -> Proposal {
        match self.parameter(name).map(|parameter| &parameter.values) {
            Some(Values::List(present)) => {
                let new = wanted.into_iter().filter(|value| !present.contains(value));
                Proposal::List(present.iter().cloned().chain(new).collect())
            }
            Some(Values::Query(_)) | None => Proposal::OfQuery(wanted),
        }
    }

    /// Whether a run of the job writes the key, where that can be told without the database.
    pub fn writes(&self, key: &[u8]) -> Option<bool> {
        if !self.runs() {
            return Some(false);
        }
        let values = self.key.matches(key)?;
        let mut certain = Some(true);
        for (name, value) in self.key.names().iter().zip(values) {
            match self.parameter(name).map(|parameter| &parameter.values) {
                Some(Values::List(list)) if !list.iter().any(|known| known.as_bytes() == value) => return Some(false),
                Some(Values::List(_)) => {}
                Some(Values::Query(_)) | None => certain = None,
            }
        }
        certain
    }
}
