//! Floating point against Node: `fixtures/numbers.mjs` wrote what JavaScript prints for 105,000 numbers.

use std::sync::Arc;

use warm::encode::{Encoder, ValueSpec, format};
use warm::ground::row::{Column, PgKind, PgType, Row};
use warm::ground::value::ValueShape;

struct One<'a>(&'a [u8]);

impl Row for One<'_> {
    fn value(&self, _index: usize) -> Option<&[u8]> {
        Some(self.0)
    }
}

fn encoder(name: &str, oid: u32) -> Encoder {
    let ty = Arc::new(PgType {
        oid,
        name: format!("type {oid}"),
        kind: PgKind::Base,
    });
    let columns = [Column {
        name: "x".into(),
        ty,
    }];
    let shape = ValueShape::Column("x".into());
    let spec = ValueSpec {
        shape: &shape,
        hide: &[],
        key_columns: &[],
    };
    Encoder::new(format(name).unwrap(), &columns, &spec).unwrap()
}

fn check(lines: &str, oid: u32, width: usize) -> usize {
    let formats = [encoder("prisma", oid), encoder("prisma5", oid)];
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in lines.lines() {
        let [bits, seven, five] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let five = if five == "=" { seven } else { five };
        let wire = u64::from_str_radix(bits, 16).unwrap().to_be_bytes();
        for (encoder, expected) in formats.iter().zip([seven, five]) {
            let mut out = Vec::new();
            encoder
                .row(&One(&wire[8 - width..]), &mut out, 100)
                .unwrap();
            if out != expected.as_bytes() {
                wrong.push(format!("{line}: {}", String::from_utf8_lossy(&out)));
            }
        }
        count += 1;
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} are wrong: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(20)]
    );
    count
}

#[test]
fn doubles_and_floats_print_as_in_javascript() {
    let (doubles, floats) = include_str!("fixtures/numbers.txt")
        .split_once("\n\n")
        .unwrap();
    assert!(check(doubles, 701, 8) + check(floats, 700, 4) >= 100_000);
}
