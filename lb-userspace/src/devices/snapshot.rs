//! The interfaces of a network namespace as plain data. Where they come from and what they are to us
//! is said elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// All interfaces of a network namespace at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// By interface index.
    pub links: BTreeMap<u32, Link>,
    /// Where default routes lead, of all routing tables.
    pub defaults: BTreeSet<DefaultRoute>,
}

/// A default route leads over an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DefaultRoute {
    /// The interface's index.
    pub ifindex: u32,
    /// It is one of IPv6.
    pub is_ipv6: bool,
}

impl Devices {
    /// The interface of a name.
    pub fn by_name(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }

    /// The names of all interfaces, for messages: `eth0, lo, veth1`.
    pub fn names(&self) -> String {
        let mut names: Vec<&str> = self.links.values().map(|link| link.name.as_str()).collect();
        names.sort_unstable();
        names.join(", ")
    }
}

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what the kernel says, independent of each other"
)]
pub struct Link {
    /// The kernel's number for it, unique in the namespace.
    pub index: u32,
    /// The name; bytes that are no UTF-8 are replaced.
    pub name: String,
    /// `veth`, `bridge`, `vlan`, `vxlan`…; hardware and `lo` have none.
    pub kind: Option<String>,
    /// Frames on it are Ethernet frames (`ARPHRD_ETHER`).
    pub is_ethernet: bool,
    /// It has no link layer: packets on it begin with their IP header (tun, wireguard, ipip…).
    pub is_bare: bool,
    /// It decapsulates IP itself (ipip, sit, gre and the like), which before Linux 5.14 left the outer headers in front.
    pub is_ip_tunnel: bool,
    /// It is `lo` (`ARPHRD_LOOPBACK`).
    pub is_loopback: bool,
    /// It is set up (`IFF_UP`); says nothing about the cable.
    pub up: bool,
    /// Largest layer-3 packet, in bytes.
    pub mtu: u32,
    /// Its link-layer address, if that is one of Ethernet's size.
    pub mac: Option<Mac>,
    /// Index of the bridge, bond or VRF that it is a port of.
    pub master: Option<u32>,
    /// A bridge that calls the packet filters of IPv4 for what it switches, whatever the sysctl says.
    pub bridge_calls_v4: bool,
    /// The same for IPv6.
    pub bridge_calls_v6: bool,
    /// What it is tied to (a veth's peer, a VLAN's parent) is in another network namespace.
    pub peer_is_elsewhere: bool,
    /// Its addresses, oldest first.
    pub addresses: Vec<Address>,
}

/// One address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the kernel's flags, independent of each other")]
pub struct Address {
    /// The address itself.
    pub ip: IpAddr,
    /// Length of its subnet's prefix, in bits.
    pub prefix_length: u8,
    /// The other end, on an interface that leads to one host only.
    pub peer: Option<IpAddr>,
    /// Its scope is global: valid beyond this link and this host.
    pub global: bool,
    /// Not to be used: duplicate address detection has not finished, or it failed (IPv6).
    pub tentative: bool,
    /// Not to be used for anything new (RFC 4862, 5.5.4).
    pub deprecated: bool,
    /// IPv4: another address of the same subnet came first. IPv6: a temporary address (RFC 8981).
    pub secondary: bool,
    /// When the kernel made it, in hundredths of a second since boot.
    pub created: u32,
}

impl Address {
    /// Whether both are the same address to the kernel, whatever its flags.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.ip, self.prefix_length, self.peer) == (other.ip, other.prefix_length, other.peer)
    }

    /// What addresses are ordered by. The kernel lists IPv4 addresses oldest first, IPv6 addresses
    /// newest first, and tells of new ones as they come: by time of making, a list that was read at
    /// once and one that was put together from news are the same. Where times are equal, IPv4
    /// addresses stay as the kernel lists them; for IPv6 no order is the same both ways but by value.
    fn age(&self) -> (u32, Option<Ipv6Addr>) {
        let tie = match self.ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(ip),
        };
        (self.created, tie)
    }
}

impl Link {
    /// Adds an address, or replaces what is known of it.
    pub(super) fn set_address(&mut self, address: Address) {
        if let Some(known) = self.addresses.iter_mut().find(|known| known.is_same(&address)) {
            if known.age() == address.age() {
                *known = address;
                return;
            }
            self.remove_address(&address);
        }
        let position = self.addresses.partition_point(|other| other.age() <= address.age());
        self.addresses.insert(position, address);
    }

    /// Forgets an address.
    pub(super) fn remove_address(&mut self, address: &Address) {
        self.addresses.retain(|known| !known.is_same(address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(ip: &str, created: u32) -> Address {
        Address {
            ip: ip.parse().expect("an address"),
            prefix_length: 24,
            peer: None,
            global: true,
            tentative: false,
            deprecated: false,
            secondary: false,
            created,
        }
    }

    fn ips(link: &Link) -> Vec<String> {
        link.addresses.iter().map(|address| address.ip.to_string()).collect()
    }

    #[test]
    fn addresses_stand_oldest_first_however_they_were_learned() {
        let all = [address("fd00::2", 20), address("fd00::1", 20), address("fd00::9", 10)];
        let mut forward = Link::default();
        all.iter().cloned().for_each(|a| forward.set_address(a));
        let mut backward = Link::default();
        all.iter().rev().cloned().for_each(|a| backward.set_address(a));
        assert_eq!(ips(&forward), ["fd00::9", "fd00::1", "fd00::2"]);
        assert_eq!(forward, backward);
    }

    #[test]
    fn ipv4_addresses_of_the_same_age_stay_in_the_kernels_order() {
        let mut link = Link::default();
        link.set_address(address("10.0.0.5", 10));
        link.set_address(address("10.0.0.1", 10));
        assert_eq!(ips(&link), ["10.0.0.5", "10.0.0.1"]);
        link.set_address(Address { deprecated: true, ..address("10.0.0.5", 10) });
        assert_eq!(ips(&link), ["10.0.0.5", "10.0.0.1"]);
        assert!(link.addresses[0].deprecated);
    }

    #[test]
    fn an_address_that_was_made_again_is_a_young_one() {
        let mut link = Link::default();
        link.set_address(address("10.0.0.5", 10));
        link.set_address(address("10.0.0.1", 20));
        link.set_address(address("10.0.0.5", 30));
        assert_eq!(ips(&link), ["10.0.0.1", "10.0.0.5"]);
    }

    #[test]
    fn only_the_very_address_is_removed() {
        let mut link = Link::default();
        let host = Address { prefix_length: 32, ..address("10.0.0.5", 20) };
        link.set_address(address("10.0.0.5", 10));
        link.set_address(host.clone());
        link.remove_address(&host);
        assert_eq!(link.addresses, [address("10.0.0.5", 10)]);
    }
}
