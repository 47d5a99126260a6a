//! The world's services, as the control program is told of them.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::wire::L4;
use lb_tests::lab::cast::{Family, Host};
use lb_userspace::{
    compile::{BackendKey, BackendState, Desired, DesiredService, Frontend, ServiceKey, Table},
    model,
};

use super::{
    Backend, Front,
    world::{BACKEND_PORT, SERVICE_PORT, TRANSPORTS},
};

/// All services, with these hosts behind each.
pub fn desired(hosts: impl Fn(Backend) -> Vec<Host>) -> Desired {
    let mut services = BTreeMap::new();
    for backend in Backend::ALL {
        for family in Family::BOTH {
            for l4 in TRANSPORTS {
                services.insert(
                    service_key(backend, family, l4),
                    service(backend, family, l4, &hosts(backend)),
                );
            }
        }
    }
    Desired { services }
}

fn service_key(backend: Backend, family: Family, l4: L4) -> ServiceKey {
    ServiceKey {
        service: model::ServiceName {
            namespace: "bed".to_owned(),
            name: format!("{backend:?}").to_lowercase(),
        },
        port: SERVICE_PORT.to_string(),
        protocol: protocol(l4),
        family: match family {
            Family::V4 => model::Family::V4,
            Family::V6 => model::Family::V6,
        },
    }
}

fn service(backend: Backend, family: Family, l4: L4, hosts: &[Host]) -> DesiredService {
    let frontend = |front: Front| {
        let socket = front.socket(family, backend);
        Frontend { address: socket.ip(), port: socket.port(), protocol: protocol(l4) }
    };
    let slots: Vec<BackendKey> = hosts
        .iter()
        .map(|host| BackendKey { address: host.ip(family), port: BACKEND_PORT })
        .collect();
    let table = Table { slots: slots.clone() };
    DesiredService {
        frontends: BTreeSet::from([Front::Cluster, Front::Node].map(frontend)),
        backends: slots.into_iter().map(|slot| (slot, BackendState::Ready)).collect(),
        internal: table.clone(),
        external: table,
    }
}

const fn protocol(l4: L4) -> model::Protocol {
    match l4 {
        L4::Tcp => model::Protocol::Tcp,
        L4::Udp => model::Protocol::Udp,
    }
}
