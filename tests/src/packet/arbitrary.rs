//! Random packets: every kind of header that the builder knows, most of them sound, some cut off or
//! with bytes flipped, and most of them about addresses and ports that a test knows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::Packet;
use super::number::{DESTINATION_OPTIONS, HOP_BY_HOP, ICMP, ICMPV6};
use crate::lab::cast::{self, Family, NODE1, NODE2, OUTSIDE};

/// The addresses and ports that a test has put into its tables, so that random packets hit them. Nine
/// in ten are drawn from here.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Addresses of both families; a family that has none is drawn at random.
    pub addresses: Vec<IpAddr>,
    /// Ports.
    pub ports: Vec<u16>,
}

impl Endpoints {
    /// The outside, two nodes with two pods each, and two service addresses; a few ports.
    pub fn cast() -> Self {
        let hosts = [OUTSIDE, NODE1, NODE2]
            .into_iter()
            .chain([(1, 1), (1, 2), (2, 1), (2, 2)].map(|(node, number)| cast::pod(node, number)));
        let addresses = hosts
            .flat_map(|host| Family::BOTH.map(|family| host.ip(family)))
            .chain([1, 2].into_iter().flat_map(|n| Family::BOTH.map(|f| cast::service(f, n))))
            .collect();
        Self { addresses, ports: vec![80, 443, 8080, 30_080, 40_000, 40_001] }
    }

    fn of(&self, family: Family) -> Vec<IpAddr> {
        self.addresses.iter().copied().filter(|address| Family::of(*address) == family).collect()
    }
}

/// Whole frames, as [`Packet::build`] makes them: IPv4 and IPv6 in equal parts. Of eight, six are sound,
/// one is cut off somewhere, and one has up to four bytes replaced. A cut-off frame may be shorter than an
/// Ethernet header, even empty, which `BPF_PROG_TEST_RUN` refuses: filter for 14 bytes before it.
pub fn arbitrary(endpoints: &Endpoints) -> BoxedStrategy<Vec<u8>> {
    let sound = prop_oneof![packet(endpoints, Family::V4), packet(endpoints, Family::V6)]
        .prop_map(|packet| packet.build());
    (sound, damage()).prop_map(|(frame, damage)| damage.apply(frame)).boxed()
}

#[derive(Clone, Debug)]
enum Damage {
    None,
    Cut(Index),
    Flip(Vec<(Index, u8)>),
}

impl Damage {
    fn apply(&self, mut frame: Vec<u8>) -> Vec<u8> {
        match self {
            Self::None => {}
            Self::Cut(at) => frame.truncate(at.index(frame.len())),
            Self::Flip(bytes) => {
                for (at, value) in bytes {
                    let at = at.index(frame.len());
                    frame[at] = *value;
                }
            }
        }
        frame
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        6 => Just(Damage::None),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => vec(any::<(Index, u8)>(), 1..=4).prop_map(Damage::Flip),
    ]
}

fn packet(endpoints: &Endpoints, family: Family) -> impl Strategy<Value = Packet> + use<> {
    (
        (address(endpoints, family), address(endpoints, family)),
        (port(endpoints), port(endpoints)),
        link(),
        network(family),
        transport(),
        payload(),
        prop_oneof![7 => Just(0), 1 => 1..40usize],
    )
        .prop_map(move |(addresses, ports, link, network, transport, payload, trailer)| {
            let packet = Packet::new(family)
                .addresses(addresses.0, addresses.1)
                .ports(ports.0, ports.1)
                .payload(&payload)
                .trailer(trailer);
            transport.apply(network.apply(link.apply(packet)))
        })
}

fn address(endpoints: &Endpoints, family: Family) -> BoxedStrategy<IpAddr> {
    let random = match family {
        Family::V4 => any::<Ipv4Addr>().prop_map(IpAddr::from).boxed(),
        Family::V6 => any::<Ipv6Addr>().prop_map(IpAddr::from).boxed(),
    };
    mostly(endpoints.of(family), random)
}

fn port(endpoints: &Endpoints) -> BoxedStrategy<u16> {
    mostly(endpoints.ports.clone(), any::<u16>().boxed())
}

/// Nine in ten from `known`, if there are any.
fn mostly<T: Clone + std::fmt::Debug + 'static>(
    known: Vec<T>,
    random: BoxedStrategy<T>,
) -> BoxedStrategy<T> {
    if known.is_empty() {
        return random;
    }
    prop_oneof![9 => select(known), 1 => random].boxed()
}

#[derive(Clone, Debug)]
enum Link {
    Untagged,
    Vlan(u16),
    Stacked(u16, u16),
}

impl Link {
    fn apply(&self, packet: Packet) -> Packet {
        match self {
            Self::Untagged => packet,
            Self::Vlan(tag) => packet.vlan(*tag),
            Self::Stacked(outer, inner) => packet.service_vlan(*outer).vlan(*inner),
        }
    }
}

fn link() -> impl Strategy<Value = Link> {
    prop_oneof![
        8 => Just(Link::Untagged),
        1 => any::<u16>().prop_map(Link::Vlan),
        1 => any::<(u16, u16)>().prop_map(|(outer, inner)| Link::Stacked(outer, inner)),
    ]
}

#[derive(Clone, Debug)]
struct Network {
    ttl: u8,
    traffic_class: u8,
    id: u16,
    dont_fragment: bool,
    flow_label: u32,
    ipv4_options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    fragment: Option<(u16, bool, u32)>,
}

impl Network {
    fn apply(self, packet: Packet) -> Packet {
        let packet = packet
            .ttl(self.ttl)
            .traffic_class(self.traffic_class)
            .id(self.id)
            .dont_fragment(self.dont_fragment)
            .flow_label(self.flow_label)
            .ipv4_options(&self.ipv4_options);
        let packet = self
            .extensions
            .iter()
            .fold(packet, |packet, (number, body)| packet.extension(*number, body));
        match self.fragment {
            Some((offset, more, id)) => packet.fragment(offset, more, id),
            None => packet,
        }
    }
}

fn network(family: Family) -> impl Strategy<Value = Network> {
    // No-operations: any other option would be sound only with the right contents.
    let options = prop_oneof![7 => Just(0), 1 => 1..=10usize].prop_map(|n| vec![1; 4 * n]);
    let fragment = prop_oneof![
        8 => Just(None),
        1 => (0..200u16, any::<bool>(), any::<u32>()).prop_map(Some),
    ];
    (
        (prop_oneof![8 => Just(64), 1 => Just(1), 1 => any::<u8>()], any::<u8>()),
        (any::<u16>(), any::<bool>(), 0..1u32 << 20),
        options,
        extensions(family),
        fragment,
    )
        .prop_map(
            |((ttl, traffic_class), (id, dont_fragment, flow_label), options, ext, fragment)| {
                Network {
                    ttl,
                    traffic_class,
                    id,
                    dont_fragment,
                    flow_label,
                    ipv4_options: options,
                    extensions: ext,
                    fragment,
                }
            },
        )
}

/// Up to three IPv6 extension headers in an order that RFC 8200 allows, filled with padding options.
fn extensions(family: Family) -> BoxedStrategy<Vec<(u8, Vec<u8>)>> {
    if family == Family::V4 {
        return Just(Vec::new()).boxed();
    }
    let header = |number: u8| (Just(number), (0..3usize).prop_map(|n| vec![0; 6 + 8 * n]));
    let some = (proptest::option::of(header(HOP_BY_HOP)), vec(header(DESTINATION_OPTIONS), 0..=2))
        .prop_map(|(first, rest)| first.into_iter().chain(rest).collect());
    prop_oneof![3 => Just(Vec::new()), 1 => some].boxed()
}

#[derive(Clone, Debug)]
enum Transport {
    Tcp { flags: u8, sequence: (u32, u32), options: usize },
    Udp { checksum: bool },
    Sctp { chunk: u8, tags: (u32, u32), checksum: bool },
    Other(u8),
}

impl Transport {
    fn apply(self, packet: Packet) -> Packet {
        match self {
            Self::Tcp { flags, sequence, options } => packet
                .tcp(flags)
                .sequence(sequence.0, sequence.1)
                .tcp_options(&vec![1; 4 * options]),
            Self::Udp { checksum: true } => packet.udp(),
            Self::Udp { checksum: false } => packet.udp_without_checksum(),
            Self::Sctp { chunk, tags, checksum } => {
                let packet = packet.sctp(chunk).tags(tags.0, tags.1);
                if checksum { packet } else { packet.sctp_without_checksum() }
            }
            Self::Other(protocol) => packet.other(protocol),
        }
    }
}

fn transport() -> impl Strategy<Value = Transport> {
    use super::flags::{ACK, FIN, PSH, RST, SYN, SYN_ACK};
    let flags = prop_oneof![
        9 => select(vec![SYN, SYN_ACK, ACK, PSH | ACK, FIN | ACK, RST, RST | ACK]),
        1 => any::<u8>(),
    ];
    let tcp = (flags, any::<(u32, u32)>(), prop_oneof![Just(0), 0..=10usize])
        .prop_map(|(flags, sequence, options)| Transport::Tcp { flags, sequence, options });
    let sctp = (prop_oneof![9 => 0..15_u8, 1 => any::<u8>()], any::<((u32, u32), bool)>())
        .prop_map(|(chunk, (tags, checksum))| Transport::Sctp { chunk, tags, checksum });
    // ICMP, and a number that nobody uses: what is behind them is random.
    let other = select(vec![ICMP, ICMPV6, 253]).prop_map(Transport::Other);
    prop_oneof![
        5 => tcp,
        4 => prop_oneof![5 => Just(true), 1 => Just(false)]
            .prop_map(|checksum| Transport::Udp { checksum }),
        1 => sctp,
        1 => other,
    ]
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => Just(Vec::new()),
        8 => vec(any::<u8>(), 1..64),
        1 => vec(any::<u8>(), 64..1_300),
    ]
}
