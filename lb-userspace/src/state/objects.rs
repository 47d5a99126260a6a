//! Services as objects, with what they were given: what Kubernetes would write into their `spec` and
//! `status`.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{
    model::{Service, ServiceType},
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
        let is_balancer = service.service_type == ServiceType::LoadBalancer;
        let addresses = service.traffic.load_balancer_ips.iter().filter(|_| is_balancer);
        Self {
            service: service.name.to_string(),
            service_type: service.service_type.to_string(),
            cluster_ips: service.cluster_ips.clone(),
            node_ports: ports.clone().filter_map(node_port).collect(),
            health_check_node_port: service.traffic.health_check_port.map(crate::model::Port::get),
            app_protocols: ports.filter_map(app_protocol).collect(),
            load_balancer: LoadBalancer { ingress: addresses.map(ingress).collect() },
            pending: pending.cloned(),
        }
    }
}
