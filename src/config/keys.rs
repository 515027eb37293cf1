//! The file with the keys that values are encrypted with. Nothing of what stands in it is ever shown: a message has the number of the line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox, SecretString};

use super::diagnostic::{Collector, Diagnostic, Place};
use super::environment::Environment;
use super::paths::named;
use super::raw::Text;
use super::sources::Sources;
use super::{files, secret};
use crate::ground::sealing::{Key, Keyring, SECRET};

/// The variable that gives `keys_file`. Like those of URLs, it comes before a credential.
const VARIABLE: &str = "WARM_ENCRYPTION__KEYS_FILE";
/// The systemd credential.
const CREDENTIAL: &str = "encryption_keys";
/// How a key is made.
const HOW: &str = "a line is a key's name and 32 bytes in base64, such as: echo \"2026-11 $(openssl rand -base64 32)\"";

/// The keys, and the file that they stand in.
pub(super) struct Keys {
    pub(super) ring: Arc<Keyring>,
    pub(super) file: PathBuf,
}

/// The keys in the first file of: that of the own variable, the systemd credential, `keys_file` in the configuration. `None` if there is none of these.
pub(super) fn keys(
    given: Option<&Text>,
    file: &Path,
    environment: &Environment,
    sources: &Sources,
    collector: &mut Collector,
) -> Result<Option<Keys>, Diagnostic> {
    let credential = environment.get("CREDENTIALS_DIRECTORY").map(|folder| Path::new(folder).join(CREDENTIAL));
    // One that cannot be looked at is not absent: nothing else may take its place in silence.
    let credential = credential.filter(|path| path.try_exists().unwrap_or(true));
    let own = environment.get(VARIABLE).is_some();
    let (file, origin) = match (credential, given) {
        (Some(credential), _) if !own => (credential, format!("the credential {CREDENTIAL}")),
        (_, Some(given)) if ends_in_a_secret(given.get_ref()) => {
            let help = "keys_file names a file that holds keys; make another key, since this one may have been seen";
            return Err(sources.error(given.span(), "this is a key, not a file").unquoted().help(help));
        }
        (_, Some(given)) => {
            let path = named("file", given, file, sources, "it names a file on this machine")?;
            (path, if own { format!("${VARIABLE}") } else { "`keys_file` in [encryption]".to_owned() })
        }
        (_, None) => return Ok(None),
    };
    let unreadable = |error: Diagnostic| error.help(format!("the keys are read from {origin}"));
    let text = files::read_secret(&file).map_err(unreadable)?;
    let text = SecretString::from(text);
    secret::warn_if_readable(&file, "keys", collector);
    let ring = parse(&file, text.expose_secret())?;
    Ok(Some(Keys { ring: Arc::new(ring), file }))
}

/// The keys of a file: one in each line, the one to write with first. Empty lines and those that begin with `#` say nothing.
fn parse(file: &Path, text: &str) -> Result<Keyring, Diagnostic> {
    let mut keys: Vec<(Key, usize)> = Vec::new();
    for (line, number) in text.lines().map(str::trim).zip(1..) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: String| Diagnostic::at(Place::whole(format!("{}:{number}", file.display())), what).help(HOW);
        let key = key(line).map_err(wrong)?;
        if let Some((_, other)) = keys.iter().find(|(other, _)| other.id() == key.id()) {
            return Err(wrong(format!("this key has the name of the one in line {other}")));
        }
        keys.push((key, number));
    }
    let ring = Keyring::new(keys.into_iter().map(|(key, _)| key));
    ring.ok_or_else(|| Diagnostic::about(file, "this file has no key").help(HOW))
}

/// Whether a text that is to name a file is a key instead.
fn ends_in_a_secret(text: &str) -> bool {
    let last = text.split_whitespace().next_back().unwrap_or_default();
    let mut bytes = Zeroizing::new([0; 2 * SECRET]);
    STANDARD.decode_slice(last, bytes.as_mut_slice()) == Ok(SECRET)
}

fn key(line: &str) -> Result<Key, String> {
    let mut words = line.split_whitespace();
    let (Some(id), Some(base64), None) = (words.next(), words.next(), words.next()) else {
        let count = line.split_whitespace().count();
        return Err(format!("this line must have two words, a key's name and its base64, and has {count}"));
    };
    if !Keyring::is_id(id) {
        let most = Keyring::LONGEST_ID;
        return Err(format!("the key's name must be 1 to {most} letters, digits, `-`, `_` and `.`"));
    }
    // What is longer does not fit, and is as wrong as what is no base64.
    let mut bytes = Zeroizing::new([0; 2 * SECRET]);
    match STANDARD.decode_slice(base64, bytes.as_mut_slice()) {
        Ok(SECRET) => {}
        Ok(length) => return Err(format!("the key must be {SECRET} bytes in base64, and this is {length}")),
        Err(_) => return Err(format!("the key must be {SECRET} bytes in base64, which this is not")),
    }
    let secret = bytes.first_chunk::<SECRET>().copied().unwrap_or_default();
    Ok(Key::new(id, SecretBox::new(Box::new(secret))))
}
