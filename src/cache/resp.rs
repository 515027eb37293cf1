//! Requests in RESP, the Redis serialization protocol (<https://redis.io/docs/latest/develop/reference/protocol-spec/>): an array of bulk strings.
//!
//! Written straight into one buffer: a million commands must not mean a million allocations.

use itoa::Buffer;

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
}
