//! Address families, and which addresses may stand in a Service or a slice.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::invalid::Rule;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The names of the families, as Kubernetes writes them.
    pub(super) const NAMES: [&'static str; 2] = ["IPv4", "IPv6"];

    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The family by its name in Kubernetes.
    pub(super) fn parse(name: &str) -> Result<Self, Rule> {
        match name {
            "IPv4" => Ok(Self::V4),
            "IPv6" => Ok(Self::V6),
            _ => Err(Rule::Unsupported { value: name.to_owned(), supported: &Self::NAMES }),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// A range of addresses, as in `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpRange {
    /// The first address.
    pub address: IpAddr,
    /// How many bits its addresses have in common.
    pub bits: u8,
}

impl IpRange {
    /// The first in order.
    pub const FIRST: Self = Self { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), bits: 0 };

    /// The range around an address; `None` if the address has fewer bits.
    pub fn new(address: IpAddr, bits: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(address) if bits <= 32 => (address & mask_v4(bits)).into(),
            IpAddr::V6(address) if bits <= 128 => (address & mask_v6(bits)).into(),
            _ => return None,
        };
        Some(Self { address, bits })
    }

    /// Whether an address is one of it.
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::new(address, self.bits).is_some_and(|range| range.address == self.address)
            && address.is_ipv4() == self.address.is_ipv4()
    }

    /// First address and mask, of an IPv4 range.
    pub fn masked_v4(&self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        match self.address {
            IpAddr::V4(address) => Some((address, mask_v4(self.bits))),
            IpAddr::V6(_) => None,
        }
    }

    /// First address and mask, of an IPv6 range.
    pub fn masked_v6(&self) -> Option<(Ipv6Addr, Ipv6Addr)> {
        match self.address {
            IpAddr::V6(address) => Some((address, mask_v6(self.bits))),
            IpAddr::V4(_) => None,
        }
    }

    /// The range whose addresses begin with the bits before the slash; bits behind it are cleared.
    pub(super) fn parse(text: &str) -> Result<Self, Rule> {
        const MUST: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        text.parse().map_err(|NoRange| Rule::invalid_text(text, MUST))
    }
}

/// As many bits as `bits`, at most 32.
fn mask_v4(bits: u8) -> Ipv4Addr {
    u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0).into()
}

/// As many bits as `bits`, at most 128.
fn mask_v6(bits: u8) -> Ipv6Addr {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0).into()
}

/// The text is no range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a range of addresses, such as 10.96.0.0/12 or fd00:10:96::/112")]
pub struct NoRange;

impl FromStr for IpRange {
    type Err = NoRange;

    fn from_str(text: &str) -> Result<Self, NoRange> {
        let (address, bits) = text.split_once('/').ok_or(NoRange)?;
        let address: IpAddr = address.parse().map_err(|_| NoRange)?;
        let digits = bits.bytes().all(|digit| digit.is_ascii_digit());
        let bits = bits.parse().ok().filter(|_| digits && !is_mapped(address)).ok_or(NoRange)?;
        Self::new(address, bits).ok_or(NoRange)
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Reads an address of either family.
pub(super) fn parse(text: &str) -> Result<IpAddr, Rule> {
    const MUST: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
    let address = text.parse().map_err(|_| Rule::invalid_text(text, MUST))?;
    if is_mapped(address) {
        return Err(Rule::invalid_text(text, "must not be an IPv4-mapped IPv6 address"));
    }
    Ok(address)
}

/// Reads an address of one family.
pub(super) fn parse_of(family: Family, text: &str) -> Result<IpAddr, Rule> {
    let must = match family {
        Family::V4 => "must be a valid IPv4 address",
        Family::V6 => "must be a valid IPv6 address",
    };
    match text.parse() {
        Ok(address) if Family::of(address) == family && !is_mapped(address) => Ok(address),
        _ => Err(Rule::invalid_text(text, must)),
    }
}

/// Refuses addresses that can't be another machine's: API server, `ValidateNonSpecialIP`.
pub(super) fn not_special(address: IpAddr) -> Result<IpAddr, Rule> {
    match special(address) {
        Some(must) => Err(Rule::invalid_text(&address.to_string(), must)),
        None => Ok(address),
    }
}

/// Refuses addresses that no Service can be reached at. The API server has its service range for
/// this.
pub(super) fn for_a_service(address: IpAddr) -> Result<IpAddr, Rule> {
    let multicast = address.is_multicast() || address == Ipv4Addr::BROADCAST;
    if multicast {
        let must = "may not be a multicast or broadcast address";
        return Err(Rule::invalid_text(&address.to_string(), must));
    }
    not_special(address)
}

fn special(address: IpAddr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("may not be unspecified (0.0.0.0 or ::)")
    } else if address.is_loopback() {
        Some("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    } else if is_link_local(address) {
        Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    } else if is_link_local_multicast(address) {
        Some("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    } else {
        None
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// 224.0.0.0/24, and `ff02::/16` with any flags: what Go calls link-local multicast.
fn is_link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    }
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, refused: Option<&str>) {
        let result = parse(text).and_then(not_special).map(|_| ()).map_err(|rule| rule.to_string());
        match refused {
            None => assert_eq!(result, Ok(()), "{text}"),
            Some(why) => {
                let message = result.expect_err(text);
                assert!(message.contains(why), "{text}: {message}");
            }
        }
    }

    #[test]
    fn addresses_that_no_other_machine_has_are_refused_with_their_range() {
        check("10.1.2.3", None);
        check("2001:db8::1", None);
        check("224.0.1.1", None);
        check("0.0.0.0", Some("unspecified"));
        check("::", Some("unspecified"));
        check("127.9.9.9", Some("loopback range"));
        check("::1", Some("loopback range"));
        check("169.254.3.4", Some("link-local range"));
        check("fe80::1", Some("link-local range"));
        check("224.0.0.251", Some("link-local multicast range"));
        check("ff02::1", Some("link-local multicast range"));
        check("10.1.2", Some("must be a valid IP address"));
        check("10.1.2.03", Some("must be a valid IP address"));
        check("fe80::1%eth0", Some("must be a valid IP address"));
        check("::ffff:10.0.0.1", Some("IPv4-mapped"));
    }

    #[test]
    fn a_range_has_a_length_that_its_family_can_have_and_loses_the_bits_behind_it() {
        for (text, shown) in [
            ("10.9.8.7/24", "10.9.8.0/24"),
            ("10.9.8.7/32", "10.9.8.7/32"),
            ("10.9.8.7/0", "0.0.0.0/0"),
            ("2001:db8:1:2::3/33", "2001:db8::/33"),
            ("::1/128", "::1/128"),
            ("::1/0", "::/0"),
        ] {
            assert_eq!(IpRange::parse(text).unwrap().to_string(), shown);
        }
        for text in ["10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/", "/8", "8"]
        {
            assert!(IpRange::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_of_the_other_family_is_refused() {
        assert!(parse_of(Family::V4, "10.0.0.1").is_ok());
        assert!(parse_of(Family::V6, "fd00::1").is_ok());
        assert!(parse_of(Family::V4, "fd00::1").is_err());
        assert!(parse_of(Family::V6, "10.0.0.1").is_err());
        assert!(parse_of(Family::V6, "::ffff:10.0.0.1").is_err());
    }
}
