//! Health checks: over HTTP, whether this node takes traffic. Load balancers ask at the port of a Service with
//! `externalTrafficPolicy: Local` whether it has endpoints here; whoever looks after the node asks at
//! `/healthz` and `/livez`. What is answered is what kube-proxy answers (`pkg/proxy/healthcheck`).
//!
//! - [`Health`]: the servers. They have a thread of their own, so that they answer while tables are written.
//! - [`Wanted`]: which there should be, and what they tell.
//! - [`Told`]: which there are, and why others are not.
//!
//! How many endpoints there are is counted by `compile`.

mod answer;
mod listen;
mod pulse;
mod serve;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::model::ServiceName;
pub use pulse::Pulse;

/// What doesn't change.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where `/healthz` and `/livez` are; `None`: nowhere.
    pub node: Option<SocketAddr>,
    /// How long a change may not be in force before checks fail.
    pub patience: Duration,
}

/// Who is asked about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// This node.
    Node,
    /// The endpoints that a Service has on it.
    Service(ServiceName),
}

/// A server that there should be. One at the unspecified address is there in both families.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// Who is asked about there.
    pub subject: Subject,
    /// Where.
    pub address: SocketAddr,
}

/// What should be served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The servers.
    pub listeners: BTreeSet<Listener>,
    /// How many ready endpoints Services have on this node.
    pub endpoints: BTreeMap<ServiceName, usize>,
    /// The node is to be removed.
    pub leaving: bool,
}

/// A server, as `lb status` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// `node`, or the Service's namespace and name.
    pub subject: String,
    /// Where it is.
    pub address: SocketAddr,
    /// Of a Service: its ready endpoints on this node.
    pub local_endpoints: Option<usize>,
    /// Why it is not there.
    pub problem: Option<String>,
}

/// The running servers. They end when this is dropped.
#[derive(Debug)]
pub struct Health {
    node: Option<SocketAddr>,
    wanted: watch::Sender<Wanted>,
    problems: watch::Receiver<BTreeMap<Listener, String>>,
    pulse: Arc<Pulse>,
}

impl Health {
    /// Starts the thread. Nothing is served before it is told what is wanted.
    pub fn start(options: Options) -> io::Result<Self> {
        let (wanted, to_serve) = watch::channel(Wanted::default());
        let (tell, problems) = watch::channel(BTreeMap::new());
        let pulse = Arc::new(Pulse::new(options.patience));
        serve::start(to_serve, tell, Arc::clone(&pulse))?;
        Ok(Self { node: options.node, wanted, problems, pulse })
    }

    /// What is wanted from now on: the node's own server, and those of Services, by port, at these addresses.
    pub fn want(
        &self,
        checks: &BTreeMap<ServiceName, (u16, usize)>,
        addresses: &Addresses,
        leaving: bool,
    ) {
        let node = self.node.map(|address| Listener { subject: Subject::Node, address });
        let of = |(name, (port, _)): (&ServiceName, &(u16, usize))| {
            let subject = Subject::Service(name.clone());
            let at = |address| Listener { subject: subject.clone(), address };
            addresses.with_port(*port).into_iter().map(at).collect::<Vec<_>>()
        };
        let wanted = Wanted {
            listeners: checks.iter().flat_map(of).chain(node).collect(),
            endpoints: checks.iter().map(|(name, (_, count))| (name.clone(), *count)).collect(),
            leaving,
        };
        self.wanted.send_if_modified(|now| {
            let differs = *now != wanted;
            *now = wanted;
            differs
        });
    }

    /// By which it is known whether changes come into force.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Tells when something about [`Self::told`] is different.
    pub fn news(&self) -> watch::Receiver<BTreeMap<Listener, String>> {
        self.problems.clone()
    }

    /// The servers as they are.
    pub fn told(&self) -> Vec<Told> {
        let (wanted, problems) = (self.wanted.borrow(), self.problems.borrow());
        let told = |listener: &Listener| Told {
            subject: listener.subject.to_string(),
            address: listener.address,
            local_endpoints: match &listener.subject {
                Subject::Node => None,
                Subject::Service(name) => wanted.endpoints.get(name).copied(),
            },
            problem: problems.get(listener).cloned(),
        };
        wanted.listeners.iter().map(told).collect()
    }
}

/// Where the servers of Services are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// At every address of the node.
    All,
    /// At these.
    These(BTreeSet<std::net::IpAddr>),
}

impl Addresses {
    fn with_port(&self, port: u16) -> Vec<SocketAddr> {
        match self {
            Self::All => vec![(Ipv4Addr::UNSPECIFIED, port).into()],
            Self::These(addresses) => {
                addresses.iter().map(|address| SocketAddr::new(*address, port)).collect()
            }
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("node"),
            Self::Service(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
