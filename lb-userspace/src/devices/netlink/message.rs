//! From the bytes of a route netlink message to what we want to know of it.
//!
//! Only the attributes that we use are decoded. New kernels add attributes and lengthen old ones all
//! the time; what we don't read can't keep us from seeing an interface.

use std::net::IpAddr;

use netlink_packet_core::{
    DecodeError, NetlinkDeserializable, NetlinkHeader, NlaBuffer, NlasIterator, parse_ip, parse_u32,
};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressHeader, AddressHeaderFlags, AddressScope, CacheInfo};
use netlink_packet_route::link::{LinkFlags, LinkHeader, LinkLayerType};
use netlink_packet_route::neighbour::{NeighbourFlags, NeighbourHeader};
use netlink_packet_route::route::{RouteFlags, RouteHeader, RouteType};

use crate::devices::snapshot::{Address, DefaultRoute, Link};

// include/uapi/linux/rtnetlink.h, since Linux 5.3; libc lacks them.
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
// linux/if_link.h.
const IFLA_BR_NF_CALL_IPTABLES: u16 = 36;
const IFLA_BR_NF_CALL_IP6TABLES: u16 = 37;

/// What follows the netlink header starts with one of these (`struct ifinfomsg`, `ifaddrmsg`, `ndmsg`),
/// then come attributes.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const NEIGHBOUR_HEADER: usize = 12;
const ROUTE_HEADER: usize = 12;
/// `struct rtnexthop`: length, flags and hops, and last the interface's index.
const NEXT_HOP_HEADER: usize = 8;

/// States of a neighbour in which packets are sent to it (the kernel's `NUD_VALID`).
const VALID: u16 = libc::NUD_PERMANENT
    | libc::NUD_NOARP
    | libc::NUD_REACHABLE
    | libc::NUD_PROBE
    | libc::NUD_STALE
    | libc::NUD_DELAY;

/// What a message tells us. News and the answers to a dump look the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// An interface is like this; its addresses are told apart from it.
    Link(Link),
    /// The interface of this index is gone.
    LinkGone(u32),
    /// The interface of this index has an address.
    Address(u32, Address),
    /// The interface of this index has lost an address.
    AddressGone(u32, Address),
    /// A neighbour, by interface and address, has this link-layer address; `None`: packets can't be
    /// sent to it now. Empty where the interface needs none.
    Neighbour(u32, IpAddr, Option<Box<[u8]>>),
    /// There is a default route, and it leads over these interfaces.
    Default(Vec<DefaultRoute>),
    /// A default route, or a part of one, has gone.
    DefaultGone,
    /// A next hop has come or changed, or has gone with the routes over it.
    NextHopChanged,
    /// Another route or a rule has come, gone or changed.
    RouteChanged,
    /// Nothing for us.
    Irrelevant,
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        match header.message_type {
            libc::RTM_NEWLINK => link(payload),
            libc::RTM_DELLINK => link_gone(payload),
            libc::RTM_NEWADDR => address(payload, Self::Address),
            libc::RTM_DELADDR => address(payload, Self::AddressGone),
            libc::RTM_NEWNEIGH => neighbour(payload, true),
            libc::RTM_DELNEIGH => neighbour(payload, false),
            libc::RTM_NEWROUTE => route(payload, true),
            libc::RTM_DELROUTE => route(payload, false),
            libc::RTM_NEWRULE | libc::RTM_DELRULE => Ok(Self::RouteChanged),
            RTM_NEWNEXTHOP | RTM_DELNEXTHOP => Ok(Self::NextHopChanged),
            _ => Ok(Self::Irrelevant),
        }
    }
}

fn link(payload: &[u8]) -> Result<Message, DecodeError> {
    let header = LinkHeader::parse(payload)?;
    // AF_BRIDGE: what the bridge has to say about its port. AF_UNSPEC tells the same and more.
    if header.interface_family != AddressFamily::Unspec {
        return Ok(Message::Irrelevant);
    }
    let mut link = Link {
        index: header.index,
        is_ethernet: header.link_layer_type == LinkLayerType::Ether,
        is_bare: is_bare(header.link_layer_type, header.flags),
        is_ip_tunnel: is_ip_tunnel(header.link_layer_type),
        is_loopback: header.link_layer_type == LinkLayerType::Loopback,
        up: header.flags.contains(LinkFlags::Up),
        ..Link::default()
    };
    for attribute in attributes(payload, LINK_HEADER) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            libc::IFLA_IFNAME => link.name = text(value),
            libc::IFLA_MTU => link.mtu = parse_u32(value)?,
            libc::IFLA_ADDRESS => link.mac = value.try_into().ok(),
            libc::IFLA_MASTER => link.master = Some(parse_u32(value)?),
            libc::IFLA_LINKINFO => read_info(&mut link, value)?,
            libc::IFLA_LINK_NETNSID => link.peer_is_elsewhere = true,
            _ => {}
        }
    }
    // News of wireless devices come as a message with nothing else in it.
    Ok(if link.name.is_empty() { Message::Irrelevant } else { Message::Link(link) })
}

/// Whether the kernel takes it for a device whose packets begin with their IP header (`dev_is_mac_header_xmit`).
/// A gre device without a remote end puts the outer headers on as if they were a link's.
fn is_bare(kind: LinkLayerType, flags: LinkFlags) -> bool {
    match kind {
        LinkLayerType::None
        | LinkLayerType::Rawip
        | LinkLayerType::Ppp
        | LinkLayerType::Tunnel
        | LinkLayerType::Tunnel6
        | LinkLayerType::Sit => true,
        LinkLayerType::Ipgre | LinkLayerType::Ip6gre => flags.contains(LinkFlags::Pointopoint),
        _ => false,
    }
}

fn is_ip_tunnel(kind: LinkLayerType) -> bool {
    matches!(
        kind,
        LinkLayerType::Tunnel
            | LinkLayerType::Tunnel6
            | LinkLayerType::Sit
            | LinkLayerType::Ipgre
            | LinkLayerType::Ip6gre
    )
}

fn link_gone(payload: &[u8]) -> Result<Message, DecodeError> {
    let header = LinkHeader::parse(payload)?;
    // AF_BRIDGE: it left its bridge, and is still there.
    Ok(match header.interface_family {
        AddressFamily::Unspec => Message::LinkGone(header.index),
        _ => Message::Irrelevant,
    })
}

/// `IFLA_LINKINFO`: the kind, and what we want to know of bridges.
fn read_info(link: &mut Link, info: &[u8]) -> Result<(), DecodeError> {
    let mut data = None;
    for attribute in attributes(info, 0) {
        let attribute = attribute?;
        match attribute.kind() {
            libc::IFLA_INFO_KIND => link.kind = Some(text(attribute.value())),
            libc::IFLA_INFO_DATA => data = Some(attribute.value().to_owned()),
            _ => {}
        }
    }
    if link.kind.as_deref() != Some("bridge") {
        return Ok(());
    }
    let data = data.unwrap_or_default();
    for attribute in attributes(&data, 0) {
        let attribute = attribute?;
        let is_on = || attribute.value().first().is_some_and(|value| *value != 0);
        match attribute.kind() {
            IFLA_BR_NF_CALL_IPTABLES => link.bridge_calls_v4 = is_on(),
            IFLA_BR_NF_CALL_IP6TABLES => link.bridge_calls_v6 = is_on(),
            _ => {}
        }
    }
    Ok(())
}

fn address(payload: &[u8], message: fn(u32, Address) -> Message) -> Result<Message, DecodeError> {
    let header = AddressHeader::parse(payload)?;
    if !is_ip(header.family) {
        return Ok(Message::Irrelevant);
    }
    let (mut local, mut other, mut created) = (None, None, 0);
    for attribute in attributes(payload, ADDRESS_HEADER) {
        let attribute = attribute?;
        match attribute.kind() {
            libc::IFA_LOCAL => local = Some(parse_ip(attribute.value())?),
            libc::IFA_ADDRESS => other = Some(parse_ip(attribute.value())?),
            libc::IFA_CACHEINFO => created = CacheInfo::parse(attribute.value())?.cstamp,
            _ => {}
        }
    }
    // IFA_ADDRESS is the other end where there is one, and else the address once more (IPv4) or only
    // there (IPv6).
    let ip = local.or(other).ok_or("an address message has no address")?;
    let not_usable = AddressHeaderFlags::Tentative
        | AddressHeaderFlags::Optimistic
        | AddressHeaderFlags::Dadfailed;
    Ok(message(
        header.index,
        Address {
            ip,
            prefix_length: header.prefix_len,
            peer: other.filter(|&other| other != ip),
            global: header.scope == AddressScope::Universe,
            tentative: header.flags.intersects(not_usable),
            deprecated: header.flags.contains(AddressHeaderFlags::Deprecated),
            secondary: header.flags.contains(AddressHeaderFlags::Secondary),
            created,
        },
    ))
}

fn neighbour(payload: &[u8], exists: bool) -> Result<Message, DecodeError> {
    let header = NeighbourHeader::parse(payload)?;
    // Others are a bridge's or a VXLAN's forwarding entries, and addresses we answer for (proxy).
    if !is_ip(header.family) || header.flags.contains(NeighbourFlags::Proxy) {
        return Ok(Message::Irrelevant);
    }
    let (mut ip, mut hardware) = (None, Box::default());
    for attribute in attributes(payload, NEIGHBOUR_HEADER) {
        let attribute = attribute?;
        match attribute.kind() {
            libc::NDA_DST => ip = Some(parse_ip(attribute.value())?),
            libc::NDA_LLADDR => hardware = Box::from(attribute.value()),
            _ => {}
        }
    }
    let ip = ip.ok_or("a neighbour message has no address")?;
    // The kernel keeps entries for multicast and its own loopback traffic, too: never a next hop.
    if ip.is_multicast() || ip.is_loopback() || ip.is_unspecified() {
        return Ok(Message::Irrelevant);
    }
    let valid = exists && u16::from(header.state) & VALID != 0;
    Ok(Message::Neighbour(header.ifindex, ip, valid.then_some(hardware)))
}

fn route(payload: &[u8], exists: bool) -> Result<Message, DecodeError> {
    let header = RouteHeader::parse(payload)?;
    // Every address of the node brings some of these into the local table; and clones are the
    // kernel's own cache. No packet of ours is sent on by them.
    let own = matches!(
        header.kind,
        RouteType::Local | RouteType::Broadcast | RouteType::Anycast | RouteType::Multicast
    );
    let noise = own && header.table == libc::RT_TABLE_LOCAL;
    let cached = header.flags.contains(RouteFlags::Cloned);
    if noise || cached {
        return Ok(Message::Irrelevant);
    }
    let is_default = header.kind == RouteType::Unicast
        && header.destination_prefix_length == 0
        && is_ip(header.address_family);
    match (is_default, exists) {
        (false, _) => Ok(Message::RouteChanged),
        (true, false) => Ok(Message::DefaultGone),
        (true, true) => default_route(payload, header.address_family == AddressFamily::Inet6),
    }
}

fn default_route(payload: &[u8], is_ipv6: bool) -> Result<Message, DecodeError> {
    let mut routes = Vec::new();
    for attribute in attributes(payload, ROUTE_HEADER) {
        let attribute = attribute?;
        match attribute.kind() {
            libc::RTA_OIF => {
                routes.push(DefaultRoute { ifindex: parse_u32(attribute.value())?, is_ipv6 });
            }
            libc::RTA_MULTIPATH => {
                let hops = next_hops(attribute.value());
                routes.extend(hops.map(|ifindex| DefaultRoute { ifindex, is_ipv6 }));
            }
            _ => {}
        }
    }
    Ok(Message::Default(routes))
}

/// The interfaces of a route with several next hops. Ends with the first that makes no sense.
fn next_hops(mut hops: &[u8]) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let header: &[u8; NEXT_HOP_HEADER] = hops.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let (_, index) = header.split_last_chunk::<4>()?;
        hops = hops.get(length.max(NEXT_HOP_HEADER).next_multiple_of(4)..).unwrap_or_default();
        Some(u32::from_ne_bytes(*index))
    })
}

fn is_ip(family: AddressFamily) -> bool {
    matches!(family, AddressFamily::Inet | AddressFamily::Inet6)
}

/// The attributes after a header that was parsed, hence is there.
fn attributes(
    payload: &[u8],
    header: usize,
) -> impl Iterator<Item = Result<NlaBuffer<&[u8]>, DecodeError>> {
    NlasIterator::new(&payload[header..])
}

/// A string of the kernel's, which ends with a zero.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned()
}

#[cfg(test)]
mod tests;
