//! JSON documents as JavaScript prints them after it has read them: `JSON.stringify(JSON.parse(text))`.
//!
//! The document streams through: each token is written as it is read, and nothing is kept but where the
//! members of the open objects stand in the output. Only when an object closes whose members JavaScript would
//! order otherwise (integer-like keys out of order, a key that came twice) is that object's text put together
//! again. There is no recursion, so no document can overflow the stack.

use std::cell::Cell;

use super::error::Fail;
use super::members::{Member, array_index, has_twice, rebuild};
use super::out::Out;
use super::{number, text};

/// Far beyond what Postgres parses with its default stack, and what Node can print.
const MAX_DEPTH: usize = 10_000;

/// Scratch space beyond this many entries is given back after the document.
const KEPT: usize = 1 << 14;

/// An open object or array.
struct Frame {
    object: bool,
    /// Its first member in [`Scratch::members`].
    first: usize,
}

#[derive(Default)]
struct Scratch {
    frames: Vec<Frame>,
    members: Vec<Member>,
    order: Vec<u32>,
}

thread_local! {
    /// Reused from document to document, so that the usual one allocates nothing.
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// Writes a document of type `json`, in which a key may come twice.
pub(crate) fn json(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    // Members that are dropped later must not count against the limit.
    normalise(value, false, &mut out.with_slack(value.len()))?;
    out.room(0)
}

/// Writes a document of type `jsonb`.
pub(crate) fn jsonb(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    normalise(jsonb_text(value)?, true, out)?;
    out.room(0)
}

/// The text inside a `jsonb` value, which travels behind a version byte.
pub(crate) fn jsonb_text(value: &[u8]) -> Result<&[u8], Fail> {
    match value.split_first() {
        Some((1, text)) => Ok(text),
        _ => Err(Fail::bad("a jsonb value of an unknown version")),
    }
}

fn normalise(source: &[u8], unique: bool, out: &mut Out<'_>) -> Result<(), Fail> {
    let mut scratch = SCRATCH.take();
    scratch.frames.clear();
    scratch.members.clear();
    let result = Normaliser { source, at: 0, unique, scratch: &mut scratch }.document(out);
    // A frame or an entry of the order stands for a member at least, or for a level, which are bounded.
    if scratch.members.capacity() > KEPT {
        scratch = Scratch::default();
    }
    SCRATCH.set(scratch);
    result
}

struct Normaliser<'a, 's> {
    source: &'a [u8],
    at: usize,
    /// No object has a key twice.
    unique: bool,
    scratch: &'s mut Scratch,
}

impl Normaliser<'_, '_> {
    fn document(&mut self, out: &mut Out<'_>) -> Result<(), Fail> {
        loop {
            if self.value(out)? {
                continue;
            }
            out.room(0)?;
            if !self.after_value(out)? {
                break;
            }
        }
        self.skip_white();
        if self.at == self.source.len() { Ok(()) } else { Err(malformed()) }
    }

    /// Reads a value; `true` if a container was opened and its first value comes next.
    fn value(&mut self, out: &mut Out<'_>) -> Result<bool, Fail> {
        match self.next()? {
            b'"' => self.string(out)?,
            b'{' => return self.open(true, b'}', out),
            b'[' => return self.open(false, b']', out),
            b't' => self.literal("true", out)?,
            b'f' => self.literal("false", out)?,
            b'n' => self.literal("null", out)?,
            _ => self.number(out)?,
        }
        Ok(false)
    }

    /// Goes on behind a value: closes what ends there; `false` at the end of the document.
    fn after_value(&mut self, out: &mut Out<'_>) -> Result<bool, Fail> {
        while let Some(frame) = self.scratch.frames.last() {
            let object = frame.object;
            match self.next()? {
                b',' => {
                    out.byte(b',');
                    if object {
                        self.key(out)?;
                    }
                    return Ok(true);
                }
                b'}' if object => self.close_object(out)?,
                b']' if !object => {
                    self.scratch.frames.pop();
                    out.byte(b']');
                }
                _ => return Err(malformed()),
            }
        }
        Ok(false)
    }

    fn open(&mut self, object: bool, end: u8, out: &mut Out<'_>) -> Result<bool, Fail> {
        out.byte(if object { b'{' } else { b'[' });
        self.skip_white();
        if self.source.get(self.at) == Some(&end) {
            self.at += 1;
            out.byte(end);
            return Ok(false);
        }
        if self.scratch.frames.len() == MAX_DEPTH {
            return Err(Fail::bad(format!("a document nested deeper than {MAX_DEPTH} levels")));
        }
        self.scratch.frames.push(Frame { object, first: self.scratch.members.len() });
        if object {
            self.key(out)?;
        }
        Ok(true)
    }

    fn key(&mut self, out: &mut Out<'_>) -> Result<(), Fail> {
        if self.next()? != b'"' {
            return Err(malformed());
        }
        let start = out.buf.len();
        self.string(out)?;
        let colon = out.buf.len();
        if self.next()? != b':' {
            return Err(malformed());
        }
        out.byte(b':');
        let index = array_index(out.buf.get(start + 1..colon - 1).unwrap_or_default());
        self.scratch.members.push(Member { start, colon, index });
        Ok(())
    }

    fn close_object(&mut self, out: &mut Out<'_>) -> Result<(), Fail> {
        let first = self.scratch.frames.pop().map_or(0, |frame| frame.first);
        let members = self.scratch.members.get(first..).unwrap_or_default();
        let ordered = members.is_sorted_by_key(|member| member.index);
        let twice = !self.unique && has_twice(members, out.buf, &mut self.scratch.order);
        if !ordered || twice {
            rebuild(members, out.buf);
        }
        self.scratch.members.truncate(first);
        out.byte(b'}');
        Ok(())
    }

    /// Reads a string behind its opening quote.
    fn string(&mut self, out: &mut Out<'_>) -> Result<(), Fail> {
        out.byte(b'"');
        loop {
            let rest = self.source.get(self.at..).unwrap_or_default();
            let clean = text::clean_run(rest);
            out.room(clean)?;
            out.put(rest.get(..clean).unwrap_or_default());
            self.at += clean + 1;
            match rest.get(clean) {
                Some(b'"') => break,
                Some(b'\\') => self.escape(out)?,
                _ => return Err(malformed()),
            }
        }
        out.byte(b'"');
        Ok(())
    }

    /// Reads an escape behind its backslash.
    fn escape(&mut self, out: &mut Out<'_>) -> Result<(), Fail> {
        let kind = *self.source.get(self.at).ok_or_else(malformed)?;
        self.at += 1;
        match kind {
            b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't' => out.put(&[b'\\', kind]),
            b'/' => out.byte(b'/'),
            b'u' => {
                let unit = self.code_unit()?;
                self.unicode(unit, out)?;
            }
            _ => return Err(malformed()),
        }
        Ok(())
    }

    fn unicode(&mut self, unit: u16, out: &mut Out<'_>) -> Result<(), Fail> {
        let mut code = u32::from(unit);
        if let 0xD800..=0xDFFF = unit {
            match self.low_surrogate(unit)? {
                Some(low) => code = 0x1_0000 + ((code & 0x3FF) << 10) + (u32::from(low) & 0x3FF),
                None => {
                    // JSON.stringify escapes a surrogate that stands alone.
                    let hex = |shift: u16| char::from_digit(u32::from(unit >> shift & 15), 16).unwrap_or('0') as u8;
                    out.put(&[b'\\', b'u', hex(12), hex(8), hex(4), hex(0)]);
                    return Ok(());
                }
            }
        }
        match (u8::try_from(code), char::from_u32(code)) {
            (Ok(byte), _) if byte < 0x20 || byte == b'"' || byte == b'\\' => text::escape_byte(byte, out.buf),
            (_, Some(character)) => out.put(character.encode_utf8(&mut [0; 4]).as_bytes()),
            (_, None) => return Err(malformed()),
        }
        Ok(())
    }

    /// Takes the escape of the low surrogate that belongs to `high`, if there is one.
    fn low_surrogate(&mut self, high: u16) -> Result<Option<u16>, Fail> {
        let follows = self.source.get(self.at..).is_some_and(|rest| rest.starts_with(b"\\u"));
        if high >= 0xDC00 || !follows {
            return Ok(None);
        }
        let before = self.at;
        self.at += 2;
        let unit = self.code_unit()?;
        if let 0xDC00..=0xDFFF = unit {
            return Ok(Some(unit));
        }
        self.at = before;
        Ok(None)
    }

    fn code_unit(&mut self) -> Result<u16, Fail> {
        let digits = self.source.get(self.at..self.at + 4).ok_or_else(malformed)?;
        self.at += 4;
        digits.iter().try_fold(0, |unit, &digit| {
            let digit = char::from(digit).to_digit(16).ok_or_else(malformed)?;
            Ok(unit << 4 | digit as u16)
        })
    }

    /// Reads a number, whose first byte has been taken.
    fn number(&mut self, out: &mut Out<'_>) -> Result<(), Fail> {
        let rest = self.source.get(self.at - 1..).unwrap_or_default();
        let length = rest.iter().take_while(|&&b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')).count();
        let token = rest.get(..length).unwrap_or_default();
        self.at += length.saturating_sub(1);
        let digits = token.strip_prefix(b"-").unwrap_or(token);
        if !digits.first().is_some_and(u8::is_ascii_digit) {
            return Err(malformed());
        }
        if digits.len() <= 15 && digits.iter().all(u8::is_ascii_digit) && token != b"-0" {
            out.put(token);
            return Ok(());
        }
        let parsed = std::str::from_utf8(token).ok().and_then(|token| token.parse().ok());
        number::double(parsed.ok_or_else(malformed)?, out);
        Ok(())
    }

    fn literal(&mut self, word: &str, out: &mut Out<'_>) -> Result<(), Fail> {
        let rest = self.source.get(self.at - 1..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(malformed());
        }
        self.at += word.len() - 1;
        out.put(word.as_bytes());
        Ok(())
    }

    /// Takes the next byte that is not white space.
    fn next(&mut self) -> Result<u8, Fail> {
        self.skip_white();
        let byte = *self.source.get(self.at).ok_or_else(malformed)?;
        self.at += 1;
        Ok(byte)
    }

    fn skip_white(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.source.get(self.at) {
            self.at += 1;
        }
    }
}

#[cold]
fn malformed() -> Fail {
    Fail::bad("the document is not valid JSON")
}
