//! Packets for the two builds: any at all, and such as belong to flows that exist.

use std::net::IpAddr;

use anyhow::{Result, anyhow};
use lb_common::{addr::Address, hook::Hook, host::HostTables, tables::FlowKey, wire::Protocol};
use lb_tests::{
    lab::cast::{self, Family, NODE1, OUTSIDE},
    packet::{Endpoints, Packet, arbitrary, flags},
};
use proptest::{
    prelude::*,
    sample::{Index, select},
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::bed::{
    Backend, Front, Point, Ruled,
    world::{BACKEND_PORT, CLIENT_PORT, POD, SERVICE_PORT, unallocated},
};

/// The packet that begins at a flow's hook, but for what may differ from packet to packet.
#[derive(Clone, Copy)]
struct Tuple {
    hook: Hook,
    addresses: (IpAddr, IpAddr),
    ports: (u16, u16),
    protocol: Protocol,
}

/// What differs.
#[derive(Clone, Debug)]
struct Content {
    which: Index,
    at_xdp: bool,
    flags: u8,
    sequence: u32,
    acknowledgement: u32,
    ttl: u8,
    payload: usize,
    shape: Shape,
}

/// What kind of packet it is.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Whole,
    /// A fragment of one of a few packets: where in it, in units of eight bytes.
    Fragment(u16, u32),
    /// An ICMP error about a packet of the other direction, of which this much is quoted.
    Error([u8; 2], usize),
}

/// Packets in an order that the seed settles.
pub struct Source {
    runner: TestRunner,
    random: BoxedStrategy<Vec<u8>>,
    content: BoxedStrategy<Content>,
    tuples: Vec<Tuple>,
}

impl Source {
    /// By `XorShift`: proptest makes many generators a packet, and with `ChaCha` that took half of the time.
    pub fn new(seed: u32) -> Self {
        let mut bytes = [1; 16];
        bytes[..4].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::XorShift, &bytes);
        Self {
            runner: TestRunner::new_with_rng(Config::default(), rng),
            random: arbitrary(&endpoints()),
            content: content(),
            tuples: Vec::new(),
        }
    }

    /// Any packet.
    pub fn random(&mut self) -> Result<Vec<u8>> {
        draw(&mut self.runner, &self.random)
    }

    /// Takes note of the flows that there are.
    pub fn learn(&mut self, host: &HostTables) {
        self.tuples.clear();
        self.tuples.extend(host.v4.flows().iter().filter_map(|(key, ..)| tuple(key)));
        self.tuples.extend(host.v6.flows().iter().filter_map(|(key, ..)| tuple(key)));
    }

    /// A packet of a flow that there was when last looked, and the program that is to see it; `None`
    /// if there were none.
    pub fn of_a_flow(&mut self) -> Result<Option<(Point, Vec<u8>)>> {
        if self.tuples.is_empty() {
            return Ok(None);
        }
        let content = draw(&mut self.runner, &self.content)?;
        let tuple = *content.which.get(&self.tuples);
        let point = match tuple.hook {
            Hook::UplinkIn if content.at_xdp => Point::Xdp,
            Hook::HostOut => Point::Tc(Hook::UplinkOut),
            hook => Point::Tc(hook),
        };
        Ok(Some((point, tuple.packet(&content).build())))
    }
}

impl Tuple {
    fn packet(&self, content: &Content) -> Packet {
        let (from, to) = self.addresses;
        match content.shape {
            Shape::Whole => self.plain(content),
            Shape::Fragment(offset, id) => self.plain(content).fragment(offset, true, id),
            Shape::Error(kind, quoted) => {
                let other =
                    Self { addresses: (to, from), ports: (self.ports.1, self.ports.0), ..*self };
                let about = other.plain(content).build();
                let about = &about[14..about.len().min(14 + quoted)];
                Packet::new(Family::of(from))
                    .addresses(from, to)
                    .ttl(content.ttl)
                    .icmp(kind, [7; 4], about)
            }
        }
    }

    fn plain(&self, content: &Content) -> Packet {
        let (from, to) = self.addresses;
        let packet = Packet::new(Family::of(from))
            .addresses(from, to)
            .ports(self.ports.0, self.ports.1)
            .ttl(content.ttl)
            .payload(&vec![7; content.payload]);
        if self.protocol == Protocol::UDP {
            return packet.udp();
        }
        if self.protocol == Protocol::SCTP {
            let kind = content.flags & 0xf;
            return packet.sctp(kind).tags(content.sequence, content.acknowledgement);
        }
        packet.tcp(content.flags).sequence(content.sequence, content.acknowledgement)
    }
}

fn draw<T: std::fmt::Debug>(runner: &mut TestRunner, from: &BoxedStrategy<T>) -> Result<T> {
    let tree = from.new_tree(runner).map_err(|reason| anyhow!("no packet: {reason}"))?;
    Ok(tree.current())
}

fn tuple<A: Address>(key: &FlowKey<A>) -> Option<Tuple> {
    Some(Tuple {
        hook: Hook::from_role(key.role)?,
        addresses: (key.source.to_ip(), key.destination.to_ip()),
        ports: (key.source_port.to_host(), key.destination_port.to_host()),
        protocol: Protocol(key.protocol),
    })
}

/// Sequence numbers are so few that many an acknowledgement fits.
fn content() -> BoxedStrategy<Content> {
    use flags::{ACK, FIN, PSH, RST, SYN, SYN_ACK};
    let flags = select(vec![SYN, SYN_ACK, SYN_ACK, ACK, ACK, ACK, PSH | ACK, FIN | ACK, RST]);
    let ttl = prop_oneof![15 => Just(64_u8), 1 => 0..3_u8];
    let payload = prop_oneof![15 => 0..32_usize, 1 => 1_400..1_500_usize];
    let kinds = select(vec![[3, 3], [3, 4], [11, 0], [1, 4], [2, 0], [5, 0], [8, 0], [128, 0]]);
    let shape = prop_oneof![
        20 => Just(Shape::Whole),
        1 => (select(vec![0, 0, 2]), 0..8_u32).prop_map(|(at, id)| Shape::Fragment(at, id)),
        1 => (kinds, 20..110_usize).prop_map(|(kind, quoted)| Shape::Error(kind, quoted)),
    ];
    (any::<(Index, bool)>(), flags, 1_000..1_002_u32, 1_000..1_003_u32, ttl, (payload, shape))
        .prop_map(|((which, at_xdp), flags, sequence, acknowledgement, ttl, (payload, shape))| {
            Content { which, at_xdp, flags, sequence, acknowledgement, ttl, payload, shape }
        })
        .boxed()
}

/// What stands in the tables, what is likely to belong together more than once.
fn endpoints() -> Endpoints {
    let often =
        [vec![NODE1; 6], vec![OUTSIDE, POD, OUTSIDE, POD, cast::pod(1, 2), cast::pod(2, 1)]];
    let mut addresses: Vec<IpAddr> = often
        .iter()
        .flatten()
        .flat_map(|host| Family::BOTH.map(|family| host.ip(family)))
        .collect();
    let mut ports = [vec![SERVICE_PORT; 6], vec![BACKEND_PORT; 4], vec![CLIENT_PORT; 4]].concat();
    for backend in Backend::ALL {
        ports.push(Front::Node.socket(Family::V4, backend).port());
        let service = |family| Front::Cluster.socket(family, backend).ip();
        addresses.extend(Family::BOTH.map(service));
    }
    for family in Family::BOTH {
        addresses.extend(Ruled::ALL.map(|ruled| ruled.socket(family).ip()));
        addresses.push(unallocated(family));
    }
    Endpoints { addresses, ports }
}
