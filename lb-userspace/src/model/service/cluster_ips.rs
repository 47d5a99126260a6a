//! `spec.clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy`: which addresses a Service has.
//!
//! The API server's rules (`ValidateServiceClusterIPsRelatedFields`), less what needs a service
//! range: addresses are the ones that the object names. Others are chosen by the control plane.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::ServiceSpec;

use super::ServiceType;
use crate::model::{
    Family, address,
    invalid::{Findings, Rule},
};

/// What the fields say.
pub(super) enum ClusterIps {
    /// `None`: no proxying.
    Headless,
    /// These, at most one of each family; none if the type has none.
    Addresses(Vec<IpAddr>),
}

impl ClusterIps {
    pub(super) fn addresses(self) -> Vec<IpAddr> {
        match self {
            Self::Headless => Vec::new(),
            Self::Addresses(addresses) => addresses,
        }
    }
}

pub(super) fn read(
    spec: &ServiceSpec,
    service_type: ServiceType,
    findings: &mut Findings,
) -> (ClusterIps, Vec<Family>) {
    let singular = spec.cluster_ip.as_deref().unwrap_or_default();
    let plural = spec.cluster_ips.as_deref().unwrap_or_default();
    if service_type == ServiceType::ExternalName {
        none_for_external_name(singular, plural, findings);
        return (ClusterIps::Addresses(Vec::new()), Vec::new());
    }

    singular_agrees(singular, plural, findings);
    // An object written by hand usually has the singular only; the API server fills in the other.
    let texts: Vec<&str> = if plural.is_empty() {
        [singular].into_iter().filter(|text| !text.is_empty()).collect()
    } else {
        plural.iter().map(String::as_str).collect()
    };

    if texts.contains(&"None") {
        headless(service_type, &texts, findings);
        return (ClusterIps::Headless, families(spec, findings));
    }
    let addresses = parse(&texts, plural.is_empty(), findings);
    let families = families(spec, findings);
    families_agree(&addresses, &families, findings);
    policy_agrees(spec, texts.len(), families.len(), findings);
    (ClusterIps::Addresses(addresses), families)
}

fn none_for_external_name(singular: &str, plural: &[String], findings: &mut Findings) {
    let why = "may not be set for ExternalName services";
    if !singular.is_empty() {
        findings.add("spec.clusterIP", Rule::Forbidden { why });
    }
    if !plural.is_empty() {
        findings.add("spec.clusterIPs", Rule::Forbidden { why });
    }
}

fn singular_agrees(singular: &str, plural: &[String], findings: &mut Findings) {
    let Some(first) = plural.first() else { return };
    if singular.is_empty() {
        let must = "must be empty when `clusterIP` is not specified; write `clusterIP` as well";
        findings.add("spec.clusterIPs", Rule::Invalid { value: format!("{plural:?}"), must });
    } else if singular != first {
        let must = "first value must match `clusterIP`";
        findings.add("spec.clusterIPs", Rule::Invalid { value: format!("{plural:?}"), must });
    }
}

fn headless(service_type: ServiceType, texts: &[&str], findings: &mut Findings) {
    if texts.len() > 1 {
        let must = "'None' must be the first and only value";
        findings.add("spec.clusterIPs", Rule::Invalid { value: format!("{texts:?}"), must });
    }
    let must = match service_type {
        ServiceType::NodePort => "may not be set to 'None' for NodePort services",
        ServiceType::LoadBalancer => "may not be set to 'None' for LoadBalancer services",
        ServiceType::ClusterIp | ServiceType::ExternalName => return,
    };
    findings.add("spec.clusterIP", Rule::invalid_text("None", must));
}

fn parse(texts: &[&str], from_singular: bool, findings: &mut Findings) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    if texts.len() > 2 {
        let must = "may only hold up to 2 values";
        findings.add("spec.clusterIPs", Rule::Invalid { value: format!("{texts:?}"), must });
    }
    for (index, text) in texts.iter().enumerate() {
        let field = if from_singular {
            "spec.clusterIP".to_owned()
        } else {
            format!("spec.clusterIPs[{index}]")
        };
        let address = address::parse(text).and_then(address::for_a_service);
        let Some(address) = findings.check(field, address) else {
            continue;
        };
        if addresses.iter().any(|other| Family::of(*other) == Family::of(address)) {
            let must = "may specify no more than one IP for each IP family";
            findings.add("spec.clusterIPs", Rule::Invalid { value: format!("{texts:?}"), must });
        }
        addresses.push(address);
    }
    addresses
}

fn families(spec: &ServiceSpec, findings: &mut Findings) -> Vec<Family> {
    let mut families = Vec::new();
    for (index, name) in spec.ip_families.iter().flatten().enumerate() {
        let field = format!("spec.ipFamilies[{index}]");
        let Some(family) = findings.check(&field, Family::parse(name)) else {
            continue;
        };
        if families.contains(&family) {
            findings.add(field, Rule::Duplicate { value: format!("{name:?}") });
        }
        families.push(family);
    }
    families
}

fn families_agree(addresses: &[IpAddr], families: &[Family], findings: &mut Findings) {
    for (index, (address, family)) in addresses.iter().zip(families).enumerate() {
        if Family::of(*address) != *family {
            let must = match family {
                Family::V4 => "expected an IPv4 value as indicated by `ipFamilies`",
                Family::V6 => "expected an IPv6 value as indicated by `ipFamilies`",
            };
            let rule = Rule::invalid_text(&address.to_string(), must);
            findings.add(format!("spec.clusterIPs[{index}]"), rule);
        }
    }
}

fn policy_agrees(spec: &ServiceSpec, addresses: usize, families: usize, findings: &mut Findings) {
    let two = addresses > 1 || families > 1;
    let policy = spec.ip_family_policy.as_deref().unwrap_or_default();
    match policy {
        "" | "SingleStack" if two => {
            let must = "must be RequireDualStack or PreferDualStack when multiple cluster IPs or \
                        families are specified";
            findings.add("spec.ipFamilyPolicy", Rule::invalid_text(policy, must));
        }
        "" | "SingleStack" | "PreferDualStack" | "RequireDualStack" => {}
        other => findings.add(
            "spec.ipFamilyPolicy",
            Rule::Unsupported {
                value: other.to_owned(),
                supported: &["PreferDualStack", "RequireDualStack", "SingleStack"],
            },
        ),
    }
}

#[cfg(test)]
mod tests;
