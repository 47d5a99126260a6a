//! Writes the seeds of the corpus: `cargo run -p lb-fuzz-targets --example seeds`. To be run again when a
//! target reads its bytes in another way, or when packets are made in another way.

use std::{fs, io, path::Path};

use lb_fuzz_targets::packet::record;
use lb_tests::{
    echo,
    lab::cast::{self, Family, Host, NODE1, OUTSIDE},
    packet::{Packet, flags},
};
use netlink_packet_core::NetlinkSerializable as _;
use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::RouteMessage,
};

// Numbers of hooks, as the targets count them.
const XDP: u8 = 0;
const UPLINK_IN: u8 = 1;
const UPLINK_OUT: u8 = 2;
const POD_IN: u8 = 3;
const POD_OUT: u8 = 4;

/// The world's pods: the client, and the endpoint on the other node.
const POD: Host = cast::pod(1, 1);
const REMOTE: Host = cast::pod(2, 1);

type Seed = (String, Vec<u8>);

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let all = [
        ("packet", packets()),
        ("errors", errors()),
        ("headers", headers()),
        ("manifests", manifests()),
        ("netlink", netlink()),
    ];
    for (target, seeds) in all {
        let directory = corpus.join(target);
        fs::create_dir_all(&directory)?;
        for (name, bytes) in seeds {
            fs::write(directory.join(name), bytes)?;
        }
    }
    Ok(())
}

/// Conversations, and single packets of every kind that the builder knows.
fn packets() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for family in Family::BOTH {
        let to_node = |packet: Packet| packet.addresses(OUTSIDE.ip(family), NODE1.ip(family));
        let asking = to_node(Packet::new(family)).ports(40_000, 30_080).payload(b"hello");
        let service = cast::service(family, 1);
        let from_pod =
            Packet::new(family).addresses(POD.ip(family), service).ports(40_000, 80).payload(b"hi");
        let answer = Packet::new(family)
            .addresses(REMOTE.ip(family), NODE1.ip(family))
            .ports(8080, 61_000)
            .payload(b"well");
        let kinds = [
            ("syn", asking.clone().tcp(flags::SYN)),
            ("udp", asking.clone().udp()),
            ("vlan", asking.clone().vlan(7).udp()),
            ("fragment", asking.clone().udp().fragment(0, true, 9)),
            ("later-fragment", asking.clone().udp().fragment(2, false, 9)),
            ("last-hop", asking.clone().tcp(flags::SYN).ttl(1)),
            ("sctp", asking.clone().other(132)),
            ("echo", to_node(Packet::new(family)).icmp([8, 0], [0; 4], b"ping")),
        ];
        for (name, packet) in kinds {
            let frame = packet.build();
            let bytes = [XDP, UPLINK_IN].map(|hook| record(hook, &frame)).concat();
            seeds.push((format!("{family:?}-{name}"), bytes));
        }
        for (name, packet, answer) in [
            ("tcp", from_pod.clone().tcp(flags::SYN), answer.clone().tcp(flags::SYN_ACK)),
            ("udp", from_pod.udp(), answer.udp()),
        ] {
            let (packet, answer) = (packet.build(), answer.build());
            let bytes = [
                record(POD_IN, &packet),
                record(UPLINK_IN, &answer),
                record(POD_OUT, &answer),
                record(UPLINK_OUT, &answer),
                record(POD_IN | 31 << 3, &packet),
            ];
            seeds.push((format!("{family:?}-conversation-{name}"), bytes.concat()));
        }
    }
    seeds
}

/// Each message that matters, about each flow.
fn errors() -> Vec<Seed> {
    let kinds =
        [[3, 3], [3, 4], [11, 0], [5, 0], [8, 0], [1, 4], [2, 0], [3, 0], [128, 0], [137, 0]];
    let mut seeds = Vec::new();
    for (number, [kind, code]) in (0u8..).zip(kinds) {
        for hook in [UPLINK_IN, POD_OUT] {
            // The families of odd types and of even ones are both tried: which flow is the second byte.
            let which = number * 3 + hook * 8;
            let bytes = vec![hook, which, kind, code, 0, 0, 5, 0x14, 60];
            seeds.push((format!("type-{kind}-{code}-at-{hook}"), bytes));
        }
    }
    seeds
}

/// Chains of headers, right ones and wrong ones.
fn headers() -> Vec<Seed> {
    const TCP: u8 = 6;
    let v6 = |first: u8, chain: &[u8]| [&[UPLINK_IN, 0b101, first], chain].concat();
    let v4 = |options: &[u8]| [&[POD_IN, 0b000, 0], options].concat();
    let padding = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let seeds: [(&str, Vec<u8>); 12] = [
        ("v6-none", v6(TCP, &[])),
        ("v6-hop-by-hop", v6(0, &padding(TCP))),
        ("v6-destination", v6(60, &padding(TCP))),
        ("v6-chain", v6(0, &[padding(60), padding(43), padding(TCP)].concat())),
        ("v6-too-many", v6(0, &[padding(60); 9].concat())),
        ("v6-routing", v6(43, &[TCP, 0, 4, 1, 0, 0, 0, 0])),
        ("v6-fragment", v6(44, &[TCP, 0, 0, 1, 0, 0, 0, 9])),
        ("v6-later-fragment", v6(44, &[TCP, 0, 0, 0x10, 0, 0, 0, 9])),
        ("v6-long", v6(60, &[TCP, 255, 1, 4, 0, 0, 0, 0])),
        ("v4-none", v4(&[])),
        ("v4-nops", v4(&[1; 40])),
        ("v4-record-route", v4(&[7, 7, 4, 0, 0, 0, 0, 0])),
    ];
    seeds.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

/// A Service and its endpoints, and the mistakes that people make.
fn manifests() -> Vec<Seed> {
    let service = echo::service().to_yaml();
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: echo-1\n  \
                 labels: {kubernetes.io/service-name: echo}\naddressType: IPv4\nports:\n- {name: tcp, \
                 port: 8080, protocol: TCP}\nendpoints:\n- addresses: [10.244.1.1]\n  \
                 conditions: {ready: true}\n";
    let seeds = [
        ("service", service.clone()),
        ("slice", slice.to_owned()),
        ("both", format!("{service}---\n{slice}")),
        ("twice", format!("{service}---\n{service}")),
        ("misspelt", service.replace("nodePort", "nodeprot")),
        ("no-port", service.replace("port: 80\n", "port: 0\n")),
        ("wrong-type", service.replace("port: 80\n", "port: eighty\n")),
        ("wrong-address", slice.replace("10.244.1.1", "127.0.0.1")),
        ("list", r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"},"spec":{"ports":[{"port":80}]}}]}"#.to_owned()),
        ("anchors", "a: &a [1, 2]\nb: *a\nkind: !!str Service\n".to_owned()),
        ("not-utf8", String::new()),
    ];
    let mut seeds: Vec<Seed> =
        seeds.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
    if let Some((_, bytes)) = seeds.last_mut() {
        bytes.extend([b'a', b':', b' ', 0xff, 0xfe]);
    }
    seeds
}

/// What the kernel tells, one message a file and all together.
fn netlink() -> Vec<Seed> {
    let mut link = LinkMessage::default();
    link.header.index = 7;
    link.header.link_layer_type = LinkLayerType::Ether;
    link.header.flags = LinkFlags::Up;
    link.attributes = vec![
        LinkAttribute::IfName("veth7".to_owned()),
        LinkAttribute::Mtu(1450),
        LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
        LinkAttribute::Controller(5),
    ];
    let mut address = AddressMessage::default();
    address.header.index = 7;
    address.header.family = AddressFamily::Inet;
    address.header.prefix_len = 24;
    address.attributes = vec![AddressAttribute::Local(OUTSIDE.v4.into())];
    let mut neighbour = NeighbourMessage::default();
    neighbour.header.family = AddressFamily::Inet6;
    neighbour.header.ifindex = 7;
    neighbour.header.state = NeighbourState::Reachable;
    neighbour.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(OUTSIDE.v6)),
        NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 9]),
    ];
    let messages = [
        ("link", RouteNetlinkMessage::NewLink(link.clone())),
        ("address", RouteNetlinkMessage::NewAddress(address.clone())),
        ("neighbour", RouteNetlinkMessage::NewNeighbour(neighbour.clone())),
        ("route", RouteNetlinkMessage::NewRoute(RouteMessage::default())),
        ("address-gone", RouteNetlinkMessage::DelAddress(address)),
        ("neighbour-gone", RouteNetlinkMessage::DelNeighbour(neighbour)),
        ("link-gone", RouteNetlinkMessage::DelLink(link)),
    ];
    let mut seeds: Vec<Seed> =
        messages.map(|(name, message)| (name.to_owned(), datagram(message))).into();
    let all = seeds.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let cut_off = seeds[0].1[..40].to_vec();
    seeds.extend([("all".to_owned(), all), ("cut-off".to_owned(), cut_off)]);
    seeds
}

fn datagram(message: RouteNetlinkMessage) -> Vec<u8> {
    assert!(message.buffer_len() < 4096, "a small message");
    let payload = NetlinkPayload::InnerMessage(message);
    let mut message = NetlinkMessage::new(NetlinkHeader::default(), payload);
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
