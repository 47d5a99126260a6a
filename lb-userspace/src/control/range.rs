//! Which number of a range is chosen where none is written. As Kubernetes has it (KEP-3070, KEP-3668): the
//! lower part is for those who write one, so what is chosen comes from the upper part as long as that has
//! room.
//!
//! Kubernetes begins its search at a random place. Here the place is a hash of the Service's name: nodes that
//! read the same manifests then choose the same, and one that lost its state finds what it had.

use std::net::IpAddr;

use crate::model::{Family, IpRange, NodePortRange};

/// Numbers to choose from, from 0 up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// How many there are.
    size: u64,
    /// How many of the lowest are rather left to those who write one.
    lower: u64,
}

impl Band {
    /// Never less than 16, never more than `most`, in between a `step`th; none of a small range.
    fn new(size: u64, whole: u64, step: u64, most: u64) -> Self {
        let lower = if whole <= 16 { 0 } else { (whole / step).clamp(16, most) };
        Self { size, lower: lower.min(size) }
    }

    /// The first number from `seed` on that isn't taken, in the upper part, else in the lower.
    fn choose(self, seed: u64, mut taken: impl FnMut(u64) -> bool) -> Option<u64> {
        let upper = self.size - self.lower;
        let parts = [(self.lower, upper), (0, self.lower)];
        parts.into_iter().filter(|(_, size)| *size > 0).find_map(|(first, size)| {
            // Half of all numbers are room enough, and never more than can be added.
            let start = seed % size;
            let at = |step: u64| {
                first + if step < size - start { start + step } else { step - (size - start) }
            };
            (0..size).map(at).find(|number| !taken(*number))
        })
    }
}

/// The first address of a range isn't given, nor is the last one of IPv4.
fn addresses(range: &IpRange) -> Band {
    let bits = if range.address.is_ipv4() { 32 } else { 128 } - range.bits;
    let whole = 1_u64.checked_shl(bits.into()).unwrap_or(u64::MAX);
    let reserved = if range.address.is_ipv4() { 2 } else { 1 };
    Band::new(whole.saturating_sub(reserved), whole, 16, 256)
}

/// Whether an address of a range is one that a Service can have.
pub fn can_be_given(range: &IpRange, address: IpAddr) -> bool {
    let last = match (range.address, range.bits) {
        (IpAddr::V4(first), bits) if bits > 0 => {
            Some(IpAddr::V4((u32::from(first) | (u32::MAX >> bits)).into()))
        }
        _ => None,
    };
    range.contains(address) && address != range.address && Some(address) != last
}

/// Chooses an address that isn't taken.
pub fn address(range: &IpRange, seed: u64, taken: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let at = |number: u64| match range.address {
        IpAddr::V4(first) => {
            let offset = u32::try_from(number + 1).unwrap_or(u32::MAX);
            IpAddr::V4(u32::from(first).saturating_add(offset).into())
        }
        IpAddr::V6(first) => IpAddr::V6((u128::from(first) + u128::from(number) + 1).into()),
    };
    addresses(range).choose(seed, |number| taken(at(number))).map(at)
}

/// Chooses an address of a load balancer's pool, which are all its own.
pub fn pool_address(pool: &IpRange, seed: u64, taken: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let bits = if pool.address.is_ipv4() { 32 } else { 128 } - pool.bits;
    let size = 1_u64.checked_shl(bits.into()).unwrap_or(u64::MAX);
    let at = |number: u64| match pool.address {
        IpAddr::V4(first) => {
            let offset = u32::try_from(number).unwrap_or(u32::MAX);
            IpAddr::V4(u32::from(first).saturating_add(offset).into())
        }
        IpAddr::V6(first) => IpAddr::V6((u128::from(first) + u128::from(number)).into()),
    };
    Band { size, lower: 0 }.choose(seed, |number| taken(at(number))).map(at)
}

/// Chooses a node port that isn't taken.
pub fn node_port(range: NodePortRange, seed: u64, taken: impl Fn(u16) -> bool) -> Option<u16> {
    let size = u64::from(range.last) - u64::from(range.first) + 1;
    // No number is larger than the range, so it is a port.
    let at = |number: u64| range.first + u16::try_from(number).unwrap_or(0);
    Band::new(size, size, 32, 128).choose(seed, |number| taken(at(number))).map(at)
}

/// Where the search for something of this name begins: FNV-1a, which must not change from one version to
/// the next.
pub fn seed(kind: &str, name: &impl std::fmt::Display, part: &str) -> u64 {
    let text = format!("{kind}/{name}/{part}");
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The range of a family.
pub fn of_family(ranges: &[IpRange], family: Family) -> Option<&IpRange> {
    ranges.iter().find(|range| Family::of(range.address) == family)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// How many a range gives, its first one with the seed 0, and the first one of its lower part.
    fn check(text: &str, expected: (usize, &str, &str)) {
        let range: IpRange = text.parse().unwrap();
        let mut given = Vec::new();
        let mut taken = BTreeSet::new();
        while let Some(next) = address(&range, 0, |address| taken.contains(&address)) {
            assert!(can_be_given(&range, next), "{next} of {text}");
            taken.insert(next);
            given.push(next.to_string());
        }
        let lowest = given.iter().position(|address| address == expected.2).unwrap();
        let (upper, lower) = given.split_at(lowest);
        assert_eq!((given.len(), given[0].as_str()), (expected.0, expected.1), "{text}");
        let numbers =
            |all: &[String]| all.iter().map(|a| a.parse().unwrap()).collect::<Vec<IpAddr>>();
        assert!(upper.is_empty() || numbers(upper).iter().min() > numbers(lower).iter().max());
    }

    #[test]
    fn all_addresses_are_given_but_the_first_and_ipv4s_last_and_the_upper_band_first() {
        check("10.0.0.0/24", (254, "10.0.0.17", "10.0.0.1"));
        check("10.0.0.0/20", (4094, "10.0.1.1", "10.0.0.1"));
        check("10.0.0.0/28", (14, "10.0.0.1", "10.0.0.1"));
        check("fd00::/120", (255, "fd00::11", "fd00::1"));
    }

    #[test]
    fn a_large_range_gives_addresses_too() {
        for text in ["fd00::/64", "fd00::/32", "10.0.0.0/8"] {
            let range: IpRange = text.parse().unwrap();
            let one = address(&range, u64::MAX, |_| false).unwrap();
            assert!(can_be_given(&range, one), "{one} of {text}");
        }
    }

    #[test]
    fn addresses_that_no_service_can_have_are_none() {
        let range: IpRange = "10.0.0.0/24".parse().unwrap();
        for (address, good) in [
            ("10.0.0.0", false),
            ("10.0.0.1", true),
            ("10.0.0.254", true),
            ("10.0.0.255", false),
            ("10.0.1.1", false),
        ] {
            assert_eq!(can_be_given(&range, address.parse().unwrap()), good, "{address}");
        }
    }

    #[test]
    fn node_ports_are_chosen_from_30086_on_and_then_from_30000() {
        let range = crate::model::NODE_PORTS;
        assert_eq!(node_port(range, 0, |_| false), Some(30086));
        assert_eq!(node_port(range, 0, |port| port > 30085), Some(30000));
        assert_eq!(node_port(range, 0, |port| port != 32767), Some(32767));
        assert_eq!(node_port(range, 0, |_| true), None);
        let small = NodePortRange { first: 40000, last: 40009 };
        assert_eq!(node_port(small, 13, |_| false), Some(40003));
    }

    #[test]
    fn the_seed_of_a_name_never_changes() {
        assert_eq!(seed("ip", &"default/web", "IPv4"), 14_321_066_068_551_763_219);
    }
}
