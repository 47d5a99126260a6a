//! The cast: who is who in every lab and every test packet, with addresses that never change.
//!
//! All names, addresses and MAC addresses stand here and nowhere else. Addresses are from the
//! documentation and private ranges (RFC 5737, RFC 3849, RFC 1918, RFC 4193). How the hosts are wired
//! together does not belong here; see [`super::Cluster`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The client outside the cluster, on the same link as the nodes' uplinks.
pub const OUTSIDE: Host = Host {
    name: Name::Outside,
    mac: Mac([0x02, 0, 0, 0, 0, 0x10]),
    v4: Ipv4Addr::new(192, 0, 2, 10),
    v6: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10),
};
/// The first node.
pub const NODE1: Host = node(1);
/// The second node.
pub const NODE2: Host = node(2);

/// How many nodes have an address: 192.0.2.1 to 192.0.2.9, below [`OUTSIDE`].
pub const MAX_NODES: u8 = 9;
/// How many pods a node has addresses for.
pub const MAX_PODS: u8 = 250;
/// Prefix length of the network that [`OUTSIDE`] and the nodes share, IPv4 and IPv6.
pub const UPLINK_PREFIX: (u8, u8) = (24, 64);
/// What a pod routes everything to, as Calico does: an address that no interface has.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The link-local address of every host-side veth.
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// The service network; the IPv6 one is `fd00:96::/112`.
pub const SERVICE_NETWORK_V4: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 96, 0, 0), 16);
/// The service network of IPv6.
pub const SERVICE_NETWORK_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 0), 112);

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, for tests that loop.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// A link-layer address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.map(|byte| format!("{byte:02x}"));
        f.write_str(&bytes.join(":"))
    }
}

/// What a member of the cast is called; also the last part of its namespace's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// `outside`.
    Outside,
    /// `node1`: the number from 1.
    Node(u8),
    /// `pod1-2`: the node's number, and the pod's number there, both from 1.
    Pod(u8, u8),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside => write!(f, "outside"),
            Self::Node(node) => write!(f, "node{node}"),
            Self::Pod(node, pod) => write!(f, "pod{node}-{pod}"),
        }
    }
}

/// One of the cast. The addresses are those of its interface `eth0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    /// Its name.
    pub name: Name,
    /// The link-layer address of its `eth0`.
    pub mac: Mac,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
}

impl Host {
    /// Its address of a family.
    pub fn ip(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }

    /// Its address of a family, with a port.
    pub fn socket(&self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(family), port)
    }
}

/// Node `number`, from 1 to [`MAX_NODES`].
pub const fn node(number: u8) -> Host {
    assert!(number >= 1 && number <= MAX_NODES, "the cast has nodes 1 to 9");
    Host {
        name: Name::Node(number),
        mac: Mac([0x02, 0, 0, 0, 1, number]),
        v4: Ipv4Addr::new(192, 0, 2, number),
        v6: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, number as u16),
    }
}

/// Pod `number` (from 1 to [`MAX_PODS`]) of node `node` (from 1 to [`MAX_NODES`]). The last group of
/// its IPv6 address shows the number in decimal digits: pod 12 ends in `::12`.
pub const fn pod(node: u8, number: u8) -> Host {
    assert!(node >= 1 && node <= MAX_NODES, "the cast has nodes 1 to 9");
    assert!(number >= 1 && number <= MAX_PODS, "the cast has pods 1 to 250 on a node");
    Host {
        name: Name::Pod(node, number),
        mac: Mac([0x02, 0, 0, node, 2, number]),
        v4: Ipv4Addr::new(10, 244, node, number),
        v6: Ipv6Addr::new(0xfd00, 0x244, node as u16, 0, 0, 0, 0, decimal_as_hex(number)),
    }
}

/// The link-layer address of the node's end of a pod's veth: what the pod takes for its gateway.
pub const fn gateway_mac(node: u8, pod: u8) -> Mac {
    Mac([0x02, 0, 0, node, 3, pod])
}

/// The link-layer address of a node's end of the overlay.
pub const fn overlay_mac(node: u8) -> Mac {
    Mac([0x02, 0, 0, 0, 4, node])
}

/// The addresses of a node's bridge, the gateway of its pods where they are ports of one.
pub const fn bridge_gateway(node: u8) -> (Ipv4Addr, Ipv6Addr) {
    let v6 = Ipv6Addr::new(0xfd00, 0x244, node as u16, 0, 0, 0, 0, decimal_as_hex(254));
    (Ipv4Addr::new(10, 244, node, 254), v6)
}

/// The name of the node's end of a pod's veth: `veth-pod1-2`.
pub fn host_side(node: u8, pod: u8) -> String {
    format!("veth-{}", Name::Pod(node, pod))
}

/// The network of a node's pods: `10.244.N.0/24` and `fd00:244:N::/64`, as address and prefix length.
pub const fn pod_networks(node: u8) -> ((Ipv4Addr, u8), (Ipv6Addr, u8)) {
    (
        (Ipv4Addr::new(10, 244, node, 0), 24),
        (Ipv6Addr::new(0xfd00, 0x244, node as u16, 0, 0, 0, 0, 0), 64),
    )
}

/// Service address `number`: `10.96.0.N` or `fd00:96::N` (decimal digits). No interface has it and no
/// route leads there: without a load balancer nothing answers.
pub fn service(family: Family, number: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 96, 0, number).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, decimal_as_hex(number)).into(),
    }
}

/// 12 → 0x12: so that the IPv4 and the IPv6 address of a host end in the same digits.
const fn decimal_as_hex(number: u8) -> u16 {
    let number = number as u16;
    ((number / 100) << 8) | ((number / 10 % 10) << 4) | (number % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_the_same_last_digits_in_both_families() {
        let host = pod(2, 123);
        assert_eq!(host.v4.to_string(), "10.244.2.123");
        assert_eq!(host.v6.to_string(), "fd00:244:2::123");
        assert_eq!(service(Family::V6, 10).to_string(), "fd00:96::10");
        assert_eq!(OUTSIDE.socket(Family::V6, 80).to_string(), "[2001:db8:1::10]:80");
    }

    #[test]
    fn interface_names_fit_the_kernels_limit_of_fifteen_bytes() {
        assert!(host_side(MAX_NODES, MAX_PODS).len() <= 15);
    }

    #[test]
    fn no_two_members_share_a_link_layer_address() {
        let mut macs = vec![OUTSIDE.mac, NODE1.mac, NODE2.mac];
        for node in 1..=3 {
            for number in 1..=3 {
                macs.extend([pod(node, number).mac, gateway_mac(node, number)]);
            }
        }
        let distinct: std::collections::HashSet<_> = macs.iter().collect();
        assert_eq!(distinct.len(), macs.len());
    }
}
