//! How many endpoints health checks are told.

use super::*;
use crate::model::TrafficPolicy;

/// An endpoint's address, its node and conditions.
type Row = (&'static str, &'static str, (bool, bool, bool));

fn told(mut service: Service, rows: &[Row]) -> Option<(u16, usize)> {
    service.service_type = ServiceType::LoadBalancer;
    service.traffic.external_policy = TrafficPolicy::Local;
    let one = |(index, (address, node, conditions)): (usize, &Row)| {
        let mut slice = slice(&format!("s{index}"), &[(address, *conditions)]);
        slice.endpoints[0].node = Some((*node).to_owned());
        slice
    };
    let slices: Vec<_> = rows.iter().enumerate().map(one).collect();
    let desired = compiled(service, &slices, &[]);
    let check = desired.health_checks.get(&ServiceName::new("default", "web"))?;
    Some((check.port, check.local_endpoints))
}

fn checked() -> Service {
    let mut service = service();
    service.traffic.health_check_port = Some(number(31000));
    service
}

#[test]
fn ready_endpoints_of_this_node_count_and_no_others() {
    let rows = [
        ("10.1.0.1", "node1", READY),
        ("10.1.0.2", "node2", READY),
        ("10.1.0.3", "node1", SERVING_TERMINATING),
        ("10.1.0.4", "node1", UNREADY),
        ("10.1.0.5", "node1", READY),
    ];
    assert_eq!(told(checked(), &rows), Some((31000, 2)));
    assert_eq!(told(checked(), &rows[1..4]), Some((31000, 0)));
    assert_eq!(told(checked(), &[]), Some((31000, 0)));
    assert_eq!(told(service(), &rows), None, "without a port nobody asks");
    assert_eq!(told(Service { proxying: Proxying::LeftAlone, ..checked() }, &rows), None);
}

#[test]
fn a_pod_is_one_endpoint_whatever_its_ports_and_families() {
    let cluster_ips = vec!["10.96.0.10".parse().unwrap(), "fd00::a".parse().unwrap()];
    let second = ServicePort {
        name: Some("https".to_owned()),
        ..service_port(Some("http"), Protocol::Udp, None)
    };
    let ports = vec![service_port(Some("http"), Protocol::Tcp, None), second];
    let both = Service { cluster_ips, ports, ..checked() };
    let rows = [
        ("10.1.0.1", "node1", READY),
        ("fd01::1", "node1", READY),
        ("fd01::2", "node1", READY),
        ("fd01::2", "node1", READY),
    ];
    assert_eq!(told(both.clone(), &rows), Some((31000, 2)));
    let https = EndpointSlice {
        ports: vec![
            endpoint_port(Some("http"), Protocol::Tcp, 1),
            endpoint_port(Some("https"), Protocol::Udp, 2),
        ],
        ..slice("s1", &[("10.1.0.1", READY)])
    };
    let mut https = https;
    https.endpoints[0].node = Some("node1".to_owned());
    let desired = compiled(both, &[https], &[]);
    assert_eq!(desired.health_checks.values().next().unwrap().local_endpoints, 1);
}
