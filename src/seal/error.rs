//! What can go wrong. No message holds anything of a value or a key.

use std::fmt;

/// Why a value cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealError {
    /// It begins like a sealed one, for which a reader would take it.
    Marked,
    /// What would be written is longer than Redis takes.
    TooLarge,
    /// The compressor or the cipher failed.
    Failed(String),
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealError::Marked => f.write_str(
                "its value begins with the bytes by which a reader knows one that is compressed or encrypted, so that it would be misread",
            ),
            SealError::TooLarge => f.write_str("the value is longer than the limit"),
            SealError::Failed(reason) => write!(f, "its value cannot be compressed or encrypted: {reason}"),
        }
    }
}

impl std::error::Error for SealError {}

/// Why a value cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// It is encrypted in a way that this version does not know.
    Version(u8),
    /// It ends too early, or its head is damaged.
    Damaged,
    /// It is encrypted, and there are no keys.
    NoKeys,
    /// It is encrypted with a key that is not there.
    UnknownKey(String),
    /// It was changed, is at another key than the one that it was written to, or its key has another secret.
    Refused,
    /// It is longer than the limit.
    TooLarge,
    /// What is compressed cannot be read.
    Compressed(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Version(version) => write!(f, "it is encrypted in version {version} of the format, and only 1 is known"),
            OpenError::Damaged => f.write_str("it is encrypted, but too short, or its head is damaged"),
            OpenError::NoKeys => f.write_str("it is encrypted, and no key is configured ([encryption] in warm.toml)"),
            OpenError::UnknownKey(id) => write!(f, "it is encrypted with the key `{id}`, which is not among those of [encryption]"),
            OpenError::Refused => f.write_str(
                "it was changed, or belongs to another key of Redis, or the secret of its key is another one: it cannot be decrypted",
            ),
            OpenError::TooLarge => f.write_str("it is longer than the limit"),
            OpenError::Compressed(reason) => write!(f, "it cannot be decompressed: {reason}"),
        }
    }
}

impl std::error::Error for OpenError {}
