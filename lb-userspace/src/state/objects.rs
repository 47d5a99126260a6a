//! Services as objects, with what they were given: what Kubernetes would write into their `spec` and
//! `status`.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{
    control::Record,
    model::{FamilyPolicy, Service, ServiceName, ServiceType},
    source::Snapshot,
};

/// A Service with what it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceObject {
    /// Namespace and name.
    pub service: String,
    /// `spec.type`.
    #[serde(rename = "type")]
    pub service_type: String,
    /// `spec.clusterIPs`.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.ipFamilyPolicy`, as it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_family_policy: Option<String>,
    /// `spec.loadBalancerClass`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,
    /// Its node ports by the names of its ports, or their numbers.
    pub node_ports: BTreeMap<String, u16>,
    /// `spec.healthCheckNodePort`.
    pub health_check_node_port: Option<u16>,
    /// `appProtocol` by the names of its ports, or their numbers.
    pub app_protocols: BTreeMap<String, String>,
    /// `status.loadBalancer`.
    pub load_balancer: LoadBalancer,
    /// Why its load balancer has no address.
    pub pending: Option<String>,
}

/// `status.loadBalancer`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// Where it is reached.
    pub ingress: Vec<Ingress>,
}

/// One of its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ingress {
    /// The address.
    pub ip: IpAddr,
    /// `VIP`: nodes capture it.
    #[serde(rename = "ipMode")]
    pub ip_mode: String,
}

impl ServiceObject {
    /// All Services of a snapshot.
    pub fn all(snapshot: &Snapshot) -> Vec<Self> {
        let services = snapshot.model.services.values();
        services.map(|service| Self::of(service, snapshot.pending.get(&service.name))).collect()
    }

    fn of(service: &Service, pending: Option<&String>) -> Self {
        let name = |port: &crate::model::ServicePort| {
            port.name.clone().unwrap_or_else(|| port.port.to_string())
        };
        let ports = service.ports.iter();
        let node_port =
            |port: &crate::model::ServicePort| Some((name(port), port.node_port?.get()));
        let app_protocol =
            |port: &crate::model::ServicePort| Some((name(port), port.app_protocol.clone()?));
        let ingress = |ip: &IpAddr| Ingress { ip: *ip, ip_mode: "VIP".to_owned() };
        let balancer = service.wishes.balancer.as_ref();
        let is_balancer = service.service_type == ServiceType::LoadBalancer;
        let addresses = service.traffic.load_balancer_ips.iter().filter(|_| is_balancer);
        Self {
            service: service.name.to_string(),
            service_type: service.service_type.to_string(),
            cluster_ips: service.cluster_ips.clone(),
            ip_family_policy: service.wishes.policy.map(|policy| policy.name().to_owned()),
            load_balancer_class: balancer.and_then(|balancer| balancer.class.clone()),
            node_ports: ports.clone().filter_map(node_port).collect(),
            health_check_node_port: service.traffic.health_check_port.map(crate::model::Port::get),
            app_protocols: ports.filter_map(app_protocol).collect(),
            load_balancer: LoadBalancer { ingress: addresses.map(ingress).collect() },
            pending: pending.cloned(),
        }
    }

    /// Its name, and what the control plane remembers of it. Of the addresses of a load balancer that are not
    /// of its pools it makes nothing.
    pub fn record(&self) -> Option<(ServiceName, Record)> {
        let (namespace, name) = self.service.split_once('/')?;
        let external_name = self.service_type == ServiceType::ExternalName.to_string();
        let mut node_ports = self.node_ports.clone();
        // The one port of a Service may have no name, and goes by its number then.
        if let [(key, port)] = &self.node_ports.iter().collect::<Vec<_>>()[..]
            && key.parse::<u16>().is_ok()
        {
            node_ports.insert(String::new(), **port);
        }
        let record = Record {
            external_name,
            prefers_two: self.ip_family_policy.as_deref() == Some(FamilyPolicy::Prefer.name()),
            headless: !external_name && self.cluster_ips.is_empty(),
            cluster_ips: self.cluster_ips.clone(),
            node_ports,
            health_check_port: self.health_check_node_port,
            balancer: self.service_type == ServiceType::LoadBalancer.to_string(),
            class: self.load_balancer_class.clone(),
            balancer_ips: self.load_balancer.ingress.iter().map(|ingress| ingress.ip).collect(),
        };
        Some((ServiceName::new(namespace, name), record))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        control::{Config, ControlPlane, Ledger},
        source::manifests,
    };

    const SERVICES: &str = "\
apiVersion: v1
kind: Service
metadata: {name: one}
spec: {type: LoadBalancer, loadBalancerClass: a.b/c, ipFamilyPolicy: PreferDualStack, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: two, namespace: b}
spec: {type: NodePort, ports: [{name: a, port: 80}, {name: b, port: 81}]}
---
apiVersion: v1
kind: Service
metadata: {name: none}
spec: {clusterIP: None, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {type: ExternalName, externalName: example.com}
";

    fn config() -> Config {
        let ranges = vec!["10.96.0.0/16".parse().unwrap(), "fd00:96::/112".parse().unwrap()];
        let pools = vec!["a.b/c=203.0.113.0/28".parse().unwrap()];
        Config { ranges, pools, ..Config::default() }
    }

    fn read(directory: &Path, control: &mut ControlPlane) -> Snapshot {
        let snapshot = manifests::examine(directory, control).unwrap().snapshot;
        snapshot.without_problems().unwrap()
    }

    #[test]
    fn whoever_knows_what_is_told_gives_the_same_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("all.yaml");
        // What is chosen depends on who comes first, so those of before must be known to come out the same.
        std::fs::write(&file, SERVICES).unwrap();
        let mut control = ControlPlane::new(config());
        let before = read(directory.path(), &mut control);
        let told = ServiceObject::all(&before);
        let text = serde_json::to_string(&told).unwrap();
        let told: Vec<ServiceObject> = serde_json::from_str(&text).unwrap();
        let ledger = told.iter().filter_map(ServiceObject::record).collect();
        let mut knowing = ControlPlane::knowing(config(), ledger);
        assert_eq!(read(directory.path(), &mut knowing), before);
        let strip = |ledger: &Ledger| {
            // What stands under the number, too, in case that is the port's name.
            let mut ledger = ledger.clone();
            for one in ledger.values_mut() {
                one.node_ports.retain(|name, _| name != "80");
            }
            ledger
        };
        let known = told.iter().filter_map(ServiceObject::record).collect();
        assert_eq!(strip(&known), strip(control.ledger()), "down to what may not change");
    }
}
