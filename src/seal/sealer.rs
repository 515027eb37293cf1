//! One value after the other is sealed where it stands.

use super::compress::Compressor;
use super::envelope::Cipher;
use super::error::SealError;
use super::{MOST, is_marked};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::sealing::{Encrypt, NO_KEY, Sealing};

/// What is kept of a buffer that one huge value has swollen.
const KEEP: usize = 256 << 10;

/// Seals the values of one job.
pub struct Sealer {
    compressor: Option<Compressor>,
    cipher: Option<Cipher>,
    /// The text before every key, and then a key behind it.
    name: Vec<u8>,
    prefix: usize,
    compressed: Vec<u8>,
    encrypted: Vec<u8>,
}

impl Sealer {
    /// A sealer for values at keys with the installation's prefix; `None` if the job's values stay as they are.
    ///
    /// # Errors
    /// There is no key: what is to be encrypted is never written in the clear.
    pub fn new(sealing: &Sealing, key_prefix: &str) -> Result<Option<Self>, Error> {
        let cipher = match &sealing.encrypt {
            Encrypt::No => None,
            Encrypt::With(keys) => Some(Cipher::new(keys.first())),
            Encrypt::WithoutKey => return Err(Error::new(ErrorKind::Definition, format!("disabled: {NO_KEY}"))),
        };
        let compressor = sealing.compress.map(Compressor::new).transpose();
        let compressor = compressor.map_err(|error| Error::new(ErrorKind::Definition, error.to_string()))?;
        let (name, prefix) = (key_prefix.as_bytes().to_vec(), key_prefix.len());
        let (compressed, encrypted) = (Vec::new(), Vec::new());
        let sealer = Sealer { compressor, cipher, name, prefix, compressed, encrypted };
        Ok((sealer.compressor.is_some() || sealer.cipher.is_some()).then_some(sealer))
    }

    /// Seals the value that begins at `from` and goes on to the end of `out`; `key` is without the installation's prefix. After an error, what stands there is of no use.
    ///
    /// # Errors
    /// The value begins like a sealed one, or becomes too long.
    pub fn seal(&mut self, key: &[u8], out: &mut Vec<u8>, from: usize) -> Result<(), SealError> {
        let value = out.get(from..).unwrap_or_default();
        if is_marked(value) {
            return Err(SealError::Marked);
        }
        self.compressed.clear();
        let shorter = self.compressor.as_mut().map(|compressor| compressor.run(value, &mut self.compressed));
        let shorter = shorter.transpose().map_err(|error| SealError::Failed(error.to_string()))?;
        let content = if shorter == Some(true) { &self.compressed } else { value };
        if let Some(cipher) = &self.cipher {
            self.name.truncate(self.prefix);
            self.name.extend_from_slice(key);
            self.encrypted.clear();
            cipher.run(&self.name, content, &mut self.encrypted)?;
            replace(out, from, &self.encrypted);
        } else if shorter == Some(true) {
            replace(out, from, &self.compressed);
        }
        self.compressed.shrink_to(KEEP);
        self.encrypted.shrink_to(KEEP);
        if out.len() - from > MOST { Err(SealError::TooLarge) } else { Ok(()) }
    }
}

fn replace(out: &mut Vec<u8>, from: usize, with: &[u8]) {
    out.truncate(from);
    out.extend_from_slice(with);
}
