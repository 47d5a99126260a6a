//! The peers: the same services by the rules that kube-proxy writes today, in its three modes.
//!
//! What is written has the shape of kube-proxy 1.33 and later with default options and `--cluster-cidr`: the same tables,
//! chains, hooks and priorities, the same rules in the same order, names of the same length. `nftables`, `iptables` and
//! `ipvs` say what each mode consists of, and where they leave something out. Node ports, cluster IPs and services
//! without endpoints are covered; session affinity, local traffic policies and addresses of load balancers are not.
//!
//! Beside the rules kube-proxy watches the API, reads back what is in force, and clears entries of conntrack; none of this
//! is done here, so what is measured is less than what it costs. Which benchmark loads what belongs in
//! `tests/benches`.

mod command;
mod iptables;
mod ipvs;
mod lines;
mod manifests;
mod nftables;
mod view;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Result, ensure};

use crate::lab::Namespace;
pub use crate::traffic::Protocol;
use view::View;

/// A command's words, and what it reads on its standard input.
pub type Command = (Vec<&'static str>, String);

/// One port of a Kubernetes Service, in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The Service's name, in the namespace `default`. Those that have it in common are one Service: its protocols,
    /// ports and families.
    pub name: String,
    /// The protocol.
    pub protocol: Protocol,
    /// The cluster IP.
    pub address: IpAddr,
    /// The port there.
    pub port: u16,
    /// The port on every address of the node.
    pub node_port: Option<u16>,
    /// Where the pods listen; of the cluster IP's family.
    pub endpoints: Vec<SocketAddr>,
}

/// Everything that the rules are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The node's addresses, at which node ports are served.
    pub node_addresses: Vec<IpAddr>,
    /// The pods' networks, at most one a family: who isn't in there is masqueraded.
    pub cluster_cidrs: Vec<(IpAddr, u8)>,
    /// The services. Their order is that of the rules.
    pub services: Vec<Service>,
}

/// Who else implements Services: kube-proxy's modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// Verdict maps and a chain for each service and endpoint.
    Nftables,
    /// A list of all services, and a chain for each service and endpoint.
    Iptables,
    /// The kernel's balancer, with sets of addresses for what is masqueraded.
    Ipvs,
}

/// In how many transactions rules come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loading {
    /// In one, as from kube-proxy.
    AtOnce,
    /// In those that take the least time.
    Soon,
}

impl Setup {
    /// The same services for `lb run --manifests`: one JSON text (a `List`), which is YAML as well. The name of a port
    /// is its protocol and number.
    pub fn manifests(&self) -> String {
        manifests::list(self)
    }
}

impl Peer {
    /// Makes all rules in a namespace that has none yet, in one transaction for each family. The time is that of the
    /// loading commands alone. IPVS needs its modules in the kernel, and the tools `ipvsadm` and `ipset`.
    pub fn load(self, namespace: &Namespace, setup: &Setup) -> Result<Duration> {
        command::run_all(namespace, &self.text(setup))
    }

    /// Makes the same rules sooner, for those who don't measure how long it takes: nft in many transactions, and iptables
    /// without `--noflush`, which spares it a search among all chains for every rule. Both take time that grows with the
    /// square of the services otherwise.
    pub fn install(self, namespace: &Namespace, setup: &Setup) -> Result<()> {
        command::run_all(namespace, &self.commands(setup, Loading::Soon)).map(drop)
    }

    /// Writes what kube-proxy writes when endpoints have changed and nothing else has. The time is that of the commands
    /// alone.
    pub fn change(self, namespace: &Namespace, before: &Setup, after: &Setup) -> Result<Duration> {
        command::run_all(namespace, &self.change_text(before, after)?)
    }

    /// What [`Self::load`] runs. Panics if the setup isn't one: several networks of pods in a family, or an endpoint
    /// that is not of its service's.
    pub fn text(self, setup: &Setup) -> Vec<Command> {
        self.commands(setup, Loading::AtOnce)
    }

    fn commands(self, setup: &Setup, loading: Loading) -> Vec<Command> {
        let commands = match self {
            Self::Nftables => nftables::load,
            Self::Iptables => iptables::load,
            Self::Ipvs => ipvs::load,
        };
        let first = if self == Self::Ipvs { ipvs::prepare() } else { Vec::new() };
        let views = View::all(setup);
        let commands = views.iter().flat_map(|view| commands(view, loading));
        first.into_iter().chain(commands).collect()
    }

    /// What [`Self::change`] runs. Fails if more than endpoints is different.
    pub fn change_text(self, before: &Setup, after: &Setup) -> Result<Vec<Command>> {
        ensure_only_endpoints_differ(before, after)?;
        let commands = match self {
            Self::Nftables => nftables::change,
            Self::Iptables => iptables::change,
            Self::Ipvs => ipvs::change,
        };
        let views = View::all(before).into_iter().zip(View::all(after));
        // Each family has a proxy of its own, and one for which nothing is different does nothing.
        let different = views.filter(|(before, after)| before.services != after.services);
        Ok(different.map(|(before, after)| commands(&before, &after)).collect())
    }
}

fn ensure_only_endpoints_differ(before: &Setup, after: &Setup) -> Result<()> {
    let same = |(before, after): (&Service, &Service)| {
        let with_endpoints = (&before.name, before.protocol, before.address, before.port);
        with_endpoints == (&after.name, after.protocol, after.address, after.port)
            && before.node_port == after.node_port
    };
    ensure!(
        before.node_addresses == after.node_addresses
            && before.cluster_cidrs == after.cluster_cidrs
            && before.services.len() == after.services.len()
            && before.services.iter().zip(&after.services).all(same),
        "more than endpoints is different; load the rules anew"
    );
    Ok(())
}

#[cfg(test)]
mod tests;
