//! The key of a row: parameters and columns put into the job's template, and the checks that keep it inside the job.

use crate::encode::KeyText;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::job::Job;
use crate::ground::key::KeyTemplate;
use crate::ground::keyspace::Rivals;
use crate::ground::row::{Column, Row};
use crate::runner::plan::{Combination, Plan};
use crate::source::Statement;

/// Renders and checks the keys of one job.
pub struct Keys<'j> {
    template: &'j KeyTemplate,
    rivals: Rivals,
    max_length: usize,
    parts: Vec<Part>,
    /// The values of one key, one after the other, and where each ends.
    values: Vec<u8>,
    ends: Vec<usize>,
}

/// Where a placeholder's value comes from.
#[derive(Debug)]
enum Part {
    Parameter(String),
    Column { index: usize, name: String, text: KeyText },
}

/// The columns that the job's key is made of, by name: placeholders that are no parameter, or one whose whole list is bound at once.
pub(super) fn key_columns(job: &Job, statement: &Statement) -> Vec<String> {
    let from_row = |name: &&String| job.parameter(name).is_none() || statement.takes_list(name);
    job.key.names().iter().filter(from_row).cloned().collect()
}

impl<'j> Keys<'j> {
    /// Finds each placeholder's source among parameters and columns.
    ///
    /// # Errors
    /// A placeholder that is neither, or a column whose type cannot stand in a key.
    pub fn new(
        job: &'j Job,
        columns: &[Column],
        from_row: &[String],
        rivals: Rivals,
        max_length: usize,
    ) -> Result<Self, Error> {
        let definition = |message: String| Error::new(ErrorKind::Definition, message);
        let part = |name: &String| -> Result<Part, Error> {
            if !from_row.contains(name) {
                return Ok(Part::Parameter(name.clone()));
            }
            let index = columns.iter().position(|column| column.name == *name);
            let column = index.and_then(|index| columns.get(index)).ok_or_else(|| {
                let known: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
                definition(format!(
                    "the key `{}` needs a column `{name}`, which the query does not give; it gives {}",
                    job.key,
                    known.join(", ")
                ))
            })?;
            let text = KeyText::new(column).map_err(|error| definition(format!("the key `{}`: {error}", job.key)))?;
            Ok(Part::Column { index: index.unwrap_or_default(), name: name.clone(), text })
        };
        let parts = job.key.names().iter().map(part).collect::<Result<_, _>>()?;
        Ok(Keys { template: &job.key, rivals, max_length, parts, values: Vec::new(), ends: Vec::new() })
    }

    /// Writes the row's key into `out`, which is emptied first.
    ///
    /// # Errors
    /// Why the row can have no key, for people.
    pub fn of_row(&mut self, row: &impl Row, combination: Combination<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        self.values.clear();
        self.ends.clear();
        for part in &self.parts {
            match part {
                Part::Parameter(name) => {
                    self.values.extend_from_slice(combination.single(name).unwrap_or_default().as_bytes())
                }
                Part::Column { index, name, text } => {
                    let value = row.value(*index).ok_or_else(|| format!("column `{name}` of the key is NULL"))?;
                    text.append(value, &mut self.values)
                        .map_err(|reason| format!("column `{name}` of the key: {reason}"))?;
                }
            }
            self.ends.push(self.values.len());
        }
        self.render(out)
    }

    /// The keys that exist even without a row, because they are made of parameters only: for one combination, every member of the lists in
    /// the key. `None` when a column is in the key.
    ///
    /// # Errors
    /// Why a parameter's value can make no key, for people.
    pub fn known_beforehand(
        &mut self,
        plan: &Plan,
        combination: Combination<'_>,
    ) -> Result<Option<Vec<Vec<u8>>>, String> {
        let mut choices: Vec<Vec<&str>> = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            choices.push(match part {
                Part::Parameter(name) => vec![combination.single(name).unwrap_or_default()],
                Part::Column { name, .. } => match plan.list(name) {
                    Some(members) => members.iter().map(String::as_str).collect(),
                    None => return Ok(None),
                },
            });
        }
        let count = choices.iter().map(Vec::len).product();
        let mut keys = Vec::with_capacity(count);
        for index in 0..count {
            self.choose(&choices, index);
            let mut key = Vec::new();
            self.render(&mut key)?;
            keys.push(key);
        }
        Ok(Some(keys))
    }

    /// Puts the values of the choice at `index` into place; the last placeholder changes fastest.
    fn choose(&mut self, choices: &[Vec<&str>], index: usize) {
        let mut rest = index;
        let mut chosen: Vec<&str> = Vec::with_capacity(choices.len());
        for options in choices.iter().rev() {
            chosen.push(options[rest % options.len()]);
            rest /= options.len();
        }
        self.values.clear();
        self.ends.clear();
        for value in chosen.into_iter().rev() {
            self.values.extend_from_slice(value.as_bytes());
            self.ends.push(self.values.len());
        }
    }

    fn render(&self, out: &mut Vec<u8>) -> Result<(), String> {
        out.clear();
        let starts = std::iter::once(&0).chain(&self.ends);
        let values = starts.zip(&self.ends).map(|(start, end)| &self.values[*start..*end]);
        self.template.render(values, out).map_err(|error| error.to_string())?;
        if out.len() > self.max_length {
            return Err(format!(
                "the key is {} bytes long, more than key_length = {} in [limits]",
                out.len(),
                self.max_length
            ));
        }
        if let Some(owner) = self.rivals.claim(out) {
            return Err(format!("its key `{}` belongs to the job `{owner}`", String::from_utf8_lossy(out)));
        }
        Ok(())
    }
}
