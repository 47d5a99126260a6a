//! The services that are measured, and the ways to their backends and clients.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr};

use anyhow::Result;
use lb_common::wire::L4;
use lb_tests::lab::cast::{self, Family, NODE2, OUTSIDE};
use lb_userspace::{
    compile::{
        BackendKey, BackendState, Desired, DesiredService, Frontend, FrontendKind, ServiceKey,
        Table,
    },
    model,
};

use super::{
    bed::world::{BACKEND_PORT, SERVICE_PORT, TRANSPORTS},
    frames::{LOCAL, SERVERS, client_network, local_service, remote_backend, remote_service},
};

/// One service whose backend is on this node, and [`SERVERS`] whose backends are elsewhere; one backend each.
pub fn desired() -> Result<Desired> {
    let mut services = BTreeMap::new();
    for family in Family::BOTH {
        for l4 in TRANSPORTS {
            let mut add = |name: String, address, backend| {
                let protocol = match l4 {
                    L4::Tcp => model::Protocol::Tcp,
                    _ => model::Protocol::Udp,
                };
                let key = key(name, protocol, family);
                services.insert(key, service(protocol, address, backend));
            };
            add("here".to_owned(), local_service(family), LOCAL.ip(family));
            for number in 0..u8::try_from(SERVERS)? {
                let address = remote_service(family, number);
                add(format!("elsewhere-{number}"), address, remote_backend(family, number));
            }
        }
    }
    Ok(Desired { services, ..Desired::default() })
}

fn key(name: String, protocol: model::Protocol, family: Family) -> ServiceKey {
    ServiceKey {
        service: model::ServiceName { namespace: "bench".to_owned(), name },
        port: SERVICE_PORT.to_string(),
        protocol,
        family: match family {
            Family::V4 => model::Family::V4,
            Family::V6 => model::Family::V6,
        },
    }
}

fn service(protocol: model::Protocol, address: IpAddr, backend: IpAddr) -> DesiredService {
    let backend = BackendKey { address: backend, port: BACKEND_PORT };
    let table = Table { slots: vec![backend], ..Table::default() };
    let frontend = Frontend { address, port: SERVICE_PORT, protocol };
    DesiredService {
        frontends: BTreeMap::from([(frontend, FrontendKind::ClusterIp)]),
        backends: BTreeMap::from([(backend, BackendState::Ready)]),
        all: table.clone(),
        internal: table.clone(),
        external: table,
        ..DesiredService::default()
    }
}

/// Lines for `ip`: clients are behind a router, backends elsewhere behind their node.
pub fn routes() -> Result<String> {
    let mut lines = String::new();
    for family in Family::BOTH {
        let pods = match (family, cast::pod_networks(2)) {
            (Family::V4, ((network, length), _)) => format!("{network}/{length}"),
            (Family::V6, (_, (network, length))) => format!("{network}/{length}"),
        };
        let (router, node) = (OUTSIDE.ip(family), NODE2.ip(family));
        writeln!(lines, "route add {} via {router}", client_network(family))?;
        writeln!(lines, "route add {pods} via {node}")?;
    }
    Ok(lines)
}
