//! Frames through a node: a [`Transit`] is a node that does one thing with them (a [`Way`]), with a generator
//! on one side and a sink on the other. What is sent through, and how often, is each benchmark's own.
//!
//! A figure comes from the sink alone, and only if it saw nearly all of what was sent, translated as it
//! ought to be: else it is an error. So a node that does nothing, or something else, has no figure.

#![allow(dead_code, unused_imports, reason = "each program that has this module uses its part")]

mod conntrack;
mod frames;
mod measure;
pub mod network;

pub use measure::Offer;

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use lb_tests::{
    bench::{
        Named,
        peers::{Peer, Setup},
    },
    lab::cast::Family,
    manifests::Manifests,
    process::LoadBalancer,
};
use lb_userspace::dataplane::{Pins, Tables};
use nix::net::if_::if_nametoindex;

use crate::rig::{Attached, Rig};
use conntrack::Room;
use network::Network;

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Drops frames where they come in, by the program that is the sink elsewhere.
    Floor,
    /// Sends them on as they are, by the shortest XDP program that can.
    Redirect,
    /// Forwards them by its routing table; they are addressed to endpoints already.
    Forwarding,
    /// Translates them by rules.
    Peer(Peer),
    /// Translates them by `lb` with XDP.
    LbXdp,
    /// Translates them by `lb` without XDP.
    LbTc,
}

impl Way {
    /// What people call it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Floor => "dropped at the node",
            Self::Redirect => "bare XDP redirect",
            Self::Forwarding => "plain forwarding",
            Self::Peer(Peer::Nftables) => "nftables",
            Self::Peer(Peer::Iptables) => "iptables",
            Self::Peer(Peer::Ipvs) => "IPVS",
            Self::LbXdp => "lb, XDP",
            Self::LbTc => "lb, TC",
        }
    }

    fn translates(self) -> bool {
        matches!(self, Self::Peer(_) | Self::LbXdp | Self::LbTc)
    }
}

/// Where clients send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// Cluster IPs of the first so many services, a power of two.
    Cluster(u32),
    /// The first service's node port.
    Node,
}

/// What a node serves, and who asks for it.
#[derive(Clone, Debug)]
pub struct Load {
    /// Of frames and services.
    pub family: Family,
    /// The services.
    pub setup: Setup,
    /// Which of them clients ask for.
    pub front: Front,
}

/// A node between a generator and a sink.
pub struct Transit {
    // In the order in which they have to go.
    _programs: Vec<Attached>,
    far_end: Option<Attached>,
    lb: Option<Lb>,
    rig: Rig,
    network: Network,
    _room: Room,
    way: Way,
    load: Load,
    next_block: u32,
    /// How many a round has, once that is known.
    frames: u32,
}

impl Named for Transit {
    fn name(&self) -> String {
        self.way.text().to_owned()
    }
}

impl Transit {
    /// Builds one.
    pub fn new(way: Way, load: &Load) -> Result<Self> {
        Self::with(way, way, load)
    }

    /// Builds one whose node does `does`, and whose sink expects what `way` does.
    pub fn with(way: Way, does: Way, load: &Load) -> Result<Self> {
        let room = Room::make()?;
        let network = Network::new()?;
        let mut rig = Rig::load(1)?;
        let mut programs = Vec::new();
        let mut lb = None;
        match does {
            Way::Floor => programs.push(rig.attach("count", network.node()?, "eth0")?),
            Way::Redirect => {
                let inside = network.node()?.enter()?;
                rig.set_target(if_nametoindex("eth1")?)?;
                drop(inside);
                programs.push(rig.attach("redirect", network.node()?, "eth0")?);
            }
            Way::Forwarding => {}
            Way::Peer(peer) => peer.install(network.node()?, &load.setup)?,
            Way::LbXdp | Way::LbTc => lb = Some(start_lb(does, &network, &load.setup)?),
        }
        let mut transit = Self {
            _programs: programs,
            far_end: None,
            lb,
            rig,
            network,
            _room: room,
            way,
            load: load.clone(),
            next_block: 0,
            frames: 0,
        };
        transit.count_at_the_sink()?;
        Ok(transit)
    }

    /// What it is.
    pub fn way(&self) -> Way {
        self.way
    }

    /// Takes the sink away, as a mistake would.
    pub fn lose_sink(&mut self) {
        self.far_end = None;
    }

    /// Stops `lb`, as a mistake would.
    pub fn stop_lb(&mut self) {
        self.lb = None;
    }

    /// One of `lb`'s counters, if the node runs it.
    fn counter(&self, number: u32) -> Result<Option<u64>> {
        match &self.lb {
            Some(lb) => Ok(Some(lb.tables.counter(number)?)),
            None => Ok(None),
        }
    }

    fn count_at_the_sink(&mut self) -> Result<()> {
        self.far_end = None;
        self.rig.expect(&self.at_the_sink())?;
        if self.way != Way::Floor {
            self.far_end = Some(self.rig.attach("count", self.network.sink()?, "eth0")?);
        }
        Ok(())
    }
}

/// A running `lb`, and what it counts.
struct Lb {
    tables: Tables,
    _process: LoadBalancer,
    _manifests: Manifests,
}

fn start_lb(way: Way, network: &Network, setup: &Setup) -> Result<Lb> {
    let binary =
        env::var_os("LB_BINARY").context("LB_BINARY names no lb; run: cargo xtask bench")?;
    let manifests = Manifests::new()?;
    manifests.write("services.json", &setup.manifests())?;
    let directory = manifests.path().to_str().context("a path of plain characters")?;
    let services = setup.services.len().next_power_of_two().max(1024).to_string();
    let endpoints: usize = setup.services.iter().map(|service| service.endpoints.len()).sum();
    let backends = (endpoints * 2).next_power_of_two().max(1024).to_string();
    let slots = (endpoints * 8).next_power_of_two().max(1024).to_string();
    let mut arguments = vec![
        "--manifests",
        directory,
        "--uplink",
        "eth0",
        "--uplink",
        "eth1",
        "--max-connections",
        "1048576",
        "--max-services",
        &services,
        "--max-backends",
        &backends,
        "--max-slots",
        &slots,
    ];
    arguments.extend(match way {
        Way::LbTc => ["--xdp", "off"].as_slice(),
        _ => &["--xdp-transmit"],
    });
    let lb = LoadBalancer::start(network.node()?, &PathBuf::from(binary), &arguments)?;
    let tables = Tables::open(&Pins::of(Path::new("/sys/fs/bpf"), lb.instance()))?;
    Ok(Lb { tables, _process: lb, _manifests: manifests })
}
