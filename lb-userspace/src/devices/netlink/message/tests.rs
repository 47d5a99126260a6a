//! Messages are made by netlink-packet-route, which knows nothing of our decoding.

use std::net::Ipv6Addr;

use netlink_packet_core::{NetlinkSerializable as _, Parseable as _};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteNextHop};
use proptest::prelude::*;

use super::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn bytes(message: &RouteNetlinkMessage) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn decode(kind: u16, payload: &[u8]) -> Result<Message, DecodeError> {
    let mut header = NetlinkHeader::default();
    header.message_type = kind;
    Message::deserialize(&header, payload)
}

fn check(message: &RouteNetlinkMessage, expected: &Message) {
    let found = decode(message.message_type(), &bytes(message)).expect("well-formed");
    assert_eq!(&found, expected);
}

fn veth_message(family: AddressFamily) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.interface_family = family;
    message.header.index = 7;
    message.header.link_layer_type = LinkLayerType::Ether;
    message.header.flags = LinkFlags::Up | LinkFlags::Broadcast;
    message.attributes = vec![
        LinkAttribute::IfName("veth7".to_owned()),
        LinkAttribute::Mtu(1450),
        LinkAttribute::Address(MAC.to_vec()),
        LinkAttribute::Controller(5),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]),
        LinkAttribute::LinkNetNsId(0),
    ];
    message
}

fn veth() -> Link {
    Link {
        index: 7,
        name: "veth7".to_owned(),
        kind: Some("veth".to_owned()),
        is_ethernet: true,
        is_bare: false,
        is_ip_tunnel: false,
        is_loopback: false,
        up: true,
        mtu: 1450,
        mac: Some(MAC),
        master: Some(5),
        bridge_calls_v4: false,
        bridge_calls_v6: false,
        peer_is_elsewhere: true,
        addresses: vec![],
    }
}

#[test]
fn devices_of_plain_ip_packets_are_told_from_others() {
    let check = |kind, flags, bare: bool, ip_tunnel: bool| {
        let mut message = veth_message(AddressFamily::Unspec);
        message.header.link_layer_type = kind;
        message.header.flags = LinkFlags::Up | flags;
        let link = Link { is_ethernet: false, is_bare: bare, is_ip_tunnel: ip_tunnel, ..veth() };
        check(&RouteNetlinkMessage::NewLink(message), &Message::Link(link));
    };
    let (none, to_one) = (LinkFlags::empty(), LinkFlags::Pointopoint);
    check(LinkLayerType::None, none, true, false);
    check(LinkLayerType::Ppp, to_one, true, false);
    check(LinkLayerType::Tunnel, none, true, true);
    check(LinkLayerType::Sit, to_one, true, true);
    check(LinkLayerType::Ipgre, to_one, true, true);
    check(LinkLayerType::Ipgre, none, false, true);
    check(LinkLayerType::Infiniband, none, false, false);
}

#[test]
fn a_veth_in_a_bridge_is_understood() {
    let message = RouteNetlinkMessage::NewLink(veth_message(AddressFamily::Unspec));
    check(&message, &Message::Link(veth()));
}

#[test]
fn a_bridges_view_of_its_port_is_not_taken_for_the_link() {
    let view = veth_message(AddressFamily::Bridge);
    check(&RouteNetlinkMessage::NewLink(view.clone()), &Message::Irrelevant);
    check(&RouteNetlinkMessage::DelLink(view), &Message::Irrelevant);
    let gone = veth_message(AddressFamily::Unspec);
    check(&RouteNetlinkMessage::DelLink(gone), &Message::LinkGone(7));
}

#[test]
fn a_message_without_a_name_says_nothing_of_the_link() {
    let mut message = veth_message(AddressFamily::Unspec);
    message.attributes.clear();
    check(&RouteNetlinkMessage::NewLink(message), &Message::Irrelevant);
}

fn address_message(family: AddressFamily, attributes: Vec<AddressAttribute>) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family;
    message.header.prefix_len = 24;
    message.header.index = 2;
    message.attributes = attributes;
    message
}

fn address_of(ip: IpAddr) -> Address {
    Address {
        ip,
        prefix_length: 24,
        peer: None,
        global: true,
        tentative: false,
        deprecated: false,
        secondary: false,
        created: 0,
    }
}

#[test]
fn the_local_address_is_the_address_and_the_other_one_the_peer() {
    let (local, peer) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
    let attributes = vec![AddressAttribute::Address(peer), AddressAttribute::Local(local)];
    let message = address_message(AddressFamily::Inet, attributes);
    let expected = Address { peer: Some(peer), ..address_of(local) };
    check(&RouteNetlinkMessage::NewAddress(message), &Message::Address(2, expected));

    let attributes = vec![AddressAttribute::Address(local), AddressAttribute::Local(local)];
    let message = address_message(AddressFamily::Inet, attributes);
    check(&RouteNetlinkMessage::DelAddress(message), &Message::AddressGone(2, address_of(local)));
}

#[test]
fn scope_and_flags_of_an_address_are_kept() {
    let ip = IpAddr::from(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
    let mut message = address_message(AddressFamily::Inet6, vec![AddressAttribute::Address(ip)]);
    message.header.scope = AddressScope::Link;
    message.header.flags = AddressHeaderFlags::Tentative | AddressHeaderFlags::Deprecated;
    let expected = Address { global: false, tentative: true, deprecated: true, ..address_of(ip) };
    check(&RouteNetlinkMessage::NewAddress(message), &Message::Address(2, expected));
}

fn neighbour_message(ip: [u8; 4], state: NeighbourState) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = 2;
    message.header.state = state;
    message.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip.into())),
        NeighbourAttribute::LinkLayerAddress(MAC.to_vec()),
    ];
    message
}

#[test]
fn a_neighbour_has_an_address_in_the_states_in_which_packets_are_sent_to_it() {
    let ip = [192, 0, 2, 7];
    let check = |state, exists, expected: Option<[u8; 6]>| {
        let message = neighbour_message(ip, state);
        let message = if exists {
            RouteNetlinkMessage::NewNeighbour(message)
        } else {
            RouteNetlinkMessage::DelNeighbour(message)
        };
        check(&message, &Message::Neighbour(2, ip.into(), expected.map(Box::from)));
    };
    for state in [
        NeighbourState::Reachable,
        NeighbourState::Stale,
        NeighbourState::Delay,
        NeighbourState::Probe,
        NeighbourState::Permanent,
        NeighbourState::Noarp,
    ] {
        check(state, true, Some(MAC));
    }
    for state in [NeighbourState::None, NeighbourState::Incomplete, NeighbourState::Failed] {
        check(state, true, None);
    }
    check(NeighbourState::Stale, false, None);
}

#[test]
fn what_is_no_next_hop_is_not_taken_for_a_neighbour() {
    let multicast = neighbour_message([224, 0, 0, 251], NeighbourState::Noarp);
    check(&RouteNetlinkMessage::NewNeighbour(multicast), &Message::Irrelevant);
    let mut forwarding = neighbour_message([192, 0, 2, 7], NeighbourState::Permanent);
    forwarding.header.family = AddressFamily::Bridge;
    check(&RouteNetlinkMessage::NewNeighbour(forwarding), &Message::Irrelevant);
    let mut proxy = neighbour_message([192, 0, 2, 7], NeighbourState::Permanent);
    proxy.header.flags = NeighbourFlags::Proxy;
    check(&RouteNetlinkMessage::NewNeighbour(proxy), &Message::Irrelevant);
}

#[test]
fn routes_count_unless_they_are_the_local_tables_noise() {
    let check = |table, kind, expected: &Message| {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.destination_prefix_length = 16;
        message.header.table = table;
        message.header.kind = kind;
        check(&RouteNetlinkMessage::NewRoute(message.clone()), expected);
        check(&RouteNetlinkMessage::DelRoute(message), expected);
    };
    check(254, RouteType::Unicast, &Message::RouteChanged);
    check(100, RouteType::Local, &Message::RouteChanged);
    check(255, RouteType::Unicast, &Message::RouteChanged);
    for kind in [RouteType::Local, RouteType::Broadcast, RouteType::Anycast, RouteType::Multicast] {
        check(255, kind, &Message::Irrelevant);
    }
}

#[test]
fn default_routes_are_known_with_the_interfaces_that_they_lead_over() {
    let route = |family, table, attributes| {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        message.header.table = table;
        message.header.kind = RouteType::Unicast;
        message.attributes = attributes;
        message
    };
    let over = |ifindex, is_ipv6| DefaultRoute { ifindex, is_ipv6 };
    for table in [254, 100] {
        let message = route(AddressFamily::Inet, table, vec![RouteAttribute::Oif(7)]);
        check(
            &RouteNetlinkMessage::NewRoute(message.clone()),
            &Message::Default(vec![over(7, false)]),
        );
        check(&RouteNetlinkMessage::DelRoute(message), &Message::DefaultGone);
    }
    let hop = |index| {
        let mut hop = RouteNextHop::default();
        hop.interface_index = index;
        hop.attributes = vec![RouteAttribute::Priority(1)];
        hop
    };
    let several = vec![RouteAttribute::MultiPath(vec![hop(7), hop(9)])];
    let message = RouteNetlinkMessage::NewRoute(route(AddressFamily::Inet6, 254, several));
    check(&message, &Message::Default(vec![over(7, true), over(9, true)]));

    let mut unreachable = route(AddressFamily::Inet6, 254, vec![RouteAttribute::Oif(1)]);
    unreachable.header.kind = RouteType::Unreachable;
    check(&RouteNetlinkMessage::NewRoute(unreachable), &Message::RouteChanged);
}

#[test]
fn rules_and_next_hops_are_told() {
    for kind in [libc::RTM_NEWRULE, libc::RTM_DELRULE] {
        assert_eq!(decode(kind, &[]).expect("no payload needed"), Message::RouteChanged);
    }
    for kind in [RTM_NEWNEXTHOP, RTM_DELNEXTHOP] {
        assert_eq!(decode(kind, &[]).expect("no payload needed"), Message::NextHopChanged);
    }
}

#[test]
fn an_attribute_that_we_do_not_use_may_be_of_any_form() {
    let mut message = bytes(&RouteNetlinkMessage::NewLink(veth_message(AddressFamily::Unspec)));
    // One byte where netlink-packet-route wants four.
    message.extend([5, libc::IFLA_TXQLEN].into_iter().flat_map(u16::to_ne_bytes));
    message.extend([1, 0, 0, 0]);
    assert!(LinkMessage::parse(&message).is_err());
    assert_eq!(decode(libc::RTM_NEWLINK, &message).expect("a link"), Message::Link(veth()));
}

proptest! {
    #[test]
    fn decoding_never_panics(kind in 16u16..110, payload: Vec<u8>) {
        // Whatever comes out: that it comes out is the point.
        let _ = decode(kind, &payload);
    }

    #[test]
    fn next_hops_end_whatever_their_lengths_say(hops: Vec<u8>) {
        assert!(next_hops(&hops).count() <= hops.len() / NEXT_HOP_HEADER);
    }

    #[test]
    fn a_message_cut_off_anywhere_does_not_panic(length in 0usize..200) {
        let message = bytes(&RouteNetlinkMessage::NewLink(veth_message(AddressFamily::Unspec)));
        let _ = decode(libc::RTM_NEWLINK, &message[..length.min(message.len())]);
    }
}
