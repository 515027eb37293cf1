//! Whether `warm serve` runs: a lock on a file in the state folder, which the system gives back however the process ends; and what it says of itself, in
//! that file.
//!
//! It is known so without a page to ask, and of this configuration: two that share a state folder have a file each.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError, read_to_string};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::O_NONBLOCK;
use crate::ground::fingerprint::Fingerprint;
use crate::ground::settings::Settings;

/// How often the lock is tried for: whoever looks has it for a moment.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(25);
/// What is said is filled up with blanks to so many bytes: written over as a whole, it is never half of it to who reads meanwhile.
const LENGTH: usize = 256;

/// What a process says of itself that serves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    /// Its number.
    pub(super) pid: u32,
    /// Where it listens, whatever the configuration says by now.
    pub(super) address: Option<SocketAddr>,
    /// Whether it is about to end.
    pub(super) ending: bool,
}

impl Said {
    fn read(text: &str) -> Option<Self> {
        let said: Value = serde_json::from_str(text).ok()?;
        let address = match &said["address"] {
            Value::Null => None,
            address => Some(address.as_str()?.parse().ok()?),
        };
        Some(Said { pid: said["pid"].as_u64()?.try_into().ok()?, address, ending: said["ending"].as_bool()? })
    }

    fn text(self) -> String {
        let Said { pid, address, ending } = self;
        json!({ "pid": pid, "address": address.map(|address| address.to_string()), "ending": ending }).to_string()
    }
}

/// That this process serves, until this is dropped.
pub(super) struct Announced {
    file: File,
    said: Said,
}

impl Announced {
    /// Says that it is about to end.
    pub(super) fn ending(&mut self) {
        self.said.ending = true;
        self.say();
    }

    fn say(&self) {
        self.write(&self.said.text());
    }

    fn write(&self, text: &str) {
        // What cannot be written is not known: what counts is who has the lock.
        let _ = self.file.write_all_at(format!("{text:LENGTH$}\n").as_bytes(), 0);
    }
}

impl Drop for Announced {
    /// Another one that serves is not to be taken for this one.
    fn drop(&mut self) {
        self.write("");
    }
}

/// Says that this process serves, and listens there. A help, never a condition: where that cannot be done, it is not known.
pub(super) fn announce(settings: &Settings, address: Option<SocketAddr>) -> Option<Announced> {
    let path = path(settings)?;
    DirBuilder::new().recursive(true).mode(0o700).create(path.parent()?).ok()?;
    let file = open(OpenOptions::new().create(true).write(true).truncate(false).mode(0o644), path)?;
    let locked = (0..TRIES).any(|tried| {
        if tried > 0 {
            std::thread::sleep(PAUSE);
        }
        file.try_lock_shared().is_ok()
    });
    let announced =
        locked.then(|| Announced { file, said: Said { pid: std::process::id(), address, ending: false } })?;
    announced.say();
    Some(announced)
}

/// What is known of a process that serves.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Presence {
    /// Whether there is one; `None` if that cannot be told, since none ever has with this state folder.
    pub(super) there: Option<bool>,
    /// What it says of itself.
    pub(super) said: Option<Said>,
}

/// Looks whether some process serves.
pub(super) fn look(settings: &Settings) -> Presence {
    let Some((path, file)) =
        path(settings).and_then(|path| Some((path.clone(), open(OpenOptions::new().read(true), path)?)))
    else {
        return Presence::default();
    };
    match file.try_lock() {
        Ok(()) => Presence { there: Some(false), said: None },
        Err(TryLockError::WouldBlock) => {
            let said = read_to_string(path).ok().and_then(|text| Said::read(&text));
            Presence { there: Some(true), said }
        }
        Err(TryLockError::Error(_)) => Presence::default(),
    }
}

/// Opens a regular file. Anything else is none of ours, and is not waited for: a pipe would be until somebody opens its other end.
fn open(options: &mut OpenOptions, path: PathBuf) -> Option<File> {
    let file = options.custom_flags(O_NONBLOCK).open(path).ok()?;
    file.metadata().is_ok_and(|metadata| metadata.is_file()).then_some(file)
}

fn path(settings: &Settings) -> Option<PathBuf> {
    let file = std::fs::canonicalize(&settings.file).unwrap_or_else(|_| settings.file.clone());
    let configuration = Fingerprint::of([&*file.to_string_lossy()]);
    Some(settings.state.as_ref()?.join(format!("serve-{configuration}.lock")))
}
