//! Reads what the output plugin `pgoutput` writes: version 1 of the logical replication protocol, as PostgreSQL's manual has it under "Logical Replication Message Formats".
//!
//! Of a message that we have no use for (an origin, a type) nothing is read but its first byte.

use std::collections::HashMap;

/// A table as the server describes it before its first change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    /// Its number in `pg_class`: names come and go.
    pub(super) oid: u32,
    /// Whether rows that were are said to come with all their columns.
    pub(super) is_full: bool,
    pub(super) columns: Vec<Column>,
}

/// A column of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// The type's number in `pg_type`.
    pub(super) ty: u32,
    /// Whether it is one of those by which the server names a row that was (its replica identity).
    pub(super) is_key: bool,
}

/// The value of a column, in the type's own notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'m> {
    Null,
    /// It did not change, and is not sent for that: a large one that is stored apart.
    Unsent,
    Text(&'m str),
}

/// The row that was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Old<'m> {
    /// Of all its columns.
    Whole(Vec<Value<'m>>),
    /// Of those alone by which it is named.
    Key(Vec<Value<'m>>),
}

/// A change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row<'m> {
    Inserted(Vec<Value<'m>>),
    /// The row that was comes only if what names it has changed, or if all columns do.
    Updated(Option<Old<'m>>, Vec<Value<'m>>),
    Deleted(Old<'m>),
}

/// What one message says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'d, 'm> {
    /// A transaction begins, whose commit stands here in the log.
    Begin {
        commit: u64,
        /// When it was committed, in microseconds since 2000.
        at: i64,
        /// Its number.
        xid: u32,
    },
    /// It ends: the log goes on from here.
    Commit { end: u64 },
    /// A row has changed.
    Changed(&'d Relation, Row<'m>),
    /// All rows of these.
    Truncated(Vec<&'d Relation>),
    /// Nothing for us.
    Other,
}

/// What the server has described so far. It does so anew each time that it is asked for changes.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    relations: HashMap<u32, Relation>,
}

impl Decoder {
    /// Reads a message; `None` if it cannot be one.
    pub(super) fn read<'d, 'm>(&'d mut self, message: &'m [u8]) -> Option<Message<'d, 'm>> {
        let mut rest = Bytes(message);
        Some(match rest.byte()? {
            b'B' => Message::Begin { commit: rest.u64()?, at: rest.u64()?.cast_signed(), xid: rest.u32()? },
            b'C' => {
                let (_flags, _commit) = (rest.byte()?, rest.u64()?);
                Message::Commit { end: rest.u64()? }
            }
            b'R' => {
                let number = rest.u32()?;
                self.relations.insert(number, rest.relation(number)?);
                Message::Other
            }
            b'I' => {
                let relation = self.relation(&mut rest)?;
                Message::Changed(relation, Row::Inserted(rest.new_row()?))
            }
            b'U' => {
                let relation = self.relation(&mut rest)?;
                let old = if rest.0.first() == Some(&b'N') { None } else { Some(rest.old_row()?) };
                Message::Changed(relation, Row::Updated(old, rest.new_row()?))
            }
            b'D' => {
                let relation = self.relation(&mut rest)?;
                Message::Changed(relation, Row::Deleted(rest.old_row()?))
            }
            b'T' => {
                let (count, _options) = (rest.u32()?, rest.byte()?);
                Message::Truncated((0..count).map(|_| self.relation(&mut rest)).collect::<Option<_>>()?)
            }
            _ => Message::Other,
        })
    }

    fn relation(&self, rest: &mut Bytes<'_>) -> Option<&Relation> {
        self.relations.get(&rest.u32()?)
    }
}

/// What is left of a message.
struct Bytes<'m>(&'m [u8]);

impl<'m> Bytes<'m> {
    fn take(&mut self, count: usize) -> Option<&'m [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    /// A text that ends with a zero.
    fn text(&mut self) -> Option<String> {
        let length = self.0.iter().position(|byte| *byte == 0)?;
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        self.byte()?;
        Some(text)
    }

    fn relation(&mut self, oid: u32) -> Option<Relation> {
        let (_schema, _name) = (self.text()?, self.text()?);
        let (identity, count) = (self.byte()?, self.u16()?);
        let column = |_| {
            let (flags, name, ty) = (self.byte()?, self.text()?, self.u32()?);
            let _modifier = self.u32()?;
            Some(Column { name, ty, is_key: flags & 1 == 1 })
        };
        let columns = (0..count).map(column).collect::<Option<_>>()?;
        Some(Relation { oid, is_full: identity == b'f', columns })
    }

    fn old_row(&mut self) -> Option<Old<'m>> {
        match self.byte()? {
            b'O' => self.row().map(Old::Whole),
            b'K' => self.row().map(Old::Key),
            _ => None,
        }
    }

    fn new_row(&mut self) -> Option<Vec<Value<'m>>> {
        if self.byte()? == b'N' { self.row() } else { None }
    }

    fn row(&mut self) -> Option<Vec<Value<'m>>> {
        let count = self.u16()?;
        let value = |_| match self.byte()? {
            b'n' => Some(Value::Null),
            b'u' => Some(Value::Unsent),
            b't' => {
                let length = usize::try_from(self.u32()?).ok()?;
                std::str::from_utf8(self.take(length)?).ok().map(Value::Text)
            }
            _ => None,
        };
        (0..count).map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PostgreSQL 15 wrote about a table `t (id int PRIMARY KEY, v text)`.
    fn relation() -> Vec<u8> {
        let mut message = b"R\x00\x00\x40\x01public\0t\0d\x00\x02\x01id\0".to_vec();
        message.extend(23_u32.to_be_bytes());
        message.extend(u32::MAX.to_be_bytes());
        message.extend(b"\x00v\0");
        message.extend(25_u32.to_be_bytes());
        message.extend(u32::MAX.to_be_bytes());
        message
    }

    #[test]
    fn rows_that_were_and_that_are() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.read(&relation()), Some(Message::Other));
        let update = b"U\x00\x00\x40\x01K\x00\x02t\x00\x00\x00\x017nN\x00\x02t\x00\x00\x00\x018u";
        let Some(Message::Changed(relation, Row::Updated(old, new))) = decoder.read(update) else {
            panic!("an update")
        };
        assert_eq!((relation.oid, relation.is_full), (0x4001, false));
        assert_eq!(
            relation.columns.iter().map(|column| (column.ty, column.is_key)).collect::<Vec<_>>(),
            [(23, true), (25, false)]
        );
        assert_eq!(old, Some(Old::Key(vec![Value::Text("7"), Value::Null])));
        assert_eq!(new, vec![Value::Text("8"), Value::Unsent]);
    }

    #[test]
    fn what_is_cut_off_anywhere_is_no_message() {
        let mut decoder = Decoder::default();
        let whole = relation();
        for end in 0..whole.len() {
            assert_eq!(decoder.read(&whole[..end]), None, "{end}");
        }
        decoder.read(&whole);
        for whole in [
            &b"B\x00\x00\x00\x00\x01\x02\x03\x04\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x02\x03"[..],
            b"C\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02",
            b"I\x00\x00\x40\x01N\x00\x02t\x00\x00\x00\x017n",
            b"U\x00\x00\x40\x01O\x00\x02t\x00\x00\x00\x017nN\x00\x02t\x00\x00\x00\x018u",
            b"D\x00\x00\x40\x01K\x00\x02t\x00\x00\x00\x017n",
            b"T\x00\x00\x00\x01\x00\x00\x00\x40\x01",
        ] {
            assert!(decoder.read(whole).is_some_and(|message| message != Message::Other));
            for end in 0..whole.len() {
                assert_eq!(decoder.read(&whole[..end]), None, "{:?}", &whole[..end]);
            }
        }
        assert_eq!(decoder.read(b"D\x00\x00\x40\x02K"), None, "a table that was not described");
    }
}
