//! Where encoded bytes go: the caller's buffer, with an end that a value must not pass.

use super::error::Fail;

/// An output buffer with a limit.
///
/// Writers may run past the limit by a few bytes; what is large (a text, a document, an array) asks for
/// [`room`](Out::room) beforehand, so that a 300 MB value is refused before it is copied.
#[derive(Debug)]
pub struct Out<'a> {
    /// The caller's buffer; a value is appended to it.
    pub buf: &'a mut Vec<u8>,
    end: usize,
}

impl<'a> Out<'a> {
    /// Appends to `buf` at most `limit` bytes.
    pub fn new(buf: &'a mut Vec<u8>, limit: usize) -> Self {
        let end = buf.len().saturating_add(limit);
        Self { buf, end }
    }

    /// Appends bytes.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// Appends one byte.
    #[inline]
    pub fn byte(&mut self, byte: u8) {
        self.buf.push(byte);
    }

    /// Appends an integer in decimal.
    #[inline]
    pub fn integer<I: itoa::Integer>(&mut self, value: I) {
        self.put(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Appends what `write` does, between quotes.
    #[inline]
    pub fn quoted(&mut self, write: impl FnOnce(&mut Self) -> Result<(), Fail>) -> Result<(), Fail> {
        self.byte(b'"');
        write(self)?;
        self.byte(b'"');
        Ok(())
    }

    /// Fails unless `more` further bytes fit; `room(0)` asks whether all so far did.
    #[inline]
    pub fn room(&self, more: usize) -> Result<(), Fail> {
        if self.buf.len().saturating_add(more) > self.end { Err(Fail::TooLarge) } else { Ok(()) }
    }

    /// The same buffer with a limit that lies `slack` bytes further out.
    pub(crate) fn with_slack(&mut self, slack: usize) -> Out<'_> {
        let end = self.end.saturating_add(slack);
        Out { buf: self.buf, end }
    }
}
