//! One look into a slot: what has been committed since the last one, as messages.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::Row as _;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};

use tokio::time::sleep;

use super::super::error::translate;
use super::install::{PATIENCE, ask, with};
use super::pgoutput::{Decoder, Message};
use super::told::{Odd, Tables, Told};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::sql::quote_identifier;

/// How long it is waited for a commit to be seen before it is looked again: the first time, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// What was found.
#[derive(Debug)]
pub(super) struct Peeked {
    pub(super) messages: Vec<String>,
    /// The position after the last transaction of which there is a message.
    pub(super) told: Option<u64>,
    /// The numbers of the transactions of which there are messages.
    pub(super) transactions: Vec<u32>,
    /// The position up to which everything has been read, and whether that is all there is.
    pub(super) read: u64,
    pub(super) is_all: bool,
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
    let (mut is_known, mut said, mut number) = (false, 0, 0);
    let mut peeked = Peeked {
        messages: Vec::new(),
        told: None,
        transactions: Vec::new(),
        read: positions.start,
        is_all: false,
        lag: None,
    };
    while let Some(row) = found.try_next().await.map_err(translate)? {
        count += 1;
        let data: &[u8] = row.try_get("data").map_err(translate)?;
        let message = decoder.read(data).ok_or_else(|| {
            Error::new(ErrorKind::Data, "PostgreSQL says something about a change that cannot be understood")
        })?;
        match message {
            Message::Begin { commit, at, xid } => {
                number = xid;
                is_known = commit < positions.start;
                peeked.lag = if is_known { peeked.lag } else { since(at) };
                said = told.begin();
            }
            Message::Commit { end } => {
                peeked.read = peeked.read.max(end);
                // Nobody says when that is done of which nothing was told.
                if told.len() > said {
                    peeked.told = Some(end);
                    peeked.transactions.push(number);
                }
            }
            Message::Changed(relation, row) if !is_known => told.changed(tables, relation, &row),
            Message::Truncated(relations) if !is_known => {
                relations.into_iter().for_each(|relation| told.truncated(tables, relation));
            }
            Message::Changed(..) | Message::Truncated(_) | Message::Other => {}
        }
    }
    peeked.is_all = count < rows;
    if peeked.is_all {
        peeked.read = peeked.read.max(positions.end);
    }
    Ok(Peeked { messages: told.into_messages(), ..peeked })
}

/// Waits until everybody sees what these transactions have done. The log has a commit a moment before that, or long before if a standby has to confirm it: a reader who finds no key meanwhile would find the row as it was.
///
/// # Errors
/// What the server says.
pub(super) async fn wait_until_visible(link: &mut PgConnection, transactions: &[u32]) -> Result<(), Error> {
    let mut pause = PAUSES.0;
    loop {
        let rows = ask(link, "SELECT pg_catalog.pg_current_snapshot()::text AS now", PgArguments::default(), PATIENCE);
        let now = rows.await?.first().and_then(|row| row.try_get::<String, _>("now").ok());
        let snapshot = now.as_deref().and_then(Seen::parse).ok_or_else(|| {
            Error::new(ErrorKind::Data, "PostgreSQL says something about transactions that cannot be understood")
        })?;
        if transactions.iter().all(|number| snapshot.sees(*number)) {
            return Ok(());
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Which transactions a snapshot sees, by the lower halves of their numbers, which are what the log has.
struct Seen {
    /// The first one that has not begun.
    next: u32,
    open: Vec<u32>,
}

impl Seen {
    /// `xmin:xmax:xip,…`
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':').skip(1);
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        let number = |text: &str| text.parse::<u64>().ok().map(|number| number as u32);
        let next = number(parts.next()?)?;
        let open = parts.next()?.split(',').filter(|text| !text.is_empty()).map(number).collect::<Option<_>>()?;
        Some(Seen { next, open })
    }

    fn sees(&self, number: u32) -> bool {
        // Numbers go round: what is less than half of them ahead has not begun.
        let is_before = self.next.wrapping_sub(number).wrapping_sub(1) < u32::MAX / 2;
        is_before && !self.open.contains(&number)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_seen_when_it_is_over() {
        let seen = Seen::parse("700:705:700,703").expect("a snapshot");
        let of = |seen: &Seen, numbers: &[u32]| numbers.iter().map(|number| seen.sees(*number)).collect::<Vec<_>>();
        assert_eq!(of(&seen, &[699, 700, 701, 703, 704, 705, 706]), [true, false, true, false, true, false, false]);
        // Beyond the first round, and around its end.
        let seen = Seen::parse("4294967290:4294967298:4294967297").expect("a snapshot");
        assert_eq!(of(&seen, &[u32::MAX, 0, 1, 2]), [true, true, false, false]);
        assert!(Seen::parse("7:7:").is_some_and(|seen| seen.sees(6) && !seen.sees(7)));
        assert!(Seen::parse("").is_none() && Seen::parse("7:x:").is_none());
    }
}
