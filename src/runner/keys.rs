//! The key of a row: parameters and columns put into the job's template, and the checks that keep it inside the job.
//!
//! Where arrays are cut into pages, rows of one group have the key of its first page in common; the keys of the others are made from that one.

use crate::encode::KeyText;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::job::Job;
use crate::ground::key::{KeyTemplate, PAGE};
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
    /// The number of the page on which the row stands.
    Page,
    Column {
        index: usize,
        name: String,
        text: KeyText,
    },
}

/// The number of the first page.
const FIRST: &[u8] = b"1";

/// The columns that the job's key is made of, by name: placeholders that are no parameter, or one whose whole list is bound at once.
pub(super) fn key_columns(job: &Job, statement: &Statement) -> Vec<String> {
    // Whose key is asked for is told by the row, so that none is taken for another (`event:01`).
    let is_given = |name: &String| statement.columns().iter().any(|column| column.name == *name);
    let told_by_row = |name: &String| job.only.is_some() && !job.value.is_array() && is_given(name);
    let is_parameter =
        |name: &String| job.parameter(name).is_some() && !statement.takes_list(name) && !told_by_row(name);
    let from_row = |name: &&String| !job.is_page_number(name) && !is_parameter(name);
    job.key.names().iter().filter(from_row).cloned().collect()
}

/// Makes sure that `{page}` is either the page's number or a column, but not both, and not nothing.
///
/// # Errors
/// What it is taken for, and the way out.
pub(super) fn check_page(job: &Job, columns: &[Column]) -> Result<(), String> {
    let is_column = columns.iter().any(|column| column.name == PAGE);
    let from_row = job.key.names().iter().any(|name| name == PAGE) && job.parameter(PAGE).is_none();
    match job.value.page_size() {
        Some(_) if is_column => Err(format!(
            "the query gives a column `{PAGE}`, but with `paginate` that is the page's number in the key; give the column another name (AS)"
        )),
        None if from_row && !is_column => Err(format!(
            "the key `{}` needs a column `{PAGE}`, which the query does not give; if it is to be a page's number, say value = \"rows\" and how many rows make a page: `paginate = 20`",
            job.key
        )),
        _ => Ok(()),
    }
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
            if job.is_page_number(name) {
                return Ok(Part::Page);
            }
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

    /// Writes the row's key into `out`, which is emptied first: the first page's, where there are pages.
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
                Part::Page => self.values.extend_from_slice(FIRST),
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

    /// Writes the key of a page into `out`, which is emptied first; `first` is that of the group's first page.
    ///
    /// # Errors
    /// Why the page can have no key, for people.
    pub fn of_page(&self, first: &[u8], number: u64, out: &mut Vec<u8>) -> Result<(), String> {
        let number = number.to_string();
        let values = self.template.matches(first).unwrap_or_default();
        let values = values.iter().zip(&self.parts).map(|(value, part)| match part {
            Part::Page => number.as_bytes(),
            Part::Parameter(_) | Part::Column { .. } => value,
        });
        self.render_values(values, out)
    }

    /// The keys that exist even without a row, because they are made of parameters only: for one combination, every member of the lists in
    /// the key, on the first page where there are pages. `None` when a column is in the key.
    ///
    /// # Errors
    /// Why a parameter's value can make no key, for people.
    pub fn known_beforehand(
        &mut self,
        plan: &Plan,
        combination: Combination<'_>,
    ) -> Result<Option<Vec<Vec<u8>>>, String> {
        let mut choices: Vec<Vec<&[u8]>> = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            choices.push(match part {
                Part::Parameter(name) => vec![combination.single(name).unwrap_or_default().as_bytes()],
                Part::Page => vec![FIRST],
                Part::Column { name, .. } => match plan.list(name) {
                    Some(members) => members.iter().map(String::as_bytes).collect(),
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
    fn choose(&mut self, choices: &[Vec<&[u8]>], index: usize) {
        let mut rest = index;
        let mut chosen: Vec<&[u8]> = Vec::with_capacity(choices.len());
        for options in choices.iter().rev() {
            chosen.push(options[rest % options.len()]);
            rest /= options.len();
        }
        self.values.clear();
        self.ends.clear();
        for value in chosen.into_iter().rev() {
            self.values.extend_from_slice(value);
            self.ends.push(self.values.len());
        }
    }

    fn render(&self, out: &mut Vec<u8>) -> Result<(), String> {
        let starts = std::iter::once(&0).chain(&self.ends);
        let values = starts.zip(&self.ends).map(|(start, end)| &self.values[*start..*end]);
        self.render_values(values, out)
    }

    fn render_values<'v>(
        &self,
        values: impl Iterator<Item = &'v [u8]> + Clone,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        out.clear();
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
