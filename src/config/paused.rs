//! The file in the state folder that says which jobs are paused: written by `warm pause` and `warm resume`, read by all who run jobs on their schedules.
//!
//! It is text, and not in the run history, because whoever pauses a job need not be who runs it: root writes one whole file, which everybody may read who
//! gets into the folder, and leaves nothing in a database that the service could not write to any more. Whoever changes the file has the
//! folder's lock meanwhile, and puts a new one in its place: no reader sees half of it, and no change is lost to another.
//!
//! Several configurations may share a state folder. Each entry says whose it is.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::diagnostic::Diagnostic;
use super::files::{read_bounded, words};
use crate::ground::pause::Pauses;

/// The file's name in the state folder.
const NAME: &str = "paused.toml";
/// What is written before it takes the file's place. There is one writer at a time.
const NEW: &str = "paused.toml.new";
/// How long another writer is waited for.
const BUSY: Duration = Duration::from_secs(5);
/// What stands above the entries.
const HEAD: &str = "# Kept by `warm pause` and `warm resume`: these jobs begin no run by themselves until then.\n\n";

/// Where the pauses of one configuration are kept.
#[derive(Debug, Clone)]
pub struct PauseFile {
    folder: PathBuf,
    configuration: String,
}

/// What a change of the file came to.
#[derive(Debug)]
pub struct Changed {
    /// The pauses that there were.
    pub before: Pauses,
    /// What was wrong with the file, if it had to be begun anew.
    pub damage: Option<Diagnostic>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    #[serde(default)]
    paused: Vec<Entry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    configuration: String,
    job: String,
    #[serde(with = "moment")]
    until: DateTime<Utc>,
}

/// A moment as TOML writes it.
mod moment {
    use chrono::{DateTime, SecondsFormat, Utc};
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use toml::value::Datetime;

    pub(super) fn serialize<S: Serializer>(time: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
        let text = time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        text.parse::<Datetime>().map_err(S::Error::custom)?.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<DateTime<Utc>, D::Error> {
        let text = Datetime::deserialize(from)?.to_string();
        text.parse()
            .map_err(|_| D::Error::custom(format_args!("`{text}` is no moment, which is written 2027-03-27T00:00:00Z")))
    }
}

impl PauseFile {
    /// The pauses of a configuration file in a state folder.
    pub fn new(folder: &Path, configuration: &Path) -> Self {
        let configuration = fs::canonicalize(configuration).unwrap_or_else(|_| configuration.to_owned());
        PauseFile { folder: folder.to_owned(), configuration: configuration.to_string_lossy().into_owned() }
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// The pauses that there are; none if there is no file.
    ///
    /// # Errors
    /// When the file cannot be read, or is damaged: then nothing may be taken for paused, and somebody has to know.
    pub fn read(&self) -> Result<Pauses, Diagnostic> {
        Ok(self.ours(&self.content()?))
    }

    /// Changes the pauses, and forgets those that are over. A file that is damaged is begun anew.
    ///
    /// # Errors
    /// When the file cannot be written; then it is as it was.
    pub fn change(&self, now: DateTime<Utc>, change: impl FnOnce(&mut Pauses)) -> Result<Changed, Diagnostic> {
        let fail = |what: &Path, error: &io::Error| {
            let help = "whoever pauses jobs must be able to write to the state folder: `state` in the configuration, or $STATE_DIRECTORY";
            Diagnostic::about(what, format!("the pauses cannot be kept: {}", words(error))).help(help)
        };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|error| fail(&self.folder, &error))?;
        let _lock = lock(&self.folder).map_err(|error| fail(&self.folder, &error))?;
        let (mut content, damage) = match self.content() {
            Ok(content) => (content, None),
            Err(damage) => (Content::default(), Some(damage.into_warning())),
        };
        let before = self.ours(&content);
        let mut after = before.clone();
        change(&mut after);
        after.forget(now);
        content.paused.retain(|entry| entry.configuration != self.configuration && entry.until > now);
        content.paused.extend(after.iter().map(|(job, until)| Entry {
            configuration: self.configuration.clone(),
            job: job.to_owned(),
            until,
        }));
        self.replace(&content).map_err(|error| fail(&self.path(), &error))?;
        Ok(Changed { before, damage })
    }

    fn content(&self) -> Result<Content, Diagnostic> {
        let path = self.path();
        // A file that is not there is how it usually is.
        if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return Ok(Content::default());
        }
        let damaged = |what: &str| {
            let message = format!("this file, which says which jobs are paused, is damaged: {what}");
            Diagnostic::about(&path, message)
                .help("`warm pause` and `warm resume` begin it anew; until then it pauses no job")
        };
        let (text, _) = read_bounded(&path)?;
        let text = text.map_err(|_| damaged("it is not UTF-8"))?;
        toml::from_str(&text).map_err(|error| damaged(error.message()))
    }

    fn ours(&self, content: &Content) -> Pauses {
        let mut pauses = Pauses::default();
        for entry in content.paused.iter().filter(|entry| entry.configuration == self.configuration) {
            pauses.pause(entry.job.clone(), entry.until);
        }
        pauses
    }

    /// Puts a new file in the place of the old one, or none where nothing is paused.
    fn replace(&self, content: &Content) -> io::Result<()> {
        if content.paused.is_empty() {
            return match fs::remove_file(self.path()) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let text = toml::to_string(content).map_err(io::Error::other)?;
        let new = self.folder.join(NEW);
        // What a writer left that was killed is nobody's.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&new)?;
        file.write_all(format!("{HEAD}{text}").as_bytes())?;
        // Whatever the umask: the service may be another user.
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.sync_all()?;
        fs::rename(&new, self.path())?;
        File::open(&self.folder)?.sync_all()
    }
}

/// The folder's lock, until it is dropped. A file system that has no such locks is used without.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let handle = File::open(folder)?;
    let start = Instant::now();
    loop {
        match handle.try_lock() {
            Ok(()) => return Ok(Some(handle)),
            Err(TryLockError::Error(_)) => return Ok(None),
            Err(TryLockError::WouldBlock) if start.elapsed() > BUSY => {
                return Err(io::Error::other("another process holds the folder's lock"));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use chrono::TimeDelta;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
    }

    fn later() -> DateTime<Utc> {
        now() + TimeDelta::hours(1)
    }

    fn paused(file: &PauseFile) -> Vec<String> {
        file.read().unwrap().iter().map(|(job, _)| job.to_owned()).collect()
    }

    #[test]
    fn changes_at_the_same_time_are_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let file = PauseFile::new(&folder.path().join("state"), Path::new("warm.toml"));
        thread::scope(|scope| {
            for writer in 0..8 {
                let file = &file;
                scope.spawn(move || {
                    for n in 0..10 {
                        file.change(now(), |pauses| pauses.pause(format!("{writer}-{n}"), later())).unwrap();
                    }
                });
            }
        });
        assert_eq!(paused(&file).len(), 80);
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o644);
        assert!(!folder.path().join("state").join(NEW).exists());
    }

    #[test]
    fn each_configuration_has_its_own_and_what_is_over_goes() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one.toml", "other.toml"].map(|name| PauseFile::new(folder.path(), Path::new(name)));
        one.change(now(), |pauses| pauses.pause("a".to_owned(), later())).unwrap();
        assert_eq!((paused(&one), paused(&other)), (vec!["a".to_owned()], vec![]));
        other.change(now(), |pauses| pauses.pause("b".to_owned(), later() + TimeDelta::hours(1))).unwrap();
        assert_eq!((paused(&one), paused(&other)), (vec!["a".to_owned()], vec!["b".to_owned()]));
        other.change(later(), |_| {}).unwrap();
        assert_eq!((paused(&one), paused(&other)), (vec![], vec!["b".to_owned()]));
        other.change(later(), |pauses| pauses.resume("b")).unwrap();
        assert!(!other.path().exists(), "nothing is paused");
    }

    #[test]
    fn a_damaged_file_pauses_nothing_and_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let file = PauseFile::new(folder.path(), Path::new("warm.toml"));
        for text in ["[[paused", "[[paused]]\njob = 'a'\n", "paused = 3\n", "\u{fffd}"] {
            fs::write(file.path(), text).unwrap();
            let error = file.read().unwrap_err();
            assert!(error.message.contains("is damaged: "), "{error:?}");
            let changed = file.change(now(), |pauses| pauses.pause("a".to_owned(), later())).unwrap();
            assert!(changed.damage.is_some() && changed.before == Pauses::default());
            assert_eq!(paused(&file), ["a"]);
        }
    }
}
