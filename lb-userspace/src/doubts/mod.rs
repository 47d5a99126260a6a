//! What is legal in manifests, but hardly meant: for `lb check`. Pure, but for [`listening`]. What is wrong
//! is the model's and the control plane's to say; nothing here keeps anything from being in force.

mod endpoints;
mod services;
mod sockets;

use std::collections::BTreeSet;

use crate::{
    compile::{Desired, NodeFacts, compile},
    control::Objects,
    model::{IpRange, ObjectRef, Problem, Protocol},
    source::Snapshot,
};
pub use sockets::listening;

/// What is doubted by.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The objects as they are written.
    pub objects: &'a Objects,
    /// What is made of them.
    pub snapshot: &'a Snapshot,
    /// What the tables would say on the node.
    pub desired: &'a Desired,
    /// The node, if one is named.
    pub node: Option<&'a str>,
    /// The ranges of cluster IPs.
    pub ranges: &'a [IpRange],
    /// The ports that sockets of this machine have.
    pub listening: &'a BTreeSet<(Protocol, u16)>,
}

/// What the tables would say, as far as manifests tell.
pub fn desired(snapshot: &Snapshot, node: Option<&str>, ranges: &[IpRange]) -> Desired {
    let facts = NodeFacts {
        name: node.unwrap_or_default().to_owned(),
        service_ranges: ranges.to_vec(),
        ..NodeFacts::default()
    };
    compile(&snapshot.model, &facts)
}

/// Everything that is doubtful, by object.
pub fn doubts(facts: &Facts<'_>) -> Vec<Problem> {
    let mut all = services::doubts(facts);
    all.extend(endpoints::doubts(facts));
    all.sort();
    all
}

fn doubt(object: ObjectRef, field: impl Into<String>, message: impl Into<String>) -> Problem {
    let (field, message) = (Some(field.into()), message.into());
    Problem { file: None, position: None, object: Some(object), field, message }
}

#[cfg(test)]
mod tests;
