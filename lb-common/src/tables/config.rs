//! Values that the control program sets, and changes while the programs run.

use bytemuck::{Pod, Zeroable};

use super::frontend::pod_per_family;
use crate::{
    addr::{Address, Ipv4, Ipv6, Port},
    hash,
};

/// The ports that SNAT may use: `first`, and `count` − 1 after it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct SnatPorts {
    /// The lowest port, a number (not in network order).
    pub first: u16,
    /// How many.
    pub count: u16,
}

impl SnatPorts {
    /// The port for a number from the hash; 0 ports give the first, which the caller rules out.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a remainder of a 16-bit number")]
    pub fn pick(self, number: u32) -> Port {
        let count = u32::from(self.count);
        let offset = if count == 0 { 0 } else { number % count };
        Port::from_host(self.first.wrapping_add(offset as u16))
    }

    /// Whether a port is one of them.
    #[inline(always)]
    pub fn contains(self, port: Port) -> bool {
        port.to_host().wrapping_sub(self.first) < self.count
    }

    /// The smallest range that contains both; one without ports contains nothing.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        match (self.count, other.count) {
            (0, _) => other,
            (_, 0) => self,
            _ => {
                let first = self.first.min(other.first);
                let last = (self.first + (self.count - 1)).max(other.first + (other.count - 1));
                Self { first, count: (last - first).saturating_add(1) }
            }
        }
    }

    /// The range of one port.
    pub fn of(port: Port) -> Self {
        Self { first: port.to_host(), count: 1 }
    }
}

/// The one entry of the configuration array. Each field is read by itself.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Config {
    /// Moves when a link-layer address, a route or a device changed: cached egresses with another
    /// epoch are looked up again. Starts at 1, so that 0 is never current.
    pub epoch: u32,
    /// The ports for SNAT.
    pub snat_ports: SnatPorts,
    /// 1 while flows without a handshake (UDP) may move to the table that evicts nothing.
    pub graduate_udp: u32,
    /// Jiffies after which a packet renews its flow's age.
    pub touch_interval: u32,
    /// What answers to senders may cost in a second, on each CPU, in the prices of
    /// [`Bucket`](crate::pipeline::Bucket).
    pub answers: u32,
    /// Jiffies in a second.
    pub hz: u32,
    /// The secret of the boot, under which tuples are hashed. Never changes while flows live.
    pub hash_key: hash::Key,
    /// The range of IPv4 cluster IPs.
    pub service_range_v4: AddressRange<Ipv4>,
    /// The range of IPv6 cluster IPs.
    pub service_range_v6: AddressRange<Ipv6>,
    /// The ports that replies to SNAT may have: those for SNAT, and all that flows still have from when
    /// those were others. What else lies between costs a lookup.
    pub reply_ports: SnatPorts,
    /// Reserved, 0.
    pub reserved: u32,
    /// Of how many packets that there is something to tell of one is told; 0: of none. A word of its
    /// own, because `lb events` writes it.
    pub sample_events: u32,
    /// Reserved, 0.
    pub reserved_tail: u32,
}

/// A range of addresses; none, if the mask is zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressRange<A> {
    /// Its first address.
    pub base: A,
    /// The bits that its addresses have in common.
    pub mask: A,
}

impl<A: Address + Default> AddressRange<A> {
    /// Whether an address is one of it.
    #[inline(always)]
    pub fn contains(self, address: A) -> bool {
        self.mask != A::default() && address.masked(self.mask) == self.base
    }
}

pod_per_family!(AddressRange, 8, 32);

const _: () = assert!(size_of::<Config>() == 96);

/// A set of ports as bits: bit `p % 64` of word `p / 64` for port number `p`.
pub struct PortSet;

impl PortSet {
    /// How many 64-bit words a set has.
    pub const WORDS: u32 = 65_536 / 64;

    /// The word and the bit of a port.
    #[inline(always)]
    pub fn position(port: Port) -> (u32, u64) {
        let number = u32::from(port.to_host());
        (number >> 6, 1 << (number & 63))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_contains_what_shares_its_first_bits_and_none_contains_nothing() {
        let v4 = |text: &str| Ipv4::from(text.parse::<core::net::Ipv4Addr>().unwrap());
        let range = AddressRange { base: v4("10.96.0.0"), mask: v4("255.240.0.0") };
        for (address, inside) in [
            ("10.96.0.0", true),
            ("10.111.255.255", true),
            ("10.112.0.0", false),
            ("0.0.0.0", false),
        ] {
            assert_eq!(range.contains(v4(address)), inside, "{address}");
            assert!(!AddressRange::default().contains(v4(address)), "{address}");
        }
        let v6 = |text: &str| Ipv6::from(text.parse::<core::net::Ipv6Addr>().unwrap());
        let range = AddressRange {
            base: v6("fd00:96::"),
            mask: v6("ffff:ffff:ffff:ffff:ffff:ffff:ffff:0"),
        };
        assert!(range.contains(v6("fd00:96::ffff")));
        assert!(!range.contains(v6("fd00:96::1:0")));
        assert!(!range.contains(v6("fd01:96::1")));
        assert!(!AddressRange::default().contains(v6("::")));
    }

    #[test]
    fn a_hull_contains_both_ranges_and_of_nothing_is_the_other() {
        let range = |first, count| SnatPorts { first, count };
        assert_eq!(range(1024, 10).hull(range(2000, 1)), range(1024, 977));
        assert_eq!(range(2000, 1).hull(range(1024, 10)), range(1024, 977));
        assert_eq!(range(1024, 100).hull(range(1030, 5)), range(1024, 100));
        assert_eq!(range(0, 0).hull(range(1030, 5)), range(1030, 5));
        assert_eq!(range(1030, 5).hull(range(0, 0)), range(1030, 5));
        assert_eq!(SnatPorts::of(Port::from_host(65_535)).hull(range(1, 1)), range(1, 65_535));
    }

    #[test]
    fn every_picked_port_is_contained_and_no_neighbour_is() {
        let ports = SnatPorts { first: 65_530, count: 6 };
        for number in 0..100 {
            assert!(ports.contains(ports.pick(number)));
        }
        assert!(!ports.contains(Port::from_host(65_529)));
        assert!(!ports.contains(Port::from_host(0)));
        assert!(!SnatPorts::default().contains(Port::from_host(0)));
    }
}
