//! One look into a slot: what has been committed since the last one, as messages.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::Row as _;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};

use super::super::error::translate;
use super::install::{ask, with};
use super::pgoutput::{Decoder, Message};
use super::told::{Odd, Tables, Told};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::sql::quote_identifier;

/// How long it may take for an answer that needs no look into the log.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was found.
#[derive(Debug)]
pub(super) struct Peeked {
    pub(super) messages: Vec<String>,
    /// The position after the last transaction of which there is a message.
    pub(super) told: Option<u64>,
    /// The position up to which everything has been read.
    pub(super) read: u64,
    /// How long after its commit the last change was read.
    pub(super) lag: Option<Duration>,
}

/// Looks at about so many rows of what was committed between these positions, of the last transaction at all of them. Nothing is taken from the slot.
///
/// # Errors
/// What the server says; what it says and nobody understands.
pub(super) async fn peek(
    link: &mut PgConnection,
    slot: &str,
    tables: &Tables,
    positions: Range<u64>,
    rows: i32,
) -> Result<Peeked, Error> {
    const PEEK: &str = "SELECT data FROM pg_catalog.pg_logical_slot_peek_binary_changes($1, $2::pg_lsn, $3, 'proto_version', '1', 'publication_names', $4)";
    let arguments = with(with(PgArguments::default(), slot.to_owned())?, shown(positions.end))?;
    let arguments = with(with(arguments, rows)?, quote_identifier(slot))?;
    let mut found = sqlx::query_with(PEEK, arguments).persistent(false).fetch(link);
    let (mut decoder, mut told, mut count) = (Decoder::default(), Told::default(), 0);
    let (mut is_known, mut said) = (false, 0);
    let mut peeked = Peeked { messages: Vec::new(), told: None, read: positions.start, lag: None };
    while let Some(row) = found.try_next().await.map_err(translate)? {
        count += 1;
        let data: &[u8] = row.try_get("data").map_err(translate)?;
        let message = decoder.read(data).ok_or_else(|| {
            Error::new(ErrorKind::Data, "PostgreSQL says something about a change that cannot be understood")
        })?;
        match message {
            Message::Begin { commit, at } => {
                is_known = commit < positions.start;
                peeked.lag = if is_known { peeked.lag } else { since(at) };
                said = told.begin();
            }
            Message::Commit { end } => {
                peeked.read = peeked.read.max(end);
                // Nobody says when that is done of which nothing was told.
                if told.len() > said {
                    peeked.told = Some(end);
                }
            }
            Message::Changed(relation, row) if !is_known => told.changed(tables, relation, &row),
            Message::Truncated(relations) if !is_known => {
                relations.into_iter().for_each(|relation| told.truncated(tables, relation));
            }
            Message::Changed(..) | Message::Truncated(_) | Message::Other => {}
        }
    }
    if count < rows {
        peeked.read = peeked.read.max(positions.end);
    }
    Ok(Peeked { messages: told.into_messages(), ..peeked })
}

/// A position as the server writes it.
pub(super) fn shown(position: u64) -> String {
    format!("{:X}/{:X}", position >> 32, position & 0xffff_ffff)
}

/// How long ago that was: microseconds since 2000.
fn since(at: i64) -> Option<Duration> {
    const BEGIN: i64 = 946_684_800_000_000;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
    let at = Duration::from_micros(u64::try_from(at.checked_add(BEGIN)?).ok()?);
    Some(now.saturating_sub(at))
}

/// Domains over types whose text is odd, however many domains stand between.
///
/// # Errors
/// What the server says.
pub(super) async fn odd_domains(link: &mut PgConnection) -> Result<HashMap<u32, Odd>, Error> {
    const DOMAINS: &str = "WITH RECURSIVE of AS (SELECT oid, typbasetype AS base FROM pg_catalog.pg_type WHERE typtype = 'd' \
         UNION SELECT of.oid, t.typbasetype FROM of JOIN pg_catalog.pg_type t ON t.oid = of.base WHERE t.typtype = 'd') \
         SELECT oid::int8, base::int8 FROM of WHERE base IN (16, 869, 1042)";
    let rows = ask(link, DOMAINS, PgArguments::default(), PATIENCE).await?;
    let pair = |row: &PgRow| {
        let number = |column: &str| row.try_get::<i64, _>(column).map(|number| u32::try_from(number).unwrap_or(0));
        Ok((number("oid")?, Odd::of(number("base")?)))
    };
    let pairs: Vec<_> = rows.iter().map(pair).collect::<Result<_, _>>().map_err(translate)?;
    Ok(pairs.into_iter().filter_map(|(domain, odd)| Some((domain, odd?))).collect())
}
