//! `prisma`: `JSON.stringify` of what Prisma 7 returns through its `pg` adapter.
//!
//! Prisma reads Postgres' text output and turns it into JavaScript values; this file goes from the binary form
//! to the same bytes. Where Prisma throws, there is nothing that an application could have cached, so the row
//! is bad.

use super::error::Fail;
use super::format::{Format, MemberOrder, Scalar, Style};
use super::numeric::Number;
use super::out::Out;
use super::{json, literal, number, numeric, scalar, text, time};

/// The format `prisma`.
#[derive(Debug)]
pub(crate) struct Prisma;

/// What surrounds values in both Prisma formats: JavaScript objects, and lists that are never null and hold no
/// null (a list in a Prisma schema cannot say otherwise; at such a value the client throws).
pub(super) const STYLE: Style = Style {
    members: MemberOrder::IndicesFirst,
    null_array: "[]",
    null_element: None,
    nested_arrays: false,
    ..Style::JSON
};

impl Format for Prisma {
    fn name(&self) -> &'static str {
        "prisma"
    }

    fn style(&self) -> Style {
        STYLE
    }

    fn bigint_as_number(&self) -> Option<Scalar> {
        Some(number::int8_as_double)
    }

    fn scalar(&self, oid: u32) -> Option<Scalar> {
        Some(match oid {
            17 => bytes,
            700 => number::float4,
            701 => number::float8,
            1082 => |value, out| or_null(time::date(value, out)?, out),
            1114 | 1184 => |value, out| or_null(time::timestamp(value, out)?, out),
            1700 => decimal,
            _ => return common(oid),
        })
    }
}

/// The types that both Prisma formats write alike.
pub(super) fn common(oid: u32) -> Option<Scalar> {
    Some(match oid {
        16 => scalar::boolean,
        // JSON.stringify throws on a BigInt; most applications have taught it to give a string (`bigint` in the job file).
        20 => scalar::int8_string,
        21 => scalar::int2,
        23 => scalar::int4,
        26 => scalar::oid,
        // name, text, xml, char(n) with its padding, varchar.
        19 | 25 | 142 | 1042 | 1043 => text::json_string,
        114 => json::json,
        3802 => json::jsonb,
        650 | 869 => literal::inet,
        790 => |value, out| out.quoted(|out| numeric::money(value, out)),
        1083 => time::time,
        1266 => time::timetz,
        1560 | 1562 => literal::bits,
        2950 => scalar::uuid,
        _ => return None,
    })
}

/// A date that JavaScript cannot hold is `null` in JSON.
fn or_null(written: bool, out: &mut Out<'_>) -> Result<(), Fail> {
    if !written {
        out.put(b"null");
    }
    Ok(())
}

fn decimal(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    out.quoted(|out| match numeric::read(value)? {
        Number::Finite(decimal) => numeric::write(&decimal, out),
        Number::Special(name) => {
            out.put(name.as_bytes());
            Ok(())
        }
    })
}

/// A `Uint8Array`, whose indices are its keys.
fn bytes(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    // Each byte takes six at least: `"0":7,`.
    out.room(value.len().saturating_mul(6))?;
    out.byte(b'{');
    for (at, byte) in value.iter().enumerate() {
        out.put(if at == 0 { b"\"" } else { b",\"" });
        out.integer(at);
        out.put(b"\":");
        out.integer(*byte);
    }
    out.byte(b'}');
    Ok(())
}
