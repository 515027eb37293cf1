//! Where `warm serve` gives the values of keys, and deletes them, and from what: made when it begins, and again when it has read other files.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Failure;
use super::setup::InUse;
use crate::ground::error::Error;
use crate::ground::event::{Event, Observer};
use crate::ground::settings::KeysSettings;
use crate::runner::{Invalidator, ReadThrough, Runner};
use crate::service::{Deletes, Given, KeysListener, serve_keys};

/// How long deletions may still take when the service has ended: shorter than connections may.
const MOMENT: Duration = Duration::from_millis(500);

/// What gives values until it is dropped.
pub(super) struct Keys {
    servers: JoinSet<()>,
    life: watch::Sender<()>,
    source: Option<watch::Receiver<Arc<Given>>>,
    socket: Option<PathBuf>,
}

/// Gives them another source.
pub(super) type Sources = watch::Sender<Arc<Given>>;

impl Keys {
    /// Begins to listen, where the configuration says so.
    ///
    /// # Errors
    /// A place that cannot be had.
    pub(super) async fn begin(
        in_use: &InUse,
        observer: &Arc<dyn Observer>,
    ) -> Result<(Keys, Option<Sources>), Failure> {
        let settings = &in_use.loaded.settings;
        let keys = settings.serve.keys.clone();
        let (life, _) = watch::channel(());
        let mut all = Keys { servers: JoinSet::new(), life, source: None, socket: keys.socket.clone() };
        if keys.socket.is_none() && keys.listen.is_none() {
            return Ok((all, None));
        }
        let given = source(in_use, None, observer.as_ref()).map_err(|error| anyhow!("{error}"))?;
        let (sources, source) = watch::channel(given);
        for listener in listeners(&keys, &settings.file, observer.as_ref()).await? {
            all.servers.spawn(serve_keys(listener, source.clone(), Arc::clone(observer), all.life.subscribe()));
        }
        all.source = Some(source);
        Ok((all, Some(sources)))
    }

    /// Lets those who ask have their answers, for a moment, and ends.
    pub(super) async fn end(self) {
        let Keys { mut servers, life, source, socket } = self;
        drop(life);
        if timeout(MOMENT, async { while servers.join_next().await.is_some() {} }).await.is_err()
            && let Some(source) = source
        {
            // A pass over all keys: whoever waits is told that it did not come to its end.
            source.borrow().deletes.iter().for_each(|deletes| deletes.invalidator.halt());
        }
        while servers.join_next().await.is_some() {}
        // Nobody listens there any more.
        socket.map(fs::remove_file);
    }
}

/// From what values are given, and what may be deleted; in the place of what was given before.
pub(super) fn source(in_use: &InUse, before: Option<&Given>, observer: &dyn Observer) -> Result<Arc<Given>, Error> {
    let settings = &in_use.loaded.settings;
    let jobs: Vec<_> = settings.jobs.iter().cloned().map(Arc::new).collect();
    let runner: &Arc<Runner> = &in_use.runner;
    let reads = ReadThrough::new(runner, &jobs, settings.serve.keys.level1)?;
    let reads = Arc::new(match before {
        Some(before) => reads.after(&before.reads),
        None => reads,
    });
    let deletes = settings.serve.keys.invalidate.then(|| Deletes {
        sets: settings.sets.clone(),
        file: settings.file.clone(),
        invalidator: Invalidator::new(&runner.redis),
    });
    let sets = deletes.iter().flat_map(|deletes| &deletes.sets).map(|set| set.name.as_str());
    observer.on(&Event::Invalidates { sets: &sets.collect::<Vec<_>>() });
    Ok(Arc::new(Given { reads, deletes }))
}

async fn listeners(keys: &KeysSettings, file: &Path, observer: &dyn Observer) -> Result<Vec<KeysListener>, Failure> {
    let mut listeners = Vec::new();
    let refused = |place: &dyn std::fmt::Display, field: &str, error: &io::Error| {
        anyhow!(
            "cannot listen on {place} for keys: {error}; end what listens there, or change `{field}` in [serve] of {}",
            file.display()
        )
    };
    if let Some(path) = &keys.socket {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir());
        if let Some(folder) = folder {
            let message = format!(
                "the folder {} of `keys_socket` does not exist: make it, or change `keys_socket`",
                folder.display()
            );
            return Err(anyhow!("{message} in [serve] of {}", file.display()).into());
        }
        let listener =
            socket(path, keys.socket_mode).map_err(|error| refused(&path.display(), "keys_socket", &error))?;
        observer.on(&Event::GivesKeys { place: &path.display().to_string() });
        listeners.push(KeysListener::Socket(listener));
    }
    if let Some(address) = keys.listen {
        let listener = TcpListener::bind(address).await.map_err(|error| refused(&address, "keys_listen", &error))?;
        let address = listener.local_addr().unwrap_or(address);
        observer.on(&Event::GivesKeys { place: &format!("http://{address}/keys/") });
        listeners.push(KeysListener::Address(listener));
    }
    Ok(listeners)
}

/// A socket at this path. One that is left from a process that was killed is replaced; one on which somebody listens, and any other file, is not.
fn socket(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(listener)
}
