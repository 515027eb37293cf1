//! From a job's definition and a database to something that can be run: statement, encoder, and where the columns are that matter.

use std::borrow::Cow;
use std::fmt::Write;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::keys::{Keys, check_page, key_columns};
use crate::encode::{self, Encoder, Format, RowError, ValueSpec};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::history::NamedType;
use crate::ground::job::{Job, Partition, Verify, Version};
use crate::ground::keyspace::Rivals;
use crate::ground::row::{Column, Row};
use crate::ground::sql::{Sql, as_sub_select, quote_identifier, ranged};
use crate::ground::value::ValueShape;
use crate::seal::{SealError, Sealer};
use crate::source::{Snapshot, Statement};

/// A job's statement, ready to run in its snapshot.
pub struct Prepared {
    /// The statement that gives the rows.
    pub statement: Statement,
    /// The columns of the job's own query, which the format may have rewritten.
    pub columns: Vec<NamedType>,
    /// Columns that the key is made of.
    pub key_columns: Vec<String>,
    /// Turns a row into a value; `None` when only keys and versions are read.
    pub encoder: Option<Encoder>,
    /// The statement that gives keys and versions only, for a job that names a version.
    narrow: Option<Sql>,
}

/// Prepares a job's query and compiles its encoder; `warm check` does the same and stops there.
///
/// # Errors
/// What the server says about the query; a column whose type the format does not know, or that is missing.
pub async fn prepare(job: &Job, snapshot: &mut Snapshot) -> Result<Prepared, Error> {
    let definition =
        |error: &dyn std::fmt::Display| Error::new(ErrorKind::Definition, error.to_string()).at_line(job.query.line(0));
    let format: &'static dyn Format = encode::format(job.format)
        .ok_or_else(|| definition(&format_args!("the format `{}` is unknown", job.format)))?;
    can_be_verified(job, snapshot)?;
    let mut statement = snapshot.prepare(&job.query).await?;
    let columns: Vec<_> = statement.columns().iter().map(NamedType::from).collect();
    if let Some(sql) = &job.columns_of {
        let wanted = snapshot.prepare(sql).await?;
        let wanted: Vec<_> = wanted.columns().iter().map(NamedType::from).collect();
        same_columns(&wanted, &columns).map_err(|message| definition(&message))?;
    }
    check_page(job, statement.columns()).map_err(|message| definition(&message))?;
    let key_columns = key_columns(job, &statement);
    if let Some(Partition { column, at, .. }) = &job.partition {
        check_once(column, &columns).map_err(|message| definition(&message).at_place(at))?;
        let ranged = Sql::parse(&text_of(job)).map_err(|error| definition(&error.message))?;
        statement = snapshot.prepare(&ranged).await?;
    }
    let narrow = narrow(job, statement.columns(), &key_columns)?;
    let mut beside = key_columns.clone();
    beside.extend(version(job).map(|version| version.column.clone()).filter(|name| !key_columns.contains(name)));
    let spec = ValueSpec {
        shape: &job.value,
        key_type: &job.key_type,
        hide: &job.hide,
        key_columns: &beside,
        bigint: job.bigint,
    };
    if let Some(text) =
        encode::rewrite(format, &text_of(job), statement.columns(), &spec).map_err(|error| definition(&error))?
    {
        let sql = Sql::parse(&text).map_err(|error| definition(&error.message))?;
        statement = snapshot.prepare(&sql).await?;
    }
    let encoder = Encoder::new(format, statement.columns(), &spec).map_err(|error| definition(&error))?;
    Ok(Prepared { statement, columns, key_columns, encoder: Some(encoder), narrow })
}

/// Makes sure that a query that gives the rows of one key has the columns of the job's own: else the same key would get another value.
///
/// # Errors
/// The first column that differs.
pub fn same_columns(wanted: &[NamedType], given: &[NamedType]) -> Result<(), String> {
    let all = wanted.len().max(given.len());
    let Some(place) = (0..all).find(|at| wanted.get(*at) != given.get(*at)) else { return Ok(()) };
    let show = |column: Option<&NamedType>| match column {
        Some(NamedType { name, ty }) => format!("`{name}` ({ty})"),
        None => "none".to_owned(),
    };
    Err(format!(
        "column {} of fill_query is {}, and that of query is {}: the same key would get another value; let both give the same columns in the same order",
        place + 1,
        show(given.get(place)),
        show(wanted.get(place))
    ))
}

/// What is read from a standby can be verified only if its primary is known.
///
/// # Errors
/// [`ErrorKind::Definition`] if it cannot be, and is to be.
pub(super) fn can_be_verified(job: &Job, snapshot: &Snapshot) -> Result<(), Error> {
    if job.verify != Verify::None && snapshot.state().standby && snapshot.primary().is_none() {
        let message = "PostgreSQL is a standby, which shows changes late, so that nothing read from it can be verified; name its primary as primary_url in [postgres], or say verify = \"none\"";
        return Err(Error::new(ErrorKind::Definition, message));
    }
    Ok(())
}

/// The text of the query that is run: the job's own, or that of a part of it.
pub(super) fn text_of(job: &Job) -> Cow<'_, str> {
    match &job.partition {
        Some(Partition { column, .. }) => Cow::Owned(ranged(job.query.text(), column)),
        None => Cow::Borrowed(job.query.text()),
    }
}

/// A column whose ranges are read must be there, and without doubt.
fn check_once(column: &str, columns: &[NamedType]) -> Result<(), String> {
    let found = columns.iter().filter(|other| other.name == column).count();
    match found {
        0 => Err(format!("`partition_by` reads ranges of the column `{column}`, which the query does not give")),
        1 => Ok(()),
        _ => Err(format!(
            "`partition_by` reads ranges of the column `{column}`, and the query gives several of this name; give each an alias of its own"
        )),
    }
}

impl Prepared {
    /// The same job, read for keys and versions only.
    ///
    /// # Errors
    /// What the server says about the query.
    pub(super) async fn narrowed(&self, snapshot: &mut Snapshot) -> Result<Option<Prepared>, Error> {
        let Some(sql) = &self.narrow else { return Ok(None) };
        let statement = snapshot.prepare(sql).await?;
        let (key_columns, narrow) = (self.key_columns.clone(), self.narrow.clone());
        Ok(Some(Prepared { statement, columns: Vec::new(), key_columns, encoder: None, narrow }))
    }

    /// How its rows are taken; can be asked for once.
    ///
    /// # Errors
    /// A placeholder of the key that is neither a parameter nor a column; values that are to be encrypted, and no key for that.
    pub(super) fn reading<'j>(
        &mut self,
        job: &'j Job,
        rivals: Rivals,
        max_length: usize,
        key_prefix: &str,
    ) -> Result<Reading<'j>, Error> {
        let columns = self.statement.columns();
        let keys = Keys::new(job, columns, &self.key_columns, rivals, max_length)?;
        let version = version(job).and_then(|version| columns.iter().position(|column| column.name == version.column));
        let encoder = self.encoder.take();
        // Without values there is nothing to seal.
        let sealer = if encoder.is_some() { Sealer::new(&job.sealing, key_prefix)? } else { None };
        Ok(Reading { keys, encoder, sealer, version })
    }
}

/// How the rows of one statement are taken.
pub(super) struct Reading<'a> {
    pub(super) keys: Keys<'a>,
    /// Turns rows into values; `None` when only keys and versions are read.
    pub(super) encoder: Option<Encoder>,
    /// Compresses and encrypts values, where the job asks for it.
    pub(super) sealer: Option<Sealer>,
    /// The column with a row's version.
    pub(super) version: Option<usize>,
}

impl Reading<'_> {
    /// Appends the row's value; nothing where only versions are read.
    pub(super) fn value_of(&self, row: &impl Row, out: &mut Vec<u8>, room: usize) -> Result<(), RowError> {
        self.encoder.as_ref().map_or(Ok(()), |encoder| encoder.row(row, out, room))
    }

    /// Seals the value at this key, which begins at `from` and goes on to the end of `out`; leaves it as it is where the job does not ask for it.
    pub(super) fn seal(&mut self, key: &[u8], out: &mut Vec<u8>, from: usize) -> Result<(), SealError> {
        self.sealer.as_mut().map_or(Ok(()), |sealer| sealer.seal(key, out, from))
    }

    /// The fingerprint of the row's version, on top of that of the rows before it.
    pub(super) fn version_of(&self, row: &impl Row, before: Option<u64>) -> Option<u64> {
        let version = self.version.map(|column| row.value(column));
        version.map(|version| match version {
            Some(bytes) => xxh3_64_with_seed(bytes, before.unwrap_or(1)),
            None => xxh3_64_with_seed(b"", before.unwrap_or(1) ^ u64::MAX),
        })
    }
}

fn version(job: &Job) -> Option<&Version> {
    match &job.verify {
        Verify::Version(version) => Some(version),
        Verify::Requery | Verify::None => None,
    }
}

/// A select around the job's query that gives the columns of key and version.
fn narrow(job: &Job, columns: &[Column], key_columns: &[String]) -> Result<Option<Sql>, Error> {
    let Some(Version { column: version, at }) = version(job) else { return Ok(None) };
    let definition = |message| Error::new(ErrorKind::Definition, message);
    let mut text = String::from("SELECT ");
    for (place, name) in key_columns.iter().filter(|name| *name != version).chain([version]).enumerate() {
        let mut found = columns.iter().enumerate().filter(|(_, column)| column.name == *name);
        match (found.next(), found.next()) {
            (Some((index, _)), None) => {
                let comma = if place == 0 { "" } else { ", " };
                let _ = write!(text, "{comma}q.c{index} AS {}", quote_identifier(name));
            }
            (None, _) if name == version => return Err(definition(no_version(job, name, columns)).at_place(at)),
            // Others say so of a column of the key.
            (None, _) => return Ok(None),
            (Some(_), Some(_)) => {
                let message = format!(
                    "verify compares the column `{version}`, for which `{name}` is read again, and the query gives `{name}` more than once; give all but one of them another name (AS)"
                );
                return Err(definition(message).at_line(job.query.line(0)));
            }
        }
    }
    let _ = write!(text, " FROM {}", as_sub_select(&text_of(job), columns.len()));
    Sql::parse(&text).map(Some).map_err(|error| definition(error.message))
}

/// The query does not give the column with the version: what it gives, and what to add.
fn no_version(job: &Job, version: &str, columns: &[Column]) -> String {
    let known: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    let is_in_value = !matches!(job.value, ValueShape::Column(_)) && !job.hide.iter().any(|hidden| hidden == version);
    let hide = match is_in_value {
        true => format!("; hide = [\"{version}\"] keeps it out of the value"),
        false => String::new(),
    };
    format!(
        "verify compares the column `{version}`, which the query does not give; it gives {}: add {} to its SELECT{hide}",
        known.join(", "),
        quote_identifier(version)
    )
}
