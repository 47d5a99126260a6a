//! The tables of the host's pipeline, filled with what stands in the kernel's maps.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use aya::maps::{Array, Map, MapData};
use lb_common::{
    host::HostTables,
    tables::{BackendRef, Config},
};
use lb_tests::lab::cast::Family;

use super::{Bed, SETTINGS, SIZES};

impl Bed {
    /// The host's tables, with the maps' services, backends and slots, numbers and all, and the
    /// namespace's routes. No flows.
    pub fn mirror(&self) -> Result<HostTables> {
        let mut host = HostTables::new();
        (host.new_limit, host.established_limit) = (usize::MAX, usize::MAX);
        host.config = Config {
            epoch: 1,
            snat_ports: SETTINGS.snat_ports,
            graduate_udp: u32::from(SETTINGS.graduate_udp),
            touch_interval: SETTINGS.touch_interval,
            answers: SETTINGS.answers,
            hash_key: SETTINGS.hash_key,
            hz: SETTINGS.hz,
            service_range_v4: SETTINGS.service_range_v4,
            service_range_v6: SETTINGS.service_range_v6,
            reply_ports: SETTINGS.reply_ports,
            ..Config::default()
        };
        host.devices = self.tables.devices.elements()?.into_iter().collect();
        self.mirror_services(&mut host)?;
        for (who, route, egress) in self.world.routes() {
            for family in Family::BOTH {
                match who.ip(family) {
                    IpAddr::V4(ip) => drop(host.v4.routes.insert(ip.into(), (route, egress))),
                    IpAddr::V6(ip) => drop(host.v6.routes.insert(ip.into(), (route, egress))),
                }
            }
        }
        Ok(host)
    }

    /// Gives the host's tables the services that the maps have now.
    pub fn mirror_services(&self, host: &mut HostTables) -> Result<()> {
        host.services = self.services().map(|id| (id, self.tables.service(id))).collect();
        host.backends = self.tables.backends().collect();
        host.slots = self.slots()?;
        host.v4.frontends = self.tables.frontends_v4.elements()?.into_iter().collect();
        host.v6.frontends = self.tables.frontends_v6.elements()?.into_iter().collect();
        host.v4.owners = self.tables.addresses_v4.elements()?.into_iter().collect();
        host.v6.owners = self.tables.addresses_v6.elements()?.into_iter().collect();
        host.v4.source_ranges = self.tables.source_ranges_v4.keys()?;
        host.v6.source_ranges = self.tables.source_ranges_v6.keys()?;
        host.endpoints = self.tables.endpoints.elements()?.into_iter().collect();
        for backend in host.backends.keys().copied().collect::<Vec<_>>() {
            host.set_load(backend, self.tables.load(backend));
        }
        Ok(())
    }

    fn slots(&self) -> Result<std::collections::BTreeMap<u32, BackendRef>> {
        let data = MapData::from_pin(self.maps().join("SLOTS")).context("SLOTS")?;
        let slots: Array<MapData, u64> = Array::try_from(Map::Array(data))?;
        let slot = |index| Ok((index, bytemuck::cast(slots.get(&index, 0)?)));
        (0..SIZES.slots).map(slot).collect()
    }
}
