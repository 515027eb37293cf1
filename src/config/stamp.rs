//! What tells whether the files have changed: cheap enough to be looked at all the time.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Names, sizes and times of files. Two that are equal mean that nothing has been written in between, as far as the file system says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(Vec<(PathBuf, Option<Seen>)>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// How the places are now: files, and folders with the files in them. What cannot be looked at is a state, too.
    pub fn of(places: &[PathBuf]) -> Self {
        let mut seen: Vec<_> = places.iter().flat_map(|place| with_content(place)).collect();
        seen.sort_by(|a, b| a.0.cmp(&b.0));
        Stamp(seen)
    }
}

fn with_content(place: &Path) -> Vec<(PathBuf, Option<Seen>)> {
    let inside = fs::read_dir(place).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let inside = inside.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    std::iter::once(place.to_owned()).filter(|place| !place.is_dir()).chain(inside).map(look).collect()
}

fn look(path: PathBuf) -> (PathBuf, Option<Seen>) {
    let seen = |metadata: Metadata| Seen {
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    };
    let metadata = fs::metadata(&path).ok().map(seen);
    (path, metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_done_to_the_files_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (jobs, job) = (folder.path().join("jobs"), folder.path().join("jobs/a.toml"));
        let stamp = || Stamp::of(&[folder.path().join("warm.toml"), jobs.clone()]);
        let mut stamps = vec![stamp()];
        fs::create_dir(&jobs).unwrap();
        assert_eq!(stamp(), stamps[0], "a folder without jobs is no change");
        let changes: [&dyn Fn(); 5] = [
            &|| fs::write(folder.path().join("warm.toml"), "jobs = 'jobs'").unwrap(),
            &|| fs::write(&job, "a").unwrap(),
            &|| fs::write(&job, "ab").unwrap(),
            &|| fs::rename(&job, jobs.join("b.toml")).unwrap(),
            &|| fs::remove_file(jobs.join("b.toml")).unwrap(),
        ];
        for change in changes {
            change();
            assert_ne!(stamp(), *stamps.last().unwrap());
            stamps.push(stamp());
        }
        fs::write(jobs.join("notes.txt"), "").unwrap();
        assert_eq!(stamp(), *stamps.last().unwrap(), "what is no job file is not looked at");
    }
}
