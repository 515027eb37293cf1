//! Requests in RESP, the Redis serialization protocol (<https://redis.io/docs/latest/develop/reference/protocol-spec/>): an array of bulk strings.
//!
//! Written straight into one buffer: a million commands must not mean a million allocations.

use itoa::Buffer;

/// Begins `SET`, with a key that is made of two pieces, a value, `NX`, and a moment: this command is by far the most frequent, so that what is always the
/// same in it is written at once. `PXAT` takes a time (milliseconds since 1970), `PX` a length of time (milliseconds).
pub(super) fn set_if_absent(out: &mut Vec<u8>, key: (&[u8], &[u8]), value: &[u8], (absolute, moment): (bool, u64)) {
    out.extend_from_slice(b"*6\r\n$3\r\nSET\r\n");
    part_of_two(out, key.0, key.1);
    part(out, value);
    out.extend_from_slice(if absolute { b"$2\r\nNX\r\n$4\r\nPXAT\r\n" } else { b"$2\r\nNX\r\n$2\r\nPX\r\n" });
    number(out, moment);
}

/// Begins a command of `parts` parts.
pub(super) fn command(out: &mut Vec<u8>, parts: usize) {
    header(out, b'*', parts);
}

/// Appends one part.
pub(super) fn part(out: &mut Vec<u8>, bytes: &[u8]) {
    part_of_two(out, bytes, &[]);
}

/// Appends one part that is made of two pieces, such as prefix and key.
pub(super) fn part_of_two(out: &mut Vec<u8>, first: &[u8], second: &[u8]) {
    /// A mark, the length's digits, and two line ends.
    const AROUND: usize = 1 + 20 + 2 * 2;
    out.reserve(first.len() + second.len() + AROUND);
    header(out, b'$', first.len() + second.len());
    out.extend_from_slice(first);
    out.extend_from_slice(second);
    out.extend_from_slice(b"\r\n");
}

/// Appends a number as one part.
pub(super) fn number(out: &mut Vec<u8>, value: u64) {
    part(out, Buffer::new().format(value).as_bytes());
}

fn header(out: &mut Vec<u8>, mark: u8, length: usize) {
    out.push(mark);
    out.extend_from_slice(Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_what_the_protocol_asks_for() {
        let mut out = Vec::new();
        command(&mut out, 3);
        part(&mut out, b"SET");
        part_of_two(&mut out, b"app:", b"k\r\n");
        number(&mut out, 10);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$7\r\napp:k\r\n\r\n$2\r\n10\r\n");
    }

    #[test]
    fn the_command_that_is_written_at_once_is_that_of_its_parts() {
        for (absolute, word) in [(true, &b"PXAT"[..]), (false, b"PX")] {
            let (mut whole, mut parts) = (Vec::new(), Vec::new());
            set_if_absent(&mut whole, (b"app:", b"k"), b"v\r\n", (absolute, 1_764_000_000_000));
            command(&mut parts, 6);
            [&b"SET"[..], b"app:k", b"v\r\n", b"NX", word, b"1764000000000"]
                .iter()
                .for_each(|text| part(&mut parts, text));
            assert_eq!(whole, parts);
        }
    }
}
