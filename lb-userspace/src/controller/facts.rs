//! What the tables depend on beside Services, as the controller knows it.

use super::Controller;
use crate::compile::NodeFacts;

impl Controller {
    /// What is known of this node.
    pub(super) fn facts(&self) -> NodeFacts {
        NodeFacts {
            node_addresses: self.interfaces.node_addresses.clone(),
            node_ports_on: self.options.node_ports_on.clone(),
            primary: self.interfaces.primary.clone(),
            name: self.options.node_name.clone(),
            service_ranges: self.options.service_ranges.clone(),
        }
    }
}
