//! Up to where a slot's changes are done, for the next process: so that a service that starts has not to take everything for changed.
//!
//! It is one line in the state folder, with a fingerprint of all that it depends on: the database, its publication, what is watched, the cache. It is written before the slot moves, and so never behind
//! it: a slot that is further on was moved by somebody else, or is another one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::ground::fingerprint::Fingerprint;

/// What is remembered, and where.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    file: Option<PathBuf>,
}

impl Memory {
    /// In this folder, for a slot of this name; without one nothing is remembered.
    pub(super) fn new(folder: Option<&Path>, slot: &str) -> Self {
        Memory { file: folder.map(|folder| folder.join(format!("changes-{slot}"))) }
    }

    /// The position up to which everything was done under the same circumstances, if that is known.
    pub(super) fn read(&self, circumstances: Fingerprint) -> Option<u64> {
        let text = fs::read_to_string(self.file.as_ref()?).ok()?;
        let (fingerprint, position) = text.trim().split_once(' ')?;
        (fingerprint == circumstances.to_string()).then(|| position.parse().ok()).flatten()
    }

    /// Notes it.
    ///
    /// # Errors
    /// What the folder's file system says, or that there is no folder. Then what was noted before is all that is known.
    pub(super) fn write(&self, circumstances: Fingerprint, position: u64) -> io::Result<()> {
        let Some(file) = &self.file else { return Err(io::Error::other("no state folder is known")) };
        let new = file.with_extension("new");
        fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
        fs::File::create(&new)?.write_all(format!("{circumstances} {position}\n").as_bytes())?;
        fs::rename(&new, file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_known_under_the_same_circumstances_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let (memory, here, there) =
            (Memory::new(Some(folder.path()), "slot"), Fingerprint::of(["a"]), Fingerprint::of(["b"]));
        assert_eq!(memory.read(here), None);
        memory.write(here, 7).expect("noted");
        memory.write(here, 8).expect("noted");
        assert_eq!((memory.read(here), memory.read(there)), (Some(8), None));
        fs::write(folder.path().join("changes-slot"), "half").expect("written");
        assert_eq!(memory.read(here), None);
        assert!(Memory::new(None, "slot").write(here, 7).is_err());
        assert_eq!(Memory::new(None, "slot").read(here), None);
    }
}
