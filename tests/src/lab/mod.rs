//! Network namespaces that always go away, and the standard cluster made of them.
//!
//! A test takes a [`Cluster`] and talks:
//!
//! ```no_run
//! use std::time::Duration;
//! use lb_tests::lab::{Cluster, cast, cast::Family};
//! use lb_tests::traffic::{EchoServer, Protocol, request};
//!
//! let cluster = Cluster::start()?;
//! let target = cast::pod(2, 1).socket(Family::V4, 8080);
//! let _server = EchoServer::start(cluster.pod(2, 1), "b1", target.ip(), 8080, Protocol::Tcp)?;
//! let answer = request(cluster.pod(1, 1), Protocol::Tcp, target, Duration::from_secs(2))?;
//! assert_eq!(answer.name, "b1");
//! assert_eq!(answer.peer.ip(), cast::pod(1, 1).ip(Family::V4));
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! The cluster disappears with its variable, also when an assertion fails. Declare servers and other
//! processes after it, so that they stop before it goes.
//!
//! For another picture than the standard one, start a [`Lab`], add namespaces and [`Veth`]s, and run
//! `ip` in them. Labs don't see each other: any number may run at once. What a killed process has left
//! behind is removed when the next lab starts.
//!
//! Traffic ([`crate::traffic`]), packets ([`crate::packet`]) and the load balancer don't belong here.

pub mod cast;
mod cgroup;
mod cluster;
mod command;
mod error;
mod link;
mod namespace;
mod run_id;
mod tunnel;
mod wiring;

pub use cgroup::Cgroup;
pub use cluster::{Builder, Cluster};
pub use error::{Error, Result};
pub use link::{End, Veth};
pub use namespace::{Entered, Namespace};
pub use tunnel::Tunnel;
pub use wiring::{OVERLAY, PodNetwork, RpFilter};

use std::collections::BTreeMap;

use nix::unistd::Uid;
use run_id::RunId;

/// What every namespace gets. IPv6 addresses are usable at once, and nobody sends what a test didn't
/// ask for. `tcp_tw_reuse`: a client that closes first must not run out of ports.
const SETTINGS: &[(&str, &str)] = &[
    ("net/ipv4/tcp_tw_reuse", "1"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/all/accept_ra", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
];

/// A set of namespaces with one owner. All are removed when this is dropped.
#[derive(Debug)]
pub struct Lab {
    run: RunId,
    namespaces: BTreeMap<String, Namespace>,
    keep: bool,
}

impl Lab {
    /// An empty lab. Removes what labs of dead processes have left behind. Fails if not root.
    pub fn start() -> Result<Self> {
        Self::with(RunId::fresh())
    }

    /// An empty lab whose namespaces have names that are easy to type, `lb-NAME-node1`, and which may
    /// be kept ([`Self::keep`]). One lab of a name can exist: starting it removes an earlier one.
    /// `name` is made of small letters and digits.
    pub fn named(name: &str) -> Result<Self> {
        let lab = Self::with(RunId::named(name)?)?;
        remove_all(|full_name| lab.run.owns(full_name))?;
        Ok(lab)
    }

    fn with(run: RunId) -> Result<Self> {
        if !Uid::effective().is_root() {
            return Err(Error::NotRoot);
        }
        remove_all(|full_name| RunId::owner(full_name).is_some_and(|owner| !owner.is_alive()))?;
        Ok(Self { run, namespaces: BTreeMap::new(), keep: false })
    }

    /// Adds namespaces, each with `lo` up. Names are of small letters, digits and `-`.
    pub fn add<N: AsRef<str>>(&mut self, names: &[N]) -> Result<()> {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if let Some(bad) = names.iter().find(|n| n.is_empty() || !n.chars().all(plain)) {
            return Err(Error::Name { name: (*bad).to_owned() });
        }
        let full_names: Vec<_> = names.iter().map(|name| self.run.namespace(name)).collect();
        let script =
            full_names.iter().fold(String::new(), |script, n| script + "netns add " + n + "\n");
        command::ip_batch(&[], &script)?;
        for (name, full_name) in names.iter().zip(full_names) {
            self.namespaces.insert((*name).to_owned(), Namespace::open(name, full_name)?);
        }
        for name in names {
            let namespace = self.namespace(name)?;
            namespace.sysctl(SETTINGS)?;
            namespace.ip("link set lo up\n")?;
        }
        Ok(())
    }

    /// The namespace of a name.
    pub fn namespace(&self, name: &str) -> Result<&Namespace> {
        self.namespaces.get(name).ok_or_else(|| Error::Unknown {
            name: name.to_owned(),
            known: self.namespaces.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// All its namespaces, by name.
    pub fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        self.namespaces.values()
    }

    /// Makes virtual cables. Both ends are down until someone sets them up.
    pub fn connect(&self, veths: &[Veth]) -> Result<()> {
        let mut script = String::new();
        for veth in veths {
            let a = self.namespace(&veth.a.namespace)?;
            let b = self.namespace(&veth.b.namespace)?;
            script += &veth.command(a.full_name(), b.full_name());
        }
        command::ip_batch(&[], &script)
    }

    /// Turns transmit checksum offload of an interface on or off. With it, packets between local
    /// sockets carry unfinished checksums; without it, they must be right at every hop.
    pub fn set_checksum_offload(&self, name: &str, interface: &str, on: bool) -> Result<()> {
        let state = if on { "on" } else { "off" };
        self.namespace(name)?.output("ethtool", &["-K", interface, "tx", state]).map(drop)
    }

    /// Waits until all interfaces that were set up can carry packets, in all namespaces.
    pub fn wait_until_running(&self) -> Result<()> {
        self.namespaces().try_for_each(link::wait_until_running)
    }

    /// Leaves everything in place and returns the full names. Those of a lab with a name stay until
    /// [`Lab::named`] or `ip netns del` removes them; those of others until the next lab starts after
    /// this process has ended.
    pub fn keep(mut self) -> Vec<String> {
        self.keep = true;
        self.namespaces().map(|namespace| namespace.full_name().to_owned()).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // By name, not by what `namespaces` holds: an `add` that failed half way is covered too.
        if let Err(error) = remove_all(|full_name| self.run.owns(full_name)) {
            eprintln!("namespaces of lab {} stay behind: {error}", self.run);
        }
    }
}

/// Removes the namespaces that match. Other labs may be doing the same; gone is gone.
fn remove_all(matches: impl Fn(&str) -> bool) -> Result<()> {
    for full_name in namespace::all()?.iter().filter(|name| matches(name)) {
        namespace::remove(full_name)
            .map_err(|source| Error::Remove { namespace: full_name.clone(), source })?;
    }
    Ok(())
}
