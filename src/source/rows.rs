//! The rows of a running statement.
//!
//! A statement that needs no argument is run as `COPY (…) TO STDOUT (FORMAT binary)`: the same values in the same form, but the driver hands each row
//! through as it came, whereas it gives a row of the extended protocol several allocations and a look-up for each value, which together cost more than
//! encoding. COPY takes no parameters; a statement with some is bound and fetched.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, once};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Row as _, ValueRef as _};
use tokio::time::timeout;

use super::error::{late, silence, translate, translate_secret};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::job::Reads;
use crate::ground::row::Row;

/// The rows of a running statement.
pub struct Rows<'s> {
    stream: Stream<'s>,
    /// How long the server is waited for at most: by then its own time-out should have ended the statement.
    patience: Duration,
    reads: Reads,
    /// Rows so far.
    given: u64,
    /// The row that was given last: the next one uses its memory again.
    last: Option<SourceRow>,
    /// Whether the server is still at work.
    busy: &'s mut bool,
}

enum Stream<'s> {
    Fetched(BoxStream<'s, Result<PgRow, sqlx::Error>>),
    Copied { messages: BoxStream<'s, Result<Bytes, sqlx::Error>>, begun: bool, ended: bool },
}

/// What the server sent next.
enum Message {
    Fetched(PgRow),
    Copied(Bytes),
}

impl<'s> Rows<'s> {
    /// Rows that the driver takes apart.
    pub(super) fn fetched(
        stream: BoxStream<'s, Result<PgRow, sqlx::Error>>,
        patience: Duration,
        reads: Reads,
        busy: &'s mut bool,
    ) -> Self {
        Rows::new(Stream::Fetched(stream), patience, reads, busy)
    }

    /// Rows that come out of COPY. The statement is sent when the first one is asked for.
    pub(super) fn copied(
        connection: &'s mut PgConnection,
        copy: String,
        patience: Duration,
        reads: Reads,
        busy: &'s mut bool,
    ) -> Self {
        let messages = once(async move { connection.copy_out_raw(&copy).await }).try_flatten().boxed();
        Rows::new(Stream::Copied { messages, begun: false, ended: false }, patience, reads, busy)
    }

    fn new(stream: Stream<'s>, patience: Duration, reads: Reads, busy: &'s mut bool) -> Self {
        *busy = true;
        Rows { stream, patience, reads, given: 0, last: None, busy }
    }

    /// The next row; `None` only after the server has said that there are no more.
    ///
    /// # Errors
    /// What the server says, that the connection broke, or that the server stays silent.
    pub async fn next(&mut self) -> Result<Option<&SourceRow>, Error> {
        loop {
            let Some(message) = self.message().await? else {
                *self.busy = false;
                return Ok(None);
            };
            match message {
                Message::Fetched(row) => self.last = Some(SourceRow::Fetched(row)),
                Message::Copied(bytes) => {
                    if !self.take(bytes)? {
                        continue;
                    }
                }
            }
            self.given += 1;
            return Ok(self.last.as_ref());
        }
    }

    /// The row that [`Rows::next`] gave last, to be kept.
    pub fn take_last(&mut self) -> Option<SourceRow> {
        self.last.take()
    }

    /// Reads to the end and keeps nothing: before that, the connection can be used for nothing else.
    ///
    /// # Errors
    /// As [`Rows::next`].
    pub async fn pass_over(mut self) -> Result<(), Error> {
        while self.message().await?.is_some() {}
        *self.busy = false;
        Ok(())
    }

    /// What comes next; `None` at the end.
    async fn message(&mut self) -> Result<Option<Message>, Error> {
        // Most rows are at hand already, and setting an alarm costs more than looking.
        let next = match self.stream.next().now_or_never() {
            Some(next) => next,
            None => {
                // From now on: until here, the row before was on its way, which is not the server's fault.
                let own = if self.given == 0 { self.reads.timeouts.first } else { self.reads.timeouts.next };
                // After a time-out the connection is closed with the snapshot, and the server ends the query.
                timeout(own.unwrap_or(self.patience), self.stream.next()).await.map_err(|_| {
                    own.map_or_else(|| silence("waiting for a row", self.patience), |limit| late(self.given, limit))
                })?
            }
        };
        match next {
            Ok(message) => Ok(message),
            Err(error) => {
                // What the server itself says is its last word about the query.
                *self.busy = error.as_database_error().is_none();
                Err(if self.reads.secret { translate_secret(error) } else { translate(error) })
            }
        }
    }

    /// Takes a message of COPY in; whether it holds a row.
    fn take(&mut self, bytes: Bytes) -> Result<bool, Error> {
        let Stream::Copied { begun, ended, .. } = &mut self.stream else { return Ok(false) };
        let mut row = match self.last.take() {
            Some(SourceRow::Copied(row)) => row,
            _ => CopiedRow::default(),
        };
        let head = if std::mem::replace(begun, true) { 0 } else { head(&bytes).ok_or_else(garbled)? };
        let found = if *ended { None } else { row.read(bytes, head) };
        self.last = Some(SourceRow::Copied(row));
        match found {
            Some(Found::Row) => Ok(true),
            Some(Found::Nothing) => Ok(false),
            Some(Found::End) => {
                *ended = true;
                Ok(false)
            }
            None => Err(garbled()),
        }
    }
}

impl Stream<'_> {
    async fn next(&mut self) -> Result<Option<Message>, sqlx::Error> {
        match self {
            Stream::Fetched(rows) => Ok(rows.next().await.transpose()?.map(Message::Fetched)),
            Stream::Copied { messages, .. } => Ok(messages.next().await.transpose()?.map(Message::Copied)),
        }
    }
}

fn garbled() -> Error {
    Error::new(ErrorKind::PostgresLost, "PostgreSQL's answer was not understood: a row is not in COPY's binary format")
}

/// A row as it came from the server.
pub enum SourceRow {
    /// Taken apart by the driver.
    Fetched(PgRow),
    /// As COPY sends it.
    Copied(CopiedRow),
}

impl SourceRow {
    /// The bytes that keeping it costs, roughly.
    pub fn bytes(&self) -> usize {
        /// What is kept beside the values: of a row, and of each column.
        const OVERHEAD: (usize, usize) = (128, 16);
        let columns = match self {
            SourceRow::Fetched(row) => row.len(),
            SourceRow::Copied(row) => row.fields.len(),
        };
        let values = (0..columns).map(|index| self.value(index).map_or(0, <[u8]>::len) + OVERHEAD.1);
        OVERHEAD.0 + values.sum::<usize>()
    }
}

impl Row for SourceRow {
    #[inline]
    fn value(&self, index: usize) -> Option<&[u8]> {
        match self {
            SourceRow::Fetched(row) => row.try_get_raw(index).ok().filter(|value| !value.is_null())?.as_bytes().ok(),
            SourceRow::Copied(row) => row.value(index),
        }
    }
}

/// A row in COPY's binary format (PostgreSQL documentation, COPY, "Binary Format"): the number of fields, and each behind its length, -1 for NULL.
#[derive(Debug, Default)]
pub struct CopiedRow {
    bytes: Bytes,
    /// Where each value stands; `None` for NULL.
    fields: Vec<Option<Range<u32>>>,
}

/// What a message held.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Row,
    /// Only the head of them all.
    Nothing,
    /// The mark behind the last row.
    End,
}

impl CopiedRow {
    /// Takes a message in, behind so many bytes of head. Each is a row of its own (PostgreSQL documentation, "Message Formats", CopyData). `None` for one that
    /// is none.
    fn read(&mut self, bytes: Bytes, head: usize) -> Option<Found> {
        self.fields.clear();
        self.bytes = bytes;
        if self.bytes.len() == head {
            return Some(Found::Nothing);
        }
        let message = self.bytes.as_ref();
        let mut at = head + 2;
        let count = i16::from_be_bytes(*message.get(head..)?.first_chunk()?);
        if count == -1 {
            return (at == message.len()).then_some(Found::End);
        }
        for _ in 0..count {
            let length = i32::from_be_bytes(*message.get(at..)?.first_chunk()?);
            at += 4;
            if length == -1 {
                self.fields.push(None);
                continue;
            }
            let end = at.checked_add(usize::try_from(length).ok()?).filter(|end| *end <= message.len())?;
            self.fields.push(Some(u32::try_from(at).ok()?..u32::try_from(end).ok()?));
            at = end;
        }
        (at == message.len()).then_some(Found::Row)
    }

    #[inline]
    fn value(&self, index: usize) -> Option<&[u8]> {
        let Range { start, end } = self.fields.get(index)?.as_ref()?;
        self.bytes.get(*start as usize..*end as usize)
    }
}

/// How long the head of a COPY is that stands before its first row: the signature, flags that must not be critical, and an extension.
fn head(bytes: &[u8]) -> Option<usize> {
    const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
    let rest = bytes.strip_prefix(SIGNATURE)?;
    let (flags, rest) = rest.split_first_chunk()?;
    let (extension, rest) = rest.split_first_chunk()?;
    // Only the lower half may be ignored by those who do not know a flag.
    if u32::from_be_bytes(*flags) >> 16 != 0 {
        return None;
    }
    let extension = usize::try_from(i32::from_be_bytes(*extension)).ok()?;
    rest.get(extension..)?;
    Some(SIGNATURE.len() + 8 + extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the server sends it: signature, no flags, no extension.
    const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

    fn message(head: &[u8], rest: &[u8]) -> Bytes {
        Bytes::from([head, rest].concat())
    }

    #[test]
    fn a_row_is_its_values_behind_their_lengths() {
        let mut row = CopiedRow::default();
        let first = b"\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(head(HEAD), Some(HEAD.len()));
        assert_eq!(row.read(message(HEAD, first), HEAD.len()), Some(Found::Row));
        let values = |row: &CopiedRow| (0..4).map(|index| row.value(index).map(<[u8]>::to_vec)).collect::<Vec<_>>();
        assert_eq!(values(&row), [Some(b"ab".to_vec()), None, Some(Vec::new()), None]);
        assert_eq!(row.read(message(b"", b"\0\x01\0\0\0\x01c"), 0), Some(Found::Row));
        assert_eq!(values(&row), [Some(b"c".to_vec()), None, None, None], "nothing is left of the row before");
        assert_eq!(row.read(message(b"", b"\0\0"), 0), Some(Found::Row), "a row without columns");
        assert_eq!(row.read(message(b"", b"\xff\xff"), 0), Some(Found::End));
        assert_eq!(row.read(message(HEAD, b""), HEAD.len()), Some(Found::Nothing));
    }

    #[test]
    fn what_is_cut_short_or_too_long_is_no_row() {
        let whole = b"\0\x02\0\0\0\x02ab\0\0\0\x01c";
        let mut row = CopiedRow::default();
        assert_eq!(row.read(message(b"", whole), 0), Some(Found::Row));
        for length in 1..whole.len() {
            assert_eq!(row.read(message(b"", &whole[..length]), 0), None, "{length} bytes");
        }
        for other in [&b"\0\x01\0\0\0\x01ab"[..], b"\0\x01\xff\xff\xff\xfea", b"\0\x01\x7f\xff\xff\xffa", b"\xff\xffa"]
        {
            assert_eq!(row.read(message(b"", other), 0), None, "{other:?}");
        }
    }

    #[test]
    fn a_head_with_a_critical_flag_or_another_signature_is_refused() {
        let mut other = HEAD.to_vec();
        other[13] = 1;
        assert_eq!(head(&other), Some(HEAD.len()), "a flag that may be ignored");
        other[12] = 1;
        assert_eq!(head(&other), None);
        assert_eq!(head(b"PGCOPX\n\xff\r\n\0\0\0\0\0\0\0\0\0"), None);
        assert_eq!(head(&HEAD[..15]), None);
        assert_eq!(head(&[&HEAD[..15], b"\0\0\0\x02xy"].concat()), Some(21), "an extension is passed over");
        assert_eq!(head(&[&HEAD[..15], b"\0\0\0\x02x"].concat()), None);
    }
}
