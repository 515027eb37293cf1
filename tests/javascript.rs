//! Values against Node: `fixtures/*.mjs` wrote down what JavaScript makes of numbers and documents.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use warm::encode::{Encoder, ValueSpec, format};
use warm::ground::kind::KeyType;
use warm::ground::row::{Column, PgKind, PgType, Row};
use warm::ground::value::{BigInt, ValueShape};

struct One<'a>(&'a [u8]);

impl Row for One<'_> {
    fn value(&self, _index: usize) -> Option<&[u8]> {
        Some(self.0)
    }
}

/// An encoder for a row `{"x": …}` of a built-in type.
fn encoder(name: &str, oid: u32) -> Encoder {
    let ty = Arc::new(PgType { oid, name: format!("type {oid}"), kind: PgKind::Base });
    let columns = [Column { name: "x".into(), ty }];
    let spec = ValueSpec {
        shape: &ValueShape::Row,
        key_type: &KeyType::String,
        hide: &[],
        key_columns: &[],
        bigint: BigInt::String,
    };
    Encoder::new(format(name).unwrap(), &columns, &spec).unwrap()
}

fn encode(encoder: &Encoder, value: &[u8]) -> String {
    let mut out = Vec::new();
    match encoder.row(&One(value), &mut out, 1 << 20) {
        Ok(()) => String::from_utf8_lossy(&out["{\"x\":".len()..out.len() - 1]).into_owned(),
        Err(error) => error.to_string(),
    }
}

fn none(wrong: &[String], count: usize) {
    let shown = &wrong[..wrong.len().min(20)];
    assert!(wrong.is_empty(), "{} of {count} are wrong: {shown:#?}", wrong.len());
}

fn check_numbers(lines: &str, oid: u32, width: usize) -> usize {
    let formats = [encoder("prisma", oid), encoder("prisma5", oid)];
    let mut wrong = Vec::new();
    for line in lines.lines() {
        let [bits, seven, five] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let five = if five == "=" { seven } else { five };
        let wire = u64::from_str_radix(bits, 16).unwrap().to_be_bytes();
        for (encoder, expected) in formats.iter().zip([seven, five]) {
            let found = encode(encoder, &wire[8 - width..]);
            if found != expected {
                wrong.push(format!("{line}: {found}"));
            }
        }
    }
    none(&wrong, lines.lines().count());
    lines.lines().count()
}

#[test]
fn doubles_and_floats() {
    let (doubles, floats) = include_str!("fixtures/numbers.txt").split_once("\n\n").unwrap();
    assert!(check_numbers(doubles, 701, 8) + check_numbers(floats, 700, 4) >= 100_000);
}

#[test]
fn documents() {
    let json = encoder("prisma", 114);
    let lines: Vec<_> = include_str!("fixtures/json.txt").lines().collect();
    let mut wrong = Vec::new();
    for pair in lines.chunks(2) {
        let found = encode(&json, pair[0].as_bytes());
        if found != pair[1] {
            wrong.push(format!("{}\n  expected {}\n  found    {found}", pair[0], pair[1]));
        }
    }
    none(&wrong, lines.len() / 2);
    assert!(lines.len() > 1500);
}

#[test]
fn a_document_may_be_deep_but_not_without_end() {
    let json = encoder("prisma", 114);
    for (open, close) in [("[", "]"), ("{\"b\":0,\"1\":", "}")] {
        let deep = |levels: usize| open.repeat(levels) + "1" + &close.repeat(levels);
        assert_eq!(encode(&json, deep(5000).as_bytes()).len(), deep(5000).len());
        assert!(encode(&json, deep(20_000).as_bytes()).contains("nested deeper"));
    }
}
