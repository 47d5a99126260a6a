//! Reads a Service out of an API object. Rules of single fields stand in the sibling modules.

use k8s_openapi::api::core::v1 as api;

use super::{
    Proxying, Service, ServiceType,
    cluster_ips::{self, ClusterIps},
    left_alone, pods, ports, traffic, wishes,
};
use crate::model::{
    Refused, ServiceName,
    invalid::{Findings, Rule},
    name,
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
        let (cluster_ips, families) = cluster_ips::read(spec, service_type, &mut findings);
        let proxying = proxying(service_type, left_alone, &cluster_ips);
        let ports = ports::read(spec, service_type, proxying, &mut findings);
        let traffic = traffic::read(object, spec, service_type, &mut findings);
        let pods = pods::read(spec, service_type, &mut findings);
        let wishes = wishes::read(object, spec, service_type, families, &mut findings);
        if service_type == ServiceType::ExternalName {
            external_name(spec, &mut findings);
        }

        let cluster_ips = cluster_ips.addresses();
        findings.into_result(Self {
            name,
            service_type,
            proxying,
            cluster_ips,
            ports,
            traffic,
            pods,
            wishes,
        })
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
    let field = "spec.externalName";
    let text = spec.external_name.as_deref().unwrap_or_default();
    if text.is_empty() {
        let hint = "write the name that the Service stands for, as in `externalName: example.com`";
        findings.add(field, Rule::Required { hint });
    } else {
        // A name may end in a dot, and digits and dots are a name.
        findings.check(field, name::dns_1123_subdomain(text.strip_suffix('.').unwrap_or(text)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(spec: &serde_json::Value) -> Vec<String> {
        let object = serde_json::json!({ "metadata": { "name": "web" }, "spec": spec });
        let service = Service::try_from(&serde_json::from_value(object).unwrap());
        let refused = service.err().map_or(Vec::new(), |refused| refused.0);
        refused.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_external_name_is_a_name_and_digits_and_dots_are_one() {
        for good in ["example.com", "example.com.", "10.0.0.1"] {
            let spec = serde_json::json!({ "type": "ExternalName", "externalName": good });
            assert_eq!(wrong(&spec), [""; 0], "{good}");
        }
        for bad in ["", "Example.com", "a..b", "fd00::1"] {
            let spec = serde_json::json!({ "type": "ExternalName", "externalName": bad });
            assert_eq!(wrong(&spec).len(), 1, "{bad}");
        }
    }

    #[test]
    fn labels_of_a_selector_and_app_protocols_are_checked() {
        let spec = |key: &str, value: &str, app: &str| {
            let port = serde_json::json!({ "port": 80, "appProtocol": app });
            serde_json::json!({ "selector": { key: value }, "ports": [port] })
        };
        for value in ["", "a.b_c", "1"] {
            assert_eq!(
                wrong(&spec("example.com/app", value, "kubernetes.io/h2c")),
                [""; 0],
                "{value}"
            );
        }
        let expected = [
            "spec.ports[0].appProtocol: Invalid value: \"a b\": name part must consist of",
            "spec.selector: Invalid value: \"-\": name part must consist of",
            "spec.selector: Invalid value: \"a b\": a valid label must be an empty string or consist",
        ];
        let wrong = wrong(&spec("-", "a b", "a b"));
        assert_eq!(wrong.len(), expected.len(), "{wrong:?}");
        for (found, expected) in wrong.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}");
        }
    }
}
