//! The directory in bpffs that keeps maps and links when the control program is gone.
//!
//! `<bpffs>/<instance>/v<layout>/maps/<name>` and `…/links/<ifindex>-<point>`, `…/sockets/<cgroup>-<program>`. The lock on the
//! directory makes sure that one control program at a time writes the maps.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use lb_common::tables::LAYOUT_VERSION;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use super::DataplaneError;

/// An instance's directory.
#[derive(Debug)]
pub struct Pins {
    instance: PathBuf,
    root: PathBuf,
    lock: Option<Flock<File>>,
}

impl Pins {
    /// Names the directory of an instance; nothing is touched.
    pub fn of(bpffs: &Path, instance: &str) -> Self {
        let instance = bpffs.join(instance);
        let root = instance.join(format!("v{LAYOUT_VERSION}"));
        Self { instance, root, lock: None }
    }

    /// Makes the directory if it isn't there, and takes the lock.
    pub fn lock(&mut self) -> Result<(), DataplaneError> {
        let bpffs = self.instance.parent().unwrap_or(Path::new("/"));
        let unusable = |reason, source| DataplaneError::PinDirectory {
            path: bpffs.to_owned(),
            reason,
            source,
        };
        let filesystem = statfs(bpffs).map_err(|errno| {
            unusable("there is no such directory; mount bpffs there", Some(errno.into()))
        })?;
        if filesystem.filesystem_type() != BPF_FS_MAGIC {
            return Err(unusable("no bpffs is mounted; run: mount -t bpf bpf /sys/fs/bpf", None));
        }
        for directory in [self.maps(), self.links(), self.sockets()] {
            fs::create_dir_all(&directory).map_err(|source| DataplaneError::Pin {
                action: "create",
                path: directory,
                source,
            })?;
        }
        let file = File::open(&self.instance).map_err(|source| DataplaneError::Pin {
            action: "open",
            path: self.instance.clone(),
            source,
        })?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => self.lock = Some(lock),
            Err((_, Errno::EWOULDBLOCK)) => {
                return Err(DataplaneError::Locked { path: self.instance.clone() });
            }
            Err((_, errno)) => {
                return Err(DataplaneError::Pin {
                    action: "lock",
                    path: self.instance.clone(),
                    source: errno.into(),
                });
            }
        }
        Ok(())
    }

    /// Whether some control program holds the lock.
    pub fn is_locked(&self) -> bool {
        let Ok(file) = File::open(&self.instance) else {
            return false;
        };
        matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, Errno::EWOULDBLOCK)))
    }

    /// Whether maps are pinned here.
    pub fn hold_maps(&self) -> bool {
        fs::read_dir(self.maps()).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Where maps are pinned.
    pub fn maps(&self) -> PathBuf {
        self.root.join("maps")
    }

    /// Removes the pin of a map; that there is none is no error.
    pub fn remove_map(&self, name: &str) -> Result<(), DataplaneError> {
        let path = self.maps().join(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(DataplaneError::Pin { action: "remove", path, source })
            }
            _ => Ok(()),
        }
    }

    /// Where links are pinned.
    pub fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    /// Where the links of programs at sockets are pinned.
    pub fn sockets(&self) -> PathBuf {
        self.root.join("sockets")
    }

    /// Removes all pins and the directory: what isn't held by a process ends.
    pub fn remove(&self) -> Result<(), DataplaneError> {
        match fs::remove_dir_all(&self.instance) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(DataplaneError::Pin { action: "remove", path: self.instance.clone(), source })
            }
            _ => Ok(()),
        }
    }
}
