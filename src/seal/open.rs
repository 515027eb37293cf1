//! The way back, for whoever shows values or compares them.

use super::error::OpenError;
use super::{compress, envelope};
use crate::ground::sealing::{Encrypt, Keyring, Opens, Sealing};

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

/// Opens the values of one job.
#[derive(Debug)]
pub struct Opener {
    encrypt: Encrypt,
    key_prefix: String,
    limit: usize,
}

impl Opener {
    /// Opens values of up to `limit` bytes at keys with the installation's prefix; `None` if the job's values stand as they are.
    pub fn new(sealing: &Sealing, key_prefix: &str, limit: usize) -> Option<Self> {
        let is_sealed = sealing.compress.is_some() || !matches!(sealing.encrypt, Encrypt::No);
        is_sealed.then(|| Opener { encrypt: sealing.encrypt.clone(), key_prefix: key_prefix.to_owned(), limit })
    }
}

impl Opens for Opener {
    fn open(&self, key: &[u8], value: &[u8]) -> Result<Vec<u8>, String> {
        let keys = match &self.encrypt {
            Encrypt::With(_) | Encrypt::WithoutKey if !envelope::is_one(value) => {
                return Err("it is not encrypted".to_owned());
            }
            Encrypt::No if envelope::is_one(value) => return Err("it is encrypted".to_owned()),
            Encrypt::With(keys) => Some(&**keys),
            Encrypt::No | Encrypt::WithoutKey => None,
        };
        let name = [self.key_prefix.as_bytes(), key].concat();
        open(keys, &name, value, self.limit).map_err(|error| error.to_string())
    }

    fn is_secret(&self) -> bool {
        !matches!(self.encrypt, Encrypt::No)
    }
}
