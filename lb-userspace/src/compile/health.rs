//! How many endpoints Services have on this node, for those who ask at their health check's port: load
//! balancers, which leave out nodes without one. As kube-proxy counts (`LocalReadyEndpoints`): each address
//! once, whatever its ports; terminating ones don't count, even where they take traffic.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::endpoints::Endpoints;
use crate::model::Family;

/// The ready endpoints of this node of one Service.
#[derive(Debug, Default)]
pub(super) struct LocalEndpoints(BTreeMap<Family, BTreeSet<IpAddr>>);

impl LocalEndpoints {
    /// Adds those of one port in one family.
    pub(super) fn note(&mut self, family: Family, endpoints: &Endpoints) {
        self.0.entry(family).or_default().extend(endpoints.ready_here());
    }

    /// How many: a pod with an address of each family is one.
    pub(super) fn count(&self) -> usize {
        self.0.values().map(BTreeSet::len).max().unwrap_or(0)
    }
}
