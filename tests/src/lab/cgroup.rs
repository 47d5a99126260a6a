//! A cgroup of a test's own, and sockets that belong to it: what programs at cgroups see.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    self, AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
    UnixAddr,
};
use nix::unistd::write;

use super::namespace::Namespace;
use super::run_id::RunId;

const MOUNTS: &str = "/proc/mounts";

/// A cgroup of version 2 below the root. It goes when this is dropped; what killed tests have left goes when the
/// next one is made.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// An empty one.
    pub fn make() -> io::Result<Self> {
        let root = root()?;
        for entry in fs::read_dir(&root)?.flatten() {
            let owner = entry.file_name().to_str().and_then(RunId::owner);
            if owner.is_some_and(|owner| !owner.is_alive()) {
                // Another test may be doing the same.
                let _ = fs::remove_dir(entry.path());
            }
        }
        let path = root.join(RunId::fresh().namespace("cgroup"));
        fs::create_dir(&path)?;
        Ok(Self { path })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory, for command lines.
    pub fn argument(&self) -> &str {
        self.path.to_str().expect("a path of plain characters")
    }

    /// A socket that a process of this cgroup has made in a namespace. It stays theirs, whoever uses it.
    pub fn socket(
        &self,
        namespace: &Namespace,
        family: AddressFamily,
        kind: SockType,
    ) -> io::Result<OwnedFd> {
        let members = self.members()?;
        let namespace = File::open(namespace.path())?;
        let (ours, theirs) = socket::socketpair(
            AddressFamily::Unix,
            SockType::Datagram,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        let make = move || {
            join(&members)?;
            setns(&namespace, CloneFlags::CLONE_NEWNET)?;
            let made = socket::socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
            let rights = [made.as_raw_fd()];
            let message = [ControlMessage::ScmRights(&rights)];
            let text = [io::IoSlice::new(b"socket")];
            let flags = MsgFlags::empty();
            socket::sendmsg::<UnixAddr>(theirs.as_raw_fd(), &text, &message, flags, None)?;
            // It never becomes another program.
            Err(Errno::ECANCELED.into())
        };
        let mut child = Command::new("nothing");
        // SAFETY: between fork and its end the child makes system calls, on files that the closure keeps open
        // itself, and a small allocation, which the C library allows after fork.
        unsafe { child.pre_exec(make) };
        match child.spawn() {
            Err(error) if error.raw_os_error() == Some(Errno::ECANCELED as i32) => received(&ours),
            Err(error) => Err(error),
            Ok(_) => Err(io::Error::other("a child that was to end became another program")),
        }
    }

    /// Makes a command run as a process of this cgroup.
    pub fn holds(&self, command: &mut Command) -> io::Result<()> {
        let members = self.members()?;
        // SAFETY: between fork and exec the closure makes one system call on a file that it keeps open itself.
        unsafe { command.pre_exec(move || join(&members)) };
        Ok(())
    }

    fn members(&self) -> io::Result<File> {
        OpenOptions::new().write(true).open(self.path.join("cgroup.procs"))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.path) {
            eprintln!("the cgroup {} stays behind: {error}", self.path.display());
        }
    }
}

/// Moves the process that calls it.
fn join(members: &File) -> io::Result<()> {
    write(members, b"0").map(drop).map_err(io::Error::from)
}

fn received(from: &OwnedFd) -> io::Result<OwnedFd> {
    let mut text = [0; 16];
    let mut text = [io::IoSliceMut::new(&mut text)];
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message =
        socket::recvmsg::<UnixAddr>(from.as_raw_fd(), &mut text, Some(&mut space), flags)?;
    let rights = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmRights(rights) => rights.first().copied(),
        _ => None,
    });
    let socket = rights.ok_or_else(|| io::Error::other("no socket came"))?;
    // SAFETY: the kernel just gave it to us, and nobody else has it.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(socket) })
}

/// Where version 2 is mounted.
fn root() -> io::Result<PathBuf> {
    let mounts = fs::read_to_string(MOUNTS)?;
    let path = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let path = words.next()?;
        (words.next() == Some("cgroup2")).then(|| PathBuf::from(path))
    });
    path.ok_or_else(|| {
        io::Error::other("no cgroup v2 is mounted; run: mount -t cgroup2 none /sys/fs/cgroup")
    })
}
