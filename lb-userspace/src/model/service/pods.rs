//! Which pods are a Service's endpoints, and for whom each of them is: `spec.selector`,
//! `publishNotReadyAddresses` and `trafficDistribution`. Finding the pods is not done here.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as api;

use super::ServiceType;
use crate::model::{
    Pod,
    invalid::{Findings, Rule},
    name,
};

/// A Service's pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    /// The labels that its pods carry; none: it has no selector, and its endpoints come from slices
    /// that somebody writes.
    pub selector: BTreeMap<String, String>,
    /// Pods that are not ready count as ready.
    pub publish_not_ready: bool,
    /// Which clients its endpoints are for.
    pub distribution: Distribution,
}

/// `spec.trafficDistribution`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distribution {
    /// Each endpoint is for everybody.
    #[default]
    Any,
    /// For clients in its zone (`PreferSameZone`, and `PreferClose`, its older name).
    SameZone,
    /// For clients on its node, else in its zone (`PreferSameNode`).
    SameNode,
}

impl Pods {
    /// Whether a selector picks this pod, namespaces aside. No selector picks none.
    pub fn pick(&self, pod: &Pod) -> bool {
        !self.selector.is_empty()
            && self.selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
    }
}

pub(super) fn read(
    spec: &api::ServiceSpec,
    service_type: ServiceType,
    findings: &mut Findings,
) -> Pods {
    // Names in DNS have no endpoints, whatever the selector says.
    let selector = match service_type {
        ServiceType::ExternalName => BTreeMap::new(),
        _ => spec.selector.clone().unwrap_or_default(),
    };
    for (key, value) in spec.selector.iter().flatten() {
        findings.check("spec.selector", name::qualified(key));
        findings.check("spec.selector", name::label_value(value));
    }
    let distribution = match spec.traffic_distribution.as_deref().unwrap_or_default() {
        "" => Ok(Distribution::Any),
        "PreferClose" | "PreferSameZone" => Ok(Distribution::SameZone),
        "PreferSameNode" => Ok(Distribution::SameNode),
        other => Err(Rule::Unsupported {
            value: other.to_owned(),
            supported: &["PreferClose", "PreferSameNode", "PreferSameZone"],
        }),
    };
    Pods {
        selector,
        publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
        distribution: findings.check("spec.trafficDistribution", distribution).unwrap_or_default(),
    }
}
