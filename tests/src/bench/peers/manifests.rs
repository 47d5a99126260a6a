//! A setup as Kubernetes objects, for `lb`.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
};

use serde_json::{Value, json};

use super::{
    Protocol, Service, Setup,
    view::{port_name, word},
};
use crate::lab::cast::Family;

/// How many endpoints are in a slice: as many as Kubernetes' controller puts there.
const SLICE: usize = 100;

/// Everything as one `List`, an object a line.
pub(super) fn list(setup: &Setup) -> String {
    let mut of_name: HashMap<&str, usize> = HashMap::new();
    let mut groups: Vec<Vec<&Service>> = Vec::new();
    for service in &setup.services {
        let index = *of_name.entry(&service.name).or_insert(groups.len());
        if index == groups.len() {
            groups.push(Vec::new());
        }
        groups[index].push(service);
    }
    let mut text = String::from("{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[");
    let slices = setup.services.iter().flat_map(slices);
    let objects = groups.iter().map(|group| object(group)).chain(slices);
    for (index, object) in objects.enumerate() {
        text.push_str(if index == 0 { "\n" } else { ",\n" });
        text.push_str(&object.to_string());
    }
    text.push_str("\n]}\n");
    text
}

/// The Service that some have the name of in common.
fn object(group: &[&Service]) -> Value {
    let mut addresses: Vec<IpAddr> = Vec::new();
    let mut ports: Vec<(Protocol, u16)> = Vec::new();
    let mut specs: Vec<Value> = Vec::new();
    for service in group {
        if !addresses.contains(&service.address) {
            addresses.push(service.address);
        }
        let key = (service.protocol, service.port);
        if !ports.contains(&key) {
            ports.push(key);
            specs.push(port(service));
        }
    }
    let node_ports = group.iter().any(|service| service.node_port.is_some());
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": group[0].name, "namespace": "default" },
        "spec": {
            "type": if node_ports { "NodePort" } else { "ClusterIP" },
            "clusterIP": addresses[0],
            "clusterIPs": addresses,
            "ipFamilyPolicy": "PreferDualStack",
            "ports": specs,
        },
    })
}

fn port(service: &Service) -> Value {
    let mut port = json!({
        "name": port_name(service),
        "protocol": word(service.protocol).to_uppercase(),
        "port": service.port,
    });
    if let Some(node_port) = service.node_port {
        port["nodePort"] = node_port.into();
    }
    port
}

/// The slices of one port in one family. All endpoints of a slice have the same port.
fn slices(service: &Service) -> Vec<Value> {
    let mut of_port: BTreeMap<u16, Vec<&SocketAddr>> = BTreeMap::new();
    for endpoint in &service.endpoints {
        of_port.entry(endpoint.port()).or_default().push(endpoint);
    }
    let slices = of_port.iter().flat_map(|(port, endpoints)| {
        endpoints.chunks(SLICE).enumerate().map(move |chunk| (*port, chunk))
    });
    slices.map(|(port, (number, endpoints))| slice(service, port, number, endpoints)).collect()
}

fn slice(service: &Service, port: u16, number: usize, endpoints: &[&SocketAddr]) -> Value {
    let (label, kind) = match Family::of(service.address) {
        Family::V4 => ("v4", "IPv4"),
        Family::V6 => ("v6", "IPv6"),
    };
    let (name, port_name) = (&service.name, port_name(service));
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|endpoint| json!({ "addresses": [endpoint.ip()], "conditions": { "ready": true } }))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{name}-{label}-{port_name}-{port}-{number}"),
            "namespace": "default",
            "labels": { "kubernetes.io/service-name": name },
        },
        "addressType": kind,
        "ports": [{
            "name": port_name,
            "protocol": word(service.protocol).to_uppercase(),
            "port": port,
        }],
        "endpoints": endpoints,
    })
}
