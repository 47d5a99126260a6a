//! What an instance is told when it starts.

use std::path::PathBuf;

use crate::{
    control::Pool,
    dataplane::{Sizes, SocketMode, TcMode, XdpMode, collect::Timeouts},
    devices::Selection,
    health,
    model::{IpRange, NodePortAddresses, NodePortRange},
};

/// What doesn't change while the instance runs.
#[derive(Debug)]
pub struct Options {
    /// Which interfaces.
    pub selection: Selection,
    /// How XDP is attached.
    pub xdp: XdpMode,
    /// Whether XDP may send out of any uplink that it is attached to.
    pub xdp_transmit: bool,
    /// How TC programs are attached.
    pub tc: TcMode,
    /// Which sockets are given an endpoint when they connect.
    pub sockets: SocketMode,
    /// The cgroup whose processes' sockets these are; `None`: the root of what is mounted.
    pub cgroup: Option<PathBuf>,
    /// This node's name, by which endpoints say where they are.
    pub node_name: String,
    /// The ranges of cluster IPs, at most one of each family.
    pub service_ranges: Vec<IpRange>,
    /// The range of node ports, which no source port is of.
    pub node_ports: NodePortRange,
    /// On which of the node's addresses node ports are served.
    pub node_ports_on: NodePortAddresses,
    /// The pools of load balancers' addresses; only told.
    pub pools: Vec<Pool>,
    /// How long silent flows live.
    pub timeouts: Timeouts,
    /// Of how many packets that there is something to tell of one is told; 0: of none.
    pub sample_events: u32,
    /// Sizes of new tables.
    pub sizes: Sizes,
    /// Health checks.
    pub health: health::Options,
    /// Where the state is told.
    pub state_file: PathBuf,
}
