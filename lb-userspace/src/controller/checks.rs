//! Health checks as the controller sees them: what they are to tell, and whether changes come into force.

use std::collections::BTreeMap;

use anyhow::Result;
use tokio::sync::watch;

use super::{Controller, report};
use crate::{
    compile::{Desired, NodeFacts},
    health::{Addresses, Listener},
    model::NodePortAddresses,
};

impl Controller {
    /// Tells when there is something new about health checks to be told ([`Self::tell_checks`]).
    pub fn news_of_checks(&self) -> watch::Receiver<BTreeMap<Listener, String>> {
        self.health.news()
    }

    /// Health checks are served, or not any more.
    pub fn tell_checks(&self) {
        report(self.tell(), "health checks could not be told");
    }

    /// What is in force is what checks are answered from.
    pub(super) fn want_checks(&self, desired: &Desired, facts: &NodeFacts) {
        let of = |check: &crate::compile::HealthCheck| (check.port, check.local_endpoints);
        let checks = desired.health_checks.iter().map(|(name, check)| (name.clone(), of(check)));
        let node = self.snapshot.model.nodes.get(&self.options.node_name);
        let leaving = node.is_some_and(|node| node.leaving);
        let addresses = match facts.node_ports_on {
            NodePortAddresses::All => Addresses::All,
            _ => Addresses::These(facts.node_port_addresses(&self.snapshot.model)),
        };
        self.health.want(&checks.collect(), &addresses, leaving);
    }

    /// Notes whether everything is in force now, and reports it if not.
    pub(super) fn note(&self, outcome: Result<()>, what: &'static str) {
        let pulse = self.health.pulse();
        if outcome.is_ok() {
            pulse.in_force();
        } else {
            pulse.behind();
        }
        report(outcome, what);
    }

    /// Tries again what could not be brought into force.
    pub(super) fn catch_up(&mut self) {
        if self.health.pulse().is_behind() {
            let outcome =
                self.write_services().and_then(|()| self.attach(false)).and_then(|()| self.tell());
            self.note(outcome, "still not everything is up to date");
        }
    }
}
