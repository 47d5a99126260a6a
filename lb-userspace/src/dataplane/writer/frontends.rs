//! Frontends, of all services together: one that moves from a service to another is replaced in
//! place.

use std::{collections::BTreeSet, net::IpAddr};

use lb_common::{
    addr::{Address, Ipv4, Ipv6, Port},
    tables::{self, FrontendKey},
    wire::Protocol as WireProtocol,
};

use super::{Changes, Writer};
use crate::{
    compile::{Desired, Frontend, FrontendKind},
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
            let packets_only =
                if service.packets_only { tables::Frontend::PACKETS_ONLY } else { 0 };
            let leading = service.frontends.iter().map(|(frontend, kind)| {
                (*frontend, tables::Frontend { service: id, flags: flags(*kind) | packets_only })
            });
            stored.extend(leading.filter(|(one, leads)| self.frontends.get(one) != Some(leads)));
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
            desired.services.values().flat_map(|service| service.frontends.keys()).collect();
        let gone: Vec<(Frontend, tables::Frontend)> = self
            .frontends
            .iter()
            .filter(|(frontend, _)| !wanted.contains(frontend))
            .map(|(frontend, leads)| (*frontend, *leads))
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
        Protocol::Sctp => WireProtocol::SCTP,
    }
}

/// What the programs are told of a kind of address.
const fn flags(kind: FrontendKind) -> u32 {
    match kind {
        FrontendKind::ClusterIp => tables::Frontend::CLUSTER_IP,
        FrontendKind::LoadBalancer { guarded: true } => tables::Frontend::GUARDED,
        FrontendKind::NodePort => tables::Frontend::NODE_PORT,
        FrontendKind::LoadBalancer { .. } | FrontendKind::External => 0,
    }
}

fn key<A: Address + Default>(
    ip: impl Into<A>,
    is_any_node: bool,
    port: Port,
    protocol: WireProtocol,
) -> FrontendKey<A> {
    if is_any_node {
        FrontendKey::any_node(port, protocol)
    } else {
        FrontendKey::new(ip.into(), port, protocol)
    }
}

type ByFamily =
    (Vec<(FrontendKey<Ipv4>, tables::Frontend)>, Vec<(FrontendKey<Ipv6>, tables::Frontend)>);

fn by_family(frontends: impl Iterator<Item = (Frontend, tables::Frontend)>) -> ByFamily {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for (frontend, leads) in frontends {
        let (port, protocol) = (Port::from_host(frontend.port), wire(frontend.protocol));
        match frontend.address {
            IpAddr::V4(ip) => v4.push((key(ip, ip.is_unspecified(), port, protocol), leads)),
            IpAddr::V6(ip) => v6.push((key(ip, ip.is_unspecified(), port, protocol), leads)),
        }
    }
    (v4, v6)
}
