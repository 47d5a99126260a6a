//! Watching the interfaces: when something has changed and has come to rest, say what.
//!
//! What the messages mean is the mirror's business; here is only when to tell, and what to do when the
//! kernel's news can no longer be trusted to be complete.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use super::error::DeviceError;
use super::netlink::{Mirror, Moved, RouteSocket};
use super::snapshot::Devices;

/// A burst of changes is over when nothing has changed for so long.
const QUIET: Duration = Duration::from_millis(20);

/// A change is told at the latest after so long, however many follow.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Between attempts to reach the kernel again; doubled after each that fails, up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What changed since the last time. At least one of the two is so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The interfaces as they are now, if they look different.
    pub devices: Option<Devices>,
    /// A next hop that was looked up before may be wrong now: a neighbour's link-layer address
    /// appeared, changed, failed or was deleted; a route, rule or next hop changed; an interface went up
    /// or down, was removed, or has another MAC, MTU or master. Not when a neighbour was merely
    /// confirmed or grew stale.
    pub paths_moved: bool,
}

/// Watches the interfaces of the network namespace in which it was opened; run it on threads that
/// stay there, because the connection may have to be made again.
pub struct DeviceWatch {
    /// `None`: the connection is lost, and what changed meanwhile unknown.
    socket: Option<RouteSocket>,
    mirror: Mirror,
    reported: Devices,
    burst: Option<Burst>,
    /// Where default routes lead is to be read again.
    defaults_moved: bool,
}

/// Changes that were not told yet.
#[derive(Clone, Copy, Debug)]
struct Burst {
    first: Instant,
    last: Instant,
    paths_moved: bool,
}

impl Burst {
    /// When to tell.
    fn due(&self) -> Instant {
        (self.last + QUIET).min(self.first + LONGEST_WAIT)
    }
}

impl DeviceWatch {
    /// The interfaces as they are now, and the watch that tells of every later change. Fails if the
    /// kernel can't be asked.
    pub async fn open() -> Result<(Devices, Self), DeviceError> {
        let mut socket = RouteSocket::open()?;
        let mirror = socket.dump().await?;
        let reported = mirror.devices.clone();
        let watch = Self {
            socket: Some(socket),
            mirror,
            reported: reported.clone(),
            burst: None,
            defaults_moved: false,
        };
        Ok((reported, watch))
    }

    /// Waits for the next change. Bursts are told as one, 20 ms after the last of them and 100 ms after
    /// the first. If news were lost, everything is read again, and paths count as moved.
    ///
    /// May be cancelled at any point: what was seen is told by the next call.
    pub async fn changed(&mut self) -> Change {
        loop {
            // Before reading on: news that never end must not keep what is due.
            let now = Instant::now();
            if self.defaults_moved && self.burst.is_some_and(|burst| burst.due() <= now) {
                self.read_defaults().await;
                continue;
            }
            if let Some(change) = self.take_due(now) {
                return change;
            }
            let Some(socket) = &mut self.socket else {
                self.reconnect().await;
                continue;
            };
            let received = socket.receive(&mut self.mirror);
            let news = match &self.burst {
                None => received.await,
                Some(burst) => match timeout_at(burst.due(), received).await {
                    Ok(news) => news,
                    Err(_elapsed) => continue,
                },
            };
            match news {
                Ok(moved) => self.note(moved, Instant::now()),
                Err(error) => {
                    warn!(%error, "news of interfaces were lost; reading all of them again");
                    self.socket = None;
                }
            }
        }
    }

    fn note(&mut self, moved: Moved, now: Instant) {
        // States of neighbours change all the time: they neither begin a burst nor prolong it.
        if moved == Moved::default() {
            return;
        }
        let burst = self.burst.get_or_insert(Burst { first: now, last: now, paths_moved: false });
        burst.last = now;
        self.defaults_moved |= moved.defaults;
        burst.paths_moved |= moved.paths;
    }

    /// What is to be told by now. Nothing if all has become as it was before.
    fn take_due(&mut self, now: Instant) -> Option<Change> {
        let burst = self.burst.take_if(|burst| burst.due() <= now)?;
        let devices = (self.mirror.devices != self.reported).then(|| self.mirror.devices.clone());
        if let Some(devices) = &devices {
            self.reported.clone_from(devices);
        }
        let change = Change { devices, paths_moved: burst.paths_moved };
        (change != Change::default()).then_some(change)
    }

    /// Reads where default routes lead. The socket is not ours meanwhile: if this is cancelled, all is read again.
    async fn read_defaults(&mut self) {
        let Some(mut socket) = self.socket.take() else {
            return self.reconnect().await;
        };
        match socket.dump_defaults(&mut self.mirror).await {
            Ok(moved) => {
                self.socket = Some(socket);
                self.defaults_moved = false;
                self.note(moved, Instant::now());
            }
            Err(error) => {
                warn!(%error, "routes can't be read; reading everything again");
                self.reconnect().await;
            }
        }
    }

    /// Tries until the kernel can be heard again, and everything is read.
    async fn reconnect(&mut self) {
        let (mut pause, longest) = RETRY;
        loop {
            let error = match self.try_reconnect().await {
                Ok(()) => break,
                Err(error) => error,
            };
            tracing::debug!(%error, "can't read the interfaces; trying again");
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
        info!("interfaces are watched again");
        self.defaults_moved = false;
        self.note(Moved { devices: true, paths: true, defaults: false }, Instant::now());
    }

    async fn try_reconnect(&mut self) -> Result<(), DeviceError> {
        let mut socket = RouteSocket::open()?;
        self.mirror = socket.dump().await?;
        self.socket = Some(socket);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
