//! Which frames: who talks to whom, one flow or many. All are UDP or TCP, 64 bytes, but for TCP in IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};
use lb_common::wire::L4;
use lb_tests::{
    lab::cast::{self, Family, Host, Mac, NODE1, NODE2, OUTSIDE},
    packet::{Packet, flags},
};

use super::bed::world::{BACKEND_PORT, SERVICE_PORT};
use crate::rig::{
    plan::Plan,
    stream::{Direction, FIRST_PORT, Order, Stream},
};

/// How many services have their backend elsewhere, a power of two: the flows to one of them need source
/// ports of their own, and there are not enough of those for a million.
pub const SERVERS: u32 = 64;
/// The first source port of SNAT. Flow `n` has the port `n / SERVERS` after it.
pub const FIRST_SNAT_PORT: u16 = 2048;
/// How many there are: as many as a million flows need.
pub const SNAT_PORTS: u16 = 1 << 14;
/// A port that no service has.
const OTHER_PORT: u16 = 443;
/// The pod behind the service whose backend is on this node.
pub const LOCAL: Host = cast::pod(1, 2);
/// The sequence number of all SYN-ACKs.
const SEQUENCE: u32 = 1000;

/// Where the backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// On this node.
    Here,
    /// On another node: packets are sent on, and replies come back.
    Elsewhere,
    /// There is none, because the destination is no service.
    Nowhere,
}

/// Whose flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Those that have flows.
    Known,
    /// Those that have none yet.
    New,
}

/// One direction of flows that are alike.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    /// The family.
    pub family: Family,
    /// The transport.
    pub l4: L4,
    /// Where the backend is.
    pub side: Side,
    /// Whose flows.
    pub clients: Clients,
    /// From clients, or to them.
    pub direction: Direction,
    /// TCP's control bits.
    pub flags: u8,
}

/// What the rig is given.
pub struct Frames {
    /// The plan.
    pub plan: Plan,
    /// A frame that is as long as all of them.
    pub frame: Vec<u8>,
}

/// The first client's address; all are in [`client_network`], behind the router that [`OUTSIDE`] is.
fn first_client(family: Family, clients: Clients) -> IpAddr {
    let number = match clients {
        Clients::Known => 1,
        Clients::New => 128,
    };
    match family {
        Family::V4 => Ipv4Addr::new(198, 51, 100, number).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, number.into()).into(),
    }
}

/// The clients' network (RFC 5737, RFC 3849).
pub const fn client_network(family: Family) -> &'static str {
    match family {
        Family::V4 => "198.51.100.0/24",
        Family::V6 => "2001:db8:2::/64",
    }
}

/// The backend elsewhere with this number. All are pods of node 2.
pub fn remote_backend(family: Family, number: u8) -> IpAddr {
    let number = number + 64;
    match (family, cast::pod_networks(2)) {
        (Family::V4, ((network, _), _)) => {
            Ipv4Addr::from(u32::from(network) + u32::from(number)).into()
        }
        (Family::V6, (_, (network, _))) => {
            Ipv6Addr::from(u128::from(network) + u128::from(number)).into()
        }
    }
}

/// The address of the service with this number whose backend is elsewhere.
pub fn remote_service(family: Family, number: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 96, 1, number).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 1, number.into()).into(),
    }
}

/// The address of the service whose backend is on this node.
pub fn local_service(family: Family) -> IpAddr {
    cast::service(family, 1)
}

/// How many services `flows` flows go to.
pub fn servers(side: Side, flows: u32) -> u32 {
    if side == Side::Elsewhere { SERVERS.min(flows) } else { 1 }
}

impl Talk {
    /// Requests of clients that have flows; TCP's are established.
    pub const fn requests(family: Family, l4: L4, side: Side) -> Self {
        let (clients, direction) = (Clients::Known, Direction::Request);
        Self { family, l4, side, clients, direction, flags: flags::ACK | flags::PSH }
    }

    /// Their answers.
    pub const fn replies(self) -> Self {
        Self { direction: Direction::Reply, ..self }
    }

    /// The same with other control bits.
    pub const fn with(self, flags: u8) -> Self {
        Self { flags, ..self }
    }

    /// The packet of the first flow.
    fn template(self) -> Packet {
        let Self { family, side, clients, .. } = self;
        let client = first_client(family, clients);
        let packet = Packet::new(family);
        let packet = match (self.direction, side) {
            (Direction::Request, _) => {
                let (server, port) = match side {
                    Side::Here => (local_service(family), SERVICE_PORT),
                    Side::Elsewhere => (remote_service(family, 0), SERVICE_PORT),
                    Side::Nowhere => (NODE1.ip(family), OTHER_PORT),
                };
                macs(packet, OUTSIDE.mac).addresses(client, server).ports(FIRST_PORT, port)
            }
            (Direction::Reply, Side::Elsewhere) => macs(packet, NODE2.mac)
                .addresses(remote_backend(family, 0), NODE1.ip(family))
                .ports(BACKEND_PORT, FIRST_SNAT_PORT),
            (Direction::Reply, _) => packet
                .macs(NODE1.mac, OUTSIDE.mac)
                .addresses(LOCAL.ip(family), client)
                .ports(BACKEND_PORT, FIRST_PORT),
        };
        let (packet, payload) = match (self.l4, family) {
            (L4::Udp, Family::V4) => (packet.udp(), 22),
            (L4::Udp, Family::V6) => (packet.udp(), 2),
            (_, Family::V4) => (self.tcp(packet), 10),
            (_, Family::V6) => (self.tcp(packet), 6),
        };
        packet.payload(&[7; 22][..payload])
    }

    fn tcp(self, packet: Packet) -> Packet {
        let packet = packet.tcp(self.flags);
        match self.direction {
            Direction::Request => packet.sequence(1, SEQUENCE + 1),
            Direction::Reply => packet.sequence(SEQUENCE, 1),
        }
    }

    /// The frames of this many flows.
    pub fn frames(self, flows: u32, order: Order) -> Result<Frames> {
        let (template, direction) = (self.template(), self.direction);
        let servers = servers(self.side, flows);
        let frame = template.clone().build();
        let mut plan = Stream { template, direction, flows, servers, order }.plan()?;
        if (self.side, direction) == (Side::Elsewhere, Direction::Reply) {
            // They come to the node: flows differ in the port that it chose, not in the client.
            let ports = flows / servers;
            ensure!(ports <= u32::from(SNAT_PORTS), "not enough source ports for {flows} flows");
            plan.words[0].mask = 0;
            plan.half.base = FIRST_SNAT_PORT.into();
            plan.half.shift = servers.ilog2();
            plan.half.mask = ports - 1;
        }
        Ok(Frames { plan, frame })
    }
}

/// Comes in over the uplink.
fn macs(packet: Packet, from: Mac) -> Packet {
    packet.macs(from, NODE1.mac)
}
