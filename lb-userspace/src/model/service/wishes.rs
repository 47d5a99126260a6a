//! What a Service leaves to the control plane to choose, and what it says about the choice: families of
//! its cluster IPs, node ports, the address of its load balancer. Choosing is not done here.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::core::v1 as api;

use super::ServiceType;
use crate::model::{
    Family, address,
    invalid::{Findings, Rule},
    name,
};

/// What is to be chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// `spec.ipFamilies`, the first one first.
    pub families: Vec<Family>,
    /// `spec.ipFamilyPolicy`.
    pub policy: Option<FamilyPolicy>,
    /// Ports for which no node port is written get one.
    pub node_ports: bool,
    /// The load balancer that it asks for.
    pub balancer: Option<BalancerWish>,
}

/// `spec.ipFamilyPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyPolicy {
    /// One family.
    Single,
    /// Two, if there are two.
    Prefer,
    /// Two.
    Require,
}

impl FamilyPolicy {
    /// Its name in Kubernetes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Single => "SingleStack",
            Self::Prefer => "PreferDualStack",
            Self::Require => "RequireDualStack",
        }
    }
}

/// A load balancer that a Service asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BalancerWish {
    /// `spec.loadBalancerClass`; `None`: the default one.
    pub class: Option<String>,
    /// `spec.loadBalancerIP`.
    pub address: Option<IpAddr>,
    /// Only for clients in the own network.
    pub internal: bool,
    /// Somebody has written `status.loadBalancer`, so that there is nothing to choose.
    pub published: bool,
}

/// The annotations by which clouds are asked for an internal load balancer, with the values that do;
/// none: any value does.
const INTERNAL: &[(&str, &[&str])] = &[
    ("networking.gke.io/load-balancer-type", &["Internal"]),
    ("cloud.google.com/load-balancer-type", &["Internal"]),
    ("service.beta.kubernetes.io/aws-load-balancer-internal", &["true", "0.0.0.0/0"]),
    ("service.beta.kubernetes.io/aws-load-balancer-scheme", &["internal"]),
    ("service.beta.kubernetes.io/azure-load-balancer-internal", &["true"]),
    ("service.kubernetes.io/ibm-load-balancer-cloud-provider-ip-type", &["private"]),
    ("service.beta.kubernetes.io/openstack-internal-load-balancer", &["true"]),
    ("service.beta.kubernetes.io/cce-load-balancer-internal-vpc", &["true"]),
    ("service.kubernetes.io/qcloud-loadbalancer-internal-subnetid", &[]),
    ("service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type", &["intranet"]),
    ("service.beta.kubernetes.io/oci-load-balancer-internal", &["true"]),
];

pub(super) fn read(
    object: &api::Service,
    spec: &api::ServiceSpec,
    service_type: ServiceType,
    families: Vec<Family>,
    findings: &mut Findings,
) -> Wishes {
    let policy = match spec.ip_family_policy.as_deref() {
        Some("SingleStack") => Some(FamilyPolicy::Single),
        Some("PreferDualStack") => Some(FamilyPolicy::Prefer),
        Some("RequireDualStack") => Some(FamilyPolicy::Require),
        _ => None,
    };
    let node_ports = match service_type {
        ServiceType::NodePort => true,
        ServiceType::LoadBalancer => spec.allocate_load_balancer_node_ports != Some(false),
        ServiceType::ClusterIp | ServiceType::ExternalName => false,
    };
    let written = spec.allocate_load_balancer_node_ports.is_some();
    if written && service_type != ServiceType::LoadBalancer {
        let why = "may only be used when `type` is 'LoadBalancer'";
        findings.add("spec.allocateLoadBalancerNodePorts", Rule::Forbidden { why });
    }
    let balancer = balancer(object, spec, service_type, findings);
    Wishes { families, policy, node_ports, balancer }
}

fn balancer(
    object: &api::Service,
    spec: &api::ServiceSpec,
    service_type: ServiceType,
    findings: &mut Findings,
) -> Option<BalancerWish> {
    let class = spec.load_balancer_class.clone();
    if service_type != ServiceType::LoadBalancer {
        if class.is_some() {
            let why = "may only be used when `type` is 'LoadBalancer'";
            findings.add("spec.loadBalancerClass", Rule::Forbidden { why });
        }
        return None;
    }
    if let Some(class) = &class {
        findings.check("spec.loadBalancerClass", name::qualified(class));
    }
    let address = spec.load_balancer_ip.as_deref().filter(|text| !text.is_empty());
    let address = address.and_then(|text| {
        let address = address::parse(text).and_then(address::for_a_service);
        findings.check("spec.loadBalancerIP", address)
    });
    let status = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let published = status.is_some_and(|status| status.ingress.iter().flatten().next().is_some());
    let internal = object.metadata.annotations.as_ref().is_some_and(is_internal);
    Some(BalancerWish { class, address, internal, published })
}

fn is_internal(annotations: &BTreeMap<String, String>) -> bool {
    INTERNAL.iter().any(|(key, values)| {
        let value = annotations.get(*key);
        value.is_some_and(|value| values.is_empty() || values.contains(&value.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(object: serde_json::Value) -> Result<Wishes, Vec<String>> {
        let object: api::Service = serde_json::from_value(object).unwrap();
        let service = crate::model::Service::try_from(&object);
        let shown = |refused: crate::model::Refused| {
            refused.0.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        service.map(|service| service.wishes).map_err(shown)
    }

    fn object(spec: &serde_json::Value, annotations: &serde_json::Value) -> serde_json::Value {
        let mut spec = spec.clone();
        spec["ports"] = serde_json::json!([{ "port": 80 }]);
        let metadata = serde_json::json!({ "name": "web", "annotations": annotations });
        serde_json::json!({ "metadata": metadata, "spec": spec })
    }

    #[test]
    fn each_clouds_annotation_asks_for_an_internal_load_balancer_and_its_opposite_does_not() {
        let spec = serde_json::json!({ "type": "LoadBalancer" });
        let internal = |key: &str, value: &str| {
            let wishes = wishes(object(&spec, &serde_json::json!({ key: value }))).unwrap();
            wishes.balancer.unwrap().internal
        };
        for (key, values) in INTERNAL {
            let yes = values.first().copied().unwrap_or("subnet-1");
            assert!(internal(key, yes), "{key}: {yes}");
            assert_eq!(internal(key, "no"), values.is_empty(), "{key}");
        }
        assert!(!internal("example.com/other", "true"));
    }

    #[test]
    fn what_only_load_balancers_have_is_refused_elsewhere() {
        let spec = serde_json::json!({
            "loadBalancerClass": "example.com/a", "allocateLoadBalancerNodePorts": true,
        });
        assert_eq!(
            wishes(object(&spec, &serde_json::json!({}))).unwrap_err(),
            [
                "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is \
                 'LoadBalancer'",
                "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
            ]
        );
    }

    #[test]
    fn a_class_is_a_qualified_name() {
        let class = |class: &str| {
            let spec = serde_json::json!({ "type": "LoadBalancer", "loadBalancerClass": class });
            wishes(object(&spec, &serde_json::json!({})))
        };
        for good in ["internal-vip", "example.com/internal_vip", "A.b"] {
            assert!(class(good).is_ok(), "{good}");
        }
        for bad in ["", "a/b/c", "/a", "a/", "Example.com/a", "-a", &"a".repeat(64)] {
            assert!(class(bad).is_err(), "{bad}");
        }
    }
}
