//! `prisma5`: `JSON.stringify` of what Prisma 5 (5.22) returns from its own engine.
//!
//! The engine is written in Rust and passes floating point through decimals with 15 digits behind the first
//! (6 for `float4`), bytes as Node's `Buffer`, and it fails at dates and numerics that the newer client lets
//! through as `null` and `"NaN"`.

use super::error::Fail;
use super::format::{Format, Scalar, Style};
use super::numeric::Number;
use super::out::Out;
use super::prisma::{STYLE, common};
use super::{number, numeric, time};

/// The format `prisma5`.
#[derive(Debug)]
pub(crate) struct Prisma5;

impl Format for Prisma5 {
    fn name(&self) -> &'static str {
        "prisma5"
    }

    fn style(&self) -> Style {
        STYLE
    }

    fn bigint_as_number(&self) -> Option<Scalar> {
        Some(number::int8_as_double)
    }

    fn scalar(&self, oid: u32) -> Option<Scalar> {
        Some(match oid {
            17 => buffer,
            700 => number::float4_7,
            701 => number::float8_16,
            1082 => |value, out| or_throw(time::date(value, out)?),
            1114 | 1184 => |value, out| or_throw(time::timestamp(value, out)?),
            1700 => decimal,
            _ => return common(oid),
        })
    }
}

fn or_throw(written: bool) -> Result<(), Fail> {
    if written {
        return Ok(());
    }
    Err(Fail::bad("a date that is infinite or outside of the years 1 to 9999, at which Prisma 5 throws"))
}

fn decimal(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    match numeric::read(value)? {
        Number::Finite(decimal) => out.quoted(|out| numeric::write(&decimal, out)),
        Number::Special(name) => Err(Fail::bad(format!("the numeric {name}, at which Prisma 5 throws"))),
    }
}

/// A `Buffer`.
fn buffer(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    out.room(value.len().saturating_mul(2))?;
    out.put(b"{\"type\":\"Buffer\",\"data\":[");
    for (at, byte) in value.iter().enumerate() {
        if at > 0 {
            out.byte(b',');
        }
        out.integer(*byte);
    }
    out.put(b"]}");
    Ok(())
}
