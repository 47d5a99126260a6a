//! Reads packets for people: what there is, and whether it is whole and its checksums are right.
//!
//! It walks as far as the bytes go and says where they end. It is for looking at test packets, so it
//! favours saying much over being fast.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum::{internet_checksum, sctp_checksum, transport_checksum};
use super::number::{
    self, DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ICMP, ICMPV6, ROUTING, SCTP, TCP, UDP,
};
use crate::lab::cast::Mac;

/// Whether a checksum is what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    Right,
    Wrong,
    /// UDP over IPv4 may go without, and SCTP as long as a device is to fill it in.
    Absent,
    /// It covers bytes that are not there: those of other fragments, or cut off.
    Unknown,
}

/// A frame as far as it could be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) macs: (Mac, Mac),
    pub(super) vlans: Vec<u16>,
    pub(super) content: Content,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    Ip(Ip),
    Other {
        ethertype: u16,
    },
    /// The frame ends within the named header, or the header contradicts itself.
    Broken(&'static str),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ip {
    pub(super) addresses: (IpAddr, IpAddr),
    pub(super) ttl: u8,
    /// Of the IPv4 header.
    pub(super) checksum: Option<Checksum>,
    /// Bytes of IPv4 options, or of IPv6 extension headers.
    pub(super) options: usize,
    /// Offset in bytes, and whether more follow.
    pub(super) fragment: Option<(usize, bool)>,
    pub(super) dont_fragment: bool,
    /// Whether the frame ends before the packet does.
    pub(super) cut: bool,
    pub(super) protocol: u8,
    pub(super) transport: Transport,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp {
        ports: (u16, u16),
        flags: u8,
        sequence: (u32, u32),
        payload: usize,
        checksum: Checksum,
    },
    Udp {
        ports: (u16, u16),
        payload: usize,
        checksum: Checksum,
    },
    Sctp {
        ports: (u16, u16),
        tag: u32,
        chunk: u8,
        checksum: Checksum,
    },
    Icmp {
        kind: u8,
        code: u8,
        checksum: Checksum,
    },
    /// A later fragment, or a protocol that isn't read here.
    Opaque {
        payload: usize,
    },
    Broken(&'static str),
}

/// Reads a frame. Nothing if it is shorter than two link-layer addresses and a type.
pub(super) fn frame(bytes: &[u8]) -> Option<Frame> {
    let macs = (Mac(array(bytes, 6)?), Mac(array(bytes, 0)?));
    let mut ethertype = word(bytes, 12)?;
    let mut rest = &bytes[14..];
    let mut vlans = Vec::new();
    while matches!(ethertype, number::VLAN | number::SERVICE_VLAN) {
        let (Some(tag), Some(next)) = (word(rest, 0), word(rest, 2)) else {
            return Some(Frame { macs, vlans, content: Content::Broken("VLAN tag") });
        };
        vlans.push(tag);
        ethertype = next;
        rest = &rest[4..];
    }
    let content = match ethertype {
        number::IPV4 => ipv4(rest).map_or(Content::Broken("IPv4 header"), Content::Ip),
        number::IPV6 => ipv6(rest).map_or(Content::Broken("IPv6 header"), Content::Ip),
        ethertype => Content::Other { ethertype },
    };
    Some(Frame { macs, vlans, content })
}

fn ipv4(bytes: &[u8]) -> Option<Ip> {
    let header_length = usize::from(bytes.first()? & 0x0f) * 4;
    let total = usize::from(word(bytes, 2)?);
    if bytes[0] >> 4 != 4 || header_length < 20 || total < header_length {
        return None;
    }
    let header = bytes.get(..header_length)?;
    let flags_and_offset = word(header, 6)?;
    let (offset, more) =
        (usize::from(flags_and_offset & 0x1fff) * 8, flags_and_offset >> 13 & 1 == 1);
    let source = Ipv4Addr::from(array::<4>(header, 12)?);
    let destination = Ipv4Addr::from(array::<4>(header, 16)?);
    let mut ip = Ip {
        addresses: (source.into(), destination.into()),
        ttl: header[8],
        checksum: Some(verdict(internet_checksum(&[header]) == 0)),
        options: header_length - 20,
        fragment: (offset > 0 || more).then_some((offset, more)),
        dont_fragment: flags_and_offset >> 14 & 1 == 1,
        cut: bytes.len() < total,
        protocol: header[9],
        transport: Transport::Opaque { payload: 0 },
    };
    ip.read_transport(&bytes[header_length..total.min(bytes.len())]);
    Some(ip)
}

fn ipv6(bytes: &[u8]) -> Option<Ip> {
    let header = bytes.get(..40)?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let end = 40 + usize::from(word(header, 4)?);
    let source = Ipv6Addr::from(array::<16>(header, 8)?);
    let destination = Ipv6Addr::from(array::<16>(header, 24)?);
    let mut ip = Ip {
        addresses: (source.into(), destination.into()),
        ttl: header[7],
        checksum: None,
        options: 0,
        fragment: None,
        dont_fragment: false,
        cut: bytes.len() < end,
        protocol: header[6],
        transport: Transport::Opaque { payload: 0 },
    };
    let mut rest = &bytes[40..end.min(bytes.len())];
    while let HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS = ip.protocol {
        // Behind a later fragment's header there is no header any more.
        if ip.is_later_fragment() {
            break;
        }
        let Some(length) = ip.read_extension(rest) else {
            ip.transport = Transport::Broken("IPv6 extension header");
            return Some(ip);
        };
        ip.options += length;
        rest = &rest[length..];
    }
    ip.read_transport(rest);
    Some(ip)
}

impl Ip {
    fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|(offset, _)| offset > 0)
    }

    /// Notes what the extension header at the start of `bytes` says, and returns its length.
    fn read_extension(&mut self, bytes: &[u8]) -> Option<usize> {
        let length = match self.protocol {
            FRAGMENT => 8,
            _ => 8 + usize::from(*bytes.get(1)?) * 8,
        };
        let header = bytes.get(..length)?;
        if self.protocol == FRAGMENT {
            let field = word(header, 2)?;
            let (offset, more) = (usize::from(field & 0xfff8), field & 1 == 1);
            // RFC 6946: a fragment that is the whole packet is no fragment.
            self.fragment = (offset > 0 || more).then_some((offset, more));
        }
        self.protocol = header[0];
        Some(length)
    }

    fn read_transport(&mut self, segment: &[u8]) {
        self.transport = if self.is_later_fragment() {
            Transport::Opaque { payload: segment.len() }
        } else {
            match self.protocol {
                TCP => self.tcp(segment).unwrap_or(Transport::Broken("TCP header")),
                UDP => self.udp(segment).unwrap_or(Transport::Broken("UDP header")),
                SCTP => self.sctp(segment).unwrap_or(Transport::Broken("SCTP header")),
                ICMP | ICMPV6 => self.icmp(segment).unwrap_or(Transport::Broken("ICMP header")),
                _ => Transport::Opaque { payload: segment.len() },
            }
        };
    }

    fn tcp(&self, segment: &[u8]) -> Option<Transport> {
        let header_length = usize::from(*segment.get(12)? >> 4) * 4;
        if header_length < 20 {
            return None;
        }
        Some(Transport::Tcp {
            ports: (word(segment, 0)?, word(segment, 2)?),
            flags: *segment.get(13)?,
            sequence: (
                u32::from_be_bytes(array(segment, 4)?),
                u32::from_be_bytes(array(segment, 8)?),
            ),
            payload: segment.len().checked_sub(header_length)?,
            checksum: self.checksum_of(segment),
        })
    }

    fn udp(&self, segment: &[u8]) -> Option<Transport> {
        let length = usize::from(word(segment, 4)?);
        let field = word(segment, 6)?;
        let whole = self.cut || self.fragment.is_some() || length <= segment.len();
        if length < 8 || !whole {
            return None;
        }
        let checksum = match (field, self.addresses.0) {
            (0, IpAddr::V4(_)) => Checksum::Absent,
            // RFC 8200, section 8.1.
            (0, IpAddr::V6(_)) => Checksum::Wrong,
            _ => self.checksum_of(&segment[..length.min(segment.len())]),
        };
        Some(Transport::Udp {
            ports: (word(segment, 0)?, word(segment, 2)?),
            payload: length - 8,
            checksum,
        })
    }

    fn sctp(&self, packet: &[u8]) -> Option<Transport> {
        let field = array::<4>(packet, 8)?;
        let mut cleared = packet.to_vec();
        cleared[8..12].fill(0);
        let checksum = match field {
            // For the device to fill in.
            [0, 0, 0, 0] => Checksum::Absent,
            _ if !self.is_whole() => Checksum::Unknown,
            _ => verdict(sctp_checksum(&cleared) == field),
        };
        Some(Transport::Sctp {
            ports: (word(packet, 0)?, word(packet, 2)?),
            tag: u32::from_be_bytes(array(packet, 4)?),
            chunk: *packet.get(12)?,
            checksum,
        })
    }

    fn icmp(&self, segment: &[u8]) -> Option<Transport> {
        let checksum = match (self.protocol, self.addresses.0) {
            (ICMP, _) if self.is_whole() => verdict(internet_checksum(&[segment]) == 0),
            _ => self.checksum_of(segment),
        };
        word(segment, 2)?;
        Some(Transport::Icmp { kind: segment[0], code: segment[1], checksum })
    }

    fn is_whole(&self) -> bool {
        !self.cut && self.fragment.is_none()
    }

    fn checksum_of(&self, segment: &[u8]) -> Checksum {
        if !self.is_whole() {
            return Checksum::Unknown;
        }
        let (source, destination) = self.addresses;
        verdict(transport_checksum(source, destination, self.protocol, segment) == 0)
    }
}

fn verdict(right: bool) -> Checksum {
    if right { Checksum::Right } else { Checksum::Wrong }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(array(bytes, at)?))
}
