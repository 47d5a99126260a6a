//! What the interfaces are to us: uplinks, workloads, bridges with workloads behind them, and which of
//! the node's addresses serve what. Pure: a snapshot and the operator's wishes in, a decision out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A shell pattern for interface names: `*`, `?`, `[…]`.
pub use glob::Pattern;

use super::detect::{Reason, detect};
use super::error::DeviceError;
use super::snapshot::{Address, Devices, Link};
use super::sysctl::BridgeCalls;

/// What the operator asked for.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Names of the uplinks (`--uplink`). None: they are detected.
    pub uplinks: Vec<String>,
    /// Patterns for the names of workloads (`--workload`). `None`: every veth that is no uplink, ports
    /// of bridges too. Say it where a veth leads elsewhere than to a pod.
    pub workloads: Option<Vec<Pattern>>,
}

impl Selection {
    fn wants_as_workload(&self, link: &Link) -> bool {
        match &self.workloads {
            None => link.kind.as_deref() == Some("veth"),
            Some(patterns) => patterns.iter().any(|pattern| pattern.matches(&link.name)),
        }
    }
}

/// What the interfaces are to us, by interface index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classified {
    /// Towards other machines.
    pub uplinks: BTreeMap<u32, Uplink>,
    /// Host-side ends of what leads to pods. No uplink is among them.
    pub workloads: BTreeMap<u32, Workload>,
    /// Bridges with a workload as a port: routes to such pods lead over them.
    pub bridges: BTreeMap<u32, Bridge>,
    /// The node's own: usable addresses of global scope, neither loopback nor link-local,
    /// of all interfaces but workloads; an address that is routed to the node stands on `lo`.
    pub node_addresses: BTreeSet<IpAddr>,
    /// The node's primary address of each family: that of the first uplink that has one, in the order in which they are named.
    pub primary: BTreeSet<IpAddr>,
    /// Names of interfaces that are uplinks or match a pattern for workloads, but can't be served because they
    /// carry neither Ethernet frames nor, as uplinks, plain IP. For the operator to know; `lo` is never meant.
    pub unsupported: BTreeMap<u32, String>,
}

/// An interface towards other machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// The interface's name.
    pub name: String,
    /// Why it is one.
    pub reason: Reason,
    /// Largest layer-3 packet, in bytes.
    pub mtu: u32,
    /// As in [`Link::kind`].
    pub kind: Option<String>,
    /// As in [`Link::is_bare`].
    pub is_bare: bool,
    /// As in [`Link::is_ip_tunnel`].
    pub is_ip_tunnel: bool,
    /// Source of IPv4 packets that leave here in the node's name; `None`: no uplink has one.
    pub snat_v4: Option<Ipv4Addr>,
    /// Source of IPv6 packets that leave here in the node's name; `None`: no uplink has one.
    pub snat_v6: Option<Ipv6Addr>,
}

/// The host-side end of what leads to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The interface's name.
    pub name: String,
    /// Largest layer-3 packet, in bytes.
    pub mtu: u32,
    /// The bridge that it is a port of.
    pub bridge: Option<u32>,
}

/// A bridge with workloads as ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// The interface's name.
    pub name: String,
    /// Largest layer-3 packet, in bytes.
    pub mtu: u32,
    /// It calls packet filters itself, whatever the sysctls say.
    pub calls: BridgeCalls,
}

/// Decides what the interfaces are. Where an uplink also matches a workload's pattern, it is an uplink.
/// Fails if one of the uplinks that are named does not exist, or carries neither Ethernet frames nor plain IP.
pub fn classify(devices: &Devices, selection: &Selection) -> Result<Classified, DeviceError> {
    let (uplinks, strange) = if selection.uplinks.is_empty() {
        detected(devices, selection)
    } else {
        let named = selection.uplinks.iter().map(|name| uplink(devices, name));
        let named = named.map(|link| link.map(|link| (link, Reason::Named)));
        (named.collect::<Result<Vec<_>, _>>()?, Vec::new())
    };
    let sources = || uplinks.iter().map(|(link, _)| *link);
    let primary_v4 = sources().find_map(|link| snat_source(link, v4)).map(IpAddr::from);
    let primary_v6 = sources().find_map(|link| snat_source(link, v6)).map(IpAddr::from);
    let uplinks = described(uplinks);
    let (workloads, unsupported): (Vec<&Link>, Vec<&Link>) = devices
        .links
        .values()
        .filter(|link| !uplinks.contains_key(&link.index) && !link.is_loopback)
        .filter(|link| selection.wants_as_workload(link))
        .partition(|link| link.is_ethernet);
    let bridges = workloads.iter().filter_map(|link| bridge_of(devices, link));
    let bridges = bridges.map(|link| {
        let calls = BridgeCalls { v4: link.bridge_calls_v4, v6: link.bridge_calls_v6 };
        (link.index, Bridge { name: link.name.clone(), mtu: link.mtu, calls })
    });
    let bridges = bridges.collect();
    let workloads: BTreeMap<_, _> = workloads
        .iter()
        .map(|link| {
            let bridge = bridge_of(devices, link).map(|bridge| bridge.index);
            (link.index, Workload { name: link.name.clone(), mtu: link.mtu, bridge })
        })
        .collect();
    Ok(Classified {
        node_addresses: node_addresses(devices, &workloads),
        primary: primary_v4.into_iter().chain(primary_v6).collect(),
        uplinks,
        workloads,
        bridges,
        unsupported: unsupported
            .iter()
            .chain(&strange)
            .map(|link| (link.index, link.name.clone()))
            .collect(),
    })
}

/// The uplinks where none is named, and what would be one if it could be served.
fn detected<'a>(
    devices: &'a Devices,
    selection: &Selection,
) -> (Vec<(&'a Link, Reason)>, Vec<&'a Link>) {
    // Patterns are the operator's word; that veths are workloads is only our guess.
    let patterns = selection.workloads.is_some();
    let mut found = detect(devices, |link| selection.wants_as_workload(link));
    found.retain(|index, _| !patterns || !selection.wants_as_workload(&devices.links[index]));
    let links = found.into_iter().map(|(index, reason)| (&devices.links[&index], reason));
    let (good, strange): (Vec<_>, Vec<_>) =
        links.partition(|(link, _)| link.is_ethernet || link.is_bare);
    (good, strange.into_iter().map(|(link, _)| link).collect())
}

fn described(links: Vec<(&Link, Reason)>) -> BTreeMap<u32, Uplink> {
    let any_v4 = links.iter().find_map(|(link, _)| snat_source(link, v4));
    let any_v6 = links.iter().find_map(|(link, _)| snat_source(link, v6));
    let describe = |link: &Link, reason| Uplink {
        name: link.name.clone(),
        reason,
        mtu: link.mtu,
        kind: link.kind.clone(),
        is_bare: link.is_bare,
        is_ip_tunnel: link.is_ip_tunnel,
        snat_v4: snat_source(link, v4).or(any_v4),
        snat_v6: snat_source(link, v6).or(any_v6),
    };
    links.into_iter().map(|(link, reason)| (link.index, describe(link, reason))).collect()
}

fn uplink<'a>(devices: &'a Devices, name: &str) -> Result<&'a Link, DeviceError> {
    let link = devices.by_name(name).ok_or_else(|| DeviceError::UnknownUplink {
        name: name.to_owned(),
        existing: devices.names(),
    })?;
    if link.is_ethernet || link.is_bare {
        return Ok(link);
    }
    let other = if link.is_loopback { "loopback" } else { "of another kind" };
    let kind = link.kind.as_deref().unwrap_or(other).to_owned();
    Err(DeviceError::UplinkOfStrangeKind { name: name.to_owned(), kind })
}

fn bridge_of<'a>(devices: &'a Devices, port: &Link) -> Option<&'a Link> {
    let master = devices.links.get(&port.master?)?;
    (master.kind.as_deref() == Some("bridge")).then_some(master)
}

fn node_addresses(devices: &Devices, workloads: &BTreeMap<u32, Workload>) -> BTreeSet<IpAddr> {
    devices
        .links
        .values()
        .filter(|link| !workloads.contains_key(&link.index))
        .flat_map(|link| &link.addresses)
        .filter(|address| is_of_the_node(address))
        .map(|address| address.ip)
        .collect()
}

/// The source to give to packets that leave by a link: its oldest address that is meant to last.
fn snat_source<T>(link: &Link, of_family: fn(IpAddr) -> Option<T>) -> Option<T> {
    link.addresses
        .iter()
        .filter(|address| is_of_the_node(address) && !address.deprecated && !address.secondary)
        .find_map(|address| of_family(address.ip))
}

/// Others reach the node by this address.
pub(super) fn is_of_the_node(address: &Address) -> bool {
    let special = match address.ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_multicast(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_multicast(),
    };
    address.global && !address.tentative && !special
}

fn v4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

fn v6(ip: IpAddr) -> Option<Ipv6Addr> {
    match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some(ip),
    }
}

#[cfg(test)]
mod tests;
