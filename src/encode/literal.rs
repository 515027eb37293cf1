//! Types whose text Postgres prints but does not send in binary: uuid, inet, bit strings.

use super::error::Fail;
use super::out::Out;
use super::wire::{Reader, fixed};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes a uuid's text.
pub(crate) fn uuid(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    let value: [u8; 16] = fixed(value)?;
    for (at, byte) in value.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.byte(b'-');
        }
        out.byte(HEX[usize::from(byte >> 4)]);
        out.byte(HEX[usize::from(byte & 15)]);
    }
    Ok(())
}

/// Writes a bit string's text, quoted.
pub(crate) fn bits(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    let mut reader = Reader(value);
    let length = usize::try_from(reader.int4()?).map_err(|_| Fail::bad("a negative number of bits"))?;
    if length.div_ceil(8) != reader.0.len() {
        return Err(Fail::bad("a bit string of another length than it says"));
    }
    out.room(length)?;
    out.byte(b'"');
    let bits = reader.0.iter().flat_map(|byte| (0..8).rev().map(move |bit| b'0' + (byte >> bit & 1)));
    out.buf.extend(bits.take(length));
    out.byte(b'"');
    Ok(())
}

/// Writes an `inet` or `cidr`, quoted: the prefix length is left out for an `inet` that is one host.
pub(crate) fn inet(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    let mut reader = Reader(value);
    let [_family, prefix, is_cidr, length] = reader.take()?;
    out.byte(b'"');
    let width = match length {
        4 => {
            dotted(reader.take()?, out);
            32
        }
        16 => {
            ipv6(reader.take()?, out);
            128
        }
        _ => return Err(Fail::bad("an address that is neither IPv4 nor IPv6")),
    };
    reader.end()?;
    if prefix > width {
        return Err(Fail::bad("an address with a prefix longer than itself"));
    }
    if prefix != width || is_cidr != 0 {
        out.byte(b'/');
        out.integer(prefix);
    }
    out.byte(b'"');
    Ok(())
}

fn dotted(address: [u8; 4], out: &mut Out<'_>) {
    for (at, byte) in address.into_iter().enumerate() {
        if at > 0 {
            out.byte(b'.');
        }
        out.integer(byte);
    }
}

/// As Postgres' `inet_net_ntop` does it, which Rust's `Ipv6Addr` is not: addresses that only hold an IPv4 one
/// (`::1.2.3.4`) are written with dots.
fn ipv6(address: [u8; 16], out: &mut Out<'_>) {
    let mut words = [0u16; 8];
    for (word, pair) in words.iter_mut().zip(address.as_chunks::<2>().0) {
        *word = u16::from_be_bytes(*pair);
    }
    let (start, length) = longest_zeros(&words);
    let embeds_ipv4 = start == 0 && (length == 6 || (length == 5 && words[5] == 0xffff));
    let [.., a, b, c, d] = address;
    let mut at = 0;
    while at < 8 {
        if length > 1 && at == start {
            out.put(b"::");
            at += length;
            continue;
        }
        if at > 0 && !(length > 1 && at == start + length) {
            out.byte(b':');
        }
        if at == 6 && embeds_ipv4 {
            dotted([a, b, c, d], out);
            return;
        }
        hex(words[at], out);
        at += 1;
    }
}

/// The first of the longest runs of zero words.
fn longest_zeros(words: &[u16; 8]) -> (usize, usize) {
    let mut best = (0, 0);
    let mut run = 0;
    for (at, &word) in words.iter().enumerate() {
        run = if word == 0 { run + 1 } else { 0 };
        if run > best.1 {
            best = (at + 1 - run, run);
        }
    }
    best
}

fn hex(word: u16, out: &mut Out<'_>) {
    let digits = (4 - word.leading_zeros() / 4).max(1);
    for nibble in (0..digits).rev() {
        out.byte(HEX[usize::from(word >> (4 * nibble) & 15)]);
    }
}
