//! What an earlier run left in the maps, so that the next one goes on with the same numbers: flows
//! name backends by them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
};

use lb_common::{
    addr::Address,
    tables::{self, BackendRef, FrontendKey, Selection, Service},
    wire::Protocol as WireProtocol,
};

use super::{DataplaneError, Tables, areas::Area};
use crate::{
    compile::{BackendKey, Frontend},
    model::Protocol,
};

/// A service found in the maps. Its name isn't there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundService {
    /// Its frontends, as they stand in the maps.
    pub frontends: BTreeMap<Frontend, tables::Frontend>,
    /// Its backends.
    pub backends: Vec<FoundBackend>,
    /// Its selections.
    pub line: Service,
}

/// A backend found in the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundBackend {
    /// Address and port.
    pub key: BackendKey,
    /// Number and generation.
    pub reference: BackendRef,
}

/// Reads services, frontends and backends, by the services' numbers.
pub fn read_back(tables: &Tables) -> Result<BTreeMap<u32, FoundService>, DataplaneError> {
    let mut found: BTreeMap<u32, FoundService> = BTreeMap::new();
    for (key, leads) in tables.frontends_v4.elements()? {
        let frontends = &mut found.entry(leads.service).or_default().frontends;
        frontends.extend(frontend(key).map(|frontend| (frontend, leads)));
    }
    for (key, leads) in tables.frontends_v6.elements()? {
        let frontends = &mut found.entry(leads.service).or_default().frontends;
        frontends.extend(frontend(key).map(|frontend| (frontend, leads)));
    }
    let families: BTreeMap<u32, bool> = found
        .iter()
        .map(|(id, service)| (*id, service.frontends.keys().any(|one| one.address.is_ipv6())))
        .collect();
    for (id, backend) in tables.backends() {
        let mapped = Ipv6Addr::from(backend.address);
        let is_ipv6 = families.get(&backend.service).copied().unwrap_or_default();
        let address = match mapped.to_ipv4_mapped() {
            Some(address) if !is_ipv6 => IpAddr::V4(address),
            _ => IpAddr::V6(mapped),
        };
        found.entry(backend.service).or_default().backends.push(FoundBackend {
            key: BackendKey { address, port: backend.port.to_host() },
            reference: BackendRef { id, generation: backend.generation },
        });
    }
    for (id, service) in &mut found {
        service.line = tables.service(*id);
    }
    Ok(found)
}

impl FoundService {
    /// The backends that a selection of it leads to.
    pub fn chosen(&self, tables: &Tables, selection: Selection) -> BTreeSet<BackendKey> {
        let slots = selection.base()..selection.base().saturating_add(selection.len());
        let named: BTreeSet<BackendRef> = slots.map(|slot| tables.slot(slot)).collect();
        let chosen = self.backends.iter().filter(|one| named.contains(&one.reference));
        chosen.map(|one| one.key).collect()
    }

    /// The areas of its selection tables, each once.
    pub(super) fn areas(&self) -> Vec<Area> {
        let mut areas: Vec<Area> = Vec::new();
        for selection in [self.line.all, self.line.internal, self.line.external] {
            let area = Area { base: selection.base(), len: selection.len() };
            if area.len > 0 && !areas.contains(&area) {
                areas.push(area);
            }
        }
        areas
    }
}

fn frontend<A: Address>(key: FrontendKey<A>) -> Option<Frontend> {
    let protocol = match WireProtocol(key.protocol) {
        WireProtocol::TCP => Protocol::Tcp,
        WireProtocol::UDP => Protocol::Udp,
        WireProtocol::SCTP => Protocol::Sctp,
        _ => return None,
    };
    Some(Frontend { address: key.address.to_ip(), port: key.port.to_host(), protocol })
}
