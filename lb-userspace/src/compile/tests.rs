//! What the tables say for given Services, endpoints and nodes.

mod addresses;
mod following;
mod health;
mod policies;
mod properties;
mod topology;

use std::{collections::BTreeSet, sync::Arc};

use super::*;
use crate::model::{
    Endpoint, EndpointPort, EndpointSlice, Family, Hints, Pods, Port, Protocol, Proxying, Service,
    ServiceName, ServicePort, ServiceType, SliceName, TargetPort, Traffic, TrafficPolicy, Wishes,
};

/// A Service with one port and one slice of two ready endpoints; cases change one thing.
#[derive(Clone)]
struct Case {
    service: Service,
    slices: Vec<EndpointSlice>,
    node_addresses: &'static [&'static str],
    /// The services, their frontends, backends and slots, one a line.
    expected: &'static str,
}

const READY: (bool, bool, bool) = (true, true, false);
const UNREADY: (bool, bool, bool) = (false, false, false);
const SERVING_TERMINATING: (bool, bool, bool) = (false, true, true);
const TERMINATING: (bool, bool, bool) = (false, false, true);

impl Default for Case {
    fn default() -> Self {
        Self {
            service: service(),
            slices: vec![slice("s1", &[("10.1.0.2", READY), ("10.1.0.1", READY)])],
            node_addresses: &["192.0.2.1", "2001:db8::1"],
            expected: "\
default/web:http/TCP IPv4
  at 10.96.0.10:80/TCP
  backend 10.1.0.1:8080 Ready
  backend 10.1.0.2:8080 Ready
  slot 10.1.0.1:8080
  slot 10.1.0.2:8080
",
        }
    }
}

fn number(port: u16) -> Port {
    Port::new(port).unwrap()
}

fn service_port(name: Option<&str>, protocol: Protocol, node_port: Option<u16>) -> ServicePort {
    ServicePort {
        name: name.map(str::to_owned),
        protocol,
        port: number(80),
        target: TargetPort::Name("not-used".to_owned()),
        node_port: node_port.map(number),
        app_protocol: None,
    }
}

fn service() -> Service {
    Service {
        name: ServiceName::new("default", "web"),
        service_type: ServiceType::ClusterIp,
        proxying: Proxying::Here,
        cluster_ips: vec!["10.96.0.10".parse().unwrap()],
        ports: vec![service_port(Some("http"), Protocol::Tcp, None)],
        traffic: Traffic::default(),
        pods: Pods::default(),
        wishes: Wishes::default(),
    }
}

fn slice(name: &str, endpoints: &[(&str, (bool, bool, bool))]) -> EndpointSlice {
    let endpoint = |(address, (ready, serving, terminating)): &(&str, _)| Endpoint {
        address: address.parse().unwrap(),
        ready: *ready,
        serving: *serving,
        terminating: *terminating,
        node: None,
        zone: None,
        hints: Hints::default(),
        weight: 1,
    };
    let endpoints: Vec<_> = endpoints.iter().map(endpoint).collect();
    EndpointSlice {
        name: SliceName::new("default", name),
        service: Some(ServiceName::new("default", "web")),
        family: endpoints.first().map_or(Family::V4, |first| Family::of(first.address)),
        endpoints,
        ports: vec![endpoint_port(Some("http"), Protocol::Tcp, 8080)],
    }
}

fn endpoint_port(name: Option<&str>, protocol: Protocol, port: u16) -> EndpointPort {
    EndpointPort { name: name.map(str::to_owned), protocol, port: number(port), app_protocol: None }
}

fn compiled(service: Service, slices: &[EndpointSlice], node_addresses: &[&str]) -> Desired {
    let slices = slices.iter().cloned().map(Arc::new);
    let (model, conflicts) = Model::assemble([Arc::new(service)], slices);
    assert_eq!(conflicts, []);
    let node_addresses = node_addresses.iter().map(|text| text.parse().unwrap()).collect();
    compile(&model, &NodeFacts { node_addresses, name: "node1".to_owned(), ..NodeFacts::default() })
}

fn shown(desired: &Desired) -> String {
    let mut lines = Vec::new();
    for (key, service) in &desired.services {
        lines.push(format!("{key}\n"));
        let frontends = service.frontends.iter();
        lines.extend(frontends.map(|(frontend, kind)| format!("  at {frontend}{}\n", of(*kind))));
        let backends = service.backends.iter();
        lines.extend(backends.map(|(key, state)| format!("  backend {key} {state:?}\n")));
        let slots = service.all.slots.iter();
        lines.extend(slots.map(|slot| format!("  slot {slot}\n")));
        for (name, table) in [("internal", &service.internal), ("external", &service.external)] {
            if *table == service.all {
                continue;
            }
            if table.slots.is_empty() {
                lines.push(format!("  {name} {:?}\n", table.otherwise));
            }
            lines.extend(table.slots.iter().map(|slot| format!("  {name} slot {slot}\n")));
        }
    }
    lines.concat()
}

/// What is said of a frontend that is neither at a cluster IP nor at a node's address.
fn of(kind: FrontendKind) -> &'static str {
    match kind {
        FrontendKind::ClusterIp | FrontendKind::NodePort => "",
        FrontendKind::LoadBalancer { guarded: false } => " of a load balancer",
        FrontendKind::LoadBalancer { guarded: true } => " of a load balancer, guarded",
        FrontendKind::External => " external",
    }
}

#[track_caller]
fn check(case: Case) {
    let desired = compiled(case.service, &case.slices, case.node_addresses);
    assert_eq!(shown(&desired), case.expected);
}

#[test]
fn every_ready_endpoint_has_one_slot_and_slots_are_sorted() {
    check(Case::default());
}

#[test]
fn a_node_port_is_served_on_every_node_address_of_the_services_family_and_by_loopback() {
    check(Case {
        service: Service {
            ports: vec![service_port(Some("http"), Protocol::Tcp, Some(30080))],
            ..service()
        },
        slices: vec![],
        node_addresses: &["192.0.2.1", "192.0.2.2", "2001:db8::1"],
        expected: "\
default/web:http/TCP IPv4
  at 0.0.0.0:30080/TCP
  at 10.96.0.10:80/TCP
  at 192.0.2.1:30080/TCP
  at 192.0.2.2:30080/TCP
",
    });
}

#[test]
fn a_node_port_is_not_served_on_an_address_that_is_a_cluster_ip() {
    check(Case {
        service: Service {
            ports: vec![service_port(Some("http"), Protocol::Tcp, Some(30080))],
            ..service()
        },
        slices: vec![],
        node_addresses: &["10.96.0.10"],
        expected: "\
default/web:http/TCP IPv4
  at 0.0.0.0:30080/TCP
  at 10.96.0.10:80/TCP
",
    });
}

#[test]
fn a_dual_stack_service_is_two_services() {
    let cluster_ips = vec!["10.96.0.10".parse().unwrap(), "fd00::a".parse().unwrap()];
    check(Case {
        service: Service { cluster_ips, ..service() },
        slices: vec![slice("s4", &[("10.1.0.1", READY)]), slice("s6", &[("fd01::1", READY)])],
        expected: "\
default/web:http/TCP IPv4
  at 10.96.0.10:80/TCP
  backend 10.1.0.1:8080 Ready
  slot 10.1.0.1:8080
default/web:http/TCP IPv6
  at [fd00::a]:80/TCP
  backend [fd01::1]:8080 Ready
  slot [fd01::1]:8080
",
        ..Case::default()
    });
}

#[test]
fn the_slices_port_of_the_same_name_and_protocol_gives_the_number() {
    let ports = vec![
        endpoint_port(Some("http"), Protocol::Udp, 1),
        endpoint_port(Some("https"), Protocol::Tcp, 2),
        endpoint_port(None, Protocol::Tcp, 3),
        endpoint_port(Some("http"), Protocol::Tcp, 4),
    ];
    let endpoints = [("10.1.0.1", READY)];
    check(Case {
        slices: vec![EndpointSlice { ports, ..slice("s1", &endpoints) }],
        expected: "\
default/web:http/TCP IPv4
  at 10.96.0.10:80/TCP
  backend 10.1.0.1:4 Ready
  slot 10.1.0.1:4
",
        ..Case::default()
    });
}

#[test]
fn a_port_without_a_name_goes_by_its_number() {
    let ports = vec![endpoint_port(None, Protocol::Udp, 5353)];
    let endpoints = [("10.1.0.1", READY)];
    check(Case {
        service: Service { ports: vec![service_port(None, Protocol::Udp, None)], ..service() },
        slices: vec![EndpointSlice { ports, ..slice("s1", &endpoints) }],
        expected: "\
default/web:80/UDP IPv4
  at 10.96.0.10:80/UDP
  backend 10.1.0.1:5353 Ready
  slot 10.1.0.1:5353
",
        ..Case::default()
    });
}

#[test]
fn pods_may_give_a_named_port_numbers_of_their_own() {
    let other = EndpointSlice {
        ports: vec![endpoint_port(Some("http"), Protocol::Tcp, 9090)],
        ..slice("s2", &[("10.1.0.2", READY)])
    };
    check(Case {
        slices: vec![slice("s1", &[("10.1.0.1", READY)]), other],
        expected: "\
default/web:http/TCP IPv4
  at 10.96.0.10:80/TCP
  backend 10.1.0.1:8080 Ready
  backend 10.1.0.2:9090 Ready
  slot 10.1.0.1:8080
  slot 10.1.0.2:9090
",
        ..Case::default()
    });
}

#[test]
fn terminating_endpoints_keep_their_flows_and_get_new_ones_only_if_none_is_ready() {
    let going =
        [("10.1.0.2", SERVING_TERMINATING), ("10.1.0.3", TERMINATING), ("10.1.0.4", UNREADY)];
    check(Case {
        slices: vec![slice("s1", &going), slice("s2", &[("10.1.0.1", READY)])],
        expected: "\
default/web:http/TCP IPv4
  at 10.96.0.10:80/TCP
  backend 10.1.0.1:8080 Ready
  backend 10.1.0.2:8080 Terminating
  backend 10.1.0.3:8080 Terminating
  slot 10.1.0.1:8080
",
        ..Case::default()
    });
    check(Case {
        slices: vec![slice("s1", &going)],
        expected: "\
default/web:http/TCP IPv4
  at 10.96.0.10:80/TCP
  backend 10.1.0.2:8080 Terminating
  backend 10.1.0.3:8080 Terminating
  slot 10.1.0.2:8080
",
        ..Case::default()
    });
}

#[test]
fn an_endpoint_in_several_slices_is_one_backend() {
    let twice = |first, second| {
        vec![slice("s1", &[("10.1.0.1", first)]), slice("s2", &[("10.1.0.1", second)])]
    };
    for slices in [twice(READY, READY), twice(UNREADY, READY), twice(READY, TERMINATING)] {
        check(Case {
            slices,
            expected: "\
default/web:http/TCP IPv4
  at 10.96.0.10:80/TCP
  backend 10.1.0.1:8080 Ready
  slot 10.1.0.1:8080
",
            ..Case::default()
        });
    }
}

#[test]
fn services_that_are_not_proxied_and_slices_of_others_come_to_nothing() {
    for proxying in [Proxying::Headless, Proxying::ExternalName, Proxying::LeftAlone] {
        check(Case { service: Service { proxying, ..service() }, expected: "", ..Case::default() });
    }
    let elsewhere = Some(ServiceName::new("other", "web"));
    let endpoints = [("10.1.0.1", READY)];
    check(Case {
        slices: vec![EndpointSlice { service: elsewhere, ..slice("s1", &endpoints) }],
        expected: "\
default/web:http/TCP IPv4
  at 10.96.0.10:80/TCP
",
        ..Case::default()
    });
}
