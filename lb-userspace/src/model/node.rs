//! Nodes, as far as endpoints are told apart by where they are, and health checks tell of them.

use std::net::IpAddr;

use k8s_openapi::api::core::v1 as api;

use super::{Family, Refused, address, invalid::Findings, name};

/// The label that says which zone a node is in.
const ZONE: &str = "topology.kubernetes.io/zone";
/// The taint of a node that is to be removed soon.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The zone that it is in.
    pub zone: Option<String>,
    /// It is being deleted, or will be soon: load balancers are to look for others.
    pub leaving: bool,
    /// Its primary addresses, at most one of each family.
    pub primary: Vec<IpAddr>,
}

impl TryFrom<&api::Node> for Node {
    type Error = Refused;

    /// Reads and checks one node by itself; fails with everything that is wrong with it.
    fn try_from(object: &api::Node) -> Result<Self, Refused> {
        let mut findings = Findings::default();
        let name = name::of_node(&object.metadata, &mut findings);
        let zone = object.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE));
        let zone = zone.filter(|zone| !zone.is_empty()).cloned();
        let taints = object.spec.as_ref().and_then(|spec| spec.taints.as_deref());
        let tainted = taints.unwrap_or_default().iter().any(|taint| taint.key == TO_BE_DELETED);
        let leaving = tainted || object.metadata.deletion_timestamp.is_some();
        let primary = primary(object, &mut findings);
        findings.into_result(Self { name, zone, leaving, primary })
    }
}

/// The first address of each family: internal ones first, else external ones (kubelet, `GetNodeHostIPs`).
fn primary(object: &api::Node, findings: &mut Findings) -> Vec<IpAddr> {
    let status = object.status.as_ref();
    let written = status.and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    let mut of_type = |wanted: &str| {
        let all = written.iter().enumerate().filter(|(_, one)| one.type_ == wanted);
        let read = all.filter_map(|(index, one)| {
            findings
                .check(format!("status.addresses[{index}].address"), address::parse(&one.address))
        });
        read.collect::<Vec<_>>()
    };
    let all = [of_type("InternalIP"), of_type("ExternalIP")].concat();
    let first = |family| all.iter().copied().find(|address| Family::of(*address) == family);
    [Family::V4, Family::V6].into_iter().filter_map(first).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_leaves_when_it_is_deleted_or_has_the_autoscalers_taint() {
        let leaving = |metadata: serde_json::Value, taint: &str| {
            let mut metadata = metadata;
            metadata["name"] = "node1".into();
            let spec = serde_json::json!({ "taints": [{ "key": taint, "effect": "NoSchedule" }] });
            let object = serde_json::json!({ "metadata": metadata, "spec": spec });
            Node::try_from(&serde_json::from_value(object).unwrap()).unwrap().leaving
        };
        let none = || serde_json::json!({});
        assert!(!leaving(none(), "DeletionCandidateOfClusterAutoscaler"));
        assert!(leaving(none(), "ToBeDeletedByClusterAutoscaler"));
        let deleted = serde_json::json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" });
        assert!(leaving(deleted, "example.com/other"));
    }

    #[test]
    fn a_nodes_primary_addresses_are_its_first_internal_ones_else_external_ones() {
        let node = |addresses: &[(&str, &str)]| {
            let address = |(kind, address): &(&str, &str)| serde_json::json!({ "type": kind, "address": address });
            let addresses: Vec<_> = addresses.iter().map(address).collect();
            let metadata = serde_json::json!({ "name": "node1" });
            let object =
                serde_json::json!({ "metadata": metadata, "status": { "addresses": addresses } });
            Node::try_from(&serde_json::from_value(object).unwrap())
        };
        let primary = |addresses: &[(&str, &str)]| {
            let primary = node(addresses).unwrap().primary;
            primary.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let addresses = [
            ("Hostname", "node1"),
            ("ExternalIP", "203.0.113.1"),
            ("ExternalIP", "2001:db8::1"),
            ("InternalIP", "10.0.0.1"),
            ("InternalIP", "10.0.0.2"),
        ];
        assert_eq!(primary(&addresses), ["10.0.0.1", "2001:db8::1"]);
        assert_eq!(primary(&[]), [""; 0]);
        assert!(
            node(&[("InternalIP", "10.0.0")])
                .unwrap_err()
                .to_string()
                .starts_with("status.addresses[0].address: Invalid value")
        );
    }
}
