//! Turns a [`Packet`] into bytes. Lengths and checksums are right; spoiling them is for others.

use std::net::IpAddr;

use super::build::{Fragment, Packet, Transport};
use super::checksum::{internet_checksum, sctp_checksum, transport_checksum};
use super::chunk;
use super::number::{self, FRAGMENT};
use crate::lab::cast::Family;

impl Packet {
    /// The whole frame, from the destination's link-layer address on. Panics if the addresses are of
    /// different families, or it is longer than a length field can say.
    pub fn build(&self) -> Vec<u8> {
        let segment = match self.fragment {
            Some(Fragment { offset: 1.., .. }) => self.payload.clone(),
            _ => self.segment(),
        };
        let (ethertype, packet) = match self.family() {
            Family::V4 => (number::IPV4, self.ipv4_packet(&segment)),
            Family::V6 => (number::IPV6, self.ipv6_packet(&segment)),
        };
        let mut frame = [self.macs.1.0, self.macs.0.0].concat();
        for (tag_type, tag) in &self.vlans {
            frame.extend(tag_type.to_be_bytes());
            frame.extend(tag.to_be_bytes());
        }
        frame.extend(ethertype.to_be_bytes());
        frame.extend(packet);
        frame.resize(frame.len() + self.trailer, 0);
        frame
    }

    fn ipv4_packet(&self, segment: &[u8]) -> Vec<u8> {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = self.addresses else {
            panic!("{:?} are of different families", self.addresses)
        };
        let header_length = 20 + self.ipv4_options.len();
        let (id, flags_and_offset) = match self.fragment {
            Some(Fragment { offset, more, id }) => (low_half(id), u16::from(more) << 13 | offset),
            None => (self.id, u16::from(self.dont_fragment) << 14),
        };
        let mut header = vec![0x40 | byte(header_length / 4), self.traffic_class];
        header.extend(word(header_length + segment.len()).to_be_bytes());
        header.extend(id.to_be_bytes());
        header.extend(flags_and_offset.to_be_bytes());
        header.extend([self.ttl, self.transport.protocol(), 0, 0]);
        header.extend(source.octets());
        header.extend(destination.octets());
        header.extend(&self.ipv4_options);
        let checksum = internet_checksum(&[&header]);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header.extend(segment);
        header
    }

    fn ipv6_packet(&self, segment: &[u8]) -> Vec<u8> {
        let (IpAddr::V6(source), IpAddr::V6(destination)) = self.addresses else {
            panic!("{:?} are of different families", self.addresses)
        };
        let (first, extensions) = self.ipv6_extensions();
        let version_class_label = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label;
        let mut packet = version_class_label.to_be_bytes().to_vec();
        packet.extend(word(extensions.len() + segment.len()).to_be_bytes());
        packet.extend([first, self.ttl]);
        packet.extend(source.octets());
        packet.extend(destination.octets());
        packet.extend(extensions);
        packet.extend(segment);
        packet
    }

    /// The number of the first header behind the IPv6 header, and all extension headers. A fragment
    /// header comes last.
    fn ipv6_extensions(&self) -> (u8, Vec<u8>) {
        let mut headers = self.extensions.clone();
        if let Some(Fragment { offset, more, id }) = self.fragment {
            let mut body = (offset << 3 | u16::from(more)).to_be_bytes().to_vec();
            body.extend(id.to_be_bytes());
            headers.push((FRAGMENT, body));
        }
        let (mut next, mut bytes) = (self.transport.protocol(), Vec::new());
        for (number, body) in headers.into_iter().rev() {
            // In units of eight bytes, the first not counted; reserved and 0 in a fragment header.
            let length = byte((body.len() - 6) / 8);
            bytes = [&[next, length], body.as_slice(), &bytes].concat();
            next = number;
        }
        (next, bytes)
    }

    /// The transport header and the payload, with the checksum.
    fn segment(&self) -> Vec<u8> {
        let mut segment = Vec::new();
        let checksum_at = match &self.transport {
            Transport::Other { .. } => return self.payload.clone(),
            Transport::Udp { checksum } => {
                self.push_ports(&mut segment);
                segment.extend(word(8 + self.payload.len()).to_be_bytes());
                segment.extend([0, 0]);
                segment.extend(&self.payload);
                if !checksum {
                    return segment;
                }
                6
            }
            Transport::Sctp { .. } => return self.sctp_packet(),
            Transport::Tcp { flags, sequence, acknowledgement, window, options } => {
                self.push_ports(&mut segment);
                segment.extend(sequence.to_be_bytes());
                segment.extend(acknowledgement.to_be_bytes());
                segment.extend([byte((20 + options.len()) / 4) << 4, *flags]);
                segment.extend(window.to_be_bytes());
                segment.extend([0; 4]);
                segment.extend(options);
                segment.extend(&self.payload);
                16
            }
        };
        let (source, destination) = self.addresses;
        let protocol = self.transport.protocol();
        let checksum = match transport_checksum(source, destination, protocol, &segment) {
            // RFC 768: 0 would mean that there is none.
            0 if protocol == number::UDP => 0xffff,
            checksum => checksum,
        };
        segment[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
        segment
    }

    /// The common header, one chunk, and the checksum.
    fn sctp_packet(&self) -> Vec<u8> {
        let Transport::Sctp { chunk: kind, tag, initiate, checksum } = self.transport else {
            return Vec::new();
        };
        let mut value = self.payload.clone();
        if matches!(kind, chunk::INIT | chunk::INIT_ACK) {
            // The tag; then window, streams and first number, which matter to nobody here.
            value.splice(0..0, [&initiate.to_be_bytes()[..], &[0; 12]].concat());
        }
        let mut packet = Vec::new();
        self.push_ports(&mut packet);
        packet.extend(tag.to_be_bytes());
        packet.extend([0; 4]);
        packet.extend([kind, 0]);
        packet.extend(word(4 + value.len()).to_be_bytes());
        packet.extend(&value);
        // A chunk is padded to words, which its length doesn't count.
        packet.resize(packet.len().next_multiple_of(4), 0);
        if checksum {
            let checksum = sctp_checksum(&packet);
            packet[8..12].copy_from_slice(&checksum);
        }
        packet
    }

    fn push_ports(&self, segment: &mut Vec<u8>) {
        segment.extend(self.ports.0.to_be_bytes());
        segment.extend(self.ports.1.to_be_bytes());
    }
}

fn byte(value: usize) -> u8 {
    u8::try_from(value).expect("fits the header's field of eight bits")
}

fn word(value: usize) -> u16 {
    u16::try_from(value).expect("a packet is at most 65,535 bytes long")
}

/// An IPv4 packet shows the lower half of a fragment's identification.
fn low_half(id: u32) -> u16 {
    let [_, _, high, low] = id.to_be_bytes();
    u16::from_be_bytes([high, low])
}
