//! A control plane as a whole: what is told, and what is remembered by the next one.

use serde_json::json;

use super::*;
use crate::model::{Endpoint, Hints, SliceName};

fn config() -> Config {
    let ranges = ["10.96.0.0/24", "fd00:96::/112"].map(|text| text.parse().unwrap()).to_vec();
    Config { ranges, ..Config::default() }
}

fn service(name: &str, spec: &serde_json::Value) -> Arc<Service> {
    let object = json!({ "metadata": { "name": name }, "spec": spec });
    Arc::new(Service::try_from(&serde_json::from_value(object).unwrap()).unwrap())
}

fn objects(services: &[Arc<Service>]) -> Objects {
    let services = services.iter().map(|one| (one.name.clone(), one.clone())).collect();
    Objects { services, ..Objects::default() }
}

fn none_missing() -> Missing {
    Missing::Named(BTreeSet::new())
}

fn plain() -> serde_json::Value {
    json!({ "type": "NodePort", "ports": [{ "port": 80 }] })
}

#[test]
fn the_next_one_gives_the_same_and_refuses_what_may_not_change() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("deep/lb.redb");
    let config = || Config { ranges: vec!["10.96.0.0/29".parse().unwrap()], ..Config::default() };
    let services = ["a", "b", "c", "d", "e", "f"].map(|name| service(name, &plain()));
    let all = objects(&services);
    let mut control = ControlPlane::open(config(), &file).unwrap();
    // They come one after the other, the last one first.
    for there in (0..services.len()).rev() {
        control.admit(&objects(&services[there..]), &none_missing()).unwrap();
    }
    let first = control.admit(&all, &none_missing()).unwrap();
    drop(control);
    let fresh = ControlPlane::new(config()).admit(&all, &none_missing()).unwrap();
    assert_ne!(fresh, first, "without a memory it would come out otherwise");
    let mut next = ControlPlane::open(config(), &file).unwrap();
    assert_eq!(next.admit(&all, &none_missing()).unwrap(), first);
    drop(next);

    let mut next = ControlPlane::open(config(), &file).unwrap();
    let changed = service("a", &json!({ "clusterIP": "10.96.0.99", "ports": [{ "port": 80 }] }));
    let outcome = next.admit(&objects(&[changed]), &Missing::Unknown).unwrap();
    assert!(
        outcome.refused[0].invalid.to_string().contains("may not change"),
        "{:?}",
        outcome.refused
    );
    assert_eq!(outcome.model.services.len(), 0, "how it was is not known");
    assert_eq!(
        next.admit(&all, &none_missing()).unwrap(),
        first,
        "it has kept what it had, and others too"
    );
}

#[test]
fn a_store_is_one_processs_and_a_broken_one_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lb.redb");
    let first = ControlPlane::open(config(), &file).unwrap();
    let second = ControlPlane::open(config(), &file).unwrap_err().to_string();
    assert!(second.contains("another lb is running"), "{second}");
    drop(first);
    std::fs::write(&file, "no database").unwrap();
    let broken = ControlPlane::open(config(), &file).unwrap_err().to_string();
    assert!(broken.contains("move it away"), "{broken}");
}

#[test]
fn headless_services_have_slices_of_the_families_that_they_ask_for() {
    let families = |more: serde_json::Value| {
        let mut spec = json!({ "clusterIP": "None", "selector": { "app": "x" } });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let pod = json!({
            "metadata": { "name": "p", "labels": { "app": "x" } },
            "status": { "podIPs": [{ "ip": "10.1.0.1" }, { "ip": "fd01::1" }] },
        });
        let pod = Pod::try_from(&serde_json::from_value(pod).unwrap()).unwrap();
        let mut objects = objects(&[service("h", &spec)]);
        objects.pods.insert(pod.name.clone(), Arc::new(pod));
        let outcome = ControlPlane::new(config()).admit(&objects, &none_missing()).unwrap();
        outcome.model.slices.values().map(|slice| slice.family).collect::<Vec<_>>()
    };
    assert_eq!(families(json!({})), [Family::V4]);
    assert_eq!(families(json!({ "ipFamilies": ["IPv6"] })), [Family::V6]);
    assert_eq!(families(json!({ "ipFamilyPolicy": "PreferDualStack" })), [Family::V4, Family::V6]);
}

#[test]
fn an_endpoint_may_be_no_cluster_ip_that_was_chosen() {
    let one = objects(&[service("a", &plain())]);
    let mut control = ControlPlane::new(config());
    let address = control
        .admit(&one, &none_missing())
        .unwrap()
        .model
        .services
        .values()
        .next()
        .unwrap()
        .cluster_ips[0];
    let endpoint = Endpoint {
        address,
        ready: true,
        serving: true,
        terminating: false,
        node: None,
        zone: None,
        hints: Hints::default(),
        weight: 1,
    };
    let slice = EndpointSlice {
        name: SliceName::new("default", "s"),
        service: None,
        family: Family::V4,
        endpoints: vec![endpoint],
        ports: Vec::new(),
    };
    let objects = Objects { slices: vec![Arc::new(slice)], ..one };
    let refused = control.admit(&objects, &none_missing()).unwrap().refused;
    assert!(refused[0].invalid.to_string().contains("may not be a cluster IP"), "{refused:?}");
}

#[test]
fn older_endpoints_count_for_services_without_a_selector() {
    let older = json!({
        "metadata": { "name": "a" },
        "subsets": [{ "addresses": [{ "ip": "10.1.0.9" }], "ports": [{ "port": 8080 }] }],
    });
    let older = Endpoints::try_from(&serde_json::from_value(older).unwrap()).unwrap();
    let slices = |spec: serde_json::Value| {
        let mut objects = objects(&[service("a", &spec)]);
        objects.endpoints.insert(older.service.clone(), Arc::new(older.clone()));
        let outcome = ControlPlane::new(config()).admit(&objects, &none_missing()).unwrap();
        outcome.model.slices.len()
    };
    assert_eq!(slices(plain()), 1);
    let mut selecting = plain();
    selecting["selector"] = json!({ "app": "x" });
    assert_eq!(slices(selecting), 0);
}
