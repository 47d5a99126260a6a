//! What is sent through a node, and what it looks like where it ends.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use lb_tests::{
    lab::cast::{Family, NODE1, OUTSIDE},
    packet::Packet,
};

use super::{Front, Transit, Way, network};
use crate::rig::{
    plan::Check,
    stream::{Direction, Order, Stream},
};

impl Transit {
    /// Frames of so many flows, of clients from a block on.
    pub(super) fn stream(&self, block: u32, flows: u32, order: Order) -> Stream {
        let family = self.load.family;
        let target = self.target();
        let servers = match (self.way, self.load.front) {
            (Way::Forwarding, _) | (_, Front::Node) => 1,
            (_, Front::Cluster(services)) => services,
        };
        let payload = match family {
            Family::V4 => 22,
            Family::V6 => 2,
        };
        let template = Packet::new(family)
            .macs(OUTSIDE.mac, NODE1.mac)
            .addresses(network::client(family, block), target.ip())
            .ports(0, target.port())
            .udp()
            .payload(&vec![0; payload]);
        Stream {
            template,
            direction: Direction::Request,
            flows,
            servers: servers.min(flows),
            order,
        }
    }

    /// Where frames are sent: to the first of the servers.
    pub(super) fn target(&self) -> SocketAddr {
        let family = self.load.family;
        match (self.way, self.load.front) {
            // As if something had chosen the endpoint before.
            (Way::Forwarding, _) => network::endpoint(family, 0),
            (_, Front::Cluster(_)) => network::service(family, 0),
            (_, Front::Node) => network::node_port(family),
        }
    }

    /// What a frame looks like at the sink: to an endpoint if something translates, and from the node.
    pub(super) fn at_the_sink(&self) -> Vec<Check> {
        let family = self.load.family;
        let to = if self.way.translates() { network::endpoint(family, 0) } else { self.target() };
        let mut checks = vec![network_of(to.ip(), Place::DESTINATION), port(family, to.port())];
        if self.way.translates() {
            checks.push(host(network::east(family).0, Place::SOURCE));
        }
        checks
    }

    /// What an answer looks like at its client: from whom was asked.
    pub(super) fn at_the_client(&self) -> Vec<Check> {
        let (family, from) = (self.load.family, self.target());
        let high = u32::from(from.port()) << 16;
        vec![
            network_of(from.ip(), Place::SOURCE),
            Check { at: ports(family), mask: 0xffff_0000_u32.to_be(), value: high.to_be() },
        ]
    }
}

/// Where the addresses are: the first byte in IPv4, and in IPv6.
#[derive(Clone, Copy)]
struct Place(u32, u32);

impl Place {
    const SOURCE: Self = Self(26, 22);
    const DESTINATION: Self = Self(30, 38);
}

/// Of an IPv4 address the first 8 bits, of an IPv6 one the first 32.
fn network_of(address: IpAddr, place: Place) -> Check {
    let (at, mask, word) = match address {
        IpAddr::V4(address) => (place.0, 0xff00_0000, u32::from(address) & 0xff00_0000),
        IpAddr::V6(address) => (place.1, u32::MAX, word(address, 0)),
    };
    Check { at, mask: u32::to_be(mask), value: word.to_be() }
}

/// The last 32 bits of an address.
fn host(address: IpAddr, place: Place) -> Check {
    let (at, word) = match address {
        IpAddr::V4(address) => (place.0, u32::from(address)),
        IpAddr::V6(address) => (place.1 + 12, word(address, 3)),
    };
    Check { at, mask: u32::MAX, value: word.to_be() }
}

/// The destination's port.
fn port(family: Family, port: u16) -> Check {
    Check { at: ports(family), mask: 0xffff_u32.to_be(), value: u32::from(port).to_be() }
}

const fn ports(family: Family) -> u32 {
    match family {
        Family::V4 => 34,
        Family::V6 => 54,
    }
}

fn word(address: Ipv6Addr, number: usize) -> u32 {
    let octets = address.octets();
    let at = number * 4;
    u32::from_be_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
}
