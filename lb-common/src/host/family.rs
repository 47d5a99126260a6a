//! What the tables in ordinary memory ask of an address family.

use super::tables::{FamilyState, HostTables};
use crate::addr::{Address, Ipv4, Ipv6};

/// Where each family's tables are, and how its backends' addresses are told.
pub trait HostFamily: Address + Ord {
    /// The tables of this family.
    fn state(tables: &HostTables) -> &FamilyState<Self>;
    /// A backend's address.
    fn of_backend(address: Ipv6) -> Self;
}

impl HostFamily for Ipv4 {
    fn state(tables: &HostTables) -> &FamilyState<Self> {
        &tables.v4
    }

    fn of_backend(address: Ipv6) -> Self {
        address.unmapped()
    }
}

impl HostFamily for Ipv6 {
    fn state(tables: &HostTables) -> &FamilyState<Self> {
        &tables.v6
    }

    fn of_backend(address: Ipv6) -> Self {
        address
    }
}
