//! The row that is encoded: one of those that `benches/compare` makes, as PostgreSQL sends it.

use std::sync::Arc;

use warm::ground::row::{Column, PgKind, PgType, Row};

const BOOL: u32 = 16;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const FLOAT8: u32 = 701;

/// The names and types of the columns.
const COLUMNS: [(&str, u32); 13] = [
    ("id", INT4),
    ("title", TEXT),
    ("description", TEXT),
    ("organizerId", TEXT),
    ("venue", TEXT),
    ("state", TEXT),
    ("latitude", FLOAT8),
    ("longitude", FLOAT8),
    ("isHidden", BOOL),
    ("accessCode", TEXT),
    ("capacity", INT4),
    ("ticketsSold", INT4),
    ("status", TEXT),
];

pub fn columns() -> Vec<Column> {
    let ty = |oid| Arc::new(PgType { oid, name: format!("type {oid}"), kind: PgKind::Base });
    COLUMNS.map(|(name, oid)| Column { name: name.to_owned(), ty: ty(oid) }).into()
}

/// The values, in PostgreSQL's binary format.
pub struct Event(Vec<Option<Vec<u8>>>);

impl Event {
    pub fn new() -> Event {
        let text = |text: &str| Some(text.as_bytes().to_vec());
        let int = |number: i32| Some(number.to_be_bytes().to_vec());
        let float = |number: f64| Some(number.to_be_bytes().to_vec());
        let hash = "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce".repeat(6);
        Event(vec![
            int(123_456),
            text("Live: concert No. 123456 \"Ọjọ́ Ayọ̀\""),
            text(&format!("Doors open at 6.\nTickets from ₦42,000. {hash}")),
            text("cd8c9d1a1f0b2c3d4e5f60718"),
            text("Grand Hall No. 56"),
            text("Kaduna"),
            float(7.5185),
            float(6.6985),
            Some(vec![0]),
            None,
            int(506),
            int(6),
            text("published"),
        ])
    }
}

impl Row for Event {
    fn value(&self, index: usize) -> Option<&[u8]> {
        self.0.get(index)?.as_deref()
    }
}
