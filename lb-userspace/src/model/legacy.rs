//! `v1` Endpoints, which are older than slices: read as the slices that Kubernetes mirrors them into. Whether
//! they count is decided where slices are gathered.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;

use super::{
    Endpoint, EndpointPort, EndpointSlice, Family, Hints, Refused, ServiceName, SliceName, address,
    invalid::{Findings, Rule},
    name,
    service::{self, left_alone},
};

/// How many addresses of a subset are taken; Kubernetes itself writes no more.
const LARGEST: usize = 1000;
/// The label by which an object asks not to be mirrored.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// An annotation of objects that only say who leads.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

/// The endpoints of the Service that has their name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The Service.
    pub service: ServiceName,
    /// Its endpoints: a slice for each subset and family.
    pub slices: Vec<Arc<EndpointSlice>>,
    /// How many addresses were too many, and are left out.
    pub left_out: usize,
}

impl TryFrom<&api::Endpoints> for Endpoints {
    type Error = Refused;

    /// Reads and checks one object by itself; fails with everything that is wrong with it.
    fn try_from(object: &api::Endpoints) -> Result<Self, Refused> {
        let mut findings = Findings::default();
        let service = ServiceName::of(&object.metadata, &mut findings);
        let mut read = Self { service, slices: Vec::new(), left_out: 0 };
        for (index, subset) in object.subsets.iter().flatten().enumerate() {
            read.subset(subset, index, &mut findings);
        }
        if !is_mirrored(object) {
            read.slices.clear();
        }
        findings.into_result(read)
    }
}

fn is_mirrored(object: &api::Endpoints) -> bool {
    let labels = object.metadata.labels.as_ref();
    let annotations = object.metadata.annotations.as_ref();
    !left_alone(&object.metadata)
        && labels.and_then(|labels| labels.get(SKIP)).is_none_or(|value| value != "true")
        && annotations.is_none_or(|annotations| !annotations.contains_key(LEADER))
}

impl Endpoints {
    fn subset(&mut self, subset: &api::EndpointSubset, index: usize, findings: &mut Findings) {
        let field = format!("subsets[{index}]");
        let ready = subset.addresses.as_deref().unwrap_or_default();
        let unready = subset.not_ready_addresses.as_deref().unwrap_or_default();
        if ready.is_empty() && unready.is_empty() {
            let hint = "must specify `addresses` or `notReadyAddresses`";
            findings.add(&field, Rule::Required { hint });
        }
        let mut endpoints = addresses(ready, true, &format!("{field}.addresses"), findings);
        endpoints.extend(addresses(
            unready,
            false,
            &format!("{field}.notReadyAddresses"),
            findings,
        ));
        self.left_out += endpoints.len().saturating_sub(LARGEST);
        endpoints.truncate(LARGEST);
        let ports = ports(subset, &field, findings);
        for family in [Family::V4, Family::V6] {
            let of_family = endpoints.iter().filter(|one| Family::of(one.address) == family);
            let endpoints: Vec<Endpoint> = of_family.cloned().collect();
            if endpoints.is_empty() {
                continue;
            }
            // No slice that somebody writes has such a name.
            let name = format!("{}/{index}/{family}", self.service.name);
            self.slices.push(Arc::new(EndpointSlice {
                name: SliceName::new(&self.service.namespace, name),
                service: Some(self.service.clone()),
                family,
                endpoints,
                ports: ports.clone(),
            }));
        }
    }
}

fn addresses(
    addresses: &[api::EndpointAddress],
    ready: bool,
    field: &str,
    findings: &mut Findings,
) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for (index, one) in addresses.iter().enumerate() {
        let address = address::parse(&one.ip).and_then(address::not_special);
        let Some(address) = findings.check(format!("{field}[{index}].ip"), address) else {
            continue;
        };
        endpoints.push(Endpoint {
            address,
            ready,
            serving: ready,
            terminating: false,
            node: one.node_name.clone(),
            zone: None,
            hints: Hints::default(),
            weight: 1,
        });
    }
    endpoints
}

fn ports(subset: &api::EndpointSubset, field: &str, findings: &mut Findings) -> Vec<EndpointPort> {
    let written = subset.ports.as_deref().unwrap_or_default();
    let mut ports = Vec::new();
    for (index, port) in written.iter().enumerate() {
        let field = format!("{field}.ports[{index}]");
        let name = match port.name.as_deref().unwrap_or_default() {
            "" if written.len() > 1 => {
                Err(Rule::Required { hint: "several ports need a name for each" })
            }
            "" => Ok(None),
            text => name::dns_1123_label(text).map(|()| Some(text.to_owned())),
        };
        let name = findings.check(format!("{field}.name"), name);
        let protocol = service::protocol(port.protocol.as_deref());
        let protocol = findings.check(format!("{field}.protocol"), protocol);
        let number = findings.check(format!("{field}.port"), service::number(port.port));
        if let (Some(name), Some(protocol), Some(port_number)) = (name, protocol, number) {
            let app_protocol = port.app_protocol.clone();
            ports.push(EndpointPort { name, protocol, port: port_number, app_protocol });
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(object: serde_json::Value) -> Result<Endpoints, Vec<String>> {
        let shown = |refused: Refused| refused.0.iter().map(ToString::to_string).collect();
        Endpoints::try_from(&serde_json::from_value(object).unwrap()).map_err(shown)
    }

    fn object(subset: &serde_json::Value) -> serde_json::Value {
        json!({ "metadata": { "name": "web" }, "subsets": [subset] })
    }

    fn many(number: usize) -> Vec<serde_json::Value> {
        let ip =
            |index: usize| json!({ "ip": format!("10.1.{}.{}", index / 250, index % 250 + 1) });
        (0..number).map(ip).collect()
    }

    #[test]
    fn a_subset_becomes_a_slice_for_each_family() {
        let subset = json!({
            "addresses": [{ "ip": "10.1.0.1", "nodeName": "n" }, { "ip": "fd01::1" }],
            "notReadyAddresses": [{ "ip": "10.1.0.2" }],
            "ports": [{ "port": 8080, "appProtocol": "http" }],
        });
        let read = read(object(&subset)).unwrap();
        let line = |slice: &Arc<EndpointSlice>| {
            let of = |one: &Endpoint| format!("{} {} {:?}", one.address, one.ready, one.node);
            let endpoints: Vec<_> = slice.endpoints.iter().map(of).collect();
            format!("{} {}: {}", slice.family, slice.ports[0].port, endpoints.join(", "))
        };
        assert_eq!(
            read.slices.iter().map(line).collect::<Vec<_>>(),
            [
                "IPv4 8080: 10.1.0.1 true Some(\"n\"), 10.1.0.2 false None",
                "IPv6 8080: fd01::1 true None"
            ]
        );
    }

    #[test]
    fn a_thousand_addresses_of_a_subset_are_taken() {
        let read =
            read(object(&json!({ "addresses": many(1003), "ports": [{ "port": 1 }] }))).unwrap();
        assert_eq!((read.slices[0].endpoints.len(), read.left_out), (1000, 3));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field() {
        let subset = json!({
            "addresses": [{ "ip": "127.0.0.1" }, { "ip": "x" }],
            "ports": [{ "port": 0 }, { "name": "A", "port": 1, "protocol": "X" }],
        });
        let wrong = read(object(&subset)).unwrap_err();
        let fields: Vec<_> = wrong.iter().map(|line| line.split(": ").next().unwrap()).collect();
        let expected = [
            "subsets[0].addresses[0].ip",
            "subsets[0].addresses[1].ip",
            "subsets[0].ports[0].name",
            "subsets[0].ports[0].port",
            "subsets[0].ports[1].name",
            "subsets[0].ports[1].protocol",
        ];
        assert_eq!(fields, expected);
        assert_eq!(
            read(object(&json!({}))).unwrap_err(),
            ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"]
        );
    }

    #[test]
    fn who_asks_not_to_be_mirrored_or_only_says_who_leads_is_passed_over() {
        let slices = |metadata: serde_json::Value| {
            let mut object = object(&json!({ "addresses": [{ "ip": "10.1.0.1" }] }));
            object["metadata"] = metadata;
            read(object).unwrap().slices.len()
        };
        assert_eq!(slices(json!({ "name": "web", "labels": { SKIP: "false" } })), 1);
        assert_eq!(slices(json!({ "name": "web", "labels": { SKIP: "true" } })), 0);
        assert_eq!(slices(json!({ "name": "web", "annotations": { LEADER: "" } })), 0);
    }
}
