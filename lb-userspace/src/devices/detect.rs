//! Which interfaces are uplinks where the operator names none. Pure: a snapshot in, uplinks and reasons out.
//!
//! A default route makes any interface one. An address of the node makes one of what leads to other machines by
//! itself: tunnels and overlays, and what has a subnet. A veth, too: nodes that are containers have no others, and the
//! host's ends of pods' interfaces, where CNIs give them an address at all, have one without a subnet. Not bridges
//! with nothing but pods behind them (`cni0`, `docker0`), or with nothing at all: they are the pods' gateways, and
//! what pods send is translated at their own interfaces.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use super::classify::is_of_the_node;
use super::snapshot::{Address, DefaultRoute, Devices, Link};

/// Kinds that lead to no other machine, or to pods.
const NO_UPLINKS: [&str; 6] = ["dummy", "ifb", "netkit", "nlmon", "vcan", "vrf"];

/// Kinds of overlays with a link layer. An address without a subnet is enough there.
const OVERLAYS: [&str; 5] = ["geneve", "gretap", "ip6gretap", "tun", "vxlan"];

/// Why an interface is an uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The operator named it.
    Named,
    /// Default routes of these families lead over it.
    DefaultRoute {
        /// IPv4's.
        v4: bool,
        /// IPv6's.
        v6: bool,
    },
    /// It has this address of the node, and leads to other machines.
    Address(IpAddr),
}

/// The uplinks that there are, and why each is one. Those that can't carry programs are not left out: who asks
/// is to know.
pub(super) fn detect(
    devices: &Devices,
    is_workload: impl Fn(&Link) -> bool,
) -> BTreeMap<u32, Reason> {
    let found = devices.links.values().filter_map(|link| {
        let reason = default_route(devices, link);
        let reason = reason.or_else(|| address(devices, link, &is_workload))?;
        (!link.is_loopback && !is_port(devices, link)).then_some((link.index, reason))
    });
    found.collect()
}

fn default_route(devices: &Devices, link: &Link) -> Option<Reason> {
    let leads = |is_ipv6| devices.defaults.contains(&DefaultRoute { ifindex: link.index, is_ipv6 });
    let (v4, v6) = (leads(false), leads(true));
    (v4 || v6).then_some(Reason::DefaultRoute { v4, v6 })
}

/// What belongs to a bond or a bridge has no addresses nor routes that count; its master has. One of a VRF has.
fn is_port(devices: &Devices, link: &Link) -> bool {
    let Some(master) = link.master else { return false };
    devices.links.get(&master).is_none_or(|master| master.kind.as_deref() != Some("vrf"))
}

fn address(devices: &Devices, link: &Link, is_workload: impl Fn(&Link) -> bool) -> Option<Reason> {
    let kind = link.kind.as_deref().unwrap_or_default();
    if !link.up || NO_UPLINKS.contains(&kind) {
        return None;
    }
    // Both ends in one namespace: it leads nowhere else.
    let is_veth = kind == "veth";
    if is_veth && !link.peer_is_elsewhere {
        return None;
    }
    if kind == "bridge" && !leads_out(devices, link, is_workload) {
        return None;
    }
    let is_overlay = link.is_bare || OVERLAYS.contains(&kind);
    let others = |address: &&Address| {
        let host = if address.ip.is_ipv4() { 32 } else { 128 };
        is_overlay || address.prefix_length < host || (address.peer.is_some() && !is_veth)
    };
    let mut addresses = link.addresses.iter().filter(|address| is_of_the_node(address));
    addresses.find(others).map(|address| Reason::Address(address.ip))
}

/// Whether a bridge has a port that is up, and no pod behind any of them.
fn leads_out(devices: &Devices, bridge: &Link, is_workload: impl Fn(&Link) -> bool) -> bool {
    let ports = devices.links.values().filter(|link| link.master == Some(bridge.index));
    ports.clone().any(|port| port.up) && !ports.clone().any(is_workload)
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named => f.write_str("named"),
            Self::DefaultRoute { v4: true, v6: true } => f.write_str("default routes"),
            Self::DefaultRoute { v6: true, .. } => f.write_str("IPv6 default route"),
            Self::DefaultRoute { .. } => f.write_str("IPv4 default route"),
            Self::Address(address) => write!(f, "address {address}"),
        }
    }
}

#[cfg(test)]
mod tests;
