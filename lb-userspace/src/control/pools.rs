//! Pools of addresses for load balancers: which one a Service's address comes from.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::model::{BalancerWish, Family, IpRange, NoRange};

/// Addresses that Services of type `LoadBalancer` are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// For Services of this `loadBalancerClass`; `None`: those without one.
    pub class: Option<String>,
    /// For those that ask for an internal load balancer.
    pub internal: bool,
    /// The addresses, all of them.
    pub range: IpRange,
}

/// The text is no pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a pool; write RANGE, internal=RANGE, CLASS=RANGE or CLASS,internal=RANGE, as in internal=10.20.0.0/24"
)]
pub struct NoPool(#[from] NoRange);

impl FromStr for Pool {
    type Err = NoPool;

    fn from_str(text: &str) -> Result<Self, NoPool> {
        let (who, range) = text.rsplit_once('=').unwrap_or(("", text));
        let range: IpRange = range.parse()?;
        let mut pool = Self { class: None, internal: false, range };
        for word in who.split(',').filter(|word| !word.is_empty()) {
            match word {
                "internal" => pool.internal = true,
                "public" => {}
                class if pool.class.is_none() => pool.class = Some(class.to_owned()),
                _ => return Err(NoPool(NoRange)),
            }
        }
        Ok(pool)
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.internal { "internal" } else { "public" };
        match &self.class {
            Some(class) => write!(f, "{class},{kind}={}", self.range),
            None => write!(f, "{kind}={}", self.range),
        }
    }
}

/// The pools for a Service in a family; `None`: its class is somebody else's.
pub fn fitting<'a>(
    pools: &'a [Pool],
    wish: &BalancerWish,
    family: Family,
) -> Option<Vec<&'a IpRange>> {
    let mut of_class = pools.iter().filter(|pool| pool.class == wish.class).peekable();
    of_class.peek()?;
    let fits =
        |pool: &&Pool| pool.internal == wish.internal && Family::of(pool.range.address) == family;
    Some(of_class.filter(fits).map(|pool| &pool.range).collect())
}

/// Whether an address is one of these pools'.
pub fn hold(pools: &[&IpRange], address: IpAddr) -> bool {
    pools.iter().any(|range| range.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_for_a_class_and_public_or_internal() {
        let pool = |text: &str| {
            let pool: Pool = text.parse().unwrap();
            (pool.class, pool.internal, pool.range.to_string())
        };
        let range = || "10.20.0.0/24".to_owned();
        assert_eq!(pool("10.20.0.0/24"), (None, false, range()));
        assert_eq!(pool("public=10.20.0.0/24"), (None, false, range()));
        assert_eq!(pool("internal=10.20.0.0/24"), (None, true, range()));
        let class = Some("example.com/a".to_owned());
        assert_eq!(pool("example.com/a=10.20.0.0/24"), (class.clone(), false, range()));
        assert_eq!(pool("example.com/a,internal=10.20.0.0/24"), (class, true, range()));
        for text in ["internal=10.20.0.0/24", "example.com/a,public=10.20.0.0/24"] {
            assert_eq!(text.parse::<Pool>().unwrap().to_string(), text);
        }
        for bad in ["", "10.20.0.0", "internal", "a,b=10.20.0.0/24", "a="] {
            assert!(bad.parse::<Pool>().is_err(), "{bad}");
        }
    }
}
