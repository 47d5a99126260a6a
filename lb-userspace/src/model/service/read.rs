//! Reads a Service out of an API object. Rules of single fields stand in the sibling modules.

use k8s_openapi::api::core::v1 as api;

use super::{
    Proxying, Service, ServiceType,
    cluster_ips::{self, ClusterIps},
    left_alone, ports, traffic,
};
use crate::model::{
    Refused, ServiceName,
    invalid::{Findings, Rule},
};

impl TryFrom<&api::Service> for Service {
    type Error = Refused;

    /// Reads and checks one Service by itself; fails with everything that is wrong with it.
    fn try_from(object: &api::Service) -> Result<Self, Refused> {
        let mut findings = Findings::default();
        let name = ServiceName::of(&object.metadata, &mut findings);
        let default = api::ServiceSpec::default();
        let spec = object.spec.as_ref().unwrap_or(&default);

        let service_type = service_type(spec, &mut findings);
        let left_alone = left_alone(&object.metadata);
        let cluster_ips = cluster_ips::read(spec, service_type, left_alone, &mut findings);
        let proxying = proxying(service_type, left_alone, &cluster_ips);
        let ports = ports::read(spec, service_type, proxying, &mut findings);
        let traffic = traffic::read(object, spec, service_type, &mut findings);
        if service_type == ServiceType::ExternalName {
            external_name(spec, &mut findings);
        }

        let cluster_ips = cluster_ips.addresses();
        findings.into_result(Self { name, service_type, proxying, cluster_ips, ports, traffic })
    }
}

/// The type; one that is unknown is noted, and the rest is read as if it were the default.
fn service_type(spec: &api::ServiceSpec, findings: &mut Findings) -> ServiceType {
    let read = match spec.type_.as_deref().unwrap_or_default() {
        "" | "ClusterIP" => Ok(ServiceType::ClusterIp),
        "NodePort" => Ok(ServiceType::NodePort),
        "LoadBalancer" => Ok(ServiceType::LoadBalancer),
        "ExternalName" => Ok(ServiceType::ExternalName),
        other => Err(Rule::Unsupported {
            value: other.to_owned(),
            supported: &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        }),
    };
    findings.check("spec.type", read).unwrap_or(ServiceType::ClusterIp)
}

fn proxying(service_type: ServiceType, left_alone: bool, cluster_ips: &ClusterIps) -> Proxying {
    match (service_type, cluster_ips) {
        (ServiceType::ExternalName, _) => Proxying::ExternalName,
        (_, ClusterIps::Headless) => Proxying::Headless,
        _ if left_alone => Proxying::LeftAlone,
        _ => Proxying::Here,
    }
}

fn external_name(spec: &api::ServiceSpec, findings: &mut Findings) {
    if spec.external_name.as_deref().unwrap_or_default().is_empty() {
        let hint = "write the name that the Service stands for, as in `externalName: example.com`";
        findings.add("spec.externalName", Rule::Required { hint });
    }
}
