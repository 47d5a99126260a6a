//! Sockets that wait for clients on ports that are node ports: what comes from outside for such a port goes to
//! the Service's endpoints, and never to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    net::SocketAddr,
};

use netlink_packet_sock_diag::inet::StateFlags;
use serde::Serialize;

use super::{Namespace, SocketsError, diag::Diag};
use crate::model::{Family, Protocol};

/// A socket that listens, or takes datagrams of everybody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Listening {
    /// `TCP` or `UDP`.
    #[serde(serialize_with = "as_text")]
    pub protocol: Protocol,
    /// Where.
    pub address: SocketAddr,
    /// Who has it open, as far as that can be seen.
    pub processes: Vec<Process>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// The sockets of a namespace that listen on one of these ports, whatever their address.
pub fn listeners(
    namespace: &Namespace,
    ports: &BTreeSet<(Protocol, u16)>,
) -> Result<Vec<Listening>, SocketsError> {
    if ports.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = namespace.inside(|| {
        let mut diag = Diag::open()?;
        let mut found = Vec::new();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for family in [Family::V4, Family::V6] {
                found.extend(diag.list(protocol, family, waiting(protocol))?);
            }
        }
        Ok(found)
    })?;
    found.retain(|one| ports.contains(&(one.protocol, one.local().port())));
    let inodes: BTreeSet<u32> = found.iter().map(super::diag::Found::inode).collect();
    let owners = owners(&inodes);
    let listening = |one: &super::diag::Found| Listening {
        protocol: one.protocol,
        address: one.local(),
        processes: owners.get(&one.inode()).cloned().unwrap_or_default(),
    };
    let all: BTreeSet<Listening> = found.iter().map(listening).collect();
    Ok(all.into_iter().collect())
}

/// The state of sockets that wait for clients. One of UDP that isn't connected is closed, to the kernel.
fn waiting(protocol: Protocol) -> StateFlags {
    if protocol == Protocol::Udp { StateFlags::CLOSE } else { StateFlags::LISTEN }
}

/// The processes that have these sockets open, of those that this one may look at.
fn owners(inodes: &BTreeSet<u32>) -> BTreeMap<u32, Vec<Process>> {
    let mut owners: BTreeMap<u32, Vec<Process>> = BTreeMap::new();
    if inodes.is_empty() {
        return owners;
    }
    // A process that ends meanwhile has nothing open any more.
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let Some(pid) = pid else { continue };
        let files = fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten();
        let links = files.filter_map(|file| fs::read_link(file.path()).ok());
        let sockets: BTreeSet<u32> = links.filter_map(|link| inode_of(link.to_str()?)).collect();
        for inode in sockets.intersection(inodes) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let process = Process { pid, name: name.trim_end().to_owned() };
            owners.entry(*inode).or_default().push(process);
        }
    }
    owners
}

/// The number in `socket:[123]`.
fn inode_of(link: &str) -> Option<u32> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives it like this")]
fn as_text<S: serde::Serializer>(protocol: &Protocol, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(protocol)
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, name } = self;
        write!(f, "{name} ({pid})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_to_sockets_have_an_inode() {
        assert_eq!(inode_of("socket:[123]"), Some(123));
        for other in ["pipe:[123]", "socket:[x]", "/dev/null", "socket:[123"] {
            assert_eq!(inode_of(other), None, "{other}");
        }
    }
}
