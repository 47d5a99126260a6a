//! Whose addresses are, and the bits that let ordinary traffic pass without asking.

use std::{collections::BTreeMap, net::IpAddr};

use lb_common::{
    addr::{Address as _, Ipv4, Ipv6},
    tables::{self, AddressSet},
};

use super::{Writer, scope::Scope};
use crate::{
    compile::{AddressOwner, Desired},
    dataplane::{DataplaneError, Tables},
};

/// The addresses in the maps, and how many of them have each bit.
#[derive(Debug, Default)]
pub struct Addresses {
    owners: BTreeMap<IpAddr, AddressOwner>,
    bits: BTreeMap<(u32, u64), u32>,
}

impl Addresses {
    /// What an earlier run has left.
    pub fn found(tables: &Tables) -> Result<Self, DataplaneError> {
        let mut addresses = Self::default();
        for (address, owner) in tables.addresses_v4.elements()? {
            addresses.set(tables, address.to_ip(), Some(named(owner)));
        }
        for (address, owner) in tables.addresses_v6.elements()? {
            addresses.set(tables, address.to_ip(), Some(named(owner)));
        }
        Ok(addresses)
    }

    /// All of them.
    pub fn known(&self) -> impl Iterator<Item = &IpAddr> {
        self.owners.keys()
    }

    /// Notes whose an address is now, and keeps its bit.
    fn set(&mut self, tables: &Tables, address: IpAddr, owner: Option<AddressOwner>) {
        let before = match owner {
            Some(owner) => self.owners.insert(address, owner),
            None => self.owners.remove(&address),
        };
        let is_service =
            |owner| matches!(owner, Some(AddressOwner::Service | AddressOwner::Answering));
        let position = match address {
            IpAddr::V4(address) => AddressSet::position(Ipv4::from(address)),
            IpAddr::V6(address) => AddressSet::position(Ipv6::from(address)),
        };
        let count = self.bits.entry(position).or_default();
        *count += u32::from(is_service(owner));
        *count -= u32::from(is_service(before));
        let present = *count > 0;
        if !present {
            self.bits.remove(&position);
        }
        Tables::set_bit(&tables.address_bits, position, present);
    }
}

impl Writer {
    /// Makes the tables of addresses say what is desired. New cluster IPs have their frontends by now,
    /// and those that go have lost them.
    pub(super) fn write_addresses(
        &mut self,
        tables: &Tables,
        desired: &Desired,
        scope: &Scope<'_>,
    ) -> Result<(), DataplaneError> {
        let (mut differing, mut gone) = (Vec::new(), Vec::new());
        for address in &scope.elements.addresses {
            let known = self.addresses.owners.get(address);
            match desired.addresses.get(address) {
                Some(owner) if known != Some(owner) => differing.push((*address, *owner)),
                None if known.is_some() => gone.push(*address),
                _ => {}
            }
        }

        let (v4, v6) = by_family(&differing, |(address, owner)| (*address, number(*owner)));
        tables.addresses_v4.update(&v4)?;
        tables.addresses_v6.update(&v6)?;
        for (address, owner) in differing {
            self.addresses.set(tables, address, Some(owner));
        }
        let (v4, v6) = by_family(&gone, |address| (*address, 0));
        tables.addresses_v4.remove(&v4.into_iter().map(|(key, _)| key).collect::<Vec<_>>())?;
        tables.addresses_v6.remove(&v6.into_iter().map(|(key, _)| key).collect::<Vec<_>>())?;
        for address in gone {
            self.addresses.set(tables, address, None);
        }
        Ok(())
    }
}

type ByFamily = (Vec<(Ipv4, u32)>, Vec<(Ipv6, u32)>);

fn by_family<T>(all: &[T], element: impl Fn(&T) -> (IpAddr, u32)) -> ByFamily {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for one in all {
        match element(one) {
            (IpAddr::V4(address), number) => v4.push((address.into(), number)),
            (IpAddr::V6(address), number) => v6.push((address.into(), number)),
        }
    }
    (v4, v6)
}

const fn number(owner: AddressOwner) -> u32 {
    match owner {
        AddressOwner::Service => tables::AddressOwner::Service as u32,
        AddressOwner::Answering => tables::AddressOwner::Answering as u32,
        AddressOwner::Other => tables::AddressOwner::Other as u32,
    }
}

fn named(number: u32) -> AddressOwner {
    if number == tables::AddressOwner::Service as u32 {
        AddressOwner::Service
    } else if number == tables::AddressOwner::Answering as u32 {
        AddressOwner::Answering
    } else {
        AddressOwner::Other
    }
}
