//! Which ports are taken, which are refused, and in what words.

use super::*;

/// A Service with one port, which is right; cases change one thing.
#[derive(Clone)]
struct Case {
    service_type: ServiceType,
    proxying: Proxying,
    ports: Vec<api::ServicePort>,
    /// Each finding.
    wrong: &'static [&'static str],
}

impl Default for Case {
    fn default() -> Self {
        Self {
            service_type: ServiceType::ClusterIp,
            proxying: Proxying::Here,
            ports: vec![port(80)],
            wrong: &[],
        }
    }
}

fn port(number: i32) -> api::ServicePort {
    api::ServicePort { port: number, ..api::ServicePort::default() }
}

fn named(name: &str, number: i32) -> api::ServicePort {
    api::ServicePort { name: Some(name.to_owned()), ..port(number) }
}

fn on_node(number: i32, node_port: i32) -> api::ServicePort {
    api::ServicePort { node_port: Some(node_port), ..port(number) }
}

fn target_name(name: &str) -> api::ServicePort {
    let target = IntOrString::String(name.to_owned());
    api::ServicePort { target_port: Some(target), ..port(80) }
}

fn protocol_of(name: &str, protocol: &str, number: i32) -> api::ServicePort {
    api::ServicePort { protocol: Some(protocol.to_owned()), ..named(name, number) }
}

#[track_caller]
fn check(case: &Case) -> Vec<ServicePort> {
    let spec = api::ServiceSpec { ports: Some(case.ports.clone()), ..api::ServiceSpec::default() };
    let mut findings = Findings::default();
    let ports = read(&spec, case.service_type, case.proxying, &mut findings);
    let wrong = match findings.into_result(()) {
        Ok(()) => Vec::new(),
        Err(refused) => refused.0.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(wrong, case.wrong);
    ports
}

#[test]
fn a_lone_port_needs_no_name_and_is_tcp_and_its_own_target() {
    let ports = check(&Case::default());
    let eighty = Port::new(80).unwrap();
    let expected = ServicePort {
        name: None,
        protocol: Protocol::Tcp,
        port: eighty,
        target: TargetPort::Number(eighty),
        node_port: None,
        app_protocol: None,
    };
    assert_eq!(ports, [expected]);
}

#[test]
fn several_ports_need_names_that_differ() {
    check(&Case { ports: vec![named("http", 80), named("https", 443)], ..Case::default() });
    check(&Case {
        ports: vec![named("http", 80), port(443)],
        wrong: &[
            "spec.ports[1].name: Required value: a Service with several ports needs a name for each",
        ],
        ..Case::default()
    });
    check(&Case {
        ports: vec![named("http", 80), named("http", 443)],
        wrong: &["spec.ports[1].name: Duplicate value: \"http\""],
        ..Case::default()
    });
}

#[test]
fn a_number_may_stand_once_for_each_protocol() {
    check(&Case {
        ports: vec![protocol_of("a", "TCP", 53), protocol_of("b", "UDP", 53)],
        ..Case::default()
    });
    check(&Case {
        ports: vec![protocol_of("a", "UDP", 53), protocol_of("b", "UDP", 53)],
        wrong: &["spec.ports[1]: Duplicate value: 53/UDP"],
        ..Case::default()
    });
    check(&Case {
        ports: vec![protocol_of("a", "DCCP", 53)],
        wrong: &[
            "spec.ports[0].protocol: Unsupported value: \"DCCP\": supported values: \"SCTP\", \
             \"TCP\", \"UDP\"",
        ],
        ..Case::default()
    });
}

#[test]
fn numbers_and_names_out_of_bounds_are_refused() {
    for number in [0, -1, 65536] {
        let read = super::number(number).map_err(|rule| rule.to_string());
        let expected = format!("Invalid value: {number}: must be between 1 and 65535, inclusive");
        assert_eq!(read, Err(expected));
    }
    for bad in ["Http", "a--b", "-a", "a-", "8080", "a-name-that-is-long", "a_b"] {
        assert!(container_port_name(bad).is_err(), "{bad}");
    }
    let ports = check(&Case { ports: vec![target_name("web-2")], ..Case::default() });
    assert_eq!(ports[0].target, TargetPort::Name("web-2".to_owned()));
    check(&Case {
        ports: vec![target_name("8080")],
        wrong: &[
            "spec.ports[0].targetPort: Invalid value: \"8080\": must contain at least one letter \
             (a-z)",
        ],
        ..Case::default()
    });
}

#[test]
fn node_ports_are_ports_and_belong_to_their_types() {
    let node_port = Case { service_type: ServiceType::NodePort, ..Case::default() };
    for good in [30000, 32767] {
        check(&Case { ports: vec![on_node(80, good)], ..node_port.clone() });
    }
    check(&Case {
        ports: vec![on_node(80, 65536)],
        wrong: &[
            "spec.ports[0].nodePort: Invalid value: 65536: must be between 1 and 65535, inclusive",
        ],
        ..node_port.clone()
    });
    assert_eq!(check(&node_port)[0].node_port, None, "one is to be chosen");
    check(&Case {
        ports: vec![on_node(80, 30080)],
        wrong: &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ..Case::default()
    });
}

#[test]
fn one_node_port_serves_one_port_of_each_protocol() {
    let both = |protocol: &str| {
        let on_node = |port| api::ServicePort { node_port: Some(30053), ..port };
        vec![on_node(protocol_of("a", "TCP", 53)), on_node(protocol_of("b", protocol, 54))]
    };
    let node_port = Case { service_type: ServiceType::NodePort, ..Case::default() };
    check(&Case { ports: both("UDP"), ..node_port.clone() });
    check(&Case {
        ports: both("TCP"),
        wrong: &["spec.ports[1].nodePort: Duplicate value: 30053"],
        ..node_port
    });
}

#[test]
fn only_what_is_not_proxied_may_have_no_ports() {
    check(&Case { ports: vec![], proxying: Proxying::Headless, ..Case::default() });
    check(&Case {
        ports: vec![],
        wrong: &["spec.ports: Required value: write at least one port"],
        ..Case::default()
    });
}
