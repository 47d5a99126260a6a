//! The programs at sockets: whose sockets, and what is done where they can't be attached.

use std::{
    collections::BTreeSet,
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result};

use super::Controller;
use crate::{
    dataplane::{DataplaneError, Orphan, RefusedBinds, SocketError, SocketMode, SocketScope},
    devices,
    sockets::{self, Destroyed, Lost},
    state::SocketState,
};

/// What the programs take for granted. A kernel that can't say which network namespace this is (before
/// Linux 5.14) is told that it is the machine's first one, in which a node's own processes are.
pub fn scope(mode: SocketMode) -> Result<SocketScope> {
    let number = devices::own_namespace()
        .context("can't ask the kernel for the number of this network namespace")?;
    if number.is_none() && mode != SocketMode::Off && !devices::is_first_namespace().unwrap_or(true)
    {
        tracing::warn!(
            "the kernel can't say which network namespace lb is in (Linux 5.14 can): loopback addresses, \
             --socket-lb host and the keeping of node ports are for processes in the machine's first one"
        );
    }
    let namespace = number.unwrap_or(0);
    Ok(SocketScope { namespace, host_only: mode == SocketMode::Host })
}

impl Controller {
    /// Attaches the programs at sockets, if they are wanted. What a kernel or a machine lacks for them is told,
    /// and done without: packets are translated all the same, as far as they can be.
    pub(super) fn attach_sockets(&mut self) -> Result<()> {
        if self.options.sockets != SocketMode::Off {
            let cgroup = self.options.cgroup.as_deref();
            match self.sockets.attach(&mut self.programs, cgroup) {
                Ok(()) if self.programs.features().retval => {}
                Ok(()) => self.remark(
                    "sockets: a connect that is refused fails with EPERM; this kernel lets programs \
                     say no other error (Linux 6.1 does)"
                        .to_owned(),
                ),
                // A mistake of whoever named it, and not the machine's.
                Err(error @ SocketError::Cgroup(_)) if cgroup.is_some() => return Err(error.into()),
                Err(error) => {
                    let why = format!("{:#}", anyhow::Error::from(error));
                    self.remark(format!(
                        "sockets: not served when they connect, and processes on the node reach Services \
                         by packets only: {why}"
                    ));
                    self.sockets.detach_all().context("can't detach from the cgroup")?;
                }
            }
        }
        self.sockets.detach_others().context("can't detach from an earlier cgroup")
    }

    fn remark(&mut self, note: String) {
        tracing::warn!("{note}");
        self.notes.insert(note);
    }

    /// Destroys the sockets whose endpoint is gone: their processes see an error now, and connect anew. That
    /// takes a look into every network namespace, and so a thread.
    pub(super) fn destroy_orphans(&self) -> Result<()> {
        if self.sockets.attached().is_none() {
            return Ok(());
        }
        let orphans = self.tables.sockets.take_orphans(&self.tables)?;
        if orphans.is_empty() {
            return Ok(());
        }
        let destroyed = Arc::clone(&self.destroyed);
        let destroy = move || destroy(&orphans, &destroyed);
        thread::Builder::new()
            .name("sockets".to_owned())
            .spawn(destroy)
            .context("no thread could be started that destroys sockets of removed endpoints")?;
        Ok(())
    }

    /// Tells of sockets that were destroyed, if there is something new.
    pub(super) fn tell_destroyed(&mut self) -> Result<()> {
        let destroyed = self.destroyed.load(Ordering::Relaxed);
        if mem::replace(&mut self.destroyed_told, destroyed) == destroyed {
            return Ok(());
        }
        self.tell()
    }

    /// What is told of it.
    pub(super) fn socket_state(&self) -> Option<SocketState> {
        let (cgroup, programs) = self.sockets.attached()?;
        Some(SocketState {
            cgroup: cgroup.display().to_string(),
            host_only: self.options.sockets == SocketMode::Host,
            programs: programs.into_iter().map(str::to_owned).collect(),
            destroyed: self.destroyed.load(Ordering::Relaxed),
        })
    }

    /// Who is refused node ports.
    pub fn refused_binds(&self) -> Result<RefusedBinds, DataplaneError> {
        RefusedBinds::open(&self.pins)
    }
}

fn destroy(orphans: &BTreeSet<Orphan>, total: &AtomicU64) {
    let lost: BTreeSet<_> = orphans.iter().map(|one| (one.protocol, one.remote)).collect();
    let lost =
        lost.into_iter().map(|(protocol, remote)| Lost { protocol, remote, terminating: false });
    let is_ours = |protocol, cookie, remote| orphans.contains(&Orphan { protocol, cookie, remote });
    match sockets::destroy(&lost.collect::<Vec<_>>(), &is_ours) {
        Ok(Destroyed { tcp: 0, udp: 0, failed: 0, .. }) => {}
        Ok(destroyed) => {
            total.fetch_add(destroyed.tcp + destroyed.udp, Ordering::Relaxed);
            let Destroyed { tcp, udp, failed, .. } = destroyed;
            tracing::info!(tcp, udp, failed, "sockets of removed endpoints destroyed");
        }
        Err(error) => tracing::warn!(%error, "sockets of removed endpoints could not be destroyed"),
    }
}
