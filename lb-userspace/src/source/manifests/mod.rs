//! A directory of ordinary Kubernetes manifests, read and watched.
//!
//! Files named `*.yaml`, `*.yml` and `*.json` directly in the directory count, hidden ones don't.
//! They may hold several documents and `List`s; kinds other than Service, `EndpointSlice`,
//! Endpoints, Pod and Node are passed over. Files may be links, as in a mounted `ConfigMap`: changes are noticed when entries of
//! the directory change or its files are written, so of a link to elsewhere only the link is watched.
//!
//! **Invariant:** a mistake costs nothing that was in force. What can't be read, or is refused,
//! stays as it last was right until it is put right or removed.

mod directory;
mod document;
mod file;
mod watch;

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::sync::watch::Receiver;

use super::Snapshot;
use crate::control::{ControlPlane, StoreError};
use directory::Directory;
pub use directory::Examined;
use watch::Watcher;

/// A watched directory of manifests. Dropping it ends the watch.
#[derive(Debug)]
pub struct ManifestSource {
    snapshots: Receiver<Snapshot>,
    _watcher: Watcher,
}

/// Why a directory can't be a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It isn't there.
    #[error("no manifests at {}: no such directory; create it or name another one", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is something else.
    #[error(
        "no manifests at {}: not a directory; name the directory that the manifests are in",
        path.display()
    )]
    NotADirectory {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It can't be read.
    #[error("can't read manifests at {}: allow this user to read the directory", path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It can be read, but not watched.
    #[error(
        "can't watch manifests at {}: if the system is out of watches, raise \
         fs.inotify.max_user_watches and fs.inotify.max_user_instances with sysctl",
        path.display()
    )]
    Unwatchable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: notify::Error,
    },
    /// What Services are given can't be written down.
    #[error("can't give Services what they leave open")]
    State(#[from] StoreError),
    /// No thread for it could be started.
    #[error("can't watch manifests at {}: no thread could be started", path.display())]
    NoThread {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What a file with these bytes puts in force where it is the only one, and what is wrong with it. Reads
/// and watches nothing; for those who have bytes and no file, as fuzzers have.
pub fn read(bytes: &[u8]) -> Snapshot {
    let directory = Directory::holding(PathBuf::from("manifest.yaml"), bytes);
    // Without a store nothing can fail.
    directory.snapshot(&mut ControlPlane::default()).unwrap_or_default()
}

/// What a directory holds now. Watches nothing; for those who only look. Fails if the directory can't be read.
pub fn examine(path: &Path, control: &mut ControlPlane) -> Result<Examined, SourceError> {
    let mut directory = Directory::new(path.to_owned());
    directory.refresh().map_err(|error| SourceError::unreadable(path, error))?;
    Ok(directory.examine(control)?)
}

impl ManifestSource {
    /// Reads a directory and begins to watch it. Wrong manifests are no error here: they are in the
    /// snapshot's problems ([`Snapshot::without_problems`] makes them one). Fails if the directory
    /// can't be read or watched.
    pub fn open(path: &Path) -> Result<(Snapshot, Self), SourceError> {
        Self::open_with(path, ControlPlane::default())
    }

    /// The same with a control plane that has something to give and may remember it.
    pub fn open_with(path: &Path, control: ControlPlane) -> Result<(Snapshot, Self), SourceError> {
        let (snapshots, watcher) = Watcher::start(path, control)?;
        let mut source = Self { snapshots, _watcher: watcher };
        let snapshot = source.snapshots.borrow_and_update().clone();
        Ok((snapshot, source))
    }

    /// Waits until something is different, and gives all of it. Changes that come together come in
    /// one snapshot. Safe to cancel.
    pub async fn changed(&mut self) -> Snapshot {
        // The sender lives as long as the watcher, which is ours; were it gone, nothing would change.
        if self.snapshots.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.snapshots.borrow_and_update().clone()
    }
}

impl SourceError {
    fn unreadable(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path, source },
            io::ErrorKind::NotADirectory => Self::NotADirectory { path, source },
            _ => Self::Unreadable { path, source },
        }
    }
}

#[cfg(test)]
mod tests;
