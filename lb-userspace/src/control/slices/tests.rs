//! Selectors over pods, against the plainest way to say what must come out.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::json;

use super::*;
use crate::{
    control::{Config, ControlPlane, Missing},
    model::{Model, Node},
};

fn service(spec: &serde_json::Value) -> Service {
    let mut spec = spec.clone();
    spec["clusterIP"] = json!("10.96.0.10");
    spec["clusterIPs"] = json!(["10.96.0.10", "fd00::a"]);
    spec["ipFamilyPolicy"] = json!("RequireDualStack");
    let object = json!({ "metadata": { "name": "web" }, "spec": spec });
    Service::try_from(&serde_json::from_value(object).unwrap()).unwrap()
}

fn pod(object: serde_json::Value) -> Pod {
    Pod::try_from(&serde_json::from_value(object).unwrap()).unwrap()
}

fn node(name: &str, zone: &str) -> Node {
    Node { name: name.to_owned(), zone: Some(zone.to_owned()), leaving: false, primary: vec![] }
}

fn model(service: Service, pods: Vec<Pod>, slices: Vec<EndpointSlice>) -> Model {
    let nodes = [node("node1", "a"), node("node2", "b")];
    let objects = Objects {
        services: [(service.name.clone(), Arc::new(service))].into(),
        slices: slices.into_iter().map(Arc::new).collect(),
        endpoints: BTreeMap::new(),
        pods: pods.into_iter().map(|pod| (pod.name.clone(), Arc::new(pod))).collect(),
        nodes: nodes.map(|node| (node.name.clone(), Arc::new(node))).into(),
    };
    let mut control = ControlPlane::new(Config::default());
    let outcome = control.admit(&objects, &Missing::Named(BTreeSet::new())).unwrap();
    assert_eq!(outcome.refused, []);
    outcome.model
}

/// The endpoints as `address:port state@node/zone→hints`, IPv4 only, in order.
fn shown(model: &Model) -> Vec<String> {
    let mut lines = Vec::new();
    for slice in model.slices.values().filter(|slice| slice.family == Family::V4) {
        for endpoint in &slice.endpoints {
            let Endpoint { address, ready, serving, terminating, .. } = endpoint;
            let flag =
                |flag: &bool, letter: &str| if *flag { letter.to_owned() } else { String::new() };
            let state = [flag(ready, "r"), flag(serving, "s"), flag(terminating, "t")].concat();
            let ports: Vec<_> = slice.ports.iter().map(|port| port.port.to_string()).collect();
            let or = |text: &Option<String>| text.clone().unwrap_or_default();
            let hints =
                |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(",");
            lines.push(format!(
                "{address}:{} {state}@{}/{}>{}/{}",
                ports.join(","),
                or(&endpoint.node),
                or(&endpoint.zone),
                hints(&endpoint.hints.nodes),
                hints(&endpoint.hints.zones),
            ));
        }
    }
    lines.sort();
    lines
}

/// A pod with this last byte, port and status.
fn web(last: u8, port: u16, status: &serde_json::Value) -> serde_json::Value {
    let mut status = status.clone();
    status["podIPs"] =
        json!([{ "ip": format!("10.1.0.{last}") }, { "ip": format!("fd01::{last}") }]);
    json!({
        "metadata": { "name": format!("web-{last}"), "labels": { "app": "web" } },
        "spec": {
            "nodeName": if last % 2 == 1 { "node1" } else { "node2" },
            "containers": [{ "name": "c", "ports": [{ "name": "http", "containerPort": port }] }],
        },
        "status": status,
    })
}

fn conditions(ready: &str) -> serde_json::Value {
    json!({ "conditions": [{ "type": "Ready", "status": ready }] })
}

fn named() -> serde_json::Value {
    json!({ "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": "http" }] })
}

#[test]
fn each_pod_gives_a_named_port_its_own_number() {
    let pods = vec![
        pod(web(1, 8080, &json!({}))),
        pod(web(2, 9090, &json!({}))),
        pod(web(3, 8080, &json!({}))),
    ];
    let model = model(service(&named()), pods, Vec::new());
    assert_eq!(
        shown(&model),
        ["10.1.0.1:8080 rs@node1/a>/", "10.1.0.2:9090 rs@node2/b>/", "10.1.0.3:8080 rs@node1/a>/"]
    );
    assert_eq!(model.slices.len(), 4, "a slice for each list of ports and each family");
}

#[test]
fn a_name_is_of_one_protocol_and_sidecars_may_have_it() {
    let mut other = web(1, 8080, &json!({}));
    other["spec"]["containers"][0]["ports"][0]["protocol"] = json!("UDP");
    let sidecar = json!([
        { "name": "i", "ports": [{ "name": "http", "containerPort": 1 }] },
        { "name": "s", "restartPolicy": "Always", "ports": [{ "name": "http", "containerPort": 2 }] },
    ]);
    let with = |mut object: serde_json::Value| {
        object["spec"]["initContainers"] = sidecar.clone();
        object
    };
    let pods = vec![pod(other.clone()), pod(with(web(3, 8080, &json!({}))))];
    let shown_once = shown(&model(service(&named()), pods, Vec::new()));
    assert_eq!(shown_once, ["10.1.0.1: rs@node1/a>/", "10.1.0.3:8080 rs@node1/a>/"]);
    let shown = shown(&model(service(&named()), vec![pod(with(other))], Vec::new()));
    assert_eq!(shown, ["10.1.0.1:2 rs@node1/a>/"]);
}

#[test]
fn pods_are_ready_serving_and_terminating_as_they_say() {
    let mut going = web(3, 8080, &conditions("True"));
    going["metadata"]["deletionTimestamp"] = json!("2024-01-01T00:00:00Z");
    let mut going_unready = web(4, 8080, &conditions("False"));
    going_unready["metadata"]["deletionTimestamp"] = json!("2024-01-01T00:00:00Z");
    let all = || {
        let pods = vec![
            web(1, 8080, &conditions("True")),
            web(2, 8080, &conditions("False")),
            going.clone(),
            going_unready.clone(),
            web(5, 8080, &json!({ "phase": "Succeeded" })),
            web(6, 8080, &json!({ "phase": "Failed" })),
            web(7, 8080, &json!({ "phase": "Pending" })),
            web(8, 8080, &json!({ "conditions": [{ "type": "PodScheduled", "status": "True" }] })),
        ];
        pods.into_iter().map(pod).collect()
    };
    let rest = |last: u8| if last % 2 == 1 { "@node1/a>/" } else { "@node2/b>/" };
    let line = |last: u8, state: &str| format!("10.1.0.{last}:8080 {state}{}", rest(last));
    assert_eq!(
        shown(&model(service(&named()), all(), Vec::new())),
        [line(1, "rs"), line(2, ""), line(3, "st"), line(4, "t"), line(7, ""), line(8, "")]
    );
    let mut publish = named();
    publish["publishNotReadyAddresses"] = json!(true);
    assert_eq!(
        shown(&model(service(&publish), all(), Vec::new())),
        [line(1, "rs"), line(2, "r"), line(3, "rst"), line(4, "rt"), line(7, "r"), line(8, "r")]
    );
}

#[test]
fn traffic_distribution_becomes_hints_of_zones_and_nodes() {
    let hints = |distribution: &str| {
        let mut spec = named();
        spec["trafficDistribution"] = json!(distribution);
        let unready = pod(web(2, 80, &conditions("False")));
        shown(&model(service(&spec), vec![pod(web(1, 80, &json!({}))), unready], Vec::new()))
    };
    for name in ["PreferClose", "PreferSameZone"] {
        assert_eq!(hints(name), ["10.1.0.1:80 rs@node1/a>/a", "10.1.0.2:80 @node2/b>/"]);
    }
    let node = ["10.1.0.1:80 rs@node1/a>node1/a", "10.1.0.2:80 @node2/b>/"];
    assert_eq!(hints("PreferSameNode"), node);
}

#[test]
fn a_slice_that_somebody_wrote_keeps_its_name_and_counts_as_well() {
    let by_hand = EndpointSlice {
        name: SliceName::new("default", "web-ipv4-1"),
        service: None,
        family: Family::V4,
        endpoints: Vec::new(),
        ports: Vec::new(),
    };
    let model = model(service(&named()), vec![pod(web(1, 80, &json!({})))], vec![by_hand]);
    let names: Vec<_> = model.slices.keys().map(|name| name.name.as_str()).collect();
    assert_eq!(names, ["web-ipv4-1", "web-ipv4-2", "web-ipv6-1"]);
}

#[test]
fn slices_hold_a_hundred_endpoints() {
    let pod = |number: u8| {
        let mut object = web(number, 8080, &json!({}));
        object["status"]["podIPs"] = json!([{ "ip": format!("10.1.0.{number}") }]);
        pod(object)
    };
    let model = model(service(&named()), (1..=250).map(pod).collect(), Vec::new());
    let sizes: Vec<_> = model.slices.values().map(|slice| slice.endpoints.len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
}

/// Pods with few different labels, in two namespaces.
fn any_pods() -> impl Strategy<Value = Vec<Pod>> {
    let label = || select(vec!["", "x", "y"]);
    let one = (label(), label(), label(), select(vec!["default", "other"]), 0_u16..3);
    vec(one, 0..350).prop_map(|all| {
        let pod = |(index, (a, b, c, namespace, port)): (usize, (&str, &str, &str, &str, u16))| {
            let labels = [("a", a), ("b", b), ("c", c)].into_iter().filter(|(_, value)| !value.is_empty());
            let labels: BTreeMap<_, _> = labels.collect();
            pod(json!({
                "metadata": { "name": format!("p{index}"), "namespace": namespace, "labels": labels },
                "spec": { "containers": [
                    { "name": "c", "ports": [{ "name": "http", "containerPort": 8000 + port }] },
                ] },
                "status": { "podIP": format!("10.1.{}.{}", index / 250, index % 250 + 1) },
            }))
        };
        all.into_iter().enumerate().map(pod).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Every pod that the selector picks is an endpoint once, with its own number, and no other is; and no
    /// slice is larger than it may be.
    #[test]
    fn endpoints_are_the_pods_that_carry_all_labels_of_the_selector(
        pods in any_pods(),
        selector in proptest::collection::btree_map(select(vec!["a", "b", "c"]), select(vec!["x", "y"]), 1..3),
    ) {
        let spec = json!({ "selector": selector, "ports": [{ "port": 80, "targetPort": "http" }] });
        let mut expected: Vec<(String, u16)> = Vec::new();
        for pod in pods.iter().filter(|pod| pod.name.namespace == "default") {
            let picked = selector.iter().all(|(key, value)| pod.labels.get(*key).is_some_and(|v| v == value));
            if picked {
                expected.push((pod.addresses[0].to_string(), pod.ports[0].port.get()));
            }
        }
        expected.sort();
        let model = model(service(&spec), pods, Vec::new());
        let mut found = Vec::new();
        for slice in model.slices.values() {
            prop_assert!(slice.endpoints.len() <= 100 && !slice.endpoints.is_empty());
            let port = slice.ports[0].port.get();
            found.extend(slice.endpoints.iter().map(|endpoint| (endpoint.address.to_string(), port)));
        }
        found.sort();
        prop_assert_eq!(found, expected);
    }
}
