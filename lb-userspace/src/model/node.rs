//! Nodes, as far as endpoints are told apart by where they are.

use k8s_openapi::api::core::v1 as api;

use super::{Refused, invalid::Findings, name};

/// The label that says which zone a node is in.
const ZONE: &str = "topology.kubernetes.io/zone";

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The zone that it is in.
    pub zone: Option<String>,
}

impl TryFrom<&api::Node> for Node {
    type Error = Refused;

    /// Reads and checks one node by itself; fails with everything that is wrong with it.
    fn try_from(object: &api::Node) -> Result<Self, Refused> {
        let mut findings = Findings::default();
        let name = name::of_node(&object.metadata, &mut findings);
        let zone = object.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE));
        let zone = zone.filter(|zone| !zone.is_empty()).cloned();
        findings.into_result(Self { name, zone })
    }
}
