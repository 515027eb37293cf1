//! Postgres' binary format, read with every length checked: nothing here panics, whatever arrives.

use super::error::Fail;

/// A value of exactly `N` bytes.
#[inline]
pub(crate) fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], Fail> {
    value.try_into().map_err(|_| wrong_length(value.len(), N))
}

#[cold]
fn wrong_length(found: usize, expected: usize) -> Fail {
    Fail::bad(format!("the server sent {found} bytes where {expected} are expected"))
}

#[cold]
fn cut_short() -> Fail {
    Fail::bad("the value ends too early")
}

/// Fails unless the text is UTF-8. Most short texts are ASCII, which is found out sooner.
#[inline]
pub(crate) fn check_utf8(value: &[u8]) -> Result<(), Fail> {
    if value.is_ascii() || simdutf8::basic::from_utf8(value).is_ok() {
        return Ok(());
    }
    Err(Fail::bad("the text is not valid UTF-8"))
}

/// Takes a value apart from its front.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `N` bytes.
    #[inline]
    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], Fail> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or_else(cut_short)?;
        self.0 = rest;
        Ok(*head)
    }

    /// A big-endian integer of 4 bytes.
    #[inline]
    pub(crate) fn int4(&mut self) -> Result<i32, Fail> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    /// A big-endian integer of 2 bytes.
    #[inline]
    pub(crate) fn int2(&mut self) -> Result<i16, Fail> {
        Ok(i16::from_be_bytes(self.take()?))
    }

    /// A value behind its length; length -1 is NULL.
    #[inline]
    pub(crate) fn field(&mut self) -> Result<Option<&'a [u8]>, Fail> {
        let length = self.int4()?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| cut_short())?;
        let (head, rest) = self.0.split_at_checked(length).ok_or_else(cut_short)?;
        self.0 = rest;
        Ok(Some(head))
    }

    /// Fails unless everything has been read.
    pub(crate) fn end(&self) -> Result<(), Fail> {
        if self.0.is_empty() { Ok(()) } else { Err(Fail::bad("the value is longer than its type")) }
    }
}

/// The length of an array in each of its dimensions; Postgres allows six.
pub(crate) struct ArrayHead {
    lengths: [usize; 6],
    dimensions: usize,
}

impl ArrayHead {
    /// The lengths from the outermost dimension inwards; an empty array has none.
    pub(crate) fn lengths(&self) -> &[usize] {
        self.lengths.get(..self.dimensions).unwrap_or_default()
    }
}

/// Reads an array's head and leaves the reader at its first element.
pub(crate) fn array_head(reader: &mut Reader<'_>, element_oid: u32) -> Result<ArrayHead, Fail> {
    let dimensions = reader.int4()?;
    let _has_nulls = reader.int4()?;
    expect_oid(reader, element_oid)?;
    let mut lengths = [0; 6];
    let count = usize::try_from(dimensions).unwrap_or(usize::MAX);
    let Some(used) = lengths.get_mut(..count) else {
        return Err(Fail::bad(format!("an array of {dimensions} dimensions")));
    };
    for length in used {
        // Not trusted: each element is read from the bytes that are there, so a false length ends early.
        *length = usize::try_from(reader.int4()?).map_err(|_| cut_short())?;
        let _lower_bound = reader.int4()?;
    }
    Ok(ArrayHead { lengths, dimensions: count })
}

/// Reads a type's OID and fails unless it is the expected one: the type was altered while we looked.
pub(crate) fn expect_oid(reader: &mut Reader<'_>, expected: u32) -> Result<(), Fail> {
    let found = u32::from_be_bytes(reader.take()?);
    if found == expected {
        return Ok(());
    }
    Err(Fail::bad(format!("the type has changed since the query was prepared (OID {found}, expected {expected})")))
}
