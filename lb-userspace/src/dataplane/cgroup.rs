//! The cgroup at which the programs see sockets: its processes', and those of all cgroups below it.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, BorrowedFd},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};
use thiserror::Error;

const MOUNTS: &str = "/proc/mounts";

/// A cgroup of version 2.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    directory: File,
    inode: u64,
}

/// There is no such cgroup.
#[derive(Debug, Error)]
pub enum CgroupError {
    /// None is mounted.
    #[error(
        "no cgroup v2 is mounted; mount it (mount -t cgroup2 none /sys/fs/cgroup/unified), name one with --cgroup, or say --socket-lb off"
    )]
    NotMounted,
    /// The directory is none.
    #[error("--cgroup {}: that is no cgroup of version 2; name a directory below a cgroup2 mount", path.display())]
    Other {
        /// The directory.
        path: PathBuf,
    },
    /// It can't be opened.
    #[error("can't open the cgroup {}", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl Cgroup {
    /// The one with this path, or the root of what is mounted.
    pub fn open(path: Option<&Path>) -> Result<Self, CgroupError> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => fs::read_to_string(MOUNTS)
                .map_err(|source| CgroupError::Open { path: MOUNTS.into(), source })
                .and_then(|mounts| mounted(&mounts).ok_or(CgroupError::NotMounted))?,
        };
        let opened = File::open(&path).and_then(|directory| {
            let kind = fstatfs(&directory)?.filesystem_type();
            let inode = directory.metadata()?.ino();
            Ok((directory, kind, inode))
        });
        match opened {
            Ok((directory, CGROUP2_SUPER_MAGIC, inode)) => Ok(Self { path, directory, inode }),
            Ok(_) => Err(CgroupError::Other { path }),
            Err(source) => Err(CgroupError::Open { path, source }),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its number, which no other cgroup gets.
    pub const fn inode(&self) -> u64 {
        self.inode
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Where version 2 is mounted: alone, or beside version 1. Of several mounts the first.
fn mounted(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (_, path, kind) = (words.next()?, words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(unescaped(path)))
    })
}

/// A path as it was before spaces in it were written as octal numbers (`proc_pid_mounts(5)`).
fn unescaped(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (from, to)| path.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_is_found_alone_and_beside_version_1() {
        let alone = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
        let beside = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      none /run/my\\040groups cgroup2 rw 0 0\n\
                      none /elsewhere cgroup2 rw 0 0\n";
        let first_only = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n";
        assert_eq!(mounted(alone), Some("/sys/fs/cgroup".into()));
        assert_eq!(mounted(beside), Some("/run/my groups".into()));
        assert_eq!(mounted(first_only), None);
    }

    #[test]
    fn what_is_no_cgroup_is_refused_by_its_name() {
        let said = |path: &str| Cgroup::open(Some(Path::new(path))).unwrap_err().to_string();
        assert!(said("/proc").contains("--cgroup /proc"), "{}", said("/proc"));
        assert!(said("/nowhere").contains("can't open the cgroup /nowhere"));
    }
}
