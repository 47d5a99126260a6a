//! Where a Service is reached beside its cluster IP and node ports, by whom, and which of its endpoints a
//! client is given: `externalIPs`, `status.loadBalancer`, `loadBalancerSourceRanges`, the traffic policies,
//! session affinity, and the port of its health checks. How flows are spread is `balancing.rs`.

use std::net::IpAddr;

use k8s_openapi::api::core::v1 as api;

use super::{
    Port, ServiceType, annotations,
    balancing::{self, Balancing},
    number,
};
use crate::model::{
    address::{self, IpRange},
    invalid::{Findings, Rule},
};

/// What the API server fills in where `sessionAffinity: ClientIP` says no time-out.
const DEFAULT_AFFINITY: i32 = 10_800;
/// The longest that there may be: a day.
const LONGEST_AFFINITY: i32 = 86_400;

/// A Service's further addresses, and the rules for its traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// The addresses of its load balancer that nodes capture; those with `ipMode: Proxy` are not.
    pub load_balancer_ips: Vec<IpAddr>,
    /// From where clients may come to the load balancer's addresses; none: from everywhere.
    pub source_ranges: Vec<IpRange>,
    /// Which endpoints the cluster IP leads to.
    pub internal_policy: TrafficPolicy,
    /// Which endpoints all other addresses lead to, for clients outside the cluster.
    pub external_policy: TrafficPolicy,
    /// Seconds for which a client stays with its endpoint.
    pub affinity: Option<u32>,
    /// Where a load balancer asks whether this node has endpoints. As long as the control plane has not seen
    /// it: what is written.
    pub health_check_port: Option<Port>,
    /// Sockets are not given an endpoint when they connect; packets are translated.
    pub packets_only: bool,
    /// How its flows are spread over the endpoints.
    pub balancing: Balancing,
}

/// `internalTrafficPolicy` and `externalTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// All endpoints.
    #[default]
    Cluster,
    /// Those on the node at which the client comes in.
    Local,
}

pub(super) fn read(
    object: &api::Service,
    spec: &api::ServiceSpec,
    service_type: ServiceType,
    findings: &mut Findings,
) -> Traffic {
    let external_ips = external_ips(spec, findings);
    let external_policy = external_policy(spec, service_type, findings);
    Traffic {
        external_policy,
        external_ips,
        load_balancer_ips: load_balancer_ips(object, service_type, findings),
        source_ranges: source_ranges(spec, service_type, findings),
        internal_policy: policy(
            spec.internal_traffic_policy.as_deref(),
            "spec.internalTrafficPolicy",
            findings,
        ),
        affinity: affinity(spec, findings),
        health_check_port: health_check_port(spec, service_type, external_policy, findings),
        packets_only: annotations::packets_only(&object.metadata, findings),
        balancing: balancing::read(&object.metadata, findings),
    }
}

fn external_ips(spec: &api::ServiceSpec, findings: &mut Findings) -> Vec<IpAddr> {
    let texts = spec.external_ips.iter().flatten().enumerate();
    texts
        .filter_map(|(index, text)| {
            let address = address::parse(text).and_then(address::for_a_service);
            findings.check(format!("spec.externalIPs[{index}]"), address)
        })
        .collect()
}

fn load_balancer_ips(
    object: &api::Service,
    service_type: ServiceType,
    findings: &mut Findings,
) -> Vec<IpAddr> {
    let status = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|status| status.ingress.as_deref()).unwrap_or_default();
    if service_type != ServiceType::LoadBalancer {
        if !ingress.is_empty() {
            let why = "may only be used when `spec.type` is LoadBalancer";
            findings.add("status.loadBalancer.ingress", Rule::Forbidden { why });
        }
        return Vec::new();
    }
    let all = ingress.iter().enumerate();
    all.filter_map(|(index, ingress)| {
        let field = format!("status.loadBalancer.ingress[{index}]");
        captured(ingress, &field, findings)
    })
    .collect()
}

/// An ingress's address, if nodes capture it. One with a name only is somebody else's.
fn captured(
    ingress: &api::LoadBalancerIngress,
    field: &str,
    findings: &mut Findings,
) -> Option<IpAddr> {
    let text = ingress.ip.as_deref().filter(|text| !text.is_empty());
    let is_vip = match (ingress.ip_mode.as_deref(), text) {
        (Some(_), None) => {
            Err(Rule::Forbidden { why: "may not be specified when `ip` is not set" })
        }
        (None | Some("VIP"), _) => Ok(true),
        (Some("Proxy"), _) => Ok(false),
        (Some(other), _) => {
            Err(Rule::Unsupported { value: other.to_owned(), supported: &["Proxy", "VIP"] })
        }
    };
    let is_vip = findings.check(format!("{field}.ipMode"), is_vip);
    let address = address::parse(text?).and_then(address::for_a_service);
    let address = findings.check(format!("{field}.ip"), address);
    address.filter(|_| is_vip == Some(true))
}

fn source_ranges(
    spec: &api::ServiceSpec,
    service_type: ServiceType,
    findings: &mut Findings,
) -> Vec<IpRange> {
    let texts = spec.load_balancer_source_ranges.as_deref().unwrap_or_default();
    if !texts.is_empty() && service_type != ServiceType::LoadBalancer {
        let why = "may only be used when `type` is 'LoadBalancer'";
        findings.add("spec.loadBalancerSourceRanges", Rule::Forbidden { why });
    }
    let all = texts.iter().enumerate();
    all.filter_map(|(index, text)| {
        // The API server allows for spaces around them, for old times' sake.
        let range = IpRange::parse(text.trim());
        findings.check(format!("spec.loadBalancerSourceRanges[{index}]"), range)
    })
    .collect()
}

fn policy(text: Option<&str>, field: &str, findings: &mut Findings) -> TrafficPolicy {
    let policy = match text.unwrap_or_default() {
        "" | "Cluster" => Ok(TrafficPolicy::Cluster),
        "Local" => Ok(TrafficPolicy::Local),
        other => {
            Err(Rule::Unsupported { value: other.to_owned(), supported: &["Cluster", "Local"] })
        }
    };
    findings.check(field, policy).unwrap_or_default()
}

/// The external policy, which only Services have that are reached from outside.
fn external_policy(
    spec: &api::ServiceSpec,
    service_type: ServiceType,
    findings: &mut Findings,
) -> TrafficPolicy {
    let field = "spec.externalTrafficPolicy";
    let text = spec.external_traffic_policy.as_deref().unwrap_or_default();
    let accessible = match service_type {
        ServiceType::NodePort | ServiceType::LoadBalancer => true,
        ServiceType::ClusterIp => spec.external_ips.as_ref().is_some_and(|all| !all.is_empty()),
        ServiceType::ExternalName => false,
    };
    if !text.is_empty() && !accessible {
        let must = "may only be set for externally-accessible services";
        findings.add(field, Rule::invalid_text(text, must));
        return TrafficPolicy::Cluster;
    }
    policy(Some(text), field, findings)
}

/// The written port, which only Services have that need one ([`super::Service::needs_health_check`]).
fn health_check_port(
    spec: &api::ServiceSpec,
    service_type: ServiceType,
    external_policy: TrafficPolicy,
    findings: &mut Findings,
) -> Option<Port> {
    let written = spec.health_check_node_port.filter(|written| *written != 0)?;
    let port = if needs_health_check(service_type, external_policy) {
        number(written)
    } else {
        let must =
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        Err(Rule::invalid_number(written, must))
    };
    findings.check("spec.healthCheckNodePort", port)
}

/// Whether somebody in front of the nodes has to know which of them have endpoints.
pub(super) fn needs_health_check(
    service_type: ServiceType,
    external_policy: TrafficPolicy,
) -> bool {
    service_type == ServiceType::LoadBalancer && external_policy == TrafficPolicy::Local
}

fn affinity(spec: &api::ServiceSpec, findings: &mut Findings) -> Option<u32> {
    let config = spec.session_affinity_config.as_ref();
    match spec.session_affinity.as_deref().unwrap_or_default() {
        "ClientIP" => {}
        "" | "None" => {
            if config.is_some() {
                let why = "must not be set when session affinity is None";
                findings.add("spec.sessionAffinityConfig", Rule::Forbidden { why });
            }
            return None;
        }
        other => {
            let supported = &["ClientIP", "None"];
            let rule = Rule::Unsupported { value: other.to_owned(), supported };
            findings.add("spec.sessionAffinity", rule);
            return None;
        }
    }
    let written = config.and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    let seconds = written.unwrap_or(DEFAULT_AFFINITY);
    let checked = if (1..=LONGEST_AFFINITY).contains(&seconds) {
        Ok(seconds.unsigned_abs())
    } else {
        let must = "must be greater than 0 and less than or equal to 86400";
        Err(Rule::invalid_number(seconds, must))
    };
    findings.check("spec.sessionAffinityConfig.clientIP.timeoutSeconds", checked)
}

#[cfg(test)]
mod tests;
