//! Virtual cables between namespaces, and waiting until they carry something.

use std::fmt;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::cast::Mac;
use super::error::{Error, Result};
use super::namespace::Namespace;
use crate::patience::patient;

/// How long interfaces may take to come up. Far beyond what is ever seen (milliseconds).
const DEADLINE: Duration = Duration::from_secs(10);

/// One end of a [`Veth`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The namespace's name in the lab.
    pub namespace: String,
    /// The interface's name there, at most 15 bytes.
    pub interface: String,
    /// Its link-layer address; the kernel picks one if not given.
    pub mac: Option<Mac>,
}

impl End {
    /// An end with a fixed link-layer address.
    pub fn new(namespace: impl fmt::Display, interface: impl Into<String>, mac: Mac) -> Self {
        Self { mac: Some(mac), ..Self::anonymous(namespace, interface) }
    }

    /// An end whose link-layer address nobody will look at.
    pub fn anonymous(namespace: impl fmt::Display, interface: impl Into<String>) -> Self {
        Self { namespace: namespace.to_string(), interface: interface.into(), mac: None }
    }
}

/// A pair of veth interfaces, made in their namespaces at once, and down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Veth {
    /// One end.
    pub a: End,
    /// The other.
    pub b: End,
    /// The MTU of both, in bytes without the link-layer header.
    pub mtu: u16,
}

impl Veth {
    /// The line for `ip -batch`, given the full names of the two namespaces.
    pub(super) fn command(&self, namespace_a: &str, namespace_b: &str) -> String {
        let mtu = self.mtu;
        let end = |end: &End, namespace: &str| {
            let mac = end.mac.map(|mac| format!(" address {mac}")).unwrap_or_default();
            format!("name {}{mac} mtu {mtu} netns {namespace}", end.interface)
        };
        let (a, b) = (end(&self.a, namespace_a), end(&self.b, namespace_b));
        format!("link add {a} type veth peer {b}\n")
    }
}

/// Waits until every interface of the namespace that is up is also running. A veth passes packets only
/// when the kernel has noticed, in the background, that both its ends are up; what is sent before is lost.
pub(super) fn wait_until_running(namespace: &Namespace) -> Result<()> {
    let deadline = Instant::now() + patient(DEADLINE);
    let _inside = namespace.enter()?;
    loop {
        let waiting = not_running().map_err(|source| Error::Interfaces {
            namespace: namespace.full_name().to_owned(),
            source,
        })?;
        if waiting.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::NotReady {
                namespace: namespace.full_name().to_owned(),
                interfaces: waiting.join(", "),
                after: patient(DEADLINE),
            });
        }
        thread::sleep(Duration::from_millis(1)); // tidy: polls with a deadline
    }
}

/// The interfaces that are up, but can't carry packets yet.
fn not_running() -> io::Result<Vec<String>> {
    let mut names: Vec<_> = getifaddrs()?
        .filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP))
        .filter(|interface| !interface.flags.contains(InterfaceFlags::IFF_RUNNING))
        .map(|interface| interface.interface_name)
        .collect();
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_veth_are_made_in_their_namespaces_with_fixed_addresses() {
        let veth = Veth {
            a: End::new("node1", "eth0", Mac([2, 0, 0, 0, 0, 1])),
            b: End::anonymous("fabric", "to-node1"),
            mtu: 1450,
        };
        assert_eq!(
            veth.command("lb-x-node1", "lb-x-fabric"),
            "link add name eth0 address 02:00:00:00:00:01 mtu 1450 netns lb-x-node1 \
             type veth peer name to-node1 mtu 1450 netns lb-x-fabric\n"
        );
    }
}
