//! Test packets made byte by byte, a reader for them, and random ones.
//!
//! ```
//! use lb_tests::lab::cast::{NODE1, OUTSIDE};
//! use lb_tests::packet::{Packet, checksums_ok, describe, flags};
//!
//! let packet = Packet::ipv4().from(OUTSIDE, 40_000).to(NODE1, 30_080).tcp(flags::SYN).build();
//! assert!(checksums_ok(&packet));
//! assert!(describe(&packet).contains("192.0.2.10:40000 > 192.0.2.1:30080 TCP [S]"));
//! ```
//!
//! **Independent of the code under test**: nothing here uses lb-common or a crate of header types. A
//! header is what the RFC says, pushed byte after byte, and a checksum is summed over the whole packet,
//! never updated. Slow, and hard to get wrong. Sending packets does not belong here.

mod arbitrary;
mod build;
mod checksum;
mod describe;
mod encode;
pub mod failure;
mod parse;
#[cfg(test)]
mod tests;

pub use arbitrary::{Endpoints, arbitrary};
pub use build::Packet;
pub use checksum::{internet_checksum, sctp_checksum, transport_checksum};
pub use describe::{checksums_ok, describe};
pub use failure::{keep_frames, keep_frames_of};

/// The bits of a TCP header's flags (RFC 9293, section 3.1).
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer counts.
    pub const URG: u8 = 0x20;
    /// Congestion experienced, told back.
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced.
    pub const CWR: u8 = 0x80;
    /// The second packet of a handshake.
    pub const SYN_ACK: u8 = SYN | ACK;
}

/// The types of SCTP's chunks that matter to who looks on (RFC 9260, section 3.2).
pub mod chunk {
    /// User data.
    pub const DATA: u8 = 0;
    /// Begins an association.
    pub const INIT: u8 = 1;
    /// Accepts it.
    pub const INIT_ACK: u8 = 2;
    /// Ends it at once.
    pub const ABORT: u8 = 6;
    /// Begins its end.
    pub const SHUTDOWN: u8 = 7;
    /// Acknowledges that.
    pub const SHUTDOWN_ACK: u8 = 8;
    /// What the client says after `INIT_ACK`.
    pub const COOKIE_ECHO: u8 = 10;
    /// The last one.
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// Numbers that say what comes next (IANA: ethertypes, protocol numbers).
mod number {
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const IPV6: u16 = 0x86dd;
    pub(super) const VLAN: u16 = 0x8100;
    pub(super) const SERVICE_VLAN: u16 = 0x88a8;

    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ICMP: u8 = 1;
    pub(super) const TCP: u8 = 6;
    pub(super) const UDP: u8 = 17;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const ICMPV6: u8 = 58;
    pub(super) const SCTP: u8 = 132;
    pub(super) const DESTINATION_OPTIONS: u8 = 60;
}
