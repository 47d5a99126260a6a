//! The programs at sockets: whose sockets, and what is done where they can't be attached.

use anyhow::{Context as _, Result};

use super::Controller;
use crate::{
    dataplane::{DataplaneError, RefusedBinds, SocketError, SocketMode, SocketScope},
    devices,
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

    /// What is told of it.
    pub(super) fn socket_state(&self) -> Option<SocketState> {
        let (cgroup, programs) = self.sockets.attached()?;
        Some(SocketState {
            cgroup: cgroup.display().to_string(),
            host_only: self.options.sockets == SocketMode::Host,
            programs: programs.into_iter().map(str::to_owned).collect(),
        })
    }

    /// Who is refused node ports.
    pub fn refused_binds(&self) -> Result<RefusedBinds, DataplaneError> {
        RefusedBinds::open(&self.pins)
    }
}
