//! `lb run`: loads, attaches, and keeps the tables as the manifests and the node say, until it is
//! told to stop.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::Instance;
use crate::{
    control::{self, ControlPlane, Pool},
    controller::{Controller, Options},
    dataplane::{Pins, Sizes, SocketMode, TcMode, XdpMode, collect::Timeouts, tell_of_bind},
    devices::{DeviceWatch, Pattern, Selection},
    model::{Family, IpRange, NODE_PORTS, NodePortRange},
    privileges,
    source::manifests::ManifestSource,
};

/// How often expired flows are collected.
const COLLECT_EVERY: Duration = Duration::from_secs(10);

/// Serve the Services of a directory of manifests on this node
///
/// Reads Services and their endpoint slices as ordinary Kubernetes YAML or JSON, watches the directory,
/// and translates packets in the kernel accordingly. Everything is detached when it is stopped with
/// SIGINT or SIGTERM. When it is killed, the kernel goes on as it was, and the next start takes over.
#[derive(Debug, Args)]
pub struct Run {
    /// Directory of manifests (*.yaml, *.yml, *.json)
    #[arg(long, value_name = "DIR")]
    manifests: PathBuf,

    /// Interface towards other machines; may be given several times. Ethernet, or a tunnel of plain IP packets
    /// (wireguard, tun, ipip, sit, gre with a remote address; all but the first two need Linux 5.14)
    #[arg(long = "uplink", value_name = "IF", required = true)]
    uplinks: Vec<String>,

    /// Host's ends of pods' interfaces, as a pattern like 'veth*'; may be given several times
    /// [default: every veth of this network namespace that is no uplink]
    #[arg(long = "workload", value_name = "PATTERN")]
    workloads: Vec<Pattern>,

    /// This node's name, as the endpoints on it give it in `nodeName` [default: the host's name]
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,

    /// Range of cluster IPs; may be given twice, once for each family. What is sent to an address of it
    /// that no Service has is dropped, and a Service with a cluster IP outside of it is refused. Services
    /// that write no cluster IP are given one of it; the first range's family is the default one
    #[arg(long = "service-cidr", value_name = "CIDR")]
    service_ranges: Vec<IpRange>,

    /// Range of node ports, both ends included; Services that write none are given one of it
    #[arg(long, value_name = "FIRST-LAST", default_value_t = NODE_PORTS)]
    node_port_range: NodePortRange,

    /// Addresses for load balancers: RANGE, internal=RANGE, or with a class of load balancers
    /// in front CLASS=RANGE or CLASS,internal=RANGE; may be given several times. Services with a cloud's
    /// annotation for internal load balancers are given an internal one
    #[arg(long = "lb-pool", value_name = "POOL")]
    pools: Vec<Pool>,

    /// Where it is kept what Services were given, so that they have it again after a restart
    #[arg(long, default_value = "/var/lib/lb", value_name = "DIR")]
    state_dir: PathBuf,

    /// How XDP is attached to uplinks; TC does all the work where XDP can't
    #[arg(long, value_enum, default_value_t)]
    xdp: XdpMode,

    /// Let XDP send frames out of uplinks whose driver may lose them: a veth does, unless its other
    /// end runs XDP or has GRO on
    #[arg(long)]
    xdp_transmit: bool,

    /// How TC programs are attached
    #[arg(long, value_enum, default_value_t)]
    tc: TcMode,

    /// Whose sockets are given an endpoint when they connect, so that none of their packets is translated
    #[arg(long, value_enum, default_value_t)]
    socket_lb: SocketMode,

    /// The cgroup (version 2) whose processes these are, with those of all cgroups below it [default: the root
    /// of the first cgroup2 mount]
    #[arg(long, value_name = "DIR")]
    cgroup: Option<PathBuf>,

    /// Tell lb events of one in N packets that began a flow, were dropped or went to another endpoint; 0:
    /// of none. lb events --every changes it while lb runs
    #[arg(long, value_name = "N", default_value_t = 0)]
    sample_events: u32,

    #[command(flatten)]
    timeouts: TimeoutArguments,

    #[command(flatten)]
    sizes: SizeArguments,

    #[command(flatten)]
    instance: Instance,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Sizes")]
#[expect(clippy::struct_field_names, reason = "the names are those of the options")]
struct SizeArguments {
    /// Room for services, each port and family counted
    #[arg(long, value_name = "N", default_value_t = Sizes::default().services, value_parser = clap::value_parser!(u32).range(1..))]
    max_services: u32,

    /// Room for backends
    #[arg(long, value_name = "N", default_value_t = Sizes::default().backends, value_parser = clap::value_parser!(u32).range(1..))]
    max_backends: u32,

    /// Room for slots of all selection tables together
    #[arg(long, value_name = "N", default_value_t = Sizes::default().slots, value_parser = clap::value_parser!(u32).range(1..))]
    max_slots: u32,

    /// Room for established connections, in each family
    #[arg(long, value_name = "N", default_value_t = Sizes::default().flows / 2, value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    max_connections: u32,

    /// Room for clients that are remembered by Services with session affinity, in each family; when it is
    /// full, the one that was silent for longest is forgotten
    #[arg(long, value_name = "N", default_value_t = Sizes::default().clients, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    max_affinities: u32,

    /// Room for events that lb events has not read yet, in bytes; becomes a power of two
    #[arg(long, value_name = "BYTES", default_value_t = Sizes::default().events, value_parser = clap::value_parser!(u32).range(4096..=1 << 30))]
    max_event_bytes: u32,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Time-outs of silent flows, in seconds")]
#[expect(clippy::struct_field_names, reason = "the names are those of the options")]
struct TimeoutArguments {
    /// Established TCP connections
    #[arg(long, value_name = "S", default_value_t = seconds(Timeouts::default().tcp), value_parser = clap::value_parser!(u32).range(1..=LONGEST))]
    tcp_timeout: u32,

    /// TCP connections that nobody answered yet
    #[arg(long, value_name = "S", default_value_t = seconds(Timeouts::default().tcp_opening), value_parser = clap::value_parser!(u32).range(1..=LONGEST))]
    tcp_opening_timeout: u32,

    /// TCP connections that are closed or reset
    #[arg(long, value_name = "S", default_value_t = seconds(Timeouts::default().tcp_closed), value_parser = clap::value_parser!(u32).range(1..=LONGEST))]
    tcp_closed_timeout: u32,

    /// UDP flows that were answered
    #[arg(long, value_name = "S", default_value_t = seconds(Timeouts::default().udp), value_parser = clap::value_parser!(u32).range(1..=LONGEST))]
    udp_timeout: u32,

    /// UDP flows that nobody answered yet
    #[arg(long, value_name = "S", default_value_t = seconds(Timeouts::default().udp_unanswered), value_parser = clap::value_parser!(u32).range(1..=LONGEST))]
    udp_unanswered_timeout: u32,
}

/// A week: the kernel's jiffies don't turn over in that time, however short they are.
const LONGEST: i64 = 604_800;

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

impl TimeoutArguments {
    fn timeouts(&self) -> Timeouts {
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
    fn sizes(&self) -> Sizes {
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

impl Run {
    /// Runs until a signal comes.
    pub fn execute(self) -> Result<()> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("can't start the runtime")?
            .block_on(self.serve())
    }

    async fn serve(self) -> Result<()> {
        let mut interrupt = signal(SignalKind::interrupt()).context("can't wait for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("can't wait for SIGTERM")?;

        privileges::check()?;
        check_service_ranges(&self.service_ranges)?;
        let node_name = self.node_name.map_or_else(host_name, Ok)?;
        let config = control::Config {
            ranges: self.service_ranges.clone(),
            node_ports: self.node_port_range,
            pools: self.pools,
        };
        let store = self.state_dir.join(format!("{}.redb", self.instance.instance));
        let control = ControlPlane::open(config, &store)?;
        let (snapshot, mut source) = ManifestSource::open_with(&self.manifests, control)?;
        let snapshot = snapshot
            .without_problems()
            .context("the manifests are not right; nothing was attached")?;
        let (devices, mut watch) = DeviceWatch::open().await?;
        let selection = Selection {
            uplinks: self.uplinks,
            workloads: (!self.workloads.is_empty()).then_some(self.workloads),
        };
        let options = Options {
            selection,
            xdp: self.xdp,
            xdp_transmit: self.xdp_transmit,
            tc: self.tc,
            sockets: self.socket_lb,
            cgroup: self.cgroup,
            node_name,
            service_ranges: self.service_ranges,
            node_ports: self.node_port_range,
            timeouts: self.timeouts.timeouts(),
            sample_events: self.sample_events,
            sizes: self.sizes.sizes(),
            state_file: self.instance.state_file(),
        };
        let pins = Pins::of(&self.instance.bpffs, &self.instance.instance);
        let mut controller = Controller::start(options, pins, snapshot, &devices)?;

        let mut binds = controller.refused_binds()?;
        let mut collect = tokio::time::interval(COLLECT_EVERY);
        loop {
            tokio::select! {
                snapshot = source.changed() => controller.set_services(snapshot),
                change = watch.changed() => {
                    if change.paths_moved {
                        controller.move_paths();
                    }
                    if let Some(devices) = change.devices {
                        controller.set_devices(&devices);
                    }
                }
                bind = binds.next() => {
                    tell_of_bind(&bind.context("can't read who was refused a node port")?);
                }
                _ = collect.tick() => controller.collect(),
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
            }
        }
        controller.stop()
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
