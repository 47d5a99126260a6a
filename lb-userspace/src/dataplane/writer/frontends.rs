//! Frontends, of all services together: one that moves from a service to another is replaced in
//! place.

use std::{collections::BTreeSet, net::IpAddr};

use lb_common::{
    addr::{Address, Ipv4, Ipv6, Port},
    tables::{self, FrontendKey},
    wire::Protocol as WireProtocol,
};

use super::{Changes, Writer, scope::Scope};
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
        scope: &Scope<'_>,
        changes: &mut Changes,
    ) -> Result<(), DataplaneError> {
        let mut stored = Vec::new();
        for (key, service) in scope.wanted(desired) {
            // A service that there was no room for is not to be found.
            let Some(live) = self.services.get_mut(key) else { continue };
            live.frontends.extend(service.frontends.keys().copied());
            let id = live.id;
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
        scope: &Scope<'_>,
        changes: &mut Changes,
    ) -> Result<(), DataplaneError> {
        let gone = if scope.is_whole {
            self.frontends_of_nobody(desired)
        } else {
            self.frontends_that_go(desired, scope)
        };
        let (v4, v6) = by_family(gone.iter().copied());
        tables.frontends_v4.remove(&v4.iter().map(|(key, _)| *key).collect::<Vec<_>>())?;
        tables.frontends_v6.remove(&v6.iter().map(|(key, _)| *key).collect::<Vec<_>>())?;
        for (frontend, _) in &gone {
            self.frontends.remove(frontend);
            self.frontend_ports.remove(&tables.frontend_ports, frontend.port);
        }
        changes.frontends += gone.len();
        for (key, service) in scope.wanted(desired) {
            if let Some(live) = self.services.get_mut(key) {
                live.frontends.retain(|frontend| service.frontends.contains_key(frontend));
            }
        }
        Ok(())
    }

    /// Those of all frontends that no service wants.
    fn frontends_of_nobody(&self, desired: &Desired) -> Vec<(Frontend, tables::Frontend)> {
        let wanted: BTreeSet<&Frontend> =
            desired.services.values().flat_map(|service| service.frontends.keys()).collect();
        let gone = self.frontends.iter().filter(|(frontend, _)| !wanted.contains(frontend));
        gone.map(|(frontend, leads)| (*frontend, *leads)).collect()
    }

    /// Those that lead to services in the scope which don't want them. What another one wants leads there by now.
    fn frontends_that_go(
        &self,
        desired: &Desired,
        scope: &Scope<'_>,
    ) -> Vec<(Frontend, tables::Frontend)> {
        let mut gone = Vec::new();
        for key in scope.services() {
            let Some(live) = self.services.get(key) else { continue };
            let wanted = desired.services.get(key);
            for frontend in &live.frontends {
                let stays = wanted.is_some_and(|service| service.frontends.contains_key(frontend));
                let leads = self.frontends.get(frontend).filter(|leads| leads.service == live.id);
                gone.extend(leads.filter(|_| !stays).map(|leads| (*frontend, *leads)));
            }
        }
        gone
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
