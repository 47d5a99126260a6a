//! Services that want the same address or port, and endpoints that none may have.

use super::*;
use crate::model::{
    Endpoint, Family, Hints, Protocol, Proxying, ServicePort, ServiceType, TargetPort,
};

fn service(name: &str, cluster_ip: &str, node_port: u16) -> Arc<Service> {
    let port = Port::new(80).unwrap();
    Arc::new(Service {
        name: ServiceName::new("default", name),
        service_type: ServiceType::NodePort,
        proxying: Proxying::Here,
        cluster_ips: vec![cluster_ip.parse().unwrap()],
        ports: vec![ServicePort {
            name: None,
            protocol: Protocol::Tcp,
            port,
            target: TargetPort::Number(port),
            node_port: Port::new(node_port),
            app_protocol: None,
        }],
        traffic: crate::model::Traffic::default(),
        pods: crate::model::Pods::default(),
        wishes: crate::model::Wishes::default(),
    })
}

fn slice(name: &str, address: &str) -> Arc<EndpointSlice> {
    let endpoint = Endpoint {
        address: address.parse().unwrap(),
        ready: true,
        serving: true,
        terminating: false,
        node: None,
        zone: None,
        hints: Hints::default(),
        weight: 1,
    };
    Arc::new(EndpointSlice {
        name: SliceName::new("default", name),
        service: Some(ServiceName::new("default", "a")),
        family: Family::V4,
        endpoints: vec![endpoint],
        ports: Vec::new(),
    })
}

/// Objects, the names of those in force, and what is said of the others.
struct Case {
    services: Vec<Arc<Service>>,
    slices: Vec<Arc<EndpointSlice>>,
    in_force: &'static [&'static str],
    conflicts: &'static [&'static str],
}

#[track_caller]
fn check(case: Case) {
    let (model, conflicts) = Model::assemble(case.services, case.slices);
    let services = model.services.keys().map(ToString::to_string);
    let in_force: Vec<_> = services.chain(model.slices.keys().map(ToString::to_string)).collect();
    assert_eq!(in_force, case.in_force);
    let line = |conflict: &Conflict| format!("{}: {}", conflict.object, conflict.invalid);
    assert_eq!(conflicts.iter().map(line).collect::<Vec<_>>(), case.conflicts);
}

#[test]
fn the_first_by_name_keeps_an_address_or_node_port_that_two_want() {
    check(Case {
        services: vec![
            service("c", "10.96.0.2", 30001),
            service("b", "10.96.0.1", 30002),
            service("a", "10.96.0.1", 30001),
        ],
        slices: vec![],
        in_force: &["default/a"],
        conflicts: &[
            "Service default/b: spec.clusterIPs[0]: Invalid value: \"10.96.0.1\": provided IP is \
             already allocated, to Service default/a; choose another one",
            "Service default/c: spec.ports[0].nodePort: Invalid value: 30001: provided port is \
             already allocated, to Service default/a; choose another one",
        ],
    });
}

#[test]
fn a_service_that_is_left_out_holds_nothing() {
    check(Case {
        services: vec![
            service("a", "10.96.0.1", 30001),
            service("b", "10.96.0.1", 30002),
            service("c", "10.96.0.3", 30002),
        ],
        slices: vec![],
        in_force: &["default/a", "default/c"],
        conflicts: &[
            "Service default/b: spec.clusterIPs[0]: Invalid value: \"10.96.0.1\": provided IP is \
             already allocated, to Service default/a; choose another one",
        ],
    });
}

#[test]
fn a_slice_with_a_cluster_ip_in_it_is_refused_and_no_other() {
    check(Case {
        services: vec![service("a", "10.96.0.1", 30001)],
        slices: vec![slice("s1", "10.96.0.1"), slice("s2", "10.1.0.1")],
        in_force: &["default/a", "default/s2"],
        conflicts: &[
            "EndpointSlice default/s1: endpoints[0].addresses[0]: Invalid value: \"10.96.0.1\": \
             may not be a cluster IP, and this is the one of Service default/a; write the \
             addresses of its backends instead",
        ],
    });
}

#[test]
fn a_port_for_health_checks_is_nobody_elses_node_port() {
    let with = |name: &str, cluster_ip: &str, port: u16| {
        let mut service = Service::clone(&service(name, cluster_ip, 0));
        service.traffic.health_check_port = Port::new(port);
        Arc::new(service)
    };
    check(Case {
        services: vec![
            service("a", "10.96.0.1", 30001),
            with("b", "10.96.0.2", 30001),
            with("c", "10.96.0.3", 30003),
            service("d", "10.96.0.4", 30003),
        ],
        slices: vec![],
        in_force: &["default/a", "default/c"],
        conflicts: &[
            "Service default/b: spec.healthCheckNodePort: Invalid value: 30001: provided port is \
             already allocated, to Service default/a; choose another one",
            "Service default/d: spec.ports[0].nodePort: Invalid value: 30003: provided port is \
             already allocated, to Service default/c; choose another one",
        ],
    });
}
