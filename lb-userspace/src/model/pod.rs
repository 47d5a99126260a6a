//! Pods, as far as they are endpoints: where they are, which ports they name, whether they answer.
//! Which Service they belong to is decided where slices are made of them.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::core::v1 as api;

use super::{Family, PodName, Port, Protocol, Refused, address, invalid::Findings, service};

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: PodName,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The node that it is on.
    pub node: Option<String>,
    /// Its addresses, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// The ports that its containers name, in the manifest's order.
    pub ports: Vec<ContainerPort>,
    /// Able to answer.
    pub ready: bool,
    /// Going.
    pub terminating: bool,
    /// Gone for good: it has succeeded or failed, and its address may be another's.
    pub finished: bool,
    /// How many flows it is to get beside others; 0: no new ones.
    pub weight: u16,
}

/// A port that a container names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPort {
    /// The name.
    pub name: String,
    /// The protocol.
    pub protocol: Protocol,
    /// The number.
    pub port: Port,
}

impl Pod {
    /// The number of a named port: the first container's that has one of this name and protocol.
    pub fn port(&self, name: &str, protocol: Protocol) -> Option<Port> {
        let found = self.ports.iter().find(|port| port.name == name && port.protocol == protocol);
        found.map(|port| port.port)
    }

    /// The address in a family.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| Family::of(*address) == family)
    }
}

impl TryFrom<&api::Pod> for Pod {
    type Error = Refused;

    /// Reads and checks one pod by itself; fails with everything that is wrong with it.
    fn try_from(object: &api::Pod) -> Result<Self, Refused> {
        let mut findings = Findings::default();
        let name = PodName::of(&object.metadata, &mut findings);
        let (spec, status) = (object.spec.as_ref(), object.status.as_ref());
        let addresses = addresses(status, &mut findings);
        let ports = ports(spec, &mut findings);
        let weight = service::weight(&object.metadata, &mut findings);
        let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or_default();
        findings.into_result(Self {
            name,
            labels: object.metadata.labels.clone().unwrap_or_default(),
            node: spec.and_then(|spec| spec.node_name.clone()).filter(|node| !node.is_empty()),
            addresses,
            ports,
            ready: ready(status, phase),
            terminating: object.metadata.deletion_timestamp.is_some(),
            finished: matches!(phase, "Succeeded" | "Failed"),
            weight,
        })
    }
}

/// Without a kubelet nobody reports conditions: a pod that has none at all, and isn't said to be in
/// another phase, is taken as ready.
fn ready(status: Option<&api::PodStatus>, phase: &str) -> bool {
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    match conditions.iter().find(|condition| condition.type_ == "Ready") {
        Some(condition) => condition.status == "True",
        None => conditions.is_empty() && matches!(phase, "" | "Running"),
    }
}

/// `podIPs`, and `podIP` where only that is written.
fn addresses(status: Option<&api::PodStatus>, findings: &mut Findings) -> Vec<IpAddr> {
    let Some(status) = status else { return Vec::new() };
    let plural = status.pod_ips.as_deref().unwrap_or_default();
    let texts: Vec<(String, &str)> = if plural.is_empty() {
        let singular = status.pod_ip.as_deref().filter(|text| !text.is_empty());
        singular.map(|text| ("status.podIP".to_owned(), text)).into_iter().collect()
    } else {
        let field = |index: usize| format!("status.podIPs[{index}].ip");
        plural.iter().enumerate().map(|(index, ip)| (field(index), ip.ip.as_str())).collect()
    };
    let mut addresses: Vec<IpAddr> = Vec::new();
    for (field, text) in texts {
        let address = address::parse(text).and_then(address::not_special);
        let Some(address) = findings.check(&field, address) else { continue };
        if addresses.iter().any(|other| Family::of(*other) == Family::of(address)) {
            let must = "may specify no more than one IP for each IP family";
            findings.add(field, super::Rule::invalid_text(text, must));
        }
        addresses.push(address);
    }
    addresses
}

/// The named ports of containers, and of init containers that go on running beside them.
fn ports(spec: Option<&api::PodSpec>, findings: &mut Findings) -> Vec<ContainerPort> {
    let Some(spec) = spec else { return Vec::new() };
    let sidecars = spec.init_containers.iter().flatten().enumerate();
    let sidecars = sidecars.filter(|(_, one)| one.restart_policy.as_deref() == Some("Always"));
    let containers = spec.containers.iter().enumerate().map(|one| ("containers", one));
    let all = containers.chain(sidecars.map(|one| ("initContainers", one)));
    let mut ports = Vec::new();
    for (list, (at, container)) in all {
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let Some(name) = port.name.clone().filter(|name| !name.is_empty()) else { continue };
            let field = format!("spec.{list}[{at}].ports[{index}]");
            let protocol = service::protocol(port.protocol.as_deref());
            let protocol = findings.check(format!("{field}.protocol"), protocol);
            let number = service::number(port.container_port);
            let number = findings.check(format!("{field}.containerPort"), number);
            if let (Some(protocol), Some(port)) = (protocol, number) {
                ports.push(ContainerPort { name, protocol, port });
            }
        }
    }
    ports
}
