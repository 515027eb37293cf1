//! The way back, for whoever shows values or compares them.

use super::error::OpenError;
use super::{compress, envelope};
use crate::ground::sealing::Keyring;

/// The value that was sealed, of at most `limit` bytes; `name` is its Redis key, the installation's prefix included. One that was not sealed is itself.
///
/// # Errors
/// It cannot be decrypted or decompressed, or is too long.
pub fn open(keys: Option<&Keyring>, name: &[u8], value: &[u8], limit: usize) -> Result<Vec<u8>, OpenError> {
    let content = match envelope::is_one(value) {
        true => envelope::open(keys, name, value)?,
        false => value.to_vec(),
    };
    match compress::format_of(&content) {
        Some(format) => compress::decompress(format, &content, limit),
        None if content.len() > limit => Err(OpenError::TooLarge),
        None => Ok(content),
    }
}
