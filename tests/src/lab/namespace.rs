//! One network namespace, and the ways to do something inside it. Its [`super::Lab`] removes it.
//!
//! Only the *network* namespace is ever changed, never the mount namespace: `/sys/fs/bpf` stays the
//! host's for whoever is inside. So does `/sys/class/net`, which belongs to the mount; ask netlink
//! instead. `/proc/sys/net` follows the thread that reads it.

use std::fs::{self, File};
use std::io;
use std::marker::PhantomData;
use std::os::unix::process::CommandExt;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns};

use super::command;
use super::error::{Error, Result};

/// Where iproute2 keeps named namespaces.
pub(super) const DIRECTORY: &str = "/run/netns";

/// A network namespace. It is removed when its lab is dropped, also when a test panics.
///
/// A removed namespace loses its name at once; the kernel tears it down as soon as the last socket or
/// process in it is gone, so stop those first.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    full_name: String,
    file: Arc<File>,
}

impl Namespace {
    /// Opens a namespace that `ip netns add FULL_NAME` has just made.
    pub(super) fn open(name: &str, full_name: String) -> Result<Self> {
        let path = path_of(&full_name);
        let file = File::open(&path).map_err(|source| Error::Open { path, source })?;
        Ok(Self { name: name.to_owned(), full_name, file: Arc::new(file) })
    }

    /// Its name in the lab: `node1`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name for `ip netns exec`, unique on the machine.
    pub fn full_name(&self) -> &str {
        &self.full_name
    }

    /// The file that is the namespace, for those who take a path.
    pub fn path(&self) -> PathBuf {
        path_of(&self.full_name)
    }

    /// Moves the current thread in, until the guard is dropped. Guards nest: each goes back to where
    /// its thread was before. Sockets and processes made meanwhile stay inside for good.
    pub fn enter(&self) -> Result<Entered> {
        let fail = |source| Error::Enter { namespace: self.full_name.clone(), source };
        let previous = File::open("/proc/thread-self/ns/net").map_err(fail)?;
        setns(&*self.file, CloneFlags::CLONE_NEWNET).map_err(|e| fail(e.into()))?;
        Ok(Entered { previous, stays_on_its_thread: PhantomData })
    }

    /// Runs `work` on a fresh thread inside, and waits for it. A panic in `work` goes on in the caller.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let inside = || -> Result<T> {
            let _inside = self.enter()?;
            Ok(work())
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|payload| panic::resume_unwind(payload))
    }

    /// A command that will run inside. It is the caller's to start, wait for and stop.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let file = Arc::clone(&self.file);
        let enter = move || setns(&*file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
        let mut command = Command::new(program);
        // SAFETY: between fork and exec the closure makes one system call on a file that it keeps open
        // itself; it neither allocates nor takes a lock (an errno becomes an `io::Error` by value).
        unsafe { command.pre_exec(enter) };
        command
    }

    /// Runs a command inside to its end: `output("ethtool", &["-k", "eth0"])`. Returns its standard
    /// output; fails, with what it wrote to standard error, if it can't start or its status isn't 0.
    pub fn output(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(program);
        command.args(arguments);
        command::run(command)
    }

    /// Runs lines of `ip` commands inside, without the word `ip`: `"link set eth0 up\nroute show"`.
    /// Stops at the first that fails, and says which.
    pub fn ip(&self, script: &str) -> Result<()> {
        command::ip_batch(&["-n", &self.full_name], script)
    }

    /// Sets kernel settings, given as paths below `/proc/sys`, in order.
    pub fn sysctl<K: AsRef<str>, V: AsRef<str>>(&self, settings: &[(K, V)]) -> Result<()> {
        let _inside = self.enter()?;
        for (key, value) in settings {
            let (key, value) = (key.as_ref(), value.as_ref());
            fs::write(Path::new("/proc/sys").join(key), value).map_err(|source| Error::Sysctl {
                namespace: self.full_name.clone(),
                key: key.to_owned(),
                value: value.to_owned(),
                source,
            })?;
        }
        Ok(())
    }
}

/// The current thread is inside a namespace while this lives. Stays on its thread: it is not `Send`.
#[derive(Debug)]
#[must_use = "the thread leaves the namespace again when this is dropped"]
pub struct Entered {
    previous: File,
    stays_on_its_thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Whatever ran next on this thread would change the wrong network: better no next.
        setns(&self.previous, CloneFlags::CLONE_NEWNET)
            .expect("a thread that entered a namespace can go back to the one it came from");
    }
}

/// What `ip netns del` does, without needing a process at a time when things may be going wrong.
/// Nothing to do if it is gone already.
pub(super) fn remove(full_name: &str) -> io::Result<()> {
    let path = path_of(full_name);
    // EINVAL: a file that is no mount, as a killed `ip netns add` leaves it. The file still has to go.
    match umount2(&path, MntFlags::MNT_DETACH).map_err(io::Error::from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() != io::ErrorKind::InvalidInput => return Err(error),
        _ => {}
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// All named namespaces of the machine, by full name.
pub(super) fn all() -> Result<Vec<String>> {
    let list = |source| Error::List { path: DIRECTORY.into(), source };
    let entries = match fs::read_dir(DIRECTORY) {
        // The first `ip netns add` since boot makes it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(list)?,
    };
    entries
        .map(|entry| Ok(entry.map_err(list)?.file_name().to_string_lossy().into_owned()))
        .collect()
}

fn path_of(full_name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(full_name)
}
