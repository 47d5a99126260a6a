//! `spec.ports`: numbers, names, protocols, targets and node ports.

use k8s_openapi::{api::core::v1 as api, apimachinery::pkg::util::intstr::IntOrString};

use super::{Port, Protocol, Proxying, ServicePort, ServiceType, TargetPort};
use crate::model::{
    invalid::{Findings, Rule},
    name,
};

/// The ports that could be read. What is wrong is noted, so the list is whole if nothing is.
pub(super) fn read(
    spec: &api::ServiceSpec,
    service_type: ServiceType,
    proxying: Proxying,
    findings: &mut Findings,
) -> Vec<ServicePort> {
    let ports = spec.ports.as_deref().unwrap_or_default();
    if ports.is_empty() && !matches!(proxying, Proxying::Headless | Proxying::ExternalName) {
        findings.add("spec.ports", Rule::Required { hint: "write at least one port" });
    }
    let mut read: Vec<ServicePort> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        let Some(port) = one(port, &field, ports.len() > 1, service_type, findings) else {
            continue;
        };
        differs_from(&read, &port, &field, findings);
        read.push(port);
    }
    read
}

/// Reads a protocol as Services and slices write it; TCP if they don't.
pub(in crate::model) fn protocol(text: Option<&str>) -> Result<Protocol, Rule> {
    match text.unwrap_or_default() {
        "" | "TCP" => Ok(Protocol::Tcp),
        "UDP" => Ok(Protocol::Udp),
        "SCTP" => Ok(Protocol::Sctp),
        other => {
            Err(Rule::Unsupported { value: other.to_owned(), supported: &["SCTP", "TCP", "UDP"] })
        }
    }
}

/// Reads a port number.
pub(in crate::model) fn number(value: i32) -> Result<Port, Rule> {
    let port = u16::try_from(value).ok().and_then(Port::new);
    port.ok_or_else(|| Rule::invalid_number(value, "must be between 1 and 65535, inclusive"))
}

/// The node port that is written. Whether it is in the range, and which one there is where none is
/// written, is for the control plane to say.
fn node_port(written: Option<i32>, service_type: ServiceType) -> Result<Option<Port>, Rule> {
    // The API knows no difference between zero and absent.
    let Some(written) = written.filter(|port| *port != 0) else { return Ok(None) };
    let why = match service_type {
        ServiceType::ClusterIp => "may not be used when `type` is 'ClusterIP'",
        ServiceType::ExternalName => "may not be used when `type` is 'ExternalName'",
        ServiceType::NodePort | ServiceType::LoadBalancer => return number(written).map(Some),
    };
    Err(Rule::Forbidden { why })
}

fn one(
    port: &api::ServicePort,
    field: &str,
    one_of_several: bool,
    service_type: ServiceType,
    findings: &mut Findings,
) -> Option<ServicePort> {
    let name = findings.check(format!("{field}.name"), port_name(port, one_of_several));
    let protocol = findings.check(format!("{field}.protocol"), protocol(port.protocol.as_deref()));
    let number = findings.check(format!("{field}.port"), number(port.port));
    let target = target(port.target_port.as_ref(), number);
    let target = findings.check(format!("{field}.targetPort"), target);
    let node_port = node_port(port.node_port, service_type);
    let node_port = findings.check(format!("{field}.nodePort"), node_port);
    let app_protocol = port.app_protocol.clone();
    if let Some(text) = &app_protocol {
        findings.check(format!("{field}.appProtocol"), name::qualified(text));
    }
    Some(ServicePort {
        name: name?,
        protocol: protocol?,
        port: number?,
        target: target??,
        node_port: node_port?,
        app_protocol,
    })
}

fn port_name(port: &api::ServicePort, one_of_several: bool) -> Result<Option<String>, Rule> {
    match port.name.as_deref().unwrap_or_default() {
        "" if one_of_several => {
            Err(Rule::Required { hint: "a Service with several ports needs a name for each" })
        }
        "" => Ok(None),
        text => name::dns_1123_label(text).map(|()| Some(text.to_owned())),
    }
}

/// The target; the port's own number unless written. `None` only if that number is wrong itself.
fn target(
    written: Option<&IntOrString>,
    default: Option<Port>,
) -> Result<Option<TargetPort>, Rule> {
    match written {
        None | Some(IntOrString::Int(0)) => Ok(default.map(TargetPort::Number)),
        Some(IntOrString::String(text)) if text.is_empty() => Ok(default.map(TargetPort::Number)),
        Some(IntOrString::Int(value)) => number(*value).map(|port| Some(TargetPort::Number(port))),
        Some(IntOrString::String(text)) => {
            container_port_name(text).map(|()| Some(TargetPort::Name(text.clone())))
        }
    }
}

/// What a pod may name a port: an IANA service name (RFC 6335, section 5.1).
fn container_port_name(text: &str) -> Result<(), Rule> {
    let must = if text.len() > 15 {
        "must be no more than 15 characters"
    } else if !text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-') {
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
    } else if !text.bytes().any(|c| c.is_ascii_lowercase()) {
        "must contain at least one letter (a-z)"
    } else if text.contains("--") {
        "must not contain consecutive hyphens"
    } else if text.starts_with('-') || text.ends_with('-') {
        "must not begin or end with a hyphen"
    } else {
        return Ok(());
    };
    Err(Rule::invalid_text(text, must))
}

fn differs_from(others: &[ServicePort], port: &ServicePort, field: &str, findings: &mut Findings) {
    let same = |differing: fn(&ServicePort, &ServicePort) -> bool| {
        others.iter().any(|other| differing(other, port))
    };
    if same(|a, b| a.name.is_some() && a.name == b.name) {
        let value = format!("{:?}", port.name.as_deref().unwrap_or_default());
        findings.add(format!("{field}.name"), Rule::Duplicate { value });
    }
    if same(|a, b| a.port == b.port && a.protocol == b.protocol) {
        let value = format!("{}/{}", port.port, port.protocol);
        findings.add(field, Rule::Duplicate { value });
    }
    let same_node_port = same(|a, b| {
        a.node_port.is_some() && a.node_port == b.node_port && a.protocol == b.protocol
    });
    if let (true, Some(node_port)) = (same_node_port, port.node_port) {
        let rule = Rule::Duplicate { value: node_port.to_string() };
        findings.add(format!("{field}.nodePort"), rule);
    }
}

#[cfg(test)]
mod tests;
