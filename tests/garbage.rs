//! Bytes that no server should send: the encoder fails, it never panics, and never runs far past its limit.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;
use warm::encode::{Encoder, KeyText, RowError, ValueSpec, format};
use warm::ground::kind::{Element, KeyType, parts};
use warm::ground::row::{Column, PgField, PgKind, PgType, Row};
use warm::ground::value::{BigInt, ValueShape};

struct One<'a>(&'a [u8]);

impl Row for One<'_> {
    fn value(&self, _index: usize) -> Option<&[u8]> {
        Some(self.0)
    }
}

const BASE: [u32; 26] = [
    16, 17, 19, 20, 21, 23, 25, 26, 114, 142, 650, 700, 701, 790, 869, 1042, 1043, 1082, 1083, 1114, 1184, 1266, 1560,
    1562, 1700, 2950,
];

fn ty(oid: u32, kind: PgKind) -> Arc<PgType> {
    Arc::new(PgType { oid, name: format!("type {oid}"), kind })
}

fn types() -> Vec<Arc<PgType>> {
    let mut types: Vec<_> = BASE.iter().chain(&[3802]).map(|&oid| ty(oid, PgKind::Base)).collect();
    let fields = ["x", "1"].map(|name| PgField { name: name.into(), ty: ty(25, PgKind::Base) });
    let composite = ty(90_000, PgKind::Composite(fields.to_vec()));
    types.push(ty(90_001, PgKind::Array(Arc::clone(&composite))));
    types.push(composite);
    types.push(ty(1009, PgKind::Array(ty(25, PgKind::Base))));
    types.push(ty(90_002, PgKind::Enum));
    types
}

/// Feeds the bytes to every type in every format; `LIMIT` is small, so that running away shows.
fn feed(bytes: &[u8]) {
    const LIMIT: usize = 200;
    for ty in types() {
        let columns = [Column { name: "v".into(), ty }];
        if let Ok(key) = KeyText::new(&columns[0]) {
            let _ = key.append(bytes, &mut Vec::new());
        }
        for name in ["prisma", "prisma5"] {
            let spec = ValueSpec {
                shape: &ValueShape::Row,
                key_type: &KeyType::String,
                hide: &[],
                key_columns: &[],
                bigint: BigInt::String,
            };
            let encoder = Encoder::new(format(name).unwrap(), &columns, &spec).unwrap();
            let mut out = Vec::new();
            match encoder.row(&One(bytes), &mut out, LIMIT) {
                Ok(()) => assert!(out.len() <= LIMIT && std::str::from_utf8(&out).is_ok()),
                Err(RowError::Bad { column, .. }) => assert!(column.starts_with('v')),
                Err(RowError::TooLarge) => {}
            }
            assert!(out.len() <= 2 * LIMIT + bytes.len());
            feed_parts(bytes, &columns, &spec);
        }
    }
}

/// The same where the column is a field, an element, or a score, which not every type can be.
fn feed_parts(bytes: &[u8], columns: &[Column], spec: &ValueSpec<'_>) {
    const LIMIT: usize = 200;
    let element = || Element::Column("v".to_owned());
    for key_type in [KeyType::Hash, KeyType::SortedSet { score: "v".to_owned(), element: element() }] {
        let spec = ValueSpec { key_type: &key_type, ..*spec };
        let Ok(encoder) = Encoder::new(format("prisma").unwrap(), columns, &spec) else { continue };
        let mut out = Vec::new();
        match encoder.row(&One(bytes), &mut out, LIMIT) {
            Ok(()) => {
                let parts: Vec<&[u8]> = parts(&out).collect();
                assert!(parts.len() == 2 && out.len() <= LIMIT && out.len() == parts.concat().len() + 2 * 4);
                let score = std::str::from_utf8(parts[0]).ok().and_then(|text| text.parse::<f64>().ok());
                assert!(key_type == KeyType::Hash || score.is_some_and(f64::is_finite));
            }
            Err(RowError::Bad { column, .. }) => assert!(column.starts_with('v')),
            Err(RowError::TooLarge) => {}
        }
        assert!(out.len() <= 2 * LIMIT + bytes.len());
    }
}

fn array(dimensions: i32, lengths: &[i32], oid: u32, rest: &[u8]) -> Vec<u8> {
    let mut wire = [dimensions.to_be_bytes(), 0i32.to_be_bytes(), oid.to_be_bytes()].concat();
    lengths.iter().for_each(|length| wire.extend([length.to_be_bytes(), 1i32.to_be_bytes()].concat()));
    wire.extend(rest);
    wire
}

#[test]
fn lengths_that_lie() {
    for oid in [25, 90_000] {
        for dimensions in [-1, 0, 1, 2, 6, 7, i32::MAX] {
            for length in [-1, 0, 1, i32::MAX] {
                let lengths = vec![length; dimensions.clamp(0, 8) as usize];
                for rest in [&[][..], &[0xff; 4], &[0, 0, 0, 1, b'a'], &[0x7f, 0xff, 0xff, 0xff], &[0x80, 0, 0, 0]] {
                    feed(&array(dimensions, &lengths, oid, rest));
                }
            }
        }
    }
}

#[test]
fn a_type_that_was_altered_is_noticed() {
    let bad = |kind: PgKind, bytes: &[u8]| {
        let columns = [Column { name: "v".into(), ty: ty(90_003, kind) }];
        let spec = ValueSpec {
            shape: &ValueShape::Row,
            key_type: &KeyType::String,
            hide: &[],
            key_columns: &[],
            bigint: BigInt::String,
        };
        let encoder = Encoder::new(format("prisma").unwrap(), &columns, &spec).unwrap();
        encoder.row(&One(bytes), &mut Vec::new(), 100).is_err()
    };
    let field = |oid: u32| [oid.to_be_bytes().as_slice(), &[0, 0, 0, 1, b'a']].concat();
    let fields = || PgKind::Composite(vec![PgField { name: "x".into(), ty: ty(25, PgKind::Base) }]);
    assert!(!bad(fields(), &[&[0, 0, 0, 1], &field(25)[..]].concat()));
    assert!(bad(fields(), &[&[0, 0, 0, 1], &field(1043)[..]].concat()));
    assert!(bad(fields(), &[&[0, 0, 0, 2], &field(25)[..], &field(25)].concat()));
    let texts = || PgKind::Array(ty(25, PgKind::Base));
    assert!(!bad(texts(), &array(1, &[1], 25, &[0, 0, 0, 1, b'a'])));
    assert!(bad(texts(), &array(1, &[1], 1043, &[0, 0, 0, 1, b'a'])));
}

proptest! {
    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        feed(&bytes);
    }

    #[test]
    fn almost_json(text in r#"[\[\]{}",:0-9eE+\-. \\unlltrefasb/dD]{0,40}"#) {
        feed(text.as_bytes());
        feed(&[b"\x01", text.as_bytes()].concat());
    }

    #[test]
    fn small_words(words in prop::collection::vec(prop::sample::select(vec![0u32, 1, 2, 4, 23, 25, 90_000, u32::MAX, 0x6162_6364]), 0..12)) {
        feed(&words.into_iter().flat_map(u32::to_be_bytes).collect::<Vec<_>>());
    }
}
