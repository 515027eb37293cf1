//! Strings as JSON, escaped as JavaScript's `JSON.stringify` does it.

use super::error::Fail;
use super::out::Out;
use super::wire;

/// Writes a UTF-8 value as a JSON string.
pub(crate) fn json_string(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    // Escapes only add to the length.
    out.room(value.len().saturating_add(2))?;
    wire::check_utf8(value)?;
    out.byte(b'"');
    escape(value, out.buf);
    out.byte(b'"');
    out.room(0)
}

/// Writes a UTF-8 value as it is.
pub(crate) fn raw(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    out.room(value.len())?;
    wire::check_utf8(value)?;
    out.put(value);
    Ok(())
}

/// Appends `bytes` with `"`, `\` and control characters escaped; all else stays raw, U+2028 too.
pub(crate) fn escape(mut bytes: &[u8], out: &mut Vec<u8>) {
    loop {
        let clean = clean_run(bytes);
        let (head, rest) = bytes.split_at(clean);
        out.extend_from_slice(head);
        let Some((&special, rest)) = rest.split_first() else {
            return;
        };
        escape_byte(special, out);
        bytes = rest;
    }
}

/// Appends the escape of a byte that needs one.
pub(crate) fn escape_byte(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let digit = |nibble: u8| HEX[usize::from(nibble & 15)];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// How many bytes from the front need no escape; 32 at a time where there are none, else eight, and the last eight once more if some of them are left.
pub(crate) fn clean_run(bytes: &[u8]) -> usize {
    let mut done = 0;
    let mut rest = bytes;
    // Without branches, which the compiler makes vectors of.
    while let Some((chunk, tail)) = rest.split_first_chunk::<32>() {
        if chunk.iter().fold(0, |found, &b| found | u8::from(needs_escape(b))) != 0 {
            break;
        }
        done += 32;
        rest = tail;
    }
    while let Some((chunk, tail)) = rest.split_first_chunk::<8>() {
        if let Some(at) = first_to_escape(*chunk) {
            return done + at;
        }
        done += 8;
        rest = tail;
    }
    match bytes.last_chunk::<8>() {
        _ if rest.is_empty() => done,
        // Those before `done` are clean.
        Some(last) => first_to_escape(*last).map_or(bytes.len(), |at| bytes.len() - 8 + at),
        None => done + rest.iter().take_while(|&&b| !needs_escape(b)).count(),
    }
}

fn needs_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// Where the first byte stands that needs an escape.
fn first_to_escape(bytes: [u8; 8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(bytes);
    // A byte below n borrows into its own high bit; a borrow can only disturb bytes behind a true find.
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = word ^ (ONES * u64::from(b'"'));
    let quote = quote.wrapping_sub(ONES) & !quote;
    let slash = word ^ (ONES * u64::from(b'\\'));
    let slash = slash.wrapping_sub(ONES) & !slash;
    let found = (control | quote | slash) & HIGH;
    (found != 0).then_some((found.trailing_zeros() / 8) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        escape(text.as_bytes(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn escapes_what_json_stringify_escapes() {
        assert_eq!(escaped("plain"), "plain");
        assert_eq!(escaped("\"\\/"), "\\\"\\\\/");
        assert_eq!(escaped("\u{8}\u{c}\n\r\t"), "\\b\\f\\n\\r\\t");
        assert_eq!(escaped("\u{0}\u{b}\u{1f}\u{7f}"), "\\u0000\\u000b\\u001f\u{7f}");
        assert_eq!(escaped("\u{2028}é😀"), "\u{2028}é😀");
    }

    #[test]
    fn finds_each_special_byte_at_each_offset() {
        for special in (0..=255u8).filter(|&b| b < 0x20 || b == b'"' || b == b'\\') {
            for neighbour in [b'a', 0x7f, 0x80, 0xff, b' ', b'!', b'#', b'[', b']'] {
                for (length, at) in (0..48).flat_map(|length| (0..length).map(move |at| (length, at))) {
                    let mut bytes = vec![neighbour; length];
                    assert_eq!(clean_run(&bytes), length);
                    bytes[at] = special;
                    assert_eq!(clean_run(&bytes), at, "{special} at {at} of {length} among {neighbour}");
                    if let Some(next) = bytes.get_mut(at + 1) {
                        *next = b'"';
                        assert_eq!(clean_run(&bytes), at, "{special} before a quote");
                    }
                }
            }
        }
    }
}
