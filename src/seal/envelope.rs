//! The form of an encrypted value:
//!
//! ```text
//! D7 77 72 6D   01        n          n bytes    12 bytes   as long as the value   16 bytes
//! magic         version   length     key's id   nonce      ciphertext             tag
//! ```
//!
//! The cipher is AES-256-GCM-SIV; the associated data are the Redis key, as the application uses it. D7 begins a character of two bytes in UTF-8, of which 77 is no second one: so
//! no text begins like this.

use aes_gcm_siv::{AeadInOut, Aes256GcmSiv, KeyInit, Nonce, Tag};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::error::{OpenError, SealError};
use crate::ground::sealing::{Key, Keyring};

const MAGIC: [u8; 4] = [0xd7, b'w', b'r', b'm'];
const VERSION: u8 = 1;
const NONCE: usize = 12;
const TAG: usize = 16;
/// What the key of nonces is derived from the secret with.
const LABEL: &[u8] = b"warm: nonces of values, version 1";

/// Whether a value begins like an encrypted one.
pub(super) fn is_one(value: &[u8]) -> bool {
    value.starts_with(&MAGIC)
}

/// Encrypts values with one key.
pub(super) struct Cipher {
    id: Vec<u8>,
    cipher: Aes256GcmSiv,
    nonces: Hmac<Sha256>,
}

impl Cipher {
    pub(super) fn new(key: &Key) -> Self {
        let derived = mac(key.secret()).chain_update(LABEL).finalize().into_bytes();
        Cipher {
            id: key.id().as_bytes().to_vec(),
            cipher: Aes256GcmSiv::new(key.secret().into()),
            nonces: mac(&derived),
        }
    }

    /// Appends the envelope of a value to `out`; `name` is the Redis key.
    pub(super) fn run(&self, name: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        let nonce = self.nonce(name, value);
        out.reserve(MAGIC.len() + 2 + self.id.len() + NONCE + value.len() + TAG);
        out.extend_from_slice(&MAGIC);
        // A key's name is at most 32 bytes long.
        out.extend_from_slice(&[VERSION, u8::try_from(self.id.len()).unwrap_or(u8::MAX)]);
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.extend_from_slice(value);
        let content = out.get_mut(start..).unwrap_or_default();
        let tag = self.cipher.encrypt_inout_detached(&nonce, name, content.into());
        let tag = tag.map_err(|_| SealError::Failed("it is too long for AES-GCM-SIV".to_owned()))?;
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// The same for the same key and value, and else another one.
    fn nonce(&self, name: &[u8], value: &[u8]) -> Nonce {
        // With the key's length, so that no byte of a key can pass for one of a value.
        let mac = self.nonces.clone().chain_update((name.len() as u64).to_le_bytes());
        let mac = mac.chain_update(name).chain_update(value).finalize().into_bytes();
        let mut nonce = Nonce::default();
        nonce.iter_mut().zip(mac).for_each(|(to, from)| *to = from);
        nonce
    }
}

/// HMAC takes a key of any length.
fn mac(key: &[u8]) -> Hmac<Sha256> {
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    Hmac::<Sha256>::new(&block)
}

/// The content of an envelope, which [`is_one`].
///
/// # Errors
/// Whatever keeps it from being known for sure to be what was written to this Redis key.
pub(super) fn open(keys: Option<&Keyring>, name: &[u8], value: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut rest = value;
    take(&mut rest, MAGIC.len())?;
    match take(&mut rest, 1)? {
        [VERSION] => {}
        other => return Err(OpenError::Version(other.first().copied().unwrap_or_default())),
    }
    let length = take(&mut rest, 1)?.first().copied().unwrap_or_default();
    let id = take(&mut rest, usize::from(length))?;
    let nonce = Nonce::try_from(take(&mut rest, NONCE)?).map_err(|_| OpenError::Damaged)?;
    let (content, tag) = rest.split_last_chunk::<TAG>().ok_or(OpenError::Damaged)?;
    let name_of_key = std::str::from_utf8(id).ok().filter(|id| Keyring::is_id(id)).ok_or(OpenError::Damaged)?;
    let key = keys.ok_or(OpenError::NoKeys)?.find(id).ok_or_else(|| OpenError::UnknownKey(name_of_key.to_owned()))?;
    let mut content = content.to_vec();
    let cipher = Aes256GcmSiv::new(key.secret().into());
    let opened = cipher.decrypt_inout_detached(&nonce, name, content.as_mut_slice().into(), &Tag::from(*tag));
    opened.map(|()| content).map_err(|_| OpenError::Refused)
}

fn take<'v>(rest: &mut &'v [u8], length: usize) -> Result<&'v [u8], OpenError> {
    rest.split_off(..length).ok_or(OpenError::Damaged)
}
