//! On which of the node's addresses node ports are served, as an operator says it (`--nodeport-addresses`).

use std::{collections::BTreeSet, fmt, net::IpAddr, str::FromStr};

use itertools::Itertools as _;

use super::{Family, IpRange};

/// The addresses with node ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// All.
    #[default]
    All,
    /// The node's primary address of each family.
    Primary,
    /// Those of these ranges. A family without any has them on all addresses, as with kube-proxy.
    Within(Vec<IpRange>),
}

/// The text doesn't say which addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{part:?} is no range of addresses; give ranges such as 10.0.0.0/8,fd00::/8, or one of the words all and primary"
)]
pub struct NoAddresses {
    part: String,
}

impl NodePortAddresses {
    /// Whether node ports are served on an address, if these are the primary ones.
    pub fn admit(&self, address: IpAddr, primary: &BTreeSet<IpAddr>) -> bool {
        let family = Family::of(address);
        match self {
            Self::All => true,
            Self::Primary => primary.contains(&address),
            Self::Within(ranges) => {
                let mut own = ranges.iter().filter(|range| Family::of(range.address) == family);
                own.clone().next().is_none() || own.any(|range| range.contains(address))
            }
        }
    }
}

impl fmt::Display for NodePortAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Primary => f.write_str("primary"),
            Self::Within(ranges) => write!(f, "{}", ranges.iter().format(",")),
        }
    }
}

impl FromStr for NodePortAddresses {
    type Err = NoAddresses;

    fn from_str(text: &str) -> Result<Self, NoAddresses> {
        match text.trim() {
            "all" => return Ok(Self::All),
            "primary" => return Ok(Self::Primary),
            _ => {}
        }
        let range = |part: &str| {
            part.trim().parse().map_err(|_| NoAddresses { part: part.trim().to_owned() })
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Self::Within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(text: &str, addresses: &[&str]) -> Vec<String> {
        let which: NodePortAddresses = text.parse().unwrap();
        let primary = BTreeSet::from(["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap()));
        let addresses = addresses.iter().map(|ip| ip.parse().unwrap());
        let admitted = addresses.filter(|ip| which.admit(*ip, &primary));
        admitted.map(|ip: IpAddr| ip.to_string()).collect()
    }

    #[test]
    fn ranges_admit_their_addresses_and_a_family_without_any_all() {
        let all = ["192.0.2.1", "192.0.3.1", "2001:db8::1", "fd00::1"];
        assert_eq!(admitted("192.0.2.0/24", &all), ["192.0.2.1", "2001:db8::1", "fd00::1"]);
        assert_eq!(admitted("192.0.3.0/24, fd00::/8", &all), ["192.0.3.1", "fd00::1"]);
        assert_eq!(admitted("192.0.3.0/24,192.0.2.1/32,::/0", &all), all);
        assert_eq!(admitted("0.0.0.0/0", &all), all);
        for text in ["all", "primary", "192.0.3.0/24,fd00::/8"] {
            let which: NodePortAddresses = text.parse().unwrap();
            assert_eq!(which.to_string(), text);
        }
    }

    #[test]
    fn primary_admits_the_primary_address_of_each_family() {
        let all = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"];
        assert_eq!(admitted("primary", &all), ["192.0.2.1", "2001:db8::1"]);
    }

    #[test]
    fn what_is_neither_is_named() {
        for (text, part) in [
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.0/8,primary", "primary"),
            ("10.0.0.0/8,", ""),
            ("Primary", "Primary"),
        ] {
            let error = text.parse::<NodePortAddresses>().unwrap_err();
            assert_eq!(error, NoAddresses { part: part.to_owned() }, "{text}");
        }
    }
}
