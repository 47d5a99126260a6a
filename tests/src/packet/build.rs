//! Says what a packet is to be, field by field. Turning it into bytes is `encode.rs`.

use std::net::IpAddr;

use super::{
    checksum::{internet_checksum, transport_checksum},
    number,
};
use crate::lab::cast::{Family, Host, Mac, NODE1, OUTSIDE};

/// A packet to be built: from `outside` port 40000 to `node1` port 80, a TCP SYN with no payload and a
/// TTL of 64, and whatever the methods change about it. What only one family has (IPv4: `id`,
/// `dont_fragment`, `ipv4_options`; IPv6: `flow_label`, `extension`) is ignored by the other, so that
/// tests can loop over [`Family::BOTH`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a packet is bytes only after `build`"]
pub struct Packet {
    pub(super) macs: (Mac, Mac),
    pub(super) vlans: Vec<(u16, u16)>,
    pub(super) addresses: (IpAddr, IpAddr),
    pub(super) ports: (u16, u16),
    pub(super) traffic_class: u8,
    pub(super) ttl: u8,
    pub(super) id: u16,
    pub(super) dont_fragment: bool,
    pub(super) ipv4_options: Vec<u8>,
    pub(super) flow_label: u32,
    pub(super) extensions: Vec<(u8, Vec<u8>)>,
    pub(super) fragment: Option<Fragment>,
    pub(super) transport: Transport,
    pub(super) payload: Vec<u8>,
    pub(super) trailer: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fragment {
    /// In units of eight bytes.
    pub(super) offset: u16,
    pub(super) more: bool,
    pub(super) id: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp { flags: u8, sequence: u32, acknowledgement: u32, window: u16, options: Vec<u8> },
    Udp { checksum: bool },
    Sctp { chunk: u8, tag: u32, initiate: u32, checksum: bool },
    Other { protocol: u8 },
}

impl Packet {
    /// An IPv4 packet.
    pub fn ipv4() -> Self {
        Self::new(Family::V4)
    }

    /// An IPv6 packet.
    pub fn ipv6() -> Self {
        Self::new(Family::V6)
    }

    /// A packet of the given family.
    pub fn new(family: Family) -> Self {
        Self {
            macs: (OUTSIDE.mac, NODE1.mac),
            vlans: Vec::new(),
            addresses: (OUTSIDE.ip(family), NODE1.ip(family)),
            ports: (40_000, 80),
            traffic_class: 0,
            ttl: 64,
            id: 0,
            dont_fragment: true,
            ipv4_options: Vec::new(),
            flow_label: 0,
            extensions: Vec::new(),
            fragment: None,
            transport: Transport::tcp(super::flags::SYN),
            payload: Vec::new(),
            trailer: 0,
        }
    }

    pub(super) fn family(&self) -> Family {
        Family::of(self.addresses.0)
    }

    /// Comes from a member of the cast: its addresses, and this port.
    pub fn from(mut self, host: Host, port: u16) -> Self {
        self.macs.0 = host.mac;
        self.addresses.0 = host.ip(self.family());
        self.ports.0 = port;
        self
    }

    /// Goes to a member of the cast: its addresses, and this port.
    pub fn to(mut self, host: Host, port: u16) -> Self {
        self.macs.1 = host.mac;
        self.addresses.1 = host.ip(self.family());
        self.ports.1 = port;
        self
    }

    /// The IP addresses, source and destination. Both must be of the same family; it becomes the
    /// packet's. [`Self::build`] panics otherwise.
    pub fn addresses(mut self, source: IpAddr, destination: IpAddr) -> Self {
        self.addresses = (source, destination);
        self
    }

    /// The ports, source and destination.
    pub fn ports(mut self, source: u16, destination: u16) -> Self {
        self.ports = (source, destination);
        self
    }

    /// The link-layer addresses, source and destination.
    pub fn macs(mut self, source: Mac, destination: Mac) -> Self {
        self.macs = (source, destination);
        self
    }

    /// Adds an 802.1Q tag, inside of those added before. `tag` is priority and VLAN together.
    pub fn vlan(mut self, tag: u16) -> Self {
        self.vlans.push((number::VLAN, tag));
        self
    }

    /// Adds an 802.1ad service tag, inside of those added before.
    pub fn service_vlan(mut self, tag: u16) -> Self {
        self.vlans.push((number::SERVICE_VLAN, tag));
        self
    }

    /// The time to live; in IPv6, the hop limit.
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// The type of service; in IPv6, the traffic class.
    pub fn traffic_class(mut self, class: u8) -> Self {
        self.traffic_class = class;
        self
    }

    /// The identification of an IPv4 packet.
    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// The DF bit of an IPv4 packet. On by default, always off in fragments.
    pub fn dont_fragment(mut self, on: bool) -> Self {
        self.dont_fragment = on;
        self
    }

    /// The options of an IPv4 header: a multiple of four bytes, at most 40.
    pub fn ipv4_options(mut self, options: &[u8]) -> Self {
        assert!(options.len() <= 40 && options.len().is_multiple_of(4), "0, 4, … 40 bytes");
        self.ipv4_options = options.to_vec();
        self
    }

    /// The flow label of an IPv6 packet, 20 bits.
    pub fn flow_label(mut self, label: u32) -> Self {
        assert!(label < 1 << 20, "a flow label has 20 bits");
        self.flow_label = label;
        self
    }

    /// Adds an IPv6 extension header of the given number (0, 43, 60) with a body of 6 + 8n bytes: what
    /// follows its next-header and length fields.
    pub fn extension(mut self, number: u8, body: &[u8]) -> Self {
        assert!(body.len() >= 6 && (body.len() - 6).is_multiple_of(8), "6, 14, 22, … bytes");
        self.extensions.push((number, body.to_vec()));
        self
    }

    /// Makes it a fragment: `offset` in units of eight bytes, and whether more follow. A fragment with
    /// an offset consists of payload only. A first fragment's transport checksum is that of the part
    /// that is in it, which is not what a real one has; nobody can check it without the rest.
    pub fn fragment(mut self, offset: u16, more: bool, id: u32) -> Self {
        assert!(offset < 1 << 13, "a fragment offset has 13 bits");
        self.fragment = Some(Fragment { offset, more, id });
        self
    }

    /// Carries TCP with these [`super::flags`].
    pub fn tcp(mut self, flags: u8) -> Self {
        self.transport = Transport::tcp(flags);
        self
    }

    /// The TCP sequence and acknowledgement numbers. Panics if it isn't TCP.
    pub fn sequence(mut self, new_sequence: u32, new_acknowledgement: u32) -> Self {
        let Transport::Tcp { sequence, acknowledgement, .. } = &mut self.transport else {
            panic!("only TCP has sequence numbers; call `tcp` first")
        };
        (*sequence, *acknowledgement) = (new_sequence, new_acknowledgement);
        self
    }

    /// The TCP window. Panics if it isn't TCP.
    pub fn window(mut self, new_window: u16) -> Self {
        let Transport::Tcp { window, .. } = &mut self.transport else {
            panic!("only TCP has a window; call `tcp` first")
        };
        *window = new_window;
        self
    }

    /// The options of a TCP header: a multiple of four bytes, at most 40. Panics if it isn't TCP.
    pub fn tcp_options(mut self, new_options: &[u8]) -> Self {
        assert!(new_options.len() <= 40 && new_options.len().is_multiple_of(4), "0, 4, … 40 bytes");
        let Transport::Tcp { options, .. } = &mut self.transport else {
            panic!("only TCP has TCP options; call `tcp` first")
        };
        *options = new_options.to_vec();
        self
    }

    /// Carries UDP.
    pub fn udp(mut self) -> Self {
        self.transport = Transport::Udp { checksum: true };
        self
    }

    /// Carries UDP that says it has no checksum (0): allowed in IPv4, wrong in IPv6.
    pub fn udp_without_checksum(mut self) -> Self {
        self.transport = Transport::Udp { checksum: false };
        self
    }

    /// Carries SCTP with one chunk of this type (see [`super::chunk`]); the payload is in it.
    pub fn sctp(mut self, chunk: u8) -> Self {
        self.transport = Transport::Sctp { chunk, tag: 0, initiate: 1_001, checksum: true };
        self
    }

    /// The tags of an SCTP packet: the one that its receiver wants, and, if the chunk begins or accepts an association,
    /// the one that its sender wants. Panics if it isn't SCTP.
    pub fn tags(mut self, new_tag: u32, new_initiate: u32) -> Self {
        let Transport::Sctp { tag, initiate, .. } = &mut self.transport else {
            panic!("only SCTP has tags; call `sctp` first")
        };
        (*tag, *initiate) = (new_tag, new_initiate);
        self
    }

    /// Leaves the checksum of SCTP to a device. Panics if it isn't SCTP.
    pub fn sctp_without_checksum(mut self) -> Self {
        let Transport::Sctp { checksum, .. } = &mut self.transport else {
            panic!("only SCTP has this checksum; call `sctp` first")
        };
        *checksum = false;
        self
    }

    /// Carries the payload right behind the IP header, as the given protocol, without ports.
    pub fn other(mut self, protocol: u8) -> Self {
        self.transport = Transport::Other { protocol };
        self
    }

    /// Carries an ICMP message (of the packet's family): type and code, the four bytes after the checksum,
    /// and the rest. The checksum is that for the addresses that the packet has by now.
    pub fn icmp(self, kind: [u8; 2], rest: [u8; 4], content: &[u8]) -> Self {
        let mut message = [&kind[..], &[0, 0], &rest, content].concat();
        let (source, destination) = self.addresses;
        let (protocol, sum) = match self.family() {
            Family::V4 => (number::ICMP, internet_checksum(&[&message])),
            Family::V6 => {
                let protocol = number::ICMPV6;
                (protocol, transport_checksum(source, destination, protocol, &message))
            }
        };
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        self.other(protocol).payload(&message)
    }

    /// What it carries.
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// Adds zeros behind the end of the IP packet, as Ethernet does with short frames.
    pub fn trailer(mut self, bytes: usize) -> Self {
        self.trailer = bytes;
        self
    }
}

impl Transport {
    fn tcp(flags: u8) -> Self {
        let window = 64_240;
        Self::Tcp { flags, sequence: 1_000, acknowledgement: 0, window, options: Vec::new() }
    }

    pub(super) fn protocol(&self) -> u8 {
        match self {
            Self::Tcp { .. } => number::TCP,
            Self::Udp { .. } => number::UDP,
            Self::Sctp { .. } => number::SCTP,
            Self::Other { protocol } => *protocol,
        }
    }
}
