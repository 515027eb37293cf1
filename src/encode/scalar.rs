//! The plain types that most JSON formats write alike, as [`Scalar`](super::Scalar)s.

use super::error::Fail;
use super::literal;
use super::out::Out;
use super::wire::fixed;

/// `bool` as `true` or `false`.
pub(crate) fn boolean(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    let [truth] = fixed(value)?;
    out.put(if truth == 0 { b"false" } else { b"true" });
    Ok(())
}

/// `int2` as a number.
pub(crate) fn int2(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    out.integer(i16::from_be_bytes(fixed(value)?));
    Ok(())
}

/// `int4` as a number.
pub(crate) fn int4(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    out.integer(i32::from_be_bytes(fixed(value)?));
    Ok(())
}

/// `int8` as a number.
pub(crate) fn int8(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    out.integer(i64::from_be_bytes(fixed(value)?));
    Ok(())
}

/// `int8` as a string.
pub(crate) fn int8_string(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    out.quoted(|out| int8(value, out))
}

/// `oid` as a number.
pub(crate) fn oid(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    out.integer(u32::from_be_bytes(fixed(value)?));
    Ok(())
}

/// `uuid` as a string.
pub(crate) fn uuid(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    out.quoted(|out| literal::uuid(value, out))
}
