//! Source ranges, of all services together. They are there before a frontend asks for them, and go
//! after none does.

use std::{collections::BTreeSet, net::IpAddr};

use lb_common::{addr::Address as _, tables::SourceRangeKey};

use super::{Writer, scope::Scope};
use crate::{
    compile::Desired,
    dataplane::{DataplaneError, Tables},
    model::IpRange,
};

/// A service's number and a range that it admits.
pub type SourceRange = (u32, IpRange);

impl Writer {
    /// Stores the ranges that are new. One that finds no room is missing: its clients are not
    /// admitted, and everything else goes on; the first such error is returned.
    pub(super) fn store_source_ranges(
        &mut self,
        tables: &Tables,
        desired: &Desired,
        scope: &Scope<'_>,
    ) -> Result<(), DataplaneError> {
        let mut failed = None;
        for range in self.wanted_ranges(desired, scope) {
            if self.source_ranges.contains(&range) {
                continue;
            }
            match add(tables, range) {
                Ok(()) => drop(self.source_ranges.insert(range)),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Removes the ranges that nobody wants any more.
    pub(super) fn remove_source_ranges(
        &mut self,
        tables: &Tables,
        desired: &Desired,
        scope: &Scope<'_>,
        numbers: &[u32],
    ) -> Result<(), DataplaneError> {
        let wanted = self.wanted_ranges(desired, scope);
        let found: Vec<SourceRange> = if scope.is_whole {
            self.source_ranges.iter().copied().collect()
        } else {
            numbers.iter().flat_map(|number| self.ranges_of(*number)).collect()
        };
        for range in found.into_iter().filter(|range| !wanted.contains(range)) {
            remove(tables, range)?;
            self.source_ranges.remove(&range);
        }
        Ok(())
    }

    fn ranges_of(&self, service: u32) -> impl Iterator<Item = SourceRange> + '_ {
        let all = self.source_ranges.range((service, IpRange::FIRST)..);
        all.take_while(move |(number, _)| *number == service).copied()
    }

    fn wanted_ranges(&self, desired: &Desired, scope: &Scope<'_>) -> BTreeSet<SourceRange> {
        let guarded = scope.wanted(desired).filter(|(_, one)| !one.source_ranges.is_empty());
        guarded
            .filter_map(|(key, one)| Some((self.services.get(key)?.id, &one.source_ranges)))
            .flat_map(|(id, ranges)| ranges.iter().map(move |range| (id, *range)))
            .collect()
    }
}

/// The ranges in the maps.
pub fn source_ranges(tables: &Tables) -> Result<BTreeSet<SourceRange>, DataplaneError> {
    let v4 = tables.source_ranges_v4.keys()?;
    let v4 = v4.iter().map(|key| (key.service, key.address.to_ip(), key.bits()));
    let v6 = tables.source_ranges_v6.keys()?;
    let v6 = v6.iter().map(|key| (key.service, key.address.to_ip(), key.bits()));
    let range = |(service, address, bits)| {
        let bits = u8::try_from(bits).ok()?;
        Some((service, IpRange::new(address, bits)?))
    };
    Ok(v4.chain(v6).filter_map(range).collect())
}

fn add(tables: &Tables, (service, range): SourceRange) -> Result<(), DataplaneError> {
    let bits = range.bits.into();
    match range.address {
        IpAddr::V4(address) => {
            tables.source_ranges_v4.add(&SourceRangeKey::range(service, address.into(), bits))
        }
        IpAddr::V6(address) => {
            tables.source_ranges_v6.add(&SourceRangeKey::range(service, address.into(), bits))
        }
    }
}

fn remove(tables: &Tables, (service, range): SourceRange) -> Result<(), DataplaneError> {
    let bits = range.bits.into();
    match range.address {
        IpAddr::V4(address) => {
            tables.source_ranges_v4.remove(&SourceRangeKey::range(service, address.into(), bits))
        }
        IpAddr::V6(address) => {
            tables.source_ranges_v6.remove(&SourceRangeKey::range(service, address.into(), bits))
        }
    }
}
