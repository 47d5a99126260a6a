//! Services and endpoints in, tables out: which address leads to which backends. A pure function;
//! nothing here reads a clock, a file or an interface, and nothing here knows how a map is laid out.

mod claims;
mod compiler;
pub mod desired;
mod endpoints;
mod health;
mod layout;
mod maglev;
mod news;
mod owners;
mod ranges;

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

pub use compiler::{Compiler, Elements, Touched};
pub use desired::{
    AddressOwner, BackendKey, BackendState, Desired, DesiredService, Frontend, FrontendKind,
    HealthCheck, Otherwise, ServiceKey, Table,
};

use crate::model::{IpRange, Model, NodePortAddresses};

/// What the tables depend on besides Services: facts of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// The addresses of this node.
    pub node_addresses: BTreeSet<IpAddr>,
    /// On which of them node ports are served.
    pub node_ports_on: NodePortAddresses,
    /// Which are its primary ones, unless its Node says so.
    pub primary: BTreeSet<IpAddr>,
    /// Its name, by which endpoints say where they are.
    pub name: String,
    /// The ranges of cluster IPs, as far as they are known: at most one of each family.
    pub service_ranges: Vec<IpRange>,
}

impl NodeFacts {
    /// The node's addresses that node ports are served on.
    pub fn node_port_addresses(&self, model: &Model) -> BTreeSet<IpAddr> {
        let written = model.nodes.get(&self.name).map(|node| &node.primary);
        let written: BTreeSet<IpAddr> = written.into_iter().flatten().copied().collect();
        let primary = if written.is_empty() { &self.primary } else { &written };
        let all = self.node_addresses.iter().copied();
        all.filter(|address| self.node_ports_on.admit(*address, primary)).collect()
    }
}

/// The tables for all Services of `model` on `node`, for those who ask once. The same input gives the same output,
/// whatever order slices came in.
pub fn compile(model: &Model, node: &NodeFacts) -> Desired {
    let mut compiler = Compiler::default();
    compiler.follow(&Arc::new(model.clone()), node);
    compiler.into_desired()
}

#[cfg(test)]
mod tests;
