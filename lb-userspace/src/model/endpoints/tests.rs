//! Which slices are taken, which are refused, and in what words.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::*;

/// A slice with one endpoint and one port, which is right; cases change one thing.
#[derive(Clone)]
struct Case {
    address_type: &'static str,
    label: Option<(&'static str, &'static str)>,
    endpoints: Vec<api::Endpoint>,
    ports: Vec<api::EndpointPort>,
    /// Each finding.
    wrong: &'static [&'static str],
}

impl Default for Case {
    fn default() -> Self {
        Self {
            address_type: "IPv4",
            label: Some((SERVICE_NAME, "web")),
            endpoints: vec![endpoint("10.1.0.1")],
            ports: vec![port("http", Some(8080))],
            wrong: &[],
        }
    }
}

fn endpoint(address: &str) -> api::Endpoint {
    api::Endpoint { addresses: vec![address.to_owned()], ..api::Endpoint::default() }
}

fn port(name: &str, number: Option<i32>) -> api::EndpointPort {
    api::EndpointPort { name: Some(name.to_owned()), port: number, ..api::EndpointPort::default() }
}

#[track_caller]
fn check(case: Case) -> Option<EndpointSlice> {
    let label = |(key, value): (&str, &str)| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let object = api::EndpointSlice {
        metadata: ObjectMeta {
            name: Some("web-abc".to_owned()),
            labels: case.label.map(label),
            ..ObjectMeta::default()
        },
        address_type: case.address_type.to_owned(),
        endpoints: Some(case.endpoints),
        ports: Some(case.ports),
    };
    let slice = EndpointSlice::try_from(&object);
    let wrong = match &slice {
        Ok(_) => Vec::new(),
        Err(refused) => refused.0.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(wrong, case.wrong);
    slice.ok()
}

#[test]
fn missing_conditions_mean_ready() {
    let slice = check(Case::default()).unwrap();
    let endpoint = &slice.endpoints[0];
    assert!(endpoint.ready && endpoint.serving && !endpoint.terminating);
    assert_eq!(slice.service, Some(ServiceName::new("default", "web")));
}

#[test]
fn a_slice_without_the_label_or_left_to_another_proxy_is_nobodys() {
    let label = Some(("service.kubernetes.io/headless", ""));
    assert_eq!(check(Case { label, ..Case::default() }).unwrap().service, None);
    assert_eq!(check(Case { label: None, ..Case::default() }).unwrap().service, None);
}

#[test]
fn a_port_without_a_number_is_skipped() {
    let ports = vec![port("all", None), port("http", Some(8080))];
    let slice = check(Case { ports, ..Case::default() }).unwrap();
    assert_eq!(slice.ports.len(), 1);
    assert_eq!(slice.ports[0].name.as_deref(), Some("http"));
}

#[test]
fn ports_that_are_none_are_refused() {
    check(Case {
        ports: vec![port("http", Some(0)), port("http", Some(80))],
        wrong: &[
            "ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "ports[1].name: Duplicate value: \"http\"",
        ],
        ..Case::default()
    });
}

#[test]
fn only_the_first_address_of_an_endpoint_counts_but_all_must_be_right() {
    let two = |second: &str| {
        let addresses = vec!["10.1.0.1".to_owned(), second.to_owned()];
        vec![api::Endpoint { addresses, ..api::Endpoint::default() }]
    };
    let slice = check(Case { endpoints: two("10.1.0.2"), ..Case::default() }).unwrap();
    assert_eq!(slice.endpoints.len(), 1);
    assert_eq!(slice.endpoints[0].address.to_string(), "10.1.0.1");
    check(Case {
        endpoints: two("fd00::1"),
        wrong: &[
            "endpoints[0].addresses[1]: Invalid value: \"fd00::1\": must be a valid IPv4 address",
        ],
        ..Case::default()
    });
}

#[test]
fn addresses_that_are_not_another_machines_are_refused_by_name() {
    check(Case {
        endpoints: vec![endpoint("10.1.0.1"), endpoint("127.0.0.1"), endpoint("169.254.0.1")],
        wrong: &[
            "endpoints[1].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback \
             range (127.0.0.0/8, ::1/128)",
            "endpoints[2].addresses[0]: Invalid value: \"169.254.0.1\": may not be in the \
             link-local range (169.254.0.0/16, fe80::/10)",
        ],
        ..Case::default()
    });
    check(Case {
        endpoints: vec![api::Endpoint::default()],
        wrong: &["endpoints[0].addresses: Required value: must contain at least 1 address"],
        ..Case::default()
    });
}

#[test]
fn a_slice_of_host_names_is_refused() {
    check(Case {
        address_type: "FQDN",
        endpoints: vec![endpoint("example.com")],
        wrong: &["addressType: Unsupported value: \"FQDN\": supported values: \"IPv4\", \"IPv6\""],
        ..Case::default()
    });
    check(Case {
        address_type: "",
        wrong: &["addressType: Required value: write `addressType: IPv4` or `addressType: IPv6`"],
        ..Case::default()
    });
}
