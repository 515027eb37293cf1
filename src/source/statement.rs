//! Statements: a job's query with its parameters in Postgres' own terms.

use sqlx::postgres::{PgArguments, PgStatement, PgTypeInfo};
use sqlx::{Arguments, Either, Statement as _, TypeInfo};

use crate::ground::error::{Error, ErrorKind};
use crate::ground::row::Column;
use crate::ground::sql::{FROM, NOW, Rendered, Sql, TO};

/// `text` and `character varying`: parameters of these types need no cast.
const TEXT: &[u32] = &[25, 1043];
/// The same as arrays.
const TEXT_ARRAYS: &[u32] = &[1009, 1015];

/// A value for a parameter, as text: the server casts it to the type that it inferred for the parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// One value.
    Text(String),
    /// A whole list, for a parameter that is an array.
    List(Vec<String>),
    /// NULL.
    Nothing,
}

/// A query prepared inside one transaction; it must not be used in another, where columns may have moved.
#[derive(Debug)]
pub struct Statement {
    pub(super) prepared: PgStatement,
    sql: Sql,
    columns: Vec<Column>,
    parameters: Vec<Parameter>,
}

/// One parameter of a [`Statement`].
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parameter {
    name: String,
    array: bool,
    /// How it is read from the text that is bound to it.
    read: String,
}

impl Statement {
    /// `inferred` is the first look, whose parameters still have the types that Postgres inferred.
    pub(super) fn new(prepared: PgStatement, inferred: &PgStatement, sql: &Sql, columns: Vec<Column>) -> Self {
        let parameters = sql.parameters().into_iter().zip(types(inferred)).enumerate().map(|(i, (name, ty))| {
            let array = is_array(&ty);
            let from = if array { "text[]" } else { "text" };
            let read = read_as(i, name, Some(&ty)).unwrap_or_else(|| format!("${}::{from}", i + 1));
            Parameter { name: name.to_owned(), array, read }
        });
        let parameters = parameters.collect();
        Statement { prepared, sql: sql.clone(), columns, parameters }
    }

    /// The columns of the result.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Whether Postgres takes the parameter `name` for an array.
    pub fn takes_list(&self, name: &str) -> bool {
        self.parameters.iter().any(|parameter| parameter.name == name && parameter.array)
    }

    /// The statement as a COPY of its rows in binary; `None` for one that needs an argument, which COPY does not take. `:now` is none: it is a time of ours; nor
    /// are the ends of a range, if they are plain.
    pub(super) fn copy(&self, value: impl Fn(&str) -> Option<Argument>) -> Option<String> {
        let literal = |name: &str| match (name, value(name)?) {
            (NOW, Argument::Text(now)) if is_time(&now) => Some(format!("CAST('{now}' AS timestamptz)")),
            // Without a cast it takes the column's type.
            (FROM | TO, Argument::Text(end)) if is_plain(&end) => Some(format!("'{end}'")),
            (FROM | TO, Argument::Nothing) => Some("NULL".to_owned()),
            _ => None,
        };
        let literals = self.parameters.iter().map(|parameter| literal(&parameter.name)).collect::<Option<Vec<_>>>()?;
        let text = self.sql.with_parameters(|i, _| literals.get(i).cloned().unwrap_or_default()).text;
        // The line break ends a comment that the query may end in.
        Some(format!("COPY (\n{text}\n) TO STDOUT (FORMAT binary)"))
    }

    /// A statement that takes the same arguments and does nothing but read them; `None` if there are none.
    pub(super) fn reading_arguments(&self) -> Option<String> {
        let all: Vec<_> = self.parameters.iter().map(|parameter| parameter.read.as_str()).collect();
        (!all.is_empty()).then(|| format!("SELECT {}", all.join(", ")))
    }

    /// The arguments in the order of the parameters; `value` gives each by name.
    pub(super) fn arguments(&self, value: impl Fn(&str) -> Option<Argument>) -> Result<PgArguments, Error> {
        let mut arguments = PgArguments::default();
        for Parameter { name, .. } in &self.parameters {
            let added = match value(name) {
                Some(Argument::Text(text)) => arguments.add(text),
                Some(Argument::List(list)) => arguments.add(list),
                Some(Argument::Nothing) => arguments.add(None::<String>),
                None => return Err(Error::new(ErrorKind::Definition, format!("the parameter :{name} has no value"))),
            };
            added.map_err(|error| {
                Error::new(ErrorKind::Definition, format!("the value of :{name} cannot be bound: {error}"))
            })?;
        }
        Ok(arguments)
    }
}

/// Whether the text holds nothing but what a time consists of, so that it can stand between quotes.
fn is_time(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || b"-:.+TZ".contains(&byte))
}

/// Whether the text is one of letters, digits and hyphens, so that it can stand between quotes.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The query's text for a first look: parameters bare, so that Postgres infers their types. `:now` has its type already.
pub(super) fn bare(sql: &Sql) -> Rendered {
    sql.with_parameters(|i, name| match name {
        NOW => format!("CAST(${}::text AS timestamptz)", i + 1),
        _ => format!("${}", i + 1),
    })
}

/// The query's text with the inferred types as casts from text, `None` when it needs no other than [`bare`] has.
pub(super) fn cast(sql: &Sql, first_look: &PgStatement) -> Option<Rendered> {
    let types = types(first_look);
    if !types.iter().any(needs_cast) {
        return None;
    }
    Some(sql.with_parameters(|i, name| read_as(i, name, types.get(i)).unwrap_or_else(|| format!("${}", i + 1))))
}

/// How a parameter is cast from text, if it has to be.
fn read_as(i: usize, name: &str, ty: Option<&PgTypeInfo>) -> Option<String> {
    if name == NOW {
        return Some(format!("CAST(${}::text AS timestamptz)", i + 1));
    }
    let ty = ty.filter(|ty| needs_cast(ty))?;
    let from = if is_array(ty) { "text[]" } else { "text" };
    Some(format!("CAST(${}::{from} AS {})", i + 1, name_in_sql(ty)))
}

fn needs_cast(ty: &PgTypeInfo) -> bool {
    !ty.oid().is_some_and(|oid| TEXT.contains(&oid.0) || TEXT_ARRAYS.contains(&oid.0))
}

/// The type's name in a cast. The driver's names of some built-in types mean something else to SQL: `CHAR` is `char(1)`, and a cast to it cuts the value
/// off.
fn name_in_sql(ty: &PgTypeInfo) -> &str {
    match ty.oid().map(|oid| oid.0) {
        Some(18) => "pg_catalog.\"char\"",
        Some(1002) => "pg_catalog.\"char\"[]",
        Some(1042) => "pg_catalog.bpchar",
        Some(1014) => "pg_catalog.bpchar[]",
        Some(1560) => "pg_catalog.\"bit\"",
        Some(1561) => "pg_catalog.\"bit\"[]",
        _ => ty.name(),
    }
}

fn types(statement: &PgStatement) -> Vec<PgTypeInfo> {
    match statement.parameters() {
        Some(Either::Left(types)) => types.to_vec(),
        _ => Vec::new(),
    }
}

fn is_array(ty: &PgTypeInfo) -> bool {
    matches!(ty.kind(), sqlx::postgres::PgTypeKind::Array(_))
}
