//! What the proxy of one family sees of a setup (kube-proxy has one for each), and words that all modes use.

use std::{
    hash::{DefaultHasher, Hash, Hasher as _},
    net::IpAddr,
};

use super::{Protocol, Service, Setup};
use crate::lab::cast::Family;

/// The mark of packets to be masqueraded: bit 14, as `--iptables-masquerade-bit` has it.
pub(super) const MARK: &str = "0x4000";

/// A setup in one family.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) family: Family,
    pub(super) node_addresses: Vec<IpAddr>,
    /// The pods' network as `address/length`, if it is known.
    pub(super) pods: Option<String>,
    pub(super) services: Vec<&'a Service>,
}

impl<'a> View<'a> {
    /// One for each family that has services.
    pub(super) fn all(setup: &'a Setup) -> Vec<Self> {
        let views = Family::BOTH.map(|family| Self::new(setup, family));
        views.into_iter().filter(|view| !view.services.is_empty()).collect()
    }

    fn new(setup: &'a Setup, family: Family) -> Self {
        let ours = |address: &IpAddr| Family::of(*address) == family;
        let services: Vec<_> = setup.services.iter().filter(|one| ours(&one.address)).collect();
        for service in &services {
            let stranger = service.endpoints.iter().find(|endpoint| !ours(&endpoint.ip()));
            assert!(stranger.is_none(), "{stranger:?} of {} is of another family", service.name);
        }
        let mut pods = setup.cluster_cidrs.iter().filter(|(network, _)| ours(network));
        let network = pods.next().map(|(network, length)| format!("{network}/{length}"));
        assert!(pods.next().is_none(), "a family has one network of pods, as in --cluster-cidr");
        let node_addresses = setup.node_addresses.iter().copied().filter(ours).collect();
        Self { family, node_addresses, pods: network, services }
    }

    /// The services that are different in another view of the same services, as pairs.
    pub(super) fn different<'b>(
        &'b self,
        other: &'b Self,
    ) -> impl Iterator<Item = (&'a Service, &'a Service)> + 'b {
        let pairs = self.services.iter().copied().zip(other.services.iter().copied());
        pairs.filter(|(before, after)| before != after)
    }
}

/// The protocol as the tools write it.
pub(super) const fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// The name of the Service's port.
pub(super) fn port_name(service: &Service) -> String {
    format!("{}-{}", word(service.protocol), service.port)
}

/// A number that stands for a name in chains. kube-proxy takes SHA-256; to the kernel it is a name.
pub(super) fn digest(name: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
