//! From a frame to the tuple that identifies its flow.

use super::family::Family;
use crate::{
    addr::Port,
    packet::Packet,
    verdict::PassReason,
    wire::{L4, Tcp, TcpFlags, Udp},
};

/// What the pipeline needs to know of a packet.
#[derive(Clone, Copy)]
pub struct Parsed<A> {
    source: A,
    destination: A,
    source_port: Port,
    destination_port: Port,
    /// The transport.
    pub l4: L4,
    /// Where its header begins, in bytes from the frame's beginning.
    pub l4_at: usize,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// TCP's control bits; none for UDP.
    pub flags: TcpFlags,
    /// TCP's sequence number.
    pub sequence: u32,
    /// TCP's acknowledgment number.
    pub acknowledgment: u32,
    /// Length of the transport header in bytes.
    pub l4_header_len: u32,
}

impl<A: Copy> Parsed<A> {
    /// Source address and port.
    #[inline(always)]
    pub const fn source(&self) -> (A, Port) {
        (self.source, self.source_port)
    }

    /// Destination address and port.
    #[inline(always)]
    pub const fn destination(&self) -> (A, Port) {
        (self.destination, self.destination_port)
    }
}

/// Reads the headers. A packet that is cut short is nobody's business here: it passes.
#[inline(always)]
pub fn parse<A: Family, P: Packet>(packet: &P) -> Result<Parsed<A>, PassReason> {
    let ip = A::read(packet)?;
    let mut parsed = Parsed {
        source: ip.source,
        destination: ip.destination,
        source_port: Port::default(),
        destination_port: Port::default(),
        l4: ip.l4,
        l4_at: ip.l4_at,
        ttl: ip.ttl,
        flags: TcpFlags(0),
        sequence: 0,
        acknowledgment: 0,
        l4_header_len: Udp::LEN,
    };
    match ip.l4 {
        L4::Tcp => {
            let tcp = packet.header::<Tcp>(ip.l4_at).ok_or(PassReason::NotIp)?;
            parsed.source_port = tcp.source();
            parsed.destination_port = tcp.destination();
            parsed.flags = tcp.flags();
            parsed.sequence = tcp.sequence();
            parsed.acknowledgment = tcp.acknowledgment();
            parsed.l4_header_len = tcp.header_len();
            if (ip.l4_len as usize) < size_of::<Tcp>() {
                return Err(PassReason::NotIp);
            }
        }
        L4::Udp => {
            let udp = packet.header::<Udp>(ip.l4_at).ok_or(PassReason::NotIp)?;
            parsed.source_port = udp.source();
            parsed.destination_port = udp.destination();
            if (ip.l4_len as usize) < size_of::<Udp>() {
                return Err(PassReason::NotIp);
            }
        }
    }
    Ok(parsed)
}
