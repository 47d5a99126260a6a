//! What the tables in ordinary memory ask of an address family.

use super::tables::{FamilyState, HostTables};
use crate::{
    addr::{Address, Ipv4, Ipv6},
    tables::{AddressRange, Config},
};

/// Where each family's tables are, and how its backends' addresses are told.
pub trait HostFamily: Address + Ord + Default {
    /// The tables of this family.
    fn state(tables: &HostTables) -> &FamilyState<Self>;
    /// A backend's address.
    fn of_backend(address: Ipv6) -> Self;
    /// The range of cluster IPs.
    fn service_range(config: &Config) -> AddressRange<Self>;
    /// How many first bits two addresses share.
    fn common_bits(self, other: Self) -> u32;
}

impl HostFamily for Ipv4 {
    fn state(tables: &HostTables) -> &FamilyState<Self> {
        &tables.v4
    }

    fn of_backend(address: Ipv6) -> Self {
        address.unmapped()
    }

    fn service_range(config: &Config) -> AddressRange<Self> {
        config.service_range_v4
    }

    fn common_bits(self, other: Self) -> u32 {
        u32::from_be(self.to_wire() ^ other.to_wire()).leading_zeros()
    }
}

impl HostFamily for Ipv6 {
    fn state(tables: &HostTables) -> &FamilyState<Self> {
        &tables.v6
    }

    fn of_backend(address: Ipv6) -> Self {
        address
    }

    fn service_range(config: &Config) -> AddressRange<Self> {
        config.service_range_v6
    }

    fn common_bits(self, other: Self) -> u32 {
        let bits = |address: Self| u128::from(core::net::Ipv6Addr::from(address));
        (bits(self) ^ bits(other)).leading_zeros()
    }
}
