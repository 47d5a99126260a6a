//! Notices that a directory has changed, and publishes what is in it then. What the files mean is
//! not known here.
//!
//! A thread of its own waits for inotify, so that reading many files holds up nothing else. It waits
//! until writers are done: for a quiet moment, but not for ever.

use std::{
    error::Error as _,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::sync::watch;

use super::{SourceError, directory::Directory};
use crate::{control::ControlPlane, model::Problem, source::Snapshot};

/// Changes closer together than this are one.
const QUIET: Duration = Duration::from_millis(50);
/// Changes are published after this even if there is no end to them.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// How often a directory that is gone is looked for. Only then is there anything to look for.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the thread running. Dropping it ends the thread, and what the thread has open is closed then.
#[derive(Debug)]
pub(super) struct Watcher {
    messages: Sender<Message>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
enum Message {
    Changed,
    Failed(notify::Error),
    Stop,
}

/// What the thread has.
struct Worker {
    path: PathBuf,
    directory: Directory,
    control: ControlPlane,
    /// `None`: the directory is lost.
    watch: Option<Watch>,
    sender: Sender<Message>,
    messages: Receiver<Message>,
    snapshots: watch::Sender<Snapshot>,
}

/// The system's watch on a directory and its parent.
struct Watch {
    _watcher: RecommendedWatcher,
    identity: Identity,
}

/// Which directory stands under a path: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity(u64, u64);

impl Watcher {
    /// Reads the directory, and publishes anew whenever it is different.
    pub(super) fn start(
        path: &Path,
        mut control: ControlPlane,
    ) -> Result<(watch::Receiver<Snapshot>, Self), SourceError> {
        let path = std::path::absolute(path).map_err(|e| SourceError::unreadable(path, e))?;
        let (sender, messages) = mpsc::channel();
        // The watch comes first, so that no change falls between it and the reading.
        let watch = Watch::open(&path, sender.clone())?;
        let mut directory = Directory::new(path.clone());
        directory.refresh().map_err(|error| SourceError::unreadable(&path, error))?;
        let (snapshots, receiver) = watch::channel(directory.snapshot(&mut control)?);

        let messages_to = sender.clone();
        let watch = Some(watch);
        let worker =
            Worker { path: path.clone(), directory, control, watch, sender, messages, snapshots };
        let thread = thread::Builder::new()
            .name("manifests".to_owned())
            .spawn(|| worker.run())
            .map_err(|source| SourceError::NoThread { path, source })?;
        Ok((receiver, Self { messages: messages_to, thread: Some(thread) }))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // An error means that the thread has ended already.
        let _ = self.messages.send(Message::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that watches manifests has panicked");
        }
    }
}

/// The watch is over.
struct Stopped;

impl Worker {
    fn run(mut self) {
        while self.round().is_ok() {}
    }

    /// Waits for a change and publishes it.
    fn round(&mut self) -> Result<(), Stopped> {
        self.wait()?;
        match self.follow() {
            Ok(same_directory) => {
                if !same_directory {
                    // A new directory is empty until somebody has filled it.
                    self.settle()?;
                }
                let lost = self.directory.refresh();
                let lost = lost.map_err(|error| SourceError::unreadable(&self.path, error)).err();
                self.publish(lost.as_ref());
            }
            Err(error) => self.publish(Some(&error)),
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), Stopped> {
        let message = match self.watch {
            Some(_) => self.messages.recv().map_err(RecvTimeoutError::from),
            None => self.messages.recv_timeout(RETRY),
        };
        match message {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(Stopped),
            Ok(message) => {
                self.note(message)?;
                self.settle()
            }
        }
    }

    /// Waits for a quiet moment.
    fn settle(&mut self) -> Result<(), Stopped> {
        let end = Instant::now() + LONGEST_WAIT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(QUIET.min(left)) {
                Ok(_) if left.is_zero() => return Ok(()),
                Ok(message) => self.note(message)?,
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(Stopped),
            }
        }
    }

    fn note(&mut self, message: Message) -> Result<(), Stopped> {
        match message {
            Message::Changed => Ok(()),
            Message::Failed(error) => {
                tracing::warn!(path = %self.path.display(), %error, "watch failed; renewing it");
                self.watch = None;
                Ok(())
            }
            Message::Stop => Err(Stopped),
        }
    }

    /// Sees to it that what is watched is what stands under the path now. False: it was another one.
    fn follow(&mut self) -> Result<bool, SourceError> {
        let now = Identity::of(&self.path).ok();
        if self.watch.as_ref().is_some_and(|watch| Some(watch.identity) == now) {
            return Ok(true);
        }
        self.watch = None;
        self.watch = Some(Watch::open(&self.path, self.sender.clone())?);
        Ok(false)
    }

    /// Publishes what is in force, if it is different, with what stands in the way of newer things.
    fn publish(&mut self, lost: Option<&SourceError>) {
        let mut snapshot = match self.directory.snapshot(&mut self.control) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                let cause = error.source().map(|cause| format!(" ({cause})")).unwrap_or_default();
                let message = format!("{error}{cause} (everything stays in force as it was)");
                let mut before = self.snapshots.borrow().clone();
                before.problems = vec![Problem::of_file(&self.path, message)];
                before
            }
        };
        if let Some(error) = lost {
            let cause = error.source().map(|cause| format!(" ({cause})")).unwrap_or_default();
            let message = format!("{error}{cause} (what it last held stays in force)");
            snapshot.problems.insert(0, Problem::of_file(&self.path, message));
        }
        self.snapshots.send_if_modified(|before| {
            let different = *before != snapshot;
            if different {
                tell(before, &snapshot);
                *before = snapshot;
            }
            different
        });
    }
}

fn tell(before: &Snapshot, after: &Snapshot) {
    for problem in after.problems.iter().filter(|problem| !before.problems.contains(problem)) {
        tracing::warn!(%problem, "manifest is wrong");
    }
    for problem in before.problems.iter().filter(|problem| !after.problems.contains(problem)) {
        tracing::info!(%problem, "manifest was put right");
    }
    for (service, why) in &after.pending {
        if before.pending.get(service) != Some(why) {
            tracing::warn!(%service, why, "load balancer has no address");
        }
    }
    if before.model != after.model {
        let services = after.model.services.len();
        let slices = after.model.slices.len();
        tracing::info!(services, slices, "manifests have changed");
    }
}

impl Watch {
    fn open(path: &Path, messages: Sender<Message>) -> Result<Self, SourceError> {
        let unwatchable = |source| SourceError::Unwatchable { path: path.to_owned(), source };
        // Taken before the watch: if the directory is replaced in between, it is seen to differ.
        let identity = Identity::of(path).map_err(|e| SourceError::unreadable(path, e))?;
        let of_interest = path.to_owned();
        let handler = move |event: notify::Result<Event>| {
            let message = match event {
                Ok(event) if is_change(&event, &of_interest) => Message::Changed,
                Ok(_) => return,
                Err(error) => Message::Failed(error),
            };
            // An error means that nobody watches any more.
            let _ = messages.send(message);
        };
        let mut watcher = notify::recommended_watcher(handler).map_err(unwatchable)?;
        watcher.watch(path, RecursiveMode::NonRecursive).map_err(unwatchable)?;
        // The parent tells when the directory, or a link to one, is replaced.
        if let Some(parent) = path.parent()
            && let Err(error) = watcher.watch(parent, RecursiveMode::NonRecursive)
        {
            let path = path.display();
            tracing::warn!(%path, %error, "parent can't be watched; replacing a link goes unnoticed");
        }
        Ok(Self { _watcher: watcher, identity })
    }
}

impl Identity {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        if !metadata.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self(metadata.dev(), metadata.ino()))
    }
}

/// Whether an event can mean different content. Writing counts when it is finished; reading, which
/// is also what we do, never.
fn is_change(event: &Event, directory: &Path) -> bool {
    let kind = match event.kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Modify(ModifyKind::Data(_)) => false,
        _ => true,
    };
    let ours = event.paths.iter().any(|path| path.starts_with(directory));
    event.need_rescan() || (kind && ours)
}

#[cfg(test)]
mod tests;
