//! How values are written by their type: what the compiled encoder runs for each value.

use super::error::Fail;
use super::format::{Scalar, Style};
use super::out::Out;
use super::wire::{self, Reader};

/// A member of an object, with all that is written before its value: `{"name":` or `,"name":`.
#[derive(Debug)]
pub(super) struct Member<T> {
    pub(super) prefix: Box<[u8]>,
    pub(super) name: Box<str>,
    pub(super) value: T,
}

/// How a value is written, by its type.
#[derive(Debug)]
pub(super) enum Node {
    Scalar(Scalar),
    Array(Box<Array>),
    Composite(Box<Composite>),
}

#[derive(Debug)]
pub(super) struct Array {
    pub(super) oid: u32,
    pub(super) element: Node,
    pub(super) style: Style,
}

#[derive(Debug)]
pub(super) struct Composite {
    /// The fields' OIDs in the type's order, as they arrive.
    pub(super) oids: Vec<u32>,
    /// The members as they are written, each with the field that it shows.
    pub(super) members: Vec<Member<(usize, Node)>>,
}

impl Node {
    #[inline]
    pub(super) fn write(&self, value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
        match self {
            Self::Scalar(scalar) => scalar(value, out),
            Self::Array(array) => array.write(value, out),
            Self::Composite(composite) => composite.write(value, out),
        }
    }

    pub(super) fn write_null(&self, out: &mut Out<'_>) {
        out.put(match self {
            Self::Array(array) => array.style.null_array.as_bytes(),
            _ => b"null",
        });
    }
}

impl Array {
    fn write(&self, value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
        let mut reader = Reader(value);
        let head = wire::array_head(&mut reader, self.oid)?;
        match head.lengths() {
            [] => out.put(b"[]"),
            lengths if lengths.len() > 1 && !self.style.nested_arrays => {
                return Err(Fail::bad(format!(
                    "an array of {} dimensions, which the format cannot write",
                    lengths.len()
                )));
            }
            lengths => self.dimension(lengths, &mut reader, out)?,
        }
        reader.end()
    }

    fn dimension(&self, lengths: &[usize], reader: &mut Reader<'_>, out: &mut Out<'_>) -> Result<(), Fail> {
        let Some((&length, inner)) = lengths.split_first() else {
            return self.element(reader.field()?, out);
        };
        out.byte(b'[');
        for at in 0..length {
            if at > 0 {
                out.byte(b',');
            }
            self.dimension(inner, reader, out)?;
            out.room(0)?;
        }
        out.byte(b']');
        Ok(())
    }

    fn element(&self, value: Option<&[u8]>, out: &mut Out<'_>) -> Result<(), Fail> {
        match (value, self.style.null_element) {
            (Some(value), _) => self.element.write(value, out),
            (None, Some(null)) => {
                out.put(null.as_bytes());
                Ok(())
            }
            (None, None) => Err(Fail::bad("an array with a NULL element, which the format cannot write")),
        }
    }
}

impl Composite {
    fn write(&self, value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
        let mut reader = Reader(value);
        if usize::try_from(reader.int4()?) != Ok(self.oids.len()) {
            return Err(Fail::bad("the type has another number of fields than when the query was prepared"));
        }
        let first = reader.0;
        let mut next = 0;
        for member in &self.members {
            let (field, node) = &member.value;
            // Only members that JavaScript orders otherwise stand before the reader.
            if *field < next {
                (reader, next) = (Reader(first), 0);
            }
            let mut value = None;
            while next <= *field {
                wire::expect_oid(&mut reader, self.oids.get(next).copied().unwrap_or_default())?;
                value = reader.field()?;
                next += 1;
            }
            out.put(&member.prefix);
            let written = match value {
                Some(value) => node.write(value, out),
                None => {
                    node.write_null(out);
                    Ok(())
                }
            };
            written.and_then(|()| out.room(0)).map_err(|fail| fail.within(&member.name))?;
        }
        if self.members.is_empty() {
            out.byte(b'{');
        }
        out.byte(b'}');
        Ok(())
    }
}
