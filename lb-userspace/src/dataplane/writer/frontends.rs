//! Frontends, of all services together: one that moves from a service to another is replaced in
//! place.

use std::{collections::BTreeSet, net::IpAddr};

use lb_common::{
    addr::{Ipv4, Ipv6, Port},
    tables::FrontendKey,
    wire::Protocol as WireProtocol,
};

use super::{Changes, Writer};
use crate::{
    compile::{Desired, Frontend},
    dataplane::{DataplaneError, Tables},
    model::Protocol,
};

impl Writer {
    /// Stores the frontends of all services. A frontend that moved to another service is replaced
    /// in place: at no time is it nobody's.
    pub(super) fn store_frontends(
        &mut self,
        tables: &Tables,
        desired: &Desired,
        changes: &mut Changes,
    ) -> Result<(), DataplaneError> {
        let mut stored = Vec::new();
        for (key, service) in &desired.services {
            // A service that there was no room for is not to be found.
            let Some(id) = self.services.get(key).map(|live| live.id) else { continue };
            let differing =
                service.frontends.iter().filter(|one| self.frontends.get(one) != Some(&id));
            stored.extend(differing.map(|frontend| (*frontend, id)));
        }
        for (frontend, _) in &stored {
            if !self.frontends.contains_key(frontend) {
                self.frontend_ports.add(&tables.frontend_ports, frontend.port);
            }
        }
        let (v4, v6) = by_family(stored.iter().copied());
        tables.frontends_v4.update(&v4)?;
        tables.frontends_v6.update(&v6)?;
        changes.frontends += stored.len();
        self.frontends.extend(stored);
        Ok(())
    }

    /// Removes the frontends that nobody wants any more.
    pub(super) fn remove_frontends(
        &mut self,
        tables: &Tables,
        desired: &Desired,
        changes: &mut Changes,
    ) -> Result<(), DataplaneError> {
        let wanted: BTreeSet<&Frontend> =
            desired.services.values().flat_map(|service| &service.frontends).collect();
        let gone: Vec<(Frontend, u32)> = self
            .frontends
            .iter()
            .filter(|(frontend, _)| !wanted.contains(frontend))
            .map(|(frontend, id)| (*frontend, *id))
            .collect();
        let (v4, v6) = by_family(gone.iter().copied());
        tables.frontends_v4.remove(&v4.iter().map(|(key, _)| *key).collect::<Vec<_>>())?;
        tables.frontends_v6.remove(&v6.iter().map(|(key, _)| *key).collect::<Vec<_>>())?;
        for (frontend, _) in &gone {
            self.frontends.remove(frontend);
            self.frontend_ports.remove(&tables.frontend_ports, frontend.port);
        }
        changes.frontends += gone.len();
        Ok(())
    }
}

/// The protocol's number.
pub const fn wire(protocol: Protocol) -> WireProtocol {
    match protocol {
        Protocol::Tcp => WireProtocol::TCP,
        Protocol::Udp => WireProtocol::UDP,
        Protocol::Sctp => WireProtocol(132),
    }
}

type ByFamily = (Vec<(FrontendKey<Ipv4>, u32)>, Vec<(FrontendKey<Ipv6>, u32)>);

fn by_family(frontends: impl Iterator<Item = (Frontend, u32)>) -> ByFamily {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for (frontend, id) in frontends {
        let (port, protocol) = (Port::from_host(frontend.port), wire(frontend.protocol));
        match frontend.address {
            IpAddr::V4(address) => v4.push((FrontendKey::new(address.into(), port, protocol), id)),
            IpAddr::V6(address) => v6.push((FrontendKey::new(address.into(), port, protocol), id)),
        }
    }
    (v4, v6)
}
