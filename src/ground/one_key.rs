//! A job narrowed to one of its keys: what is read, and what is made of it, when a single key is to be filled or looked at.
//!
//! Where the key's columns come from rows, they become a condition around the job's query. That is always right, whatever the query does, since a condition on the
//! result only takes rows away; and PostgreSQL moves it inward as far as that changes nothing, so that an index can find the row. Only a query that leaves
//! rows out by their number (`LIMIT`) would make the answer depend on the other rows: such a job names a `fill_query`, which gives the rows of one key
//! by itself.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use super::guard::Guard;
use super::job::{Job, Parameter, Values, Verify};
use super::sql::{Sql, leaves_out, quote_identifier};
use super::value::ValueShape;

/// What begins the name of a parameter that a column of the key is compared with.
const KEY: &str = "warm_key_";

/// Why a key cannot be filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfillable {
    /// The job's template makes no such key.
    NotItsKey(String),
    /// The job does not say how a single key is filled.
    NoFillQuery(String),
}

impl fmt::Display for Unfillable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfillable::NotItsKey(why) | Unfillable::NoFillQuery(why) => f.write_str(why),
        }
    }
}

impl Job {
    /// The columns of the key: its placeholders that are neither parameters nor a page's number.
    pub fn key_columns(&self) -> impl Iterator<Item = &str> {
        let names = self.key.names().iter().map(String::as_str);
        names.filter(|name| self.parameter(name).is_none() && !self.is_page_number(name))
    }

    /// Why a single key cannot be filled from the job's own query, if it cannot and there is no other.
    pub fn lacks_fill_query(&self) -> Option<String> {
        let column = self.key_columns().next().filter(|_| self.fill_query.is_none())?;
        let word = leaves_out(self.query.text()).map(|word| self.query.text()[word].to_uppercase())?;
        Some(format!(
            "the query leaves rows out ({word}), so that it cannot tell the row of one `{{{column}}}` from one that does not exist; name a `fill_query` that gives it"
        ))
    }

    /// The same job for no key in particular: what can be said of it without one.
    pub fn for_any_key(&self) -> Job {
        let names = self.key.names().iter().filter(|name| !self.is_page_number(name));
        let parameter = |name: &String| Parameter { name: name.clone(), values: Values::List(vec!["1".to_owned()]) };
        Job { for_each: names.map(parameter).collect(), on_demand: false, ..self.clone() }
    }

    /// The same job for one of its keys, given without the installation's prefix.
    ///
    /// # Errors
    /// Why it cannot be filled.
    pub fn for_key(&self, key: &[u8]) -> Result<Job, Unfillable> {
        let foreign = |why: &str| Unfillable::NotItsKey(format!("it is no key of the job {}: {why}", self.name));
        let values = self.key.matches(key).ok_or_else(|| foreign(&format!("the job's keys are `{}`", self.key)))?;
        let values: Option<Vec<_>> = values.into_iter().map(|value| std::str::from_utf8(value).ok()).collect();
        let values = values.ok_or_else(|| foreign("it is not UTF-8"))?;
        let parts: Vec<(&str, &str)> = self.key.names().iter().map(String::as_str).zip(values).collect();
        if let Some(why) = self.lacks_fill_query() {
            return Err(Unfillable::NoFillQuery(why));
        }
        let page = match self.value.page_size() {
            Some(size) => Some((size, page_number(&parts, self).ok_or_else(|| foreign("a page's number is 1, 2, …"))?)),
            None => None,
        };
        let (text, compared) = self.text_for_key(page);
        let sql = Sql::parse(&text).map_err(|error| Unfillable::NoFillQuery(error.message))?;
        let value_of =
            |name: &str| parts.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
        Ok(Job {
            query: sql.on(self.fill_query.as_ref().unwrap_or(&self.query).lines()),
            columns_of: self.fill_query.is_some().then(|| self.query.clone()),
            fill_query: None,
            on_demand: false,
            for_each: self.parameters_for_key(&parts, &compared, value_of),
            value: if page.is_some() { ValueShape::Rows } else { self.value.clone() },
            verify: if self.verify == Verify::None { Verify::None } else { Verify::Requery },
            partition: None,
            guard: Guard::default(),
            sweep: false,
            refresh_ahead: None,
            predict: None,
            only: Some(Arc::from(key)),
            ..self.clone()
        })
    }

    /// The query for one key, and the columns that it is compared by.
    fn text_for_key(&self, page: Option<(NonZeroUsize, u64)>) -> (String, Vec<&str>) {
        let mut text = self.fill_query.as_ref().unwrap_or(&self.query).text().to_owned();
        let compared: Vec<&str> = if self.fill_query.is_none() { self.key_columns().collect() } else { Vec::new() };
        let conditions: Vec<String> = compared
            .iter()
            .enumerate()
            .map(|(i, column)| format!("q.{} = :{KEY}{i}", quote_identifier(column)))
            .collect();
        if !conditions.is_empty() {
            // The line break ends a comment that the query may end in.
            text = format!("SELECT * FROM (\n{text}\n) AS q WHERE {}", conditions.join(" AND "));
        }
        if let Some((size, number)) = page {
            let before = u64::try_from(size.get()).unwrap_or(u64::MAX).saturating_mul(number - 1);
            text = format!("SELECT * FROM (\n{text}\n) AS p LIMIT {size} OFFSET {}", before.min(i64::MAX as u64));
        }
        (text, compared)
    }

    fn parameters_for_key(
        &self,
        parts: &[(&str, &str)],
        compared: &[&str],
        value_of: impl Fn(&str) -> Option<String>,
    ) -> Vec<Parameter> {
        let single = |name: &str, value: String| Parameter { name: name.to_owned(), values: Values::List(vec![value]) };
        // What is compared comes from the row, so that `event:01` is not taken for `event:1`.
        let given = parts.iter().filter(|(name, _)| !compared.contains(name));
        let given = given.map(|(name, value)| single(name, (*value).to_owned()));
        let own = self.for_each.iter().filter(|own| self.fill_query.is_none() && value_of(&own.name).is_none());
        let columns =
            compared.iter().enumerate().filter_map(|(i, name)| Some(single(&format!("{KEY}{i}"), value_of(name)?)));
        given.chain(own.cloned()).chain(columns).collect()
    }
}

/// The number of the page that the key is of.
fn page_number(parts: &[(&str, &str)], job: &Job) -> Option<u64> {
    let (_, text) = parts.iter().find(|(name, _)| job.is_page_number(name))?;
    let number = text.parse::<u64>().ok().filter(|number| *number > 0)?;
    // `01` and `+1` are no pages.
    (number.to_string() == *text).then_some(number)
}
