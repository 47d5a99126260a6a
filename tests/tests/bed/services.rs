//! The world's services, as the control program is told of them.

use std::{collections::BTreeMap, net::SocketAddr};

use lb_common::wire::L4;
use lb_tests::lab::cast::{Family, Host, NODE1};
use lb_userspace::{
    compile::{
        AddressOwner, BackendKey, BackendState, Desired, DesiredService, Frontend, FrontendKind,
        Otherwise, ServiceKey, Table,
    },
    model::{self, IpRange},
};

use super::{
    Backend, Front, Ruled,
    world::{BACKEND_PORT, SERVICE_PORT},
};

/// All services, with these hosts behind each, and those with rules, behind which there are always the same.
pub fn desired(hosts: impl Fn(Backend) -> Vec<Host>) -> Desired {
    let mut desired = Desired::default();
    for family in Family::BOTH {
        desired.addresses.insert(NODE1.ip(family), AddressOwner::Other);
        for l4 in [L4::Tcp, L4::Udp, L4::Sctp] {
            for backend in Backend::ALL {
                let key = service_key(&format!("{backend:?}"), family, l4);
                let frontends = BTreeMap::from([
                    (Front::Cluster.socket(family, backend), FrontendKind::ClusterIp),
                    (Front::Node.socket(family, backend), FrontendKind::NodePort),
                ]);
                let cluster_ip = Front::Cluster.socket(family, backend).ip();
                let has_endpoints = !hosts(backend).is_empty();
                let owner =
                    if has_endpoints { AddressOwner::Answering } else { AddressOwner::Service };
                desired.addresses.insert(cluster_ip, owner);
                let service = service(frontends, family, l4, &hosts(backend));
                desired.services.insert(key, service);
            }
            for ruled in Ruled::ALL {
                let key = service_key(&format!("{ruled:?}"), family, l4);
                desired.addresses.insert(ruled.socket(family).ip(), AddressOwner::Service);
                desired.services.insert(key, ruled_service(ruled, family, l4));
            }
        }
    }
    desired
}

/// A service whose rules are what is special about it, at one address.
fn ruled_service(ruled: Ruled, family: Family, l4: L4) -> DesiredService {
    let kind = match ruled {
        Ruled::Guarded => FrontendKind::LoadBalancer { guarded: true },
        _ => FrontendKind::LoadBalancer { guarded: false },
    };
    let frontends = BTreeMap::from([(ruled.socket(family), kind)]);
    let service = service(frontends, family, l4, &Backend::Several.hosts());
    match ruled {
        Ruled::Sticky => DesiredService { affinity: 86_400, ..service },
        Ruled::Guarded => {
            let admitted = Ruled::admitted(family);
            let range = IpRange::new(admitted, if admitted.is_ipv4() { 24 } else { 64 });
            DesiredService { source_ranges: range.into_iter().collect(), ..service }
        }
        Ruled::Absent => {
            let external = Table { otherwise: Otherwise::Drop, ..Table::default() };
            DesiredService { external, ..service }
        }
        Ruled::Turns | Ruled::Hashed | Ruled::Least => {
            let weights: Vec<_> = service.all.slots.iter().copied().zip([3, 1, 2]).collect();
            let algorithm = ruled.algorithm(family, l4);
            let table = Table::of(algorithm, weights.clone(), Otherwise::Refuse);
            DesiredService {
                weights: weights.into_iter().filter(|(_, weight)| *weight != 1).collect(),
                all: table.clone(),
                internal: table.clone(),
                external: table,
                ..service
            }
        }
    }
}

fn service_key(name: &str, family: Family, l4: L4) -> ServiceKey {
    ServiceKey {
        service: model::ServiceName { namespace: "bed".to_owned(), name: name.to_lowercase() },
        port: SERVICE_PORT.to_string(),
        protocol: protocol(l4),
        family: match family {
            Family::V4 => model::Family::V4,
            Family::V6 => model::Family::V6,
        },
    }
}

fn service(
    frontends: BTreeMap<SocketAddr, FrontendKind>,
    family: Family,
    l4: L4,
    hosts: &[Host],
) -> DesiredService {
    let frontend = |socket: SocketAddr| Frontend {
        address: socket.ip(),
        port: socket.port(),
        protocol: protocol(l4),
    };
    let slots: Vec<BackendKey> = hosts
        .iter()
        .map(|host| BackendKey { address: host.ip(family), port: BACKEND_PORT })
        .collect();
    let table = Table { slots: slots.clone(), ..Table::default() };
    DesiredService {
        frontends: frontends.into_iter().map(|(socket, kind)| (frontend(socket), kind)).collect(),
        backends: slots.into_iter().map(|slot| (slot, BackendState::Ready)).collect(),
        all: table.clone(),
        internal: table.clone(),
        external: table,
        ..DesiredService::default()
    }
}

const fn protocol(l4: L4) -> model::Protocol {
    match l4 {
        L4::Tcp => model::Protocol::Tcp,
        L4::Udp => model::Protocol::Udp,
        _ => model::Protocol::Sctp,
    }
}
