//! Binary floating point as JavaScript prints it.

use std::fmt::{self, Write};

use super::error::Fail;
use super::out::Out;
use super::wire::fixed;

/// A double as `JSON.stringify` prints it; NaN and infinities are `null`.
pub(crate) fn double(value: f64, out: &mut Out<'_>) {
    if value.is_finite() {
        out.put(ryu_js::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.put(b"null");
    }
}

/// `int8` as JavaScript prints `Number(value)`: integers beyond 2^53 are rounded to the nearest double.
pub(crate) fn int8_as_double(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    double(i64::from_be_bytes(fixed(value)?) as f64, out);
    Ok(())
}

/// `float8` as a number.
pub(crate) fn float8(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    double(f64::from_be_bytes(fixed(value)?), out);
    Ok(())
}

/// `float4` by its own shortest digits (never those of the double it widens to) in JavaScript's notation.
pub(crate) fn float4(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    let value = f32::from_be_bytes(fixed(value)?);
    if !value.is_finite() {
        out.put(b"null");
        return Ok(());
    }
    let mut buffer = ryu_js::Buffer::new();
    let shortest = buffer.format_finite(value);
    match off_the_midpoint(value, shortest) {
        Some(other) => double(other, out),
        None => out.put(shortest.as_bytes()),
    }
    Ok(())
}

/// The number to print instead, if the shortest digits of a float lie exactly half way to its neighbour.
///
/// The application sees the digits that Postgres sent, and Postgres takes no such digits, for fear of readers that
/// round otherwise; JavaScript's own algorithm takes them where the float is even. They occur among large
/// integers only: a midpoint with so few digits is an odd number times a power of ten.
fn off_the_midpoint(value: f32, shortest: &str) -> Option<f64> {
    let even = value.to_bits() & 1 == 0;
    if !even || !(16_777_216.0..1e19).contains(&value.abs()) {
        return None;
    }
    let x = f64::from(value);
    let middle = |bits: u32| (x + f64::from(f32::from_bits(bits))) / 2.0;
    let (near, far) = (middle(value.to_bits() - 1), middle(value.to_bits() + 1));
    let taken: f64 = shortest.parse().ok()?;
    if taken != near && taken != far {
        return None;
    }
    let inside = |digits: f64| near.abs() < digits.abs() && digits.abs() < far.abs();
    (1..9).map(|decimals| round_even(x, decimals)).find(|&digits| inside(digits))
}

/// `float8` with 16 significant digits, as `Number(x.toExponential(15))` has them.
pub(crate) fn float8_16(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    let value = f64::from_be_bytes(fixed(value)?);
    let mut buffer = ryu_js::Buffer::new();
    let shortest = if value.is_finite() { buffer.format_finite(value) } else { "null" };
    // The sixteen digits nearest to a double give the same double again if fewer digits already do: they are
    // nearer still. (Powers of two, which lie off the middle of their interval, are all among the tests.)
    if shortest.len() <= 16 {
        out.put(shortest.as_bytes());
    } else {
        double(round(value, 15), out);
    }
    Ok(())
}

/// `float4` with 7 significant digits, as `Number(x.toExponential(6))` has them.
pub(crate) fn float4_7(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    let value = f64::from(f32::from_be_bytes(fixed(value)?));
    // Integers of so few digits are exact.
    let exact = value.fract() == 0.0 && value.abs() < 1e7;
    double(if exact { value } else { round(value, 6) }, out);
    Ok(())
}

/// `Number(x.toExponential(decimals))` for `decimals` up to 20.
fn round(value: f64, decimals: usize) -> f64 {
    if !value.is_finite() {
        return value;
    }
    let mut text = Digits::default();
    // A tie has one digit more than is kept, so it is a multiple of 2^-24 at least: 5^25 has 18 digits.
    if (value * 16_777_216.0).fract() == 0.0 && tie_rounded_up(value, decimals, &mut text) {
        return text.parse().unwrap_or(value);
    }
    round_even(value, decimals)
}

/// `value` with `decimals` digits behind the first: the exact binary value rounded, ties to the even digit.
fn round_even(value: f64, decimals: usize) -> f64 {
    let mut text = Digits::default();
    let _ = write!(text, "{value:.decimals$e}");
    text.parse().unwrap_or(value)
}

/// Writes `value` with `decimals` digits behind the point, rounded away from zero, if it lies exactly half way
/// between two such numbers: there JavaScript takes the larger one and Rust the even one.
fn tie_rounded_up(value: f64, decimals: usize, text: &mut Digits) -> bool {
    // A double that begins with so many digits of a tie is one.
    let _ = write!(text, "{value:.60e}");
    let start = usize::from(value.is_sign_negative());
    let kept = start + 2 + decimals;
    let Some(exponent) = text.bytes().iter().position(|&b| b == b'e') else {
        return false;
    };
    let Some((b'5', zeros)) = text.bytes().get(kept..exponent).and_then(<[u8]>::split_first) else {
        return false;
    };
    if zeros.iter().any(|&b| b != b'0') {
        return false;
    }
    let mut rounded = Digits::default();
    let _ = rounded.write_str(if value.is_sign_negative() { "-" } else { "" });
    let mantissa = text.bytes().get(start..kept).unwrap_or_default();
    let nines = mantissa.iter().rev().take_while(|&&b| b == b'9' || b == b'.').count();
    let (head, tail) = mantissa.split_at(mantissa.len() - nines);
    // Nines alone are no double's tie: 2 * 10^16 - 1 and 2 * 10^7 - 1 have too many bits.
    let Some((last, head)) = head.split_last() else {
        return false;
    };
    rounded.push(head);
    rounded.push(&[last + 1]);
    for &b in tail {
        rounded.push(if b == b'.' { b"." } else { b"0" });
    }
    rounded.push(text.bytes().get(exponent..).unwrap_or_default());
    *text = rounded;
    true
}

/// A short text on the stack.
struct Digits {
    bytes: [u8; 96],
    length: usize,
}

impl Default for Digits {
    fn default() -> Self {
        Self { bytes: [0; 96], length: 0 }
    }
}

impl Digits {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if let Some(free) = self.bytes.get_mut(self.length..end) {
            free.copy_from_slice(bytes);
            self.length = end;
        }
    }

    fn parse(&self) -> Option<f64> {
        std::str::from_utf8(self.bytes()).ok()?.parse().ok()
    }
}

impl Write for Digits {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}
