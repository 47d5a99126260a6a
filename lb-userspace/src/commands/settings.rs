//! What `lb run` can be told: every option once, as a flag. The file that `--config` names has the same ones
//! (`file.rs`), under the flags' names.

pub mod file;
mod health;

use std::{convert::Infallible, fs, path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::{ArgAction, Args};

use super::Instance;
use crate::{
    control::{self, Pool},
    dataplane::{Sizes, SocketMode, TcMode, XdpMode, collect::Timeouts},
    devices::{Pattern, Selection},
    model::{Family, IpRange, NODE_PORTS, NodePortAddresses, NodePortRange},
};
use health::HealthArguments;

/// The file that options may stand in.
#[derive(Debug, Args)]
pub struct ConfigArgument {
    /// File with options (YAML): those of lb run, by the names that lb config shows; flags win over it
    #[arg(long = CONFIG, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The one option that can't stand in the file.
pub const CONFIG: &str = "config";

/// All options of `lb run`.
#[derive(Debug, Args)]
pub struct Settings {
    /// Directory of manifests (*.yaml, *.yml, *.json)
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,

    /// Interface towards other machines; may be given several times. Ethernet, or a tunnel of plain IP packets
    /// (wireguard, tun, ipip, sit, gre with a remote address; all but the first two need Linux 5.14)
    /// [default: those of default routes, and those with an address of the node towards other machines]
    #[arg(long = "uplink", value_name = "IF")]
    pub uplinks: Vec<String>,

    /// Host's ends of pods' interfaces, as a pattern like 'veth*'; may be given several times
    /// [default: every veth of this network namespace that is no uplink]
    #[arg(long = "workload", value_name = "PATTERN")]
    pub workloads: Vec<Pattern>,

    #[command(flatten)]
    pub cluster: Cluster,

    /// Where it is kept what Services were given, so that they have it again after a restart
    #[arg(long, default_value = "/var/lib/lb", value_name = "DIR")]
    pub state_dir: PathBuf,

    /// How XDP is attached to uplinks; TC does all the work where XDP can't
    #[arg(long, value_enum, default_value_t)]
    pub xdp: XdpMode,

    /// Let XDP send frames out of uplinks whose driver may lose them: a veth does, unless its other
    /// end runs XDP or has GRO on
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    pub xdp_transmit: bool,

    /// How TC programs are attached
    #[arg(long, value_enum, default_value_t)]
    pub tc: TcMode,

    /// Whose sockets are given an endpoint when they connect, so that none of their packets is translated
    #[arg(long, value_enum, default_value_t)]
    pub socket_lb: SocketMode,

    /// The cgroup (version 2) whose processes these are, with those of all cgroups below it; auto: the root of
    /// the first cgroup2 mount
    #[arg(long, value_name = "DIR", default_value = "auto")]
    pub cgroup: CgroupChoice,

    /// Tell lb events of one in N packets that began a flow, were dropped or went to another endpoint; 0:
    /// of none. lb events --every changes it while lb runs
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub sample_events: u32,

    #[command(flatten)]
    pub health: HealthArguments,

    #[command(flatten)]
    pub timeouts: TimeoutArguments,

    #[command(flatten)]
    pub sizes: SizeArguments,

    #[command(flatten)]
    pub instance: Instance,
}

/// A cgroup's directory; none: the root of what is mounted.
#[derive(Clone, Debug)]
pub struct CgroupChoice(pub Option<PathBuf>);

impl FromStr for CgroupChoice {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self((text != "auto").then(|| text.into())))
    }
}

/// What the control plane has to give, and where it is.
#[derive(Clone, Debug, Args)]
pub struct Cluster {
    /// This node's name, as the endpoints on it give it in `nodeName` [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,

    /// Range of cluster IPs; may be given twice, once for each family. What is sent to an address of it
    /// that no Service has is dropped, and a Service with a cluster IP outside of it is refused. Services
    /// that write no cluster IP are given one of it; the first range's family is the default one
    #[arg(long = "service-cidr", value_name = "CIDR")]
    pub service_ranges: Vec<IpRange>,

    /// Range of node ports, both ends included; Services that write none are given one of it
    #[arg(long, value_name = "FIRST-LAST", default_value_t = NODE_PORTS)]
    pub node_port_range: NodePortRange,

    /// Node addresses that node ports and Services' health checks are served on: all, ranges with commas between,
    /// or primary for the node's primary address of each family (as its Node manifest has it, else the first
    /// uplink's). A family without any range has them on all addresses
    #[arg(long, value_name = "all|primary|CIDR,…", default_value_t)]
    pub nodeport_addresses: NodePortAddresses,

    /// Addresses for load balancers: RANGE, internal=RANGE, or with a class of load balancers
    /// in front CLASS=RANGE or CLASS,internal=RANGE; may be given several times. Services with a cloud's
    /// annotation for internal load balancers are given an internal one
    #[arg(long = "lb-pool", value_name = "POOL")]
    pub pools: Vec<Pool>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Sizes")]
#[expect(clippy::struct_field_names, reason = "the names are those of the options")]
pub struct SizeArguments {
    /// Room for services, each port and family counted
    #[arg(long, value_name = "N", default_value_t = Sizes::default().services, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_services: u32,

    /// Room for backends
    #[arg(long, value_name = "N", default_value_t = Sizes::default().backends, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_backends: u32,

    /// Room for slots of all selection tables together
    #[arg(long, value_name = "N", default_value_t = Sizes::default().slots, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_slots: u32,

    /// Room for established connections, in each family
    #[arg(long, value_name = "N", default_value_t = Sizes::default().flows / 2, value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    pub max_connections: u32,

    /// Room for clients that are remembered by Services with session affinity, in each family; when it is
    /// full, the one that was silent for longest is forgotten
    #[arg(long, value_name = "N", default_value_t = Sizes::default().clients, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    pub max_affinities: u32,

    /// Room for events that lb events has not read yet, in bytes; becomes a power of two
    #[arg(long, value_name = "BYTES", default_value_t = Sizes::default().events, value_parser = clap::value_parser!(u32).range(4096..=1 << 30))]
    pub max_event_bytes: u32,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Time-outs of silent flows, in seconds")]
#[expect(clippy::struct_field_names, reason = "the names are those of the options")]
pub struct TimeoutArguments {
    /// Established TCP connections
    #[arg(long, value_name = "S", default_value_t = seconds(Timeouts::default().tcp), value_parser = clap::value_parser!(u32).range(1..=LONGEST))]
    pub tcp_timeout: u32,

    /// TCP connections that nobody answered yet
    #[arg(long, value_name = "S", default_value_t = seconds(Timeouts::default().tcp_opening), value_parser = clap::value_parser!(u32).range(1..=LONGEST))]
    pub tcp_opening_timeout: u32,

    /// TCP connections that are closed or reset
    #[arg(long, value_name = "S", default_value_t = seconds(Timeouts::default().tcp_closed), value_parser = clap::value_parser!(u32).range(1..=LONGEST))]
    pub tcp_closed_timeout: u32,

    /// UDP flows that were answered
    #[arg(long, value_name = "S", default_value_t = seconds(Timeouts::default().udp), value_parser = clap::value_parser!(u32).range(1..=LONGEST))]
    pub udp_timeout: u32,

    /// UDP flows that nobody answered yet
    #[arg(long, value_name = "S", default_value_t = seconds(Timeouts::default().udp_unanswered), value_parser = clap::value_parser!(u32).range(1..=LONGEST))]
    pub udp_unanswered_timeout: u32,
}

/// A week: the kernel's jiffies don't turn over in that time, however short they are.
const LONGEST: i64 = 604_800;

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

impl TimeoutArguments {
    pub fn timeouts(&self) -> Timeouts {
        let of = |seconds: u32| Duration::from_secs(seconds.into());
        Timeouts {
            tcp: of(self.tcp_timeout),
            tcp_opening: of(self.tcp_opening_timeout),
            tcp_closed: of(self.tcp_closed_timeout),
            udp: of(self.udp_timeout),
            udp_unanswered: of(self.udp_unanswered_timeout),
        }
    }
}

impl SizeArguments {
    pub fn sizes(&self) -> Sizes {
        Sizes {
            services: self.max_services,
            backends: self.max_backends,
            slots: self.max_slots,
            flows: self.max_connections * 2,
            clients: self.max_affinities,
            events: self.max_event_bytes.next_power_of_two(),
            ..Sizes::default()
        }
    }
}

impl Settings {
    /// Which interfaces.
    pub fn selection(&self) -> Selection {
        Selection {
            uplinks: self.uplinks.clone(),
            workloads: (!self.workloads.is_empty()).then(|| self.workloads.clone()),
        }
    }
}

impl Cluster {
    /// What there is to give, if that makes sense.
    pub fn control(&self) -> Result<control::Config> {
        check_service_ranges(&self.service_ranges)?;
        Ok(control::Config {
            ranges: self.service_ranges.clone(),
            node_ports: self.node_port_range,
            pools: self.pools.clone(),
        })
    }

    /// This node's name.
    pub fn node_name(&self) -> Result<String> {
        self.node_name.clone().map_or_else(host_name, Ok)
    }
}

/// At most one of each family, and none that is everything.
fn check_service_ranges(ranges: &[IpRange]) -> Result<()> {
    for (index, range) in ranges.iter().enumerate() {
        let family = Family::of(range.address);
        if ranges[..index].iter().any(|other| Family::of(other.address) == family) {
            bail!("--service-cidr {range}: there is an {family} range already; give one");
        }
        if range.bits == 0 {
            bail!("--service-cidr {range}: that is every address; give the range of cluster IPs");
        }
    }
    Ok(())
}

/// The host's name, as kubelet makes a node's name of it.
fn host_name() -> Result<String> {
    const FILE: &str = "/proc/sys/kernel/hostname";
    let name = fs::read_to_string(FILE)
        .with_context(|| format!("can't read {FILE}; say the node's name with --node-name"))?;
    Ok(name.trim().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_may_be_one_service_range_of_each_family() {
        let check = |texts: &[&str]| {
            let ranges: Vec<IpRange> = texts.iter().map(|text| text.parse().unwrap()).collect();
            check_service_ranges(&ranges).map_err(|error| error.to_string())
        };
        assert_eq!(check(&["10.96.0.0/12", "fd00:96::/112"]), Ok(()));
        assert!(check(&["10.96.0.0/12", "10.0.0.0/8"]).unwrap_err().contains("IPv4 range already"));
        assert!(check(&["::/0"]).unwrap_err().contains("every address"));
    }
}
