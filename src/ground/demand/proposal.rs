//! What to write into a job's file, so that it warms what is wanted.

use crate::ground::job::{Job, Values};

impl Job {
    /// The values that the keys have for those parameters of the job that are in its key, without repetition and in the order of the keys.
    pub fn values_in<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Vec<(&str, Vec<String>)> {
        let places = self.key.names().iter().enumerate().filter(|(_, name)| self.parameter(name).is_some());
        let mut values: Vec<(usize, &str, Vec<String>)> =
            places.map(|(place, name)| (place, name.as_str(), Vec::new())).collect();
        for of_key in keys.filter_map(|key| self.key.matches(key)) {
            for (place, _, known) in &mut values {
                let value = std::str::from_utf8(of_key[*place]).ok().map(str::to_owned);
                known.extend(value.filter(|value| !known.contains(value)));
            }
        }
        values.into_iter().map(|(_, name, values)| (name, values)).filter(|(_, values)| !values.is_empty()).collect()
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
