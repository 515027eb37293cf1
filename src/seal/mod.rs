//! The room that seals values: bytes in, bytes out, no I/O. It compresses, encrypts, or both, and knows the way back.
//!
//! ```text
//! value ─► compress ─► envelope ─► what stands in Redis        Sealer::seal
//! value ◄─ compress ◄─ envelope ◄─ what stands in Redis        open, Opener
//! ```
//!
//! What an application has to know is in `docs/sealed-values.md`; `examples/read-values` reads them.
//!
//! **A value says by itself how it is to be read**: each form begins with bytes of its own, of which only those of LZ4 could begin a text at all, since the others are no UTF-8.
//! A value that begins so already would be misread, and is refused.
//!
//! **Equal values give equal bytes.** That what was written is still right, the freshness protocol finds out by comparing bytes: a value that has not changed is only renewed, and a
//! second reading has to give the same fingerprints. Compressed forms hold neither time nor chance. The nonce of an encrypted value is not random, but a MAC of the Redis
//! key and the value, under a key of its own that is derived from the secret.
//!
//! That is sound because the cipher is AES-256-GCM-SIV (RFC 8452), which was made for nonces that come twice: what it then gives away is whether the same value was encrypted twice at the
//! same key, and nothing else. It is what one who sees the cache could tell anyhow from what a deterministic scheme is for: whether a value has changed, or has become again what it was.
//! Two keys with one value look different, since the Redis key goes into the nonce, and is authenticated as associated data: so a value that somebody moves to another key is refused by its
//! readers. As each value has a nonce of its own, and with it derived keys of its own, no number of values that a cache may hold comes near the bounds of the cipher.
//!
//! **What is not hidden**: the keys, when values are written, and how long they are. Compressed before it is encrypted, a value's length says how well it could be compressed. Whoever can make a part of a
//! value, and see lengths in Redis, may guess another part by trying what shortens it (as in CRIME and BREACH). Where that is to be feared, do not compress.

mod compress;
mod envelope;
mod error;
mod open;
mod sealer;
#[cfg(test)]
mod tests;

pub use error::{OpenError, SealError};
pub use open::{Opener, open};
pub use sealer::Sealer;

/// The longest string that Redis takes.
const MOST: usize = 512 << 20;

/// Whether a value begins like one that has been sealed.
fn is_marked(value: &[u8]) -> bool {
    envelope::is_one(value) || compress::format_of(value).is_some()
}
