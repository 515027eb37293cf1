//! `numeric` and `money`: exact decimals as the decimal.js of Prisma prints them.

use super::error::Fail;
use super::out::Out;
use super::wire::{Reader, fixed};

const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const MINUS_INFINITY: u16 = 0xF000;
const MINUS: u16 = 0x4000;

/// What a `numeric` holds.
pub(crate) enum Number<'a> {
    /// A number, its sign and its digits.
    Finite(Decimal<'a>),
    /// `NaN`, `Infinity` or `-Infinity`.
    Special(&'static str),
}

/// A decimal as Postgres sends it: groups of four digits.
pub(crate) struct Decimal<'a> {
    negative: bool,
    /// Big-endian 16-bit groups, without leading and trailing zero groups.
    groups: &'a [[u8; 2]],
    /// The power of 10,000 that the first group stands for.
    weight: i32,
}

/// Reads a `numeric`.
pub(crate) fn read(value: &[u8]) -> Result<Number<'_>, Fail> {
    let mut reader = Reader(value);
    let count = reader.int2()?;
    let mut weight = i32::from(reader.int2()?);
    let sign = u16::from_be_bytes(reader.take()?);
    let _scale = reader.int2()?;
    match sign {
        0 | MINUS => {}
        NAN => return Ok(Number::Special("NaN")),
        INFINITY => return Ok(Number::Special("Infinity")),
        MINUS_INFINITY => return Ok(Number::Special("-Infinity")),
        _ => return Err(Fail::bad("a numeric with an unknown sign")),
    }
    let (mut groups, odd) = reader.0.as_chunks::<2>();
    if !odd.is_empty() || usize::try_from(count) != Ok(groups.len()) {
        return Err(Fail::bad("a numeric with a wrong number of digits"));
    }
    if groups.iter().any(|group| u16::from_be_bytes(*group) > 9999) {
        return Err(Fail::bad("a numeric with a digit above 9999"));
    }
    while let Some((&[0, 0], rest)) = groups.split_first() {
        groups = rest;
        weight -= 1;
    }
    while let Some((&[0, 0], rest)) = groups.split_last() {
        groups = rest;
    }
    Ok(Number::Finite(Decimal { negative: sign == MINUS, groups, weight }))
}

/// Writes a decimal with trailing zeros dropped, in exponent form at or below 1e-7 and from 1e21.
pub(crate) fn write(decimal: &Decimal<'_>, out: &mut Out<'_>) -> Result<(), Fail> {
    let (Some(first), Some(last)) = (decimal.groups.first(), decimal.groups.last()) else {
        out.byte(b'0');
        return Ok(());
    };
    let group_text = |group: [u8; 2]| four_digits(u16::from_be_bytes(group));
    let skip = group_text(*first).iter().take_while(|&&b| b == b'0').count();
    let drop = group_text(*last).iter().rev().take_while(|&&b| b == b'0').count();
    let length = decimal.groups.len() * 4 - skip - drop;
    // The power of ten of the first digit that is not zero.
    let exponent = decimal.weight * 4 + 3 - skip as i32;
    out.room(length)?;
    if decimal.negative {
        out.byte(b'-');
    }
    let digits = decimal.groups.iter().flat_map(|group| group_text(*group)).skip(skip).take(length);
    if exponent <= -7 || exponent >= 21 {
        with_point(digits, 1, out);
        out.put(if exponent < 0 { b"e-" } else { b"e+" });
        out.integer(exponent.unsigned_abs());
    } else if exponent < 0 {
        out.put(b"0.");
        out.put(b"000000".get(..(-exponent - 1) as usize).unwrap_or_default());
        out.buf.extend(digits);
    } else {
        let whole = exponent as usize + 1;
        with_point(digits, whole, out);
        out.buf.extend(std::iter::repeat_n(b'0', whole.saturating_sub(length)));
    }
    Ok(())
}

/// Writes digits with a point behind the first `whole` ones, if any follow.
fn with_point(digits: impl Iterator<Item = u8>, whole: usize, out: &mut Out<'_>) {
    for (at, digit) in digits.enumerate() {
        if at == whole {
            out.byte(b'.');
        }
        out.byte(digit);
    }
}

fn four_digits(group: u16) -> [u8; 4] {
    let digit = |divisor: u16| b'0' + (group / divisor % 10) as u8;
    [digit(1000), digit(100), digit(10), digit(1)]
}

/// Writes `money`, which travels as a count of hundredths. (Two digits behind the point are what all but a few
/// `lc_monetary` settings have; a server does not say how many it uses.)
pub(crate) fn money(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    let cents = i64::from_be_bytes(fixed(value)?);
    if cents < 0 {
        out.byte(b'-');
    }
    let cents = cents.unsigned_abs();
    out.integer(cents / 100);
    let [_, _, tens, ones] = four_digits((cents % 100) as u16);
    match (tens, ones) {
        (b'0', b'0') => {}
        (_, b'0') => out.put(&[b'.', tens]),
        _ => out.put(&[b'.', tens, ones]),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(weight: i16, sign: u16, groups: &[u16]) -> Result<String, Fail> {
        let mut wire = Vec::new();
        wire.extend((groups.len() as i16).to_be_bytes());
        wire.extend(weight.to_be_bytes());
        wire.extend(sign.to_be_bytes());
        wire.extend(0i16.to_be_bytes());
        groups.iter().for_each(|group| wire.extend(group.to_be_bytes()));
        let mut buf = Vec::new();
        match read(&wire)? {
            Number::Finite(decimal) => write(&decimal, &mut Out::new(&mut buf, 1000))?,
            Number::Special(name) => buf.extend(name.bytes()),
        }
        Ok(String::from_utf8(buf).unwrap())
    }

    #[test]
    fn points_zeros_and_exponents() {
        assert_eq!(text(0, 0, &[]).unwrap(), "0");
        assert_eq!(text(0, MINUS, &[12, 5000]).unwrap(), "-12.5");
        assert_eq!(text(1, 0, &[1]).unwrap(), "10000");
        assert_eq!(text(1, 0, &[0, 0]).unwrap(), "0");
        assert_eq!(text(-1, 0, &[10]).unwrap(), "0.001");
        assert_eq!(text(-2, 0, &[100]).unwrap(), "0.000001");
        assert_eq!(text(-2, 0, &[10]).unwrap(), "1e-7");
        assert_eq!(text(-2, MINUS, &[12, 3400]).unwrap(), "-1.234e-7");
        assert_eq!(text(5, 0, &[1]).unwrap(), "100000000000000000000");
        assert_eq!(text(5, 0, &[10]).unwrap(), "1e+21");
        assert_eq!(text(5, 0, &[12, 3400]).unwrap(), "1.234e+21");
        assert_eq!(text(0, NAN, &[]).unwrap(), "NaN");
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(text(0, 1, &[]).is_err());
        assert!(text(0, 0, &[10_000]).is_err());
        assert!(read(&[0, 2, 0, 0, 0, 0, 0, 0, 0, 1]).is_err());
        assert!(read(&[0]).is_err());
    }

    #[test]
    fn money_counts_hundredths() {
        let text = |cents: i64| {
            let mut buf = Vec::new();
            money(&cents.to_be_bytes(), &mut Out::new(&mut buf, 100)).unwrap();
            String::from_utf8(buf).unwrap()
        };
        assert_eq!([text(1200), text(1250), text(1205)], ["12", "12.5", "12.05"]);
        assert_eq!([text(-5), text(0)], ["-0.05", "0"]);
        assert_eq!(text(i64::MIN), "-92233720368547758.08");
    }
}
