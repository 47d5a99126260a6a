//! Nodes, as far as endpoints are told apart by where they are, and health checks tell of them.

use k8s_openapi::api::core::v1 as api;

use super::{Refused, invalid::Findings, name};

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
        findings.into_result(Self { name, zone, leaving })
    }
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
}
