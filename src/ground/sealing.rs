//! What is done to a job's values before they are written: they are compressed, encrypted, both, or left as they are.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretBox};

/// Why a job that is to encrypt does not run as long as there is nothing to encrypt with: its values are never written in the clear instead.
pub const NO_KEY: &str = "encrypt = true, and no key is configured ([encryption] in warm.toml)";

/// The most bytes that a value becomes longer by: what stands before and behind one that is encrypted.
pub const MOST_ADDED: usize = 128;

/// What is done to a job's values.
#[derive(Debug, Clone, Default)]
pub struct Sealing {
    /// Whether, how and when they are compressed.
    pub compress: Option<Compress>,
    /// Whether they are encrypted, after that.
    pub encrypt: Encrypt,
}

impl Sealing {
    /// Whether nothing of the rows is shown to anybody.
    pub fn is_secret(&self) -> bool {
        !matches!(self.encrypt, Encrypt::No)
    }
}

/// How values are compressed (`compress`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compress {
    /// The format.
    pub with: Compression,
    /// Values of up to so many bytes stay as they are.
    pub above: usize,
}

/// A format of compressed values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// A Zstandard frame (RFC 8878).
    Zstd,
    /// An LZ4 frame.
    Lz4,
    /// A gzip member (RFC 1952).
    Gzip,
}

impl Compression {
    /// All formats, by the names that job files have for them.
    pub const NAMES: [(&'static str, Compression); 3] =
        [("zstd", Compression::Zstd), ("lz4", Compression::Lz4), ("gzip", Compression::Gzip)];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Compression::Zstd => "zstd",
            Compression::Lz4 => "lz4",
            Compression::Gzip => "gzip",
        }
    }
}

/// Whether values are encrypted (`encrypt`).
#[derive(Debug, Clone, Default)]
pub enum Encrypt {
    /// They are not.
    #[default]
    No,
    /// They are, with the first of these keys.
    With(Arc<Keyring>),
    /// They are to be, and there is no key: the job is disabled.
    WithoutKey,
}

/// The way back, for whoever compares values and does not know how they are sealed.
pub trait Opens: std::fmt::Debug + Send + Sync {
    /// What was sealed. The key is without the installation's prefix.
    ///
    /// # Errors
    /// Why it cannot be opened, or is not sealed at all where it has to be.
    fn open(&self, key: &[u8], value: &[u8]) -> Result<Vec<u8>, String>;

    /// Whether what was sealed is shown to nobody.
    fn is_secret(&self) -> bool;
}

/// The length of a key's secret, that of AES-256.
pub const SECRET: usize = 32;

/// The keys of an installation: one to write with, and those with which values may still have been written.
#[derive(Debug)]
pub struct Keyring {
    first: Key,
    others: Vec<Key>,
}

/// A key with its name.
#[derive(Debug)]
pub struct Key {
    id: String,
    secret: SecretBox<[u8; SECRET]>,
}

impl Keyring {
    /// The longest name of a key.
    pub const LONGEST_ID: usize = 32;

    /// These keys, the one to write with first; `None` if there are none.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Option<Self> {
        let mut keys = keys.into_iter();
        Some(Keyring { first: keys.next()?, others: keys.collect() })
    }

    /// The key to write with.
    pub fn first(&self) -> &Key {
        &self.first
    }

    /// The key of this name.
    pub fn find(&self, id: &[u8]) -> Option<&Key> {
        std::iter::once(&self.first).chain(&self.others).find(|key| key.id.as_bytes() == id)
    }

    /// Whether a text can be the name of a key: it stands in front of each value.
    pub fn is_id(text: &str) -> bool {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        (1..=Self::LONGEST_ID).contains(&text.len()) && text.chars().all(good)
    }
}

impl Key {
    /// A key; `id` is a name that [`Keyring::is_id`] takes.
    pub fn new(id: &str, secret: SecretBox<[u8; SECRET]>) -> Self {
        Key { id: id.to_owned(), secret }
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its secret. It goes into a cipher, and nowhere else.
    pub fn secret(&self) -> &[u8; SECRET] {
        self.secret.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let secret = SecretBox::new(Box::new([0x5a; SECRET]));
        let ring = Keyring::new([Key::new("2026-11", secret)]).expect("a key");
        let shown = format!("{:?}", Encrypt::With(Arc::new(ring)));
        assert!(shown.contains("2026-11") && !shown.contains("90") && !shown.contains("5a"), "{shown}");
    }

    #[test]
    fn every_format_has_the_name_by_which_it_is_asked_for() {
        assert!(Compression::NAMES.iter().all(|(name, format)| format.name() == *name));
    }
}
