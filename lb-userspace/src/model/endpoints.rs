//! `EndpointSlices`: the addresses behind a Service, as the slices carry them. Which of them are
//! used is decided where tables are compiled.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::api::discovery::v1 as api;

use super::{
    Family, Port, Protocol, Refused, ServiceName, SliceName, address,
    invalid::{Findings, Rule},
    name,
    service::{self, left_alone, weight},
};

/// The label that says whose endpoints a slice holds.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Some of the endpoints of a Service, all of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Its name.
    pub name: SliceName,
    /// The Service, in the slice's namespace. `None`: nobody's, or not for us (it carries a label by
    /// which Services are left alone).
    pub service: Option<ServiceName>,
    /// The family of all its addresses.
    pub family: Family,
    /// The endpoints, in the slice's order.
    pub endpoints: Vec<Endpoint>,
    /// The ports that every endpoint has. Ports without a number are left out.
    pub ports: Vec<EndpointPort>,
}

/// One backend, usually a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address; the first one that the slice gives, as others have no meaning.
    pub address: IpAddr,
    /// Ready for traffic.
    pub ready: bool,
    /// Able to answer, even if it is going.
    pub serving: bool,
    /// Going.
    pub terminating: bool,
    /// The node that it is on.
    pub node: Option<String>,
    /// The zone that it is in.
    pub zone: Option<String>,
    /// For whom it is meant.
    pub hints: Hints,
    /// How many flows it is to get beside others; 0: no new ones.
    pub weight: u16,
}

/// For which nodes and zones an endpoint is meant; empty: nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Names of nodes.
    pub nodes: BTreeSet<String>,
    /// Names of zones.
    pub zones: BTreeSet<String>,
}

/// One port of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPort {
    /// The name, which is the name of the Service's port; `None` for the one port without a name.
    pub name: Option<String>,
    /// The protocol.
    pub protocol: Protocol,
    /// The number on these endpoints.
    pub port: Port,
    /// What is spoken above the protocol, for display.
    pub app_protocol: Option<AppProtocol>,
}

/// `appProtocol`, such as `kubernetes.io/h2c`: carried, not understood.
pub type AppProtocol = String;

impl TryFrom<&api::EndpointSlice> for EndpointSlice {
    type Error = Refused;

    /// Reads and checks one slice by itself; fails with everything that is wrong with it.
    fn try_from(object: &api::EndpointSlice) -> Result<Self, Refused> {
        let mut findings = Findings::default();
        let name = SliceName::of(&object.metadata, &mut findings);
        let service = service_of(object, &name, &mut findings);
        let ports = ports(object, &mut findings);
        let Some(family) = findings.check("addressType", family(&object.address_type)) else {
            return Err(findings.into_refused());
        };
        let endpoints = endpoints(object, family, &mut findings);
        findings.into_result(Self { name, service, family, endpoints, ports })
    }
}

fn service_of(
    object: &api::EndpointSlice,
    name: &SliceName,
    findings: &mut Findings,
) -> Option<ServiceName> {
    if left_alone(&object.metadata) {
        return None;
    }
    let service = object.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    let field = format!("metadata.labels[{SERVICE_NAME}]");
    findings.check(field, name::dns_1035_label(service))?;
    Some(ServiceName::new(&name.namespace, service))
}

fn family(address_type: &str) -> Result<Family, Rule> {
    match address_type {
        "" => Err(Rule::Required { hint: "write `addressType: IPv4` or `addressType: IPv6`" }),
        other => Family::parse(other),
    }
}

fn ports(object: &api::EndpointSlice, findings: &mut Findings) -> Vec<EndpointPort> {
    let mut ports: Vec<EndpointPort> = Vec::new();
    let mut names = BTreeSet::new();
    for (index, port) in object.ports.iter().flatten().enumerate() {
        let field = format!("ports[{index}]");
        let name = port.name.as_deref().unwrap_or_default();
        if !names.insert(name) {
            let rule = Rule::Duplicate { value: format!("{name:?}") };
            findings.add(format!("{field}.name"), rule);
        }
        if let Some(port) = one_port(port, &field, findings) {
            ports.push(port);
        }
    }
    ports
}

/// The port; `None` also if it has no number, which in the API means all ports, and to a service
/// proxy nothing.
fn one_port(
    port: &api::EndpointPort,
    field: &str,
    findings: &mut Findings,
) -> Option<EndpointPort> {
    let name = match port.name.as_deref().unwrap_or_default() {
        "" => Ok(None),
        text => name::dns_1123_label(text).map(|()| Some(text.to_owned())),
    };
    let name = findings.check(format!("{field}.name"), name);
    let protocol = service::protocol(port.protocol.as_deref());
    let protocol = findings.check(format!("{field}.protocol"), protocol);
    let number = findings.check(format!("{field}.port"), service::number(port.port?));
    let app_protocol = port.app_protocol.clone();
    Some(EndpointPort { name: name?, protocol: protocol?, port: number?, app_protocol })
}

fn endpoints(
    object: &api::EndpointSlice,
    family: Family,
    findings: &mut Findings,
) -> Vec<Endpoint> {
    let weight = weight(&object.metadata, findings);
    let mut endpoints = Vec::new();
    for (index, endpoint) in object.endpoints.iter().flatten().enumerate() {
        let field = format!("endpoints[{index}].addresses");
        let address = addresses(endpoint, family, &field, findings);
        endpoints.extend(address.map(|address| one_endpoint(endpoint, address, weight)));
    }
    endpoints
}

/// Checks all addresses and gives the first.
fn addresses(
    endpoint: &api::Endpoint,
    family: Family,
    field: &str,
    findings: &mut Findings,
) -> Option<IpAddr> {
    if endpoint.addresses.is_empty() {
        findings.add(field, Rule::Required { hint: "must contain at least 1 address" });
    }
    let mut first = None;
    for (index, text) in endpoint.addresses.iter().enumerate() {
        let address = address::parse_of(family, text).and_then(address::not_special);
        let address = findings.check(format!("{field}[{index}]"), address);
        first = first.or(address);
    }
    first
}

/// Conditions that are missing: ready, serving, not terminating (KEP-1672).
fn one_endpoint(endpoint: &api::Endpoint, address: IpAddr, weight: u16) -> Endpoint {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let hints = endpoint.hints.clone().unwrap_or_default();
    let nodes = hints.for_nodes.into_iter().flatten().map(|node| node.name);
    let zones = hints.for_zones.into_iter().flatten().map(|zone| zone.name);
    Endpoint {
        address,
        ready: conditions.ready.unwrap_or(true),
        serving: conditions.serving.unwrap_or(true),
        terminating: conditions.terminating.unwrap_or(false),
        node: endpoint.node_name.clone(),
        zone: endpoint.zone.clone(),
        hints: Hints { nodes: nodes.collect(), zones: zones.collect() },
        weight,
    }
}

#[cfg(test)]
mod tests;
