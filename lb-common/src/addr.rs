//! Addresses and ports in network byte order, as aligned scalars.
//!
//! The order of bytes is settled here and nowhere else: a value holds the bytes as they lie in the
//! packet, whatever the machine's own order, so comparing, hashing and copying need no swap. Only
//! `from_host` / `to_host` and the conversions from `core::net` turn bytes around.

use bytemuck::{Pod, Zeroable};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{checksum::Sum, hash::Hasher};

/// An IPv4 address; the four bytes in memory are the address as written on the wire.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
pub struct Ipv4(u32);

/// An IPv6 address; the sixteen bytes in memory are the address as on the wire.
///
/// Two fields, because an array is copied by a function call on the BPF target.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
pub struct Ipv6 {
    first: u64,
    second: u64,
}

/// A TCP or UDP port; the two bytes in memory are the port as on the wire.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
pub struct Port(u16);

/// What the pipeline asks of an address family.
pub trait Address: Copy + Eq + Pod + core::fmt::Debug {
    /// Ones' complement sum over the address's 16-bit words.
    fn sum(self) -> Sum;
    /// Feeds the address into a keyed hash.
    fn hash(self, hasher: &mut Hasher);
    /// Whether packets of this sender can be forwarded and answered across links. Those of a
    /// link-local IPv6 address can't, nor those of a loopback, multicast or unspecified one.
    fn is_routable_source(self) -> bool;
    /// Whether a process that connects to it means its own network namespace: a loopback address, or none.
    fn is_here(self) -> bool;
    /// The bytes of a number as an address that nobody has to be able to reach.
    fn from_number(number: u64) -> Self;
    /// A number that addresses seldom share; cheap, and not keyed. IPv4 addresses never do, nor those
    /// of an IPv6 /96.
    fn mix(self) -> u32;
    /// The bits that are set in a mask too.
    #[must_use]
    fn masked(self, mask: Self) -> Self;
    /// The address as the standard library has it.
    fn to_ip(self) -> IpAddr;
    /// As IPv6: an IPv4 address in the IPv4-mapped form.
    fn to_mapped(self) -> Ipv6;
}

impl Ipv4 {
    /// From the 32 bits as they lie in memory (network order).
    pub const fn from_wire(bits: u32) -> Self {
        Self(bits)
    }

    /// The 32 bits as they lie in memory (network order).
    pub const fn to_wire(self) -> u32 {
        self.0
    }
}

impl Ipv6 {
    /// From four 32-bit words as they lie in memory (network order, first word first).
    #[inline(always)]
    pub const fn from_quarters(first: u32, second: u32, third: u32, fourth: u32) -> Self {
        Self { first: join(first, second), second: join(third, fourth) }
    }

    /// From two 64-bit words as they lie in memory (network order, first word first).
    pub const fn from_wire(words: [u64; 2]) -> Self {
        Self { first: words[0], second: words[1] }
    }

    /// The two 64-bit words as they lie in memory (network order, first word first).
    pub const fn to_wire(self) -> [u64; 2] {
        [self.first, self.second]
    }

    /// An IPv4 address in the IPv4-mapped form `::ffff:a.b.c.d`, which is how tables of both
    /// families hold one.
    pub const fn mapped(address: Ipv4) -> Self {
        let prefix: u32 = 0xffff_u32.to_be();
        Self { first: 0, second: join(prefix, address.0) }
    }

    /// Whether it is an IPv4 address in the IPv4-mapped form.
    #[inline(always)]
    pub const fn is_mapped(self) -> bool {
        self.first == 0 && self.second == join(0xffff_u32.to_be(), split_second(self.second))
    }

    /// The IPv4 address of an IPv4-mapped one (its last four bytes).
    pub const fn unmapped(self) -> Ipv4 {
        Ipv4(split_second(self.second))
    }
}

/// The word whose first four bytes in memory are `first` and last four are `second`.
const fn join(first: u32, second: u32) -> u64 {
    if cfg!(target_endian = "little") {
        (second as u64) << 32 | first as u64
    } else {
        (first as u64) << 32 | second as u64
    }
}

/// The last four bytes in memory of a word.
#[expect(clippy::cast_possible_truncation, reason = "half a word is what is asked for")]
const fn split_second(word: u64) -> u32 {
    if cfg!(target_endian = "little") { (word >> 32) as u32 } else { word as u32 }
}

impl Port {
    /// From a port number.
    pub const fn from_host(port: u16) -> Self {
        Self(port.to_be())
    }

    /// The port number.
    pub const fn to_host(self) -> u16 {
        u16::from_be(self.0)
    }

    /// From the 16 bits as they lie in memory (network order).
    pub const fn from_wire(bits: u16) -> Self {
        Self(bits)
    }

    /// The 16 bits as they lie in memory (network order).
    pub const fn to_wire(self) -> u16 {
        self.0
    }
}

impl Address for Ipv4 {
    #[inline(always)]
    fn sum(self) -> Sum {
        Sum::of_word(self.0)
    }

    #[inline(always)]
    fn hash(self, hasher: &mut Hasher) {
        hasher.write(u64::from(self.0));
    }

    #[inline(always)]
    fn is_routable_source(self) -> bool {
        let first = u32::from_be(self.0) >> 24;
        first != 0 && first != 127 && first < 224
    }

    #[inline(always)]
    fn is_here(self) -> bool {
        self.0 == 0 || u32::from_be(self.0) >> 24 == 127
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "as many bytes as there are")]
    fn from_number(number: u64) -> Self {
        Self(number as u32)
    }

    #[inline(always)]
    fn mix(self) -> u32 {
        self.0.wrapping_mul(0x9e37_79b1)
    }

    #[inline(always)]
    fn masked(self, mask: Self) -> Self {
        Self(self.0 & mask.0)
    }

    fn to_ip(self) -> IpAddr {
        IpAddr::V4(self.into())
    }

    #[inline(always)]
    fn to_mapped(self) -> Ipv6 {
        Ipv6::mapped(self)
    }
}

impl Address for Ipv6 {
    #[inline(always)]
    fn sum(self) -> Sum {
        Sum::of_long(self.first) + Sum::of_long(self.second)
    }

    #[inline(always)]
    fn hash(self, hasher: &mut Hasher) {
        hasher.write(self.first);
        hasher.write(self.second);
    }

    #[inline(always)]
    fn is_routable_source(self) -> bool {
        let (first, second) = (u64::from_be(self.first), u64::from_be(self.second));
        let is_link_local = first >> 54 == 0xfe80 >> 6;
        let is_multicast = first >> 56 == 0xff;
        let is_loopback_or_unspecified = first == 0 && second <= 1;
        !is_link_local && !is_multicast && !is_loopback_or_unspecified
    }

    #[inline(always)]
    fn is_here(self) -> bool {
        self.first == 0 && u64::from_be(self.second) <= 1
    }

    #[inline(always)]
    fn from_number(number: u64) -> Self {
        Self { first: number, second: 0 }
    }

    #[inline(always)]
    fn mix(self) -> u32 {
        let both = self.first.rotate_left(29) ^ self.second;
        (both.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
    }

    #[inline(always)]
    fn masked(self, mask: Self) -> Self {
        Self { first: self.first & mask.first, second: self.second & mask.second }
    }

    fn to_ip(self) -> IpAddr {
        IpAddr::V6(self.into())
    }

    #[inline(always)]
    fn to_mapped(self) -> Ipv6 {
        self
    }
}

impl From<Ipv4Addr> for Ipv4 {
    fn from(address: Ipv4Addr) -> Self {
        Self(u32::from_ne_bytes(address.octets()))
    }
}

impl From<Ipv4> for Ipv4Addr {
    fn from(address: Ipv4) -> Self {
        Self::from(address.0.to_ne_bytes())
    }
}

impl From<Ipv6Addr> for Ipv6 {
    fn from(address: Ipv6Addr) -> Self {
        bytemuck::cast(address.octets())
    }
}

impl From<Ipv6> for Ipv6Addr {
    fn from(address: Ipv6) -> Self {
        Self::from(bytemuck::cast::<_, [u8; 16]>(address))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{collections::BTreeSet, vec::Vec};

    use super::*;

    #[test]
    fn values_hold_the_bytes_of_the_wire() {
        assert_eq!(bytemuck::bytes_of(&Ipv4::from(Ipv4Addr::new(192, 0, 2, 1))), [192, 0, 2, 1]);
        assert_eq!(bytemuck::bytes_of(&Port::from_host(0x1234)), [0x12, 0x34]);
        let six: Ipv6Addr = "2001:db8::1".parse().unwrap();
        assert_eq!(bytemuck::bytes_of(&Ipv6::from(six)), six.octets());
        assert_eq!(Ipv6Addr::from(Ipv6::from(six)), six);
    }

    #[test]
    fn senders_that_cannot_be_answered_across_links_are_told_apart() {
        for (address, expected) in [
            ("fe80::1", false),
            ("febf::1", false),
            ("fec0::1", true),
            ("ff02::1", false),
            ("::1", false),
            ("::", false),
            ("::2", true),
            ("2001:db8::1", true),
            ("fd00::1", true),
        ] {
            let address: Ipv6Addr = address.parse().unwrap();
            assert_eq!(Ipv6::from(address).is_routable_source(), expected, "{address}");
        }
        for (address, expected) in [
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("10.0.0.1", true),
            ("169.254.1.1", true),
            ("223.255.255.255", true),
        ] {
            let address: Ipv4Addr = address.parse().unwrap();
            assert_eq!(Ipv4::from(address).is_routable_source(), expected, "{address}");
        }
    }

    #[test]
    fn loopback_and_no_address_are_here() {
        for (address, expected) in
            [("127.0.0.1", true), ("127.255.0.9", true), ("0.0.0.0", true), ("128.0.0.1", false)]
        {
            assert_eq!(Ipv4::from(address.parse::<Ipv4Addr>().unwrap()).is_here(), expected);
        }
        for (address, expected) in [("::1", true), ("::", true), ("::2", false), ("1::", false)] {
            assert_eq!(Ipv6::from(address.parse::<Ipv6Addr>().unwrap()).is_here(), expected);
        }
    }

    #[test]
    fn neighbouring_addresses_mix_differently_also_in_the_upper_half() {
        let v4 = |last: u32| Ipv4::from(Ipv4Addr::from(0x0a60_0000 + last)).mix();
        let v6 = |last: u128| Ipv6::from(Ipv6Addr::from((0xfd00_0096 << 96) + last)).mix();
        for mixed in [(0..300).map(v4).collect::<Vec<_>>(), (0..300).map(v6).collect()] {
            let upper: BTreeSet<u32> = mixed.iter().map(|mixed| mixed >> 16).collect();
            let whole: BTreeSet<u32> = mixed.into_iter().collect();
            assert_eq!(whole.len(), 300);
            assert!(upper.len() > 290, "{}", upper.len());
        }
    }

    #[test]
    fn a_mapped_address_is_the_one_of_rfc_4291() {
        let four = Ipv4Addr::new(192, 0, 2, 1);
        let mapped = Ipv6::mapped(four.into());
        let [prefix, four_bits] = [0xffff_u32.to_be(), Ipv4::from(four).to_wire()];
        assert_eq!(Ipv6::from_quarters(0, 0, prefix, four_bits), mapped);
        assert_eq!(
            Ipv6::from_quarters(1, 2, 3, 4).to_wire().map(u64::to_ne_bytes),
            [[1_u32, 2].map(u32::to_ne_bytes).concat(), [3_u32, 4].map(u32::to_ne_bytes).concat(),]
                .map(|bytes| <[u8; 8]>::try_from(bytes).unwrap())
        );
        assert_eq!(Ipv6Addr::from(mapped), four.to_ipv6_mapped());
        assert_eq!(Ipv4Addr::from(mapped.unmapped()), four);
        assert!(mapped.is_mapped());
        for other in ["::", "::192.0.2.1", "1::ffff:192.0.2.1", "::1:ffff:192.0.2.1"] {
            assert!(!Ipv6::from(other.parse::<Ipv6Addr>().unwrap()).is_mapped(), "{other}");
        }
    }
}
