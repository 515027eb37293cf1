//! `compress` and `encrypt`: what is done to a job's values before they are written.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

use super::diagnostic::Diagnostic;
use super::fields::Reader;
use super::raw;
use super::settings::{must_be, size};
use crate::ground::sealing::{Compress, Compression, Encrypt, Keyring, Sealing};

/// Below it, a few dozen bytes are all that can be spared, and what the reader has to do is the same.
const ABOVE: usize = 1 << 10;

/// The most that a value may be, and so the most above which it makes sense to compress.
const MOST: usize = 512 << 20;

impl Reader<'_> {
    /// Both fields; `keys` are those of the configuration.
    pub(super) fn sealing(
        &self,
        compress: Option<&Spanned<raw::Compress>>,
        encrypt: Option<&Spanned<bool>>,
        keys: Option<&Arc<Keyring>>,
    ) -> Result<Sealing, Diagnostic> {
        let compress = compress.map(|compress| self.compress(compress)).transpose()?;
        let encrypt = match keys {
            _ if encrypt.is_none_or(|encrypt| !encrypt.get_ref()) => Encrypt::No,
            Some(keys) => Encrypt::With(Arc::clone(keys)),
            None => Encrypt::WithoutKey,
        };
        Ok(Sealing { compress, encrypt })
    }

    fn compress(&self, given: &Spanned<raw::Compress>) -> Result<Compress, Diagnostic> {
        match given.get_ref() {
            raw::Compress::Word(word) => {
                Ok(Compress { with: self.format_of("compress", word, given.span())?, above: ABOVE })
            }
            raw::Compress::Table { with, above } => {
                let with = self.format_of("compress.with", with.get_ref(), with.span())?;
                let shown = "between 0 and 512MiB";
                let above = above.as_ref().map(|above| size("compress.above", above, 0..=MOST, shown, self.sources));
                Ok(Compress { with, above: above.transpose()?.unwrap_or(ABOVE) })
            }
        }
    }

    fn format_of(&self, field: &str, word: &str, span: Range<usize>) -> Result<Compression, Diagnostic> {
        let found = Compression::NAMES.iter().find(|(name, _)| *name == word);
        found.map(|(_, format)| *format).ok_or_else(|| {
            let names = Compression::NAMES.map(|(name, _)| format!("\"{name}\"")).join(" or ");
            must_be(field, &names, span, self.sources)
        })
    }
}
