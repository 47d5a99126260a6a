//! The network namespaces of the machine: those that processes are in, and those that are mounted somewhere,
//! as CNI plugins do it.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    panic,
    path::{Path, PathBuf},
    thread,
};

use nix::sched::{CloneFlags, setns};

use super::SocketsError;

const PROCESSES: &str = "/proc";
const MOUNTS: &str = "/proc/self/mountinfo";

/// How many namespaces are looked at. A node has a few hundred pods at most.
const MOST: usize = 16_384;

/// A network namespace, which stays as long as this is there.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    path: PathBuf,
}

impl Namespace {
    /// The one that a file leads to, such as `/proc/1/ns/net`.
    pub fn open(path: &Path) -> Result<Self, SocketsError> {
        let enter = |source| SocketsError::Enter { path: path.to_owned(), source };
        Ok(Self { file: File::open(path).map_err(enter)?, path: path.to_owned() })
    }

    /// The one that a process is in.
    pub fn of_process(pid: u32) -> Result<Self, SocketsError> {
        Self::open(&Path::new(PROCESSES).join(pid.to_string()).join("ns/net"))
    }

    /// The calling thread's.
    pub fn own() -> Result<Self, SocketsError> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// The file that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Each namespace once. Those of processes that end meanwhile are left out.
    pub fn all() -> Result<Vec<Self>, SocketsError> {
        let list = |source| SocketsError::List { path: PROCESSES.into(), source };
        let mut paths = vec![PathBuf::from("/proc/thread-self/ns/net")];
        for entry in fs::read_dir(PROCESSES).map_err(list)?.flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()) {
                paths.push(entry.path().join("ns/net"));
            }
        }
        let mounts = fs::read_to_string(MOUNTS)
            .map_err(|source| SocketsError::List { path: MOUNTS.into(), source })?;
        paths.extend(mounted(&mounts));
        let mut seen = BTreeSet::new();
        let mut all = Vec::new();
        for path in paths {
            // Looked at by the open file: what a path leads to may be another one a moment later.
            let Ok(file) = File::open(&path) else { continue };
            let Ok(metadata) = file.metadata() else { continue };
            if all.len() < MOST && seen.insert((metadata.dev(), metadata.ino())) {
                all.push(Self { file, path });
            }
        }
        Ok(all)
    }

    /// Does some work inside, on a thread of its own.
    pub fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, SocketsError> + Send,
    ) -> Result<T, SocketsError> {
        on_a_thread(|| {
            self.enter()?;
            work()
        })
    }

    /// Moves the calling thread in, for good.
    pub(super) fn enter(&self) -> Result<(), SocketsError> {
        let enter = |error: nix::Error| SocketsError::Enter {
            path: self.path.clone(),
            source: error.into(),
        };
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(enter)
    }
}

/// Does some work on a thread that ends with it, so that the caller stays where it is.
pub(super) fn on_a_thread<T: Send>(
    work: impl FnOnce() -> Result<T, SocketsError> + Send,
) -> Result<T, SocketsError> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("namespaces".to_owned());
        let thread = builder.spawn_scoped(scope, work);
        let thread = thread.map_err(|source: io::Error| SocketsError::NoThread { source })?;
        thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
    })
}

/// Where network namespaces are mounted, by the text of `mountinfo` (`proc_pid_mountinfo(5)`): the fourth
/// field says what, the fifth where, with odd characters in octal.
fn mounted(mounts: &str) -> impl Iterator<Item = PathBuf> + '_ {
    mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let is_network = fields.next()?.starts_with("net:[");
        let place = fields.next()?;
        is_network.then(|| unescaped(place))
    })
}

fn unescaped(text: &str) -> PathBuf {
    let odd = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    PathBuf::from(odd.iter().fold(text.to_owned(), |text, (code, c)| text.replace(code, c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounted_namespaces_are_found_among_other_mounts() {
        let text = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
50 22 0:4 net:[4026532000] /run/netns/a\\040b rw shared:9 - nsfs nsfs rw
51 22 0:4 mnt:[4026532001] /run/other rw shared:9 - nsfs nsfs rw
";
        assert_eq!(mounted(text).collect::<Vec<_>>(), [PathBuf::from("/run/netns/a b")]);
    }

    #[test]
    fn the_own_namespace_is_there_once() {
        let own = fs::metadata("/proc/thread-self/ns/net").unwrap();
        let all = Namespace::all().unwrap();
        let same = all.iter().filter(|one| one.file.metadata().unwrap().ino() == own.ino());
        assert_eq!(same.count(), 1);
    }
}
