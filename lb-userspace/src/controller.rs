//! Brings together what should be (manifests), where (interfaces), and the dataplane.
//!
//! Each change comes in by one method; each leaves maps, attached programs and the state file in
//! agreement. A failure after the start is reported and tried again with the next change: what is in
//! force stays in force.

mod checks;
mod facts;
mod options;
mod settings;
mod sockets;
mod source_ports;
mod told;
mod xdp;

use std::{
    collections::BTreeSet,
    mem,
    sync::{Arc, atomic::AtomicU64},
};

use anyhow::{Context as _, Result};
use lb_common::tables::{Device, DeviceRole};

use crate::{
    compile::Compiler,
    dataplane::{
        Clock, Hookup, Pins, Point, Programs, SocketHookup, Tables, Writer, XdpMode,
        census::Census,
        collect::{self, Jiffies},
        read_back,
    },
    devices::{BridgeCalls, Classified, Devices},
    health::Health,
    model::{Conflict, Problem},
    source::Snapshot,
    state::State,
};
pub use options::Options;
use settings::settings;
use source_ports::SourcePorts;
use told::interfaces;

/// How many entries of UDP flows the table that evicts nothing may hold: a quarter of it, so that
/// they never crowd out TCP.
const UDP_SHARE: usize = 4;

/// A running instance.
pub struct Controller {
    options: Options,
    pins: Pins,
    programs: Programs,
    tables: Tables,
    compiler: Compiler,
    writer: Writer,
    hookup: Hookup,
    sockets: SocketHookup,
    /// How many sockets were destroyed because their endpoint was removed.
    destroyed: Arc<AtomicU64>,
    destroyed_told: u64,
    clock: Clock,
    snapshot: Snapshot,
    interfaces: Classified,
    notes: BTreeSet<String>,
    /// Frontends that two Services want.
    conflicts: Vec<Problem>,
    source_ports: SourcePorts,
    health: Health,
}

impl Controller {
    /// Loads, fills the tables, and attaches, in this order: the first packet finds them whole. If
    /// that fails, what was not there before is removed again.
    pub fn start(
        options: Options,
        mut pins: Pins,
        snapshot: Snapshot,
        devices: &Devices,
    ) -> Result<Self> {
        let mut notes = BTreeSet::new();
        let interfaces = interfaces(devices, &options.selection, &mut notes)?;
        let health = Health::start(options.health)
            .context("no thread for health checks could be started")?;
        pins.lock()?;
        let takes_over = pins.hold_maps();
        let (programs, tables, writer, clock) = match Self::load(&options, &pins) {
            Ok(parts) => parts,
            Err(error) => {
                if !takes_over {
                    pins.remove().context("while cleaning up")?;
                }
                return Err(error);
            }
        };
        let hookup = Hookup::new(&pins, options.tc);
        let sockets = SocketHookup::new(&pins);
        let mut controller = Self {
            options,
            pins,
            programs,
            tables,
            compiler: Compiler::default(),
            writer,
            hookup,
            sockets,
            destroyed: Arc::default(),
            destroyed_told: 0,
            clock,
            snapshot,
            interfaces,
            notes,
            conflicts: Vec::new(),
            source_ports: SourcePorts::default(),
            health,
        };
        if let Err(error) = controller.come_up() {
            if !takes_over {
                controller.stop().context("while cleaning up")?;
            }
            return Err(error);
        }
        told::tell_uplinks(&Classified::default(), &controller.interfaces);
        tracing::info!(takes_over, "up");
        Ok(controller)
    }

    fn load(options: &Options, pins: &Pins) -> Result<(Programs, Tables, Writer, Clock)> {
        let mut programs =
            Programs::load_with(pins, &options.sizes, sockets::scope(options.sockets)?)?;
        let tables = Tables::open(pins)?;
        let clock = Clock::measure(&mut programs)?;
        tables.set_settings(settings(
            &tables,
            clock,
            &options.service_ranges,
            options.node_ports,
            options.sample_events,
        )?);
        let writer = Writer::new(&tables, read_back(&tables)?)?;
        Ok((programs, tables, writer, clock))
    }

    fn come_up(&mut self) -> Result<()> {
        self.write_devices()?;
        self.write_services()?;
        self.attach(true)?;
        self.attach_sockets()?;
        // Endpoints may have gone while nobody was there.
        self.destroy_orphans()?;
        self.programs.release_other_stages(&self.pins)?;
        self.warn_of_settings();
        self.tell()
    }

    /// New Services or endpoints.
    pub fn set_services(&mut self, snapshot: Snapshot) {
        for problem in &snapshot.problems {
            if !self.snapshot.problems.contains(problem) {
                tracing::warn!(%problem, "manifest not taken");
            }
        }
        // What was in force is let go of last: with many objects that takes longer than writing what changed.
        let _before = mem::replace(&mut self.snapshot, snapshot);
        let outcome = self.write_services().and_then(|()| self.tell());
        self.note(outcome, "services could not be updated");
    }

    /// Interfaces or addresses came, went or changed.
    pub fn set_devices(&mut self, devices: &Devices) {
        match interfaces(devices, &self.options.selection, &mut self.notes) {
            Ok(interfaces) => {
                told::tell_uplinks(&self.interfaces, &interfaces);
                self.interfaces = interfaces;
            }
            Err(error) => {
                tracing::warn!(%error, "interfaces stay as they were");
                return;
            }
        }
        let outcome = self
            .write_devices()
            .and_then(|()| self.write_services())
            .and_then(|()| self.attach(false))
            .and_then(|()| self.tell());
        self.note(outcome, "interfaces could not be updated");
    }

    /// A route, a neighbour or a link changed.
    pub fn move_paths(&self) {
        self.tables.move_epoch();
    }

    /// Removes expired flows.
    pub fn collect(&mut self) {
        let outcome = self.try_collect();
        if outcome.is_ok() {
            self.health.pulse().beat();
            report(self.tell_destroyed(), "destroyed sockets could not be told");
        }
        report(outcome, "expired flows could not be collected");
        self.catch_up();
    }

    fn try_collect(&mut self) -> Result<()> {
        let time = Jiffies { now: self.clock.now(&mut self.programs)?, hz: self.clock.hz };
        let mut census = Census::new(self.tables.source_ports().0);
        let timeouts = &self.options.timeouts;
        let collected = collect::collect(&self.tables, timeouts, time, &mut census)?;
        self.source_ports.follow(&self.tables, &census, self.options.node_ports);
        let graduate_udp =
            collected.udp_established < self.tables.flows_v4.capacity() as usize / UDP_SHARE;
        self.tables.set_graduate_udp(graduate_udp);
        // The kernel tells nobody when a setting changes.
        self.write_devices()?;
        tracing::debug!(?collected, "collected");
        Ok(())
    }

    /// Detaches everything and leaves nothing behind.
    pub fn stop(mut self) -> Result<()> {
        self.sockets.detach_all().context("can't detach from the cgroup")?;
        self.hookup.detach_all().context("can't detach")?;
        self.pins.remove()?;
        State::remove(&self.options.state_file)?;
        tracing::info!("detached");
        Ok(())
    }

    fn write_services(&mut self) -> Result<()> {
        let facts = self.facts();
        let touched = self.compiler.follow(&self.snapshot.model, &facts);
        let desired = self.compiler.desired();
        let changes = self.writer.apply(&mut self.tables, desired, &touched);
        self.note_conflicts();
        let changes = changes?;
        if changes.any() {
            tracing::info!(
                services = changes.services,
                frontends = changes.frontends,
                backends = changes.backends,
                "tables changed"
            );
        }
        self.want_checks(self.compiler.desired(), &facts);
        if changes.backends > 0 {
            self.destroy_orphans()?;
        }
        Ok(())
    }

    fn note_conflicts(&mut self) {
        let problem = |one: &Conflict| Problem::of_object(one.object.clone(), &one.invalid);
        let conflicts = &self.compiler.desired().conflicts;
        let problems: Vec<Problem> = conflicts.iter().map(problem).collect();
        for problem in problems.iter().filter(|problem| !self.conflicts.contains(problem)) {
            tracing::warn!(%problem, "address not served");
        }
        self.conflicts = problems;
    }

    fn write_devices(&mut self) -> Result<()> {
        let mtu = |mtu: u32| u16::try_from(mtu).unwrap_or(u16::MAX);
        let mut wanted = Vec::new();
        for (index, uplink) in &self.interfaces.uplinks {
            let bare = if uplink.is_bare { Device::BARE } else { 0 };
            let sends = self.options.xdp != XdpMode::Off
                && (self.options.xdp_transmit || uplink.kind.as_deref() != Some("veth"))
                && self.options.xdp == XdpMode::Native;
            wanted.push((
                *index,
                Device {
                    role: DeviceRole::Uplink as u8,
                    flags: bare
                        | if sends && self.has_xdp(*index) { Device::XDP_TRANSMIT } else { 0 },
                    mtu: mtu(uplink.mtu),
                    snat_v4: uplink.snat_v4.map(Into::into).unwrap_or_default(),
                    snat_v6: uplink.snat_v6.map(Into::into).unwrap_or_default(),
                    ..Device::default()
                },
            ));
        }
        let role = DeviceRole::Workload as u8;
        let calls = BridgeCalls::read()?;
        for (index, workload) in &self.interfaces.workloads {
            let bridge = workload.bridge.and_then(|index| self.interfaces.bridges.get(&index));
            let switched = |called: bool, flag| if bridge.is_none() || called { 0 } else { flag };
            let own = bridge.map_or(BridgeCalls::default(), |bridge| bridge.calls);
            let device = Device {
                role,
                flags: switched(calls.v4 || own.v4, Device::SWITCHED_V4)
                    | switched(calls.v6 || own.v6, Device::SWITCHED_V6),
                mtu: mtu(workload.mtu),
                bridge: workload.bridge.unwrap_or(0),
                ..Device::default()
            };
            wanted.push((*index, device));
        }
        let bridges = self.interfaces.bridges.iter();
        for (index, bridge) in
            bridges.filter(|(index, _)| !self.interfaces.uplinks.contains_key(index))
        {
            wanted.push((*index, Device { role, mtu: mtu(bridge.mtu), ..Device::default() }));
        }
        let gone: Vec<u32> = self
            .tables
            .devices
            .elements()?
            .into_iter()
            .map(|(index, _)| index)
            .filter(|index| !wanted.iter().any(|(other, _)| other == index))
            .collect();
        self.tables.devices.update(&wanted)?;
        self.tables.devices.remove(&gone)?;
        Ok(())
    }

    fn has_xdp(&self, ifindex: u32) -> bool {
        self.hookup.is_attached(ifindex, Point::UplinkXdp)
    }

    /// Attaches to interfaces that are new, and detaches from those that are none of ours any more.
    /// At the start an uplink that can't be had is an error; a pod may be gone before we get to it.
    fn attach(&mut self, at_start: bool) -> Result<()> {
        if self.interfaces.uplinks.values().any(|uplink| uplink.is_bare) {
            self.programs.load_bare()?;
        }
        for (index, uplink) in &self.interfaces.uplinks {
            for point in [Point::UplinkIn, Point::UplinkOut] {
                if self.hookup.is_attached(*index, point) {
                    continue;
                }
                let outcome = self.hookup.attach_tc(
                    &mut self.programs,
                    *index,
                    &uplink.name,
                    point,
                    uplink.is_bare,
                );
                match outcome {
                    Err(error) if at_start => return Err(error.into()),
                    outcome => report(outcome.map_err(Into::into), "uplink not attached"),
                }
            }
        }
        self.attach_xdp();
        for (index, workload) in &self.interfaces.workloads {
            for point in [Point::WorkloadIn, Point::WorkloadOut] {
                if self.hookup.is_attached(*index, point) {
                    continue;
                }
                let outcome =
                    self.hookup.attach_tc(&mut self.programs, *index, &workload.name, point, false);
                report(outcome.map_err(Into::into), "pod's interface not attached");
            }
        }
        let (uplinks, workloads) = (&self.interfaces.uplinks, &self.interfaces.workloads);
        self.hookup
            .retain(|index, point| match point {
                Point::UplinkXdp | Point::UplinkIn | Point::UplinkOut => {
                    uplinks.contains_key(&index)
                }
                Point::WorkloadIn | Point::WorkloadOut => workloads.contains_key(&index),
            })
            .context("can't detach from interfaces that are gone")?;
        // Whether XDP can send is known only now.
        self.write_devices()
    }
}

fn report(outcome: Result<()>, what: &'static str) {
    if let Err(error) = outcome {
        tracing::error!(error = format!("{error:#}"), "{what}");
    }
}
