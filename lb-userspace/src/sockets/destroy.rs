//! Destroys the sockets that talk to backends which are gone, in every network namespace of the machine.

use std::{collections::BTreeSet, io, net::SocketAddr, sync::Once};

use netlink_packet_sock_diag::inet::StateFlags;

use super::{
    Namespace, SocketsError,
    diag::{Diag, Found},
    namespaces::on_a_thread,
};
use crate::model::{Family, Protocol};

/// A backend that gets nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lost {
    /// What is spoken with it.
    pub protocol: Protocol,
    /// Where it was.
    pub remote: SocketAddr,
    /// It is terminating: what is open may finish, over TCP.
    pub terminating: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Destroyed {
    /// Sockets of TCP that were destroyed.
    pub tcp: u64,
    /// Sockets of UDP that were destroyed.
    pub udp: u64,
    /// Sockets that the kernel can't destroy, or would not.
    pub failed: u64,
    /// Namespaces that were looked through.
    pub namespaces: u64,
    /// Namespaces that could not be looked through; those that vanished are among them.
    pub passed_over: u64,
}

/// Destroys all sockets whose other end is one of these backends, and which are ours: `is_ours` is asked with
/// protocol, cookie (the number of `SO_COOKIE`) and other end, on another thread. An IPv6 socket that talks
/// IPv4 has an IPv4 address there.
///
/// UDP always; TCP unless the backend is only terminating. Fails if no namespace can be looked through; that a
/// kernel can't destroy sockets (`CONFIG_INET_DIAG_DESTROY`) is logged once, and counted.
pub fn destroy(
    lost: &[Lost],
    is_ours: &(dyn Fn(Protocol, u64, SocketAddr) -> bool + Sync),
) -> Result<Destroyed, SocketsError> {
    let targets = Targets::of(lost);
    if targets.0.is_empty() {
        return Ok(Destroyed::default());
    }
    on_a_thread(|| {
        let mut destroyed = Destroyed::default();
        let mut problem = None;
        for namespace in Namespace::all()? {
            match namespace.enter().and_then(|()| look_through(&targets, is_ours, &mut destroyed)) {
                Ok(()) => destroyed.namespaces += 1,
                Err(error) => {
                    tracing::debug!(%error, ?namespace, "sockets there are left alone");
                    destroyed.passed_over += 1;
                    problem = Some(error);
                }
            }
        }
        match problem {
            Some(error) if destroyed.namespaces == 0 => Err(error),
            _ => Ok(destroyed),
        }
    })
}

/// The other ends whose sockets go.
struct Targets(BTreeSet<(Protocol, SocketAddr)>);

impl Targets {
    fn of(lost: &[Lost]) -> Self {
        let go = lost.iter().filter(|one| match one.protocol {
            Protocol::Udp => true,
            Protocol::Tcp => !one.terminating,
            // No program sees these connect, and the kernel has no way to destroy them.
            Protocol::Sctp => false,
        });
        Self(go.map(|one| (one.protocol, canonical(one.remote))).collect())
    }

    /// The lists to look at: sockets of IPv6 may talk IPv4.
    fn lists(&self) -> BTreeSet<(Protocol, Family)> {
        let families = |(protocol, remote): &(Protocol, SocketAddr)| {
            let own = (*protocol, Family::of(remote.ip()));
            [own, (*protocol, Family::V6)]
        };
        self.0.iter().flat_map(families).collect()
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The states in which somebody may still wait for the other end.
fn open() -> StateFlags {
    StateFlags::ESTABLISHED
        | StateFlags::SYN_SENT
        | StateFlags::FIN_WAIT1
        | StateFlags::FIN_WAIT2
        | StateFlags::CLOSE_WAIT
}

/// In the namespace of the calling thread.
fn look_through(
    targets: &Targets,
    is_ours: &(dyn Fn(Protocol, u64, SocketAddr) -> bool + Sync),
    destroyed: &mut Destroyed,
) -> Result<(), SocketsError> {
    let mut diag = Diag::open()?;
    for (protocol, family) in targets.lists() {
        let goes = |found: &Found| {
            let remote = found.remote();
            targets.0.contains(&(protocol, remote)) && is_ours(protocol, found.cookie(), remote)
        };
        for found in diag.list(protocol, family, open())?.iter().filter(|found| goes(found)) {
            match diag.destroy(found) {
                Ok(()) if protocol == Protocol::Udp => destroyed.udp += 1,
                Ok(()) => destroyed.tcp += 1,
                // Its owner was faster.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                Err(error) => {
                    destroyed.failed += 1;
                    complain(&error);
                }
            }
        }
    }
    Ok(())
}

fn complain(error: &io::Error) {
    static ONCE: Once = Once::new();
    if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) {
        ONCE.call_once(|| {
            tracing::warn!(
                "this kernel can't destroy sockets (CONFIG_INET_DIAG_DESTROY): processes that talk to a \
                 backend which is gone find out by themselves"
            );
        });
    } else {
        tracing::debug!(%error, "a socket could not be destroyed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(protocol: Protocol, remote: &str, terminating: bool) -> Lost {
        Lost { protocol, remote: remote.parse().unwrap(), terminating }
    }

    #[test]
    fn tcp_to_a_terminating_backend_may_finish_and_udp_never_does() {
        let targets = Targets::of(&[
            lost(Protocol::Tcp, "10.0.0.1:80", true),
            lost(Protocol::Tcp, "10.0.0.2:80", false),
            lost(Protocol::Udp, "10.0.0.1:53", true),
            lost(Protocol::Udp, "[::ffff:10.0.0.2]:53", false),
            lost(Protocol::Sctp, "10.0.0.3:80", false),
        ]);
        let shown: Vec<_> = targets.0.iter().map(|(p, remote)| format!("{p} {remote}")).collect();
        assert_eq!(shown, ["TCP 10.0.0.2:80", "UDP 10.0.0.1:53", "UDP 10.0.0.2:53"]);
    }

    #[test]
    fn sockets_of_ipv6_are_looked_at_for_ipv4_too_and_not_the_other_way_round() {
        let lists = |remote| Targets::of(&[lost(Protocol::Udp, remote, false)]).lists();
        let (v4, v6) = ((Protocol::Udp, Family::V4), (Protocol::Udp, Family::V6));
        assert_eq!(lists("10.0.0.1:53"), BTreeSet::from([v4, v6]));
        assert_eq!(lists("[fd00::1]:53"), BTreeSet::from([v6]));
    }
}
