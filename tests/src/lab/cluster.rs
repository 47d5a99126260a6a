//! The standard picture: an outside client, nodes and their pods, both families.
//!
//! Who has which address stands in [`super::cast`], how they are wired in `wiring.rs`.

use super::Lab;
use super::cast;
use super::error::{Error, Result};
use super::namespace::Namespace;
use super::wiring::{self, FABRIC, Plan, PodNetwork, RpFilter};

/// A running cluster of namespaces. All of it goes when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    lab: Lab,
    plan: Plan,
}

/// Options of a [`Cluster`]; the default is two nodes with three pods each, MTU 1500, strict
/// `rp_filter`, checksum offload on.
#[derive(Clone, Debug)]
#[must_use = "nothing happens until `start`"]
pub struct Builder {
    plan: Plan,
    name: Option<String>,
}

impl Builder {
    /// How many nodes, 1 to [`cast::MAX_NODES`].
    pub fn nodes(mut self, nodes: u8) -> Self {
        self.plan.nodes = nodes;
        self
    }

    /// How many pods on each node, 0 to [`cast::MAX_PODS`].
    pub fn pods(mut self, pods: u8) -> Self {
        self.plan.pods = pods;
        self
    }

    /// The MTU of all interfaces, in bytes; IPv6 needs 1280.
    pub fn mtu(mut self, mtu: u16) -> Self {
        self.plan.mtu = mtu;
        self
    }

    /// How strictly nodes check source addresses.
    pub fn rp_filter(mut self, rp_filter: RpFilter) -> Self {
        self.plan.rp_filter = rp_filter;
        self
    }

    /// Whether veths take packets with unfinished checksums. Test both: a wrong checksum hides behind
    /// offload, and a checksum that was patched twice shows only there.
    pub fn checksum_offload(mut self, on: bool) -> Self {
        self.plan.checksum_offload = on;
        self
    }

    /// How pods are connected.
    pub fn network(mut self, network: PodNetwork) -> Self {
        self.plan.network = network;
        self
    }

    /// Whether nodes have packet filters as they commonly have: connection tracking, masquerading of what
    /// pods send out of the cluster, and a rule that drops what is INVALID.
    pub fn netfilter(mut self, on: bool) -> Self {
        self.plan.netfilter = on;
        self
    }

    /// Gives the lab a name, see [`Lab::named`]: `lb-NAME-node1`.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Builds the cluster. When this returns, every interface passes packets.
    pub fn start(self) -> Result<Cluster> {
        let Self { plan, name } = self;
        check_size("nodes", plan.nodes, 1, cast::MAX_NODES)?;
        check_size("pods on each node", plan.pods, 0, cast::MAX_PODS)?;

        let mut lab = match name {
            Some(name) => Lab::named(&name)?,
            None => Lab::start()?,
        };
        lab.add(&plan.namespaces())?;
        let cluster = Cluster { lab, plan };
        cluster.set_sysctls()?;
        cluster.lab.connect(&cluster.plan.veths())?;
        cluster.set_checksum_offload()?;
        cluster.configure()?;
        cluster.lab.wait_until_running()?;
        Ok(cluster)
    }
}

fn check_size(what: &'static str, asked: u8, least: u8, limit: u8) -> Result<()> {
    if (least..=limit).contains(&asked) {
        return Ok(());
    }
    Err(Error::Size { what, asked, least, limit })
}

impl Cluster {
    /// The standard cluster, as [`Builder`] describes it.
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// A cluster with options.
    pub fn builder() -> Builder {
        let plan = Plan {
            nodes: 2,
            pods: 3,
            mtu: 1500,
            rp_filter: RpFilter::Strict,
            checksum_offload: true,
            network: PodNetwork::Routed,
            netfilter: false,
        };
        Builder { plan, name: None }
    }

    /// The client outside.
    pub fn outside(&self) -> &Namespace {
        self.namespace(&cast::OUTSIDE.name.to_string())
    }

    /// The link between `outside` and the nodes: a bridge `br0` with ports `to-outside`, `to-node1`….
    pub fn fabric(&self) -> &Namespace {
        self.namespace(FABRIC)
    }

    /// Node `number`, from 1. Panics if the cluster has no such node.
    pub fn node(&self, number: u8) -> &Namespace {
        self.namespace(&cast::Name::Node(number).to_string())
    }

    /// Pod `number` of node `node`, both from 1. Panics if the cluster has no such pod.
    pub fn pod(&self, node: u8, number: u8) -> &Namespace {
        self.namespace(&cast::Name::Pod(node, number).to_string())
    }

    /// The lab that the cluster stands in, to add to it.
    pub fn lab(&mut self) -> &mut Lab {
        &mut self.lab
    }

    /// Any namespace, those that were added too. Panics if there is none of that name.
    pub fn host(&self, name: &str) -> &Namespace {
        self.namespace(name)
    }

    /// Leaves everything in place, see [`Lab::keep`].
    pub fn keep(self) -> Vec<String> {
        self.lab.keep()
    }

    fn namespace(&self, name: &str) -> &Namespace {
        self.lab.namespace(name).unwrap_or_else(|error| panic!("{error}"))
    }

    fn nodes(&self) -> std::ops::RangeInclusive<u8> {
        1..=self.plan.nodes
    }

    fn set_sysctls(&self) -> Result<()> {
        self.fabric().sysctl(&[
            // A cable, not a host: it sends nothing of its own,
            ("net/ipv6/conf/all/disable_ipv6", "1"),
            ("net/ipv6/conf/default/disable_ipv6", "1"),
        ])?;
        // and no packet filter sees what crosses it. Absent where bridges can't call filters at all.
        let _inside = self.fabric().enter()?;
        for key in ["iptables", "ip6tables", "arptables"] {
            let key = format!("net/bridge/bridge-nf-call-{key}");
            if std::path::Path::new("/proc/sys").join(&key).exists() {
                self.fabric().sysctl(&[(key, "0")])?;
            }
        }
        let settings = self.plan.node_settings();
        self.nodes().try_for_each(|node| self.node(node).sysctl(&settings))
    }

    fn set_checksum_offload(&self) -> Result<()> {
        // A new veth has it on.
        if self.plan.checksum_offload {
            return Ok(());
        }
        for end in self.plan.veths().iter().flat_map(|veth| [&veth.a, &veth.b]) {
            self.lab.set_checksum_offload(&end.namespace, &end.interface, false)?;
        }
        Ok(())
    }

    fn configure(&self) -> Result<()> {
        self.fabric().ip(&self.plan.fabric_script())?;
        self.outside().ip(&wiring::uplink_script(cast::OUTSIDE))?;
        for node in self.nodes() {
            self.node(node).ip(&self.plan.node_script(node))?;
            for end in self.plan.overlay_ends(node) {
                let arguments: Vec<&str> = end.iter().map(String::as_str).collect();
                self.node(node).output("bridge", &arguments)?;
            }
            if let Some(rules) = self.plan.netfilter_script() {
                self.node(node).output("nft", &[&rules])?;
            }
            for pod in 1..=self.plan.pods {
                self.pod(node, pod).ip(&self.plan.pod_script(node, pod))?;
            }
        }
        Ok(())
    }
}
